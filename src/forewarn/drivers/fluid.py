"""Memory copies over shared links, as a fluid: what the simulated driver moves VMs with.

Pre-copy: the whole memory is sent while the guest keeps dirtying it, then what was dirtied meanwhile, and so on,
until the rest fits into the downtime limit; then the guest stops, the rest is sent, and it resumes at the target.
What a guest dirties in t seconds is W * (1 - exp(-D * t / W)): D bytes per second at first, never more than its
working set W. Links are full duplex; k copies out of a host (or into one) share its link evenly. Nothing here reads
a clock: state changes only at events (a copy starts, ends a round, ends), so how often somebody looks changes no
result, not even by a rounding.
"""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto

GIB = 1024**3


@dataclass(frozen=True, slots=True)
class CopySettings:
    """How the simulated hypervisors copy memory."""

    downtime_limit_ms: float = 300.0
    """Milliseconds. A guest is stopped once what is left can be sent within this time; QEMU's own default."""
    resume_ms: float = 20.0
    """Milliseconds from the last byte until the guest runs at the target: devices, and the switch of its port."""
    rounds_max: int = 30
    """Number of rounds after which a copy that does not converge is given up: Xen's limit is 29, QEMU has none."""
    give_up_s_per_gib: float = 800.0
    """Seconds per GiB of memory (2 GiB at least) after which a copy is given up: Nova's completion time-out."""


@dataclass(frozen=True, slots=True)
class Guest:
    """What a copy has to send, and how fast it grows again."""

    memory_bytes: int
    dirty_bytes_per_s: float = 0.0
    working_set_bytes: int = 0

    def dirtied_bytes(self, seconds: float) -> float:
        """What has to be sent again after `seconds`.

        >>> round(Guest(100, dirty_bytes_per_s=10.0, working_set_bytes=50).dirtied_bytes(1.0), 2)
        9.06
        """
        most = min(self.working_set_bytes, self.memory_bytes)
        if most <= 0:
            return 0.0
        return most * -math.expm1(-self.dirty_bytes_per_s * seconds / most)


class End(Enum):
    """How a copy ended."""

    ARRIVED = auto()
    DIVERGED = auto()  # did not converge within the rounds
    TOO_LONG = auto()
    BROKEN = auto()  # as was ordered by `break_at`


@dataclass(frozen=True, slots=True)
class CopyEnded:
    """A copy that is over, and what was measured."""

    id: str
    end: End
    at_s: float
    duration_s: float
    progress: float = 1.0
    downtime_ms: float = 0.0


class _Phase(Enum):
    COPYING = auto()
    STOPPED = auto()  # the guest is paused, the rest is sent
    RESUMING = auto()  # all is sent


@dataclass(slots=True)
class _Copy:
    """One copy; `left_bytes` is what its round still has to send at the time of the last event on any link."""

    id: str
    guest: Guest
    source: str
    target: str
    started_s: float
    deadline_s: float
    break_at: float | None  # share of the first round at which it breaks
    round_started_s: float
    left_bytes: float
    round: int = 0
    phase: _Phase = _Phase.COPYING
    stopped_s: float = 0.0
    resumed_s: float = math.inf
    stalled: bool = False

    @property
    def breaks(self) -> bool:
        """Whether this round is the one in which it breaks."""
        return self.break_at is not None and self.round == 0 and self.phase is _Phase.COPYING

    @property
    def pauses_at_bytes(self) -> float:
        """How much is left when the next event of this copy is due."""
        return self.guest.memory_bytes * (1.0 - (self.break_at or 0.0)) if self.breaks else 0.0


class Links:
    """All hosts' links and the copies on them. Times are seconds of one clock and never run backwards."""

    def __init__(self, bytes_per_s: Mapping[str, float], settings: CopySettings) -> None:
        self._bytes_per_s = dict(bytes_per_s)
        self._settings = settings
        self._copies: dict[str, _Copy] = {}
        self._rates: dict[str, float] = {}
        self._at_s = 0.0

    def add(
        self, copy_id: str, guest: Guest, source: str, target: str, now_s: float, break_at: float | None = None
    ) -> None:
        """Start a copy. Take every `next_end` up to `now_s` first: this holds for all that changes a link."""
        patience_s = self._settings.give_up_s_per_gib * max(2.0, guest.memory_bytes / GIB)
        copy = _Copy(copy_id, guest, source, target, now_s, now_s + patience_s, break_at, now_s, guest.memory_bytes)
        self._settle(now_s)
        self._copies[copy_id] = copy
        self._share()

    def drop(self, copy_id: str, now_s: float) -> None:
        """Take a copy off its links, unfinished; its guest goes on at the source."""
        self._settle(now_s)
        del self._copies[copy_id]
        self._share()

    def stall(self, copy_id: str, stalled: bool, now_s: float) -> None:
        """Let a copy send nothing, or send again. It keeps its share of the links all the while."""
        self._settle(now_s)
        self._copies[copy_id].stalled = stalled
        self._share()

    def progress(self, copy_id: str, now_s: float) -> float:
        """The sent share of a copy's first round at `now_s`."""
        copy = self._copies[copy_id]
        if copy.round > 0 or copy.phase is not _Phase.COPYING or copy.guest.memory_bytes <= 0:
            return 1.0
        left_bytes = copy.left_bytes - self._rates[copy_id] * (now_s - self._at_s)
        return min(1.0, max(0.0, 1.0 - left_bytes / copy.guest.memory_bytes))

    def started_s(self, copy_id: str) -> float:
        """When a running copy started."""
        return self._copies[copy_id].started_s

    def next_end(self, now_s: float) -> CopyEnded | None:
        """The earliest end by `now_s` that was not told yet; ask until None."""
        while self._copies:
            copy = min(self._copies.values(), key=self._due_s)
            due_s = self._due_s(copy)
            if due_s > now_s:
                return None
            self._settle(due_s)
            ended = self._pass_event(copy)
            if ended is not None:
                del self._copies[copy.id]
            self._share()
            if ended is not None:
                return ended
        return None

    def _due_s(self, copy: _Copy) -> float:
        if copy.phase is _Phase.RESUMING:
            return copy.resumed_s
        rate = self._rates[copy.id]
        sent_s = self._at_s + (copy.left_bytes - copy.pauses_at_bytes) / rate if rate > 0 else math.inf
        return min(sent_s, copy.deadline_s) if copy.phase is _Phase.COPYING else sent_s

    def _pass_event(self, copy: _Copy) -> CopyEnded | None:
        """What happens to `copy` now that it is due, and its end if this was the last."""
        if copy.phase is _Phase.RESUMING:
            return self._ended(copy, End.ARRIVED)
        if copy.phase is _Phase.COPYING and self._at_s >= copy.deadline_s:
            return self._ended(copy, End.TOO_LONG)
        if copy.breaks:
            return self._ended(copy, End.BROKEN)
        if copy.phase is _Phase.STOPPED:
            copy.phase = _Phase.RESUMING
            copy.resumed_s = self._at_s + self._settings.resume_ms / 1000.0
            return None
        return self._next_round(copy)

    def _next_round(self, copy: _Copy) -> CopyEnded | None:
        rest_bytes = copy.guest.dirtied_bytes(self._at_s - copy.round_started_s)
        fits = rest_bytes <= self._rates[copy.id] * self._settings.downtime_limit_ms / 1000.0
        if not fits and copy.round + 1 >= self._settings.rounds_max:
            return self._ended(copy, End.DIVERGED)
        copy.left_bytes = rest_bytes
        copy.round_started_s = self._at_s
        copy.round += 1
        if fits:
            copy.phase, copy.stopped_s = _Phase.STOPPED, self._at_s
        return None

    def _ended(self, copy: _Copy, end: End) -> CopyEnded:
        duration_s = self._at_s - copy.started_s
        downtime_ms = (self._at_s - copy.stopped_s) * 1000.0 if end is End.ARRIVED else 0.0
        return CopyEnded(copy.id, end, self._at_s, duration_s, self.progress(copy.id, self._at_s), downtime_ms)

    def _settle(self, now_s: float) -> None:
        """Bring what every copy has left to `now_s`; rates are constant since the last event."""
        for copy in self._copies.values():
            sent_bytes = self._rates[copy.id] * (now_s - self._at_s)
            copy.left_bytes = max(copy.pauses_at_bytes, copy.left_bytes - sent_bytes)
        self._at_s = now_s

    def _share(self) -> None:
        """Share every link among the copies that are on it."""
        sending = [copy for copy in self._copies.values() if copy.phase is not _Phase.RESUMING]
        leaving = Counter(copy.source for copy in sending)
        arriving = Counter(copy.target for copy in sending)
        self._rates = dict.fromkeys(self._copies, 0.0)
        for copy in sending:
            out = self._bytes_per_s[copy.source] / leaving[copy.source]
            into = self._bytes_per_s[copy.target] / arriving[copy.target]
            self._rates[copy.id] = 0.0 if copy.stalled else min(out, into)
