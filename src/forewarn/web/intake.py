"""Takes what agents and collecting Prometheis send, samples and events: each sender speaks of its own hosts only.

A body is taken whole or not at all. Sizes and rates are looked at before anything is unpacked, and each refusal has a
stable code and is counted.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta

from forewarn import event_lines, remote_write
from forewarn.clock import Clock
from forewarn.domain.events import ChangeEvent, FailureEvent
from forewarn.domain.people import Principal
from forewarn.domain.telemetry import Sample, Shown
from forewarn.errors import ForewarnError, PermanentError, TemporaryError
from forewarn.store.labels import host_of
from forewarn.web.bucket import Buckets
from forewarn.web.exposition import counter
from forewarn.web.settings import IngestSettings

Take = Callable[[Mapping[str, Iterable[Sample]], datetime], None]
Record = Callable[[Iterable[ChangeEvent | FailureEvent]], None]


class BodyRefused(PermanentError):
    """A body that is not taken; `code` says why."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


class TooMany(TemporaryError):
    """More than the sender may send in a minute."""

    code = "too_many_samples"


class Busy(TemporaryError):
    """As many bodies as may be are being read."""

    code = "busy"


class Ingest:
    """Takes bodies for `take` and `record`, within limits. Safe to use from several threads, if those two are."""

    def __init__(self, settings: IngestSettings, take: Take, record: Record, clock: Clock) -> None:
        self.settings = settings
        self._take, self._record, self._clock = take, record, clock
        limits = remote_write.Limits(
            settings.unpacked_bytes_max,
            settings.samples_max,
            settings.samples_max,
            settings.labels_max,
            settings.label_bytes_max,
        )
        self._reader = remote_write.Reader(limits, host_of, settings.series_remembered_max)
        self._bodies = Buckets(clock, settings.bodies_per_minute, settings.senders_max)
        self._samples = Buckets(clock, settings.samples_per_minute, settings.senders_max)
        self._lock = threading.Lock()
        self._open = 0
        self._taken: Counter[str] = Counter(bodies=0, samples=0, events=0)
        self._refused: Counter[str] = Counter()

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Whatever refuses a body within is counted."""
        try:
            yield
        except ForewarnError as refused:
            with self._lock:
                self._refused[refused.code] += 1
            raise

    @contextmanager
    def turn(self, who: Principal) -> Iterator[None]:
        """A body of `who` is read and taken within. Raises Busy, TooMany."""
        with self._lock:
            self._open += 1
            crowd = self._open
        try:
            with self.counted():
                if crowd > self.settings.at_once_max:
                    raise Busy(f"{crowd - 1} bodies are being read; try again in a moment", 1.0)
                self._within(self._bodies, who, 1, "bodies")
                yield
                self._count("bodies", 1)
        finally:
            with self._lock:
                self._open -= 1

    def write(self, who: Principal, body: bytes) -> None:
        """Store the samples of a body of remote write, if every one is of a host of the sender and of bearable time."""
        samples, now = self._reader.read(body), self._clock.now()
        shown = _by_host(samples)
        _check_hosts(who, shown)
        oldest = timedelta(hours=self.settings.sample_hours_max)
        self._check_times({time for time in samples.times if time}, now, oldest)
        self._within(self._samples, who, len(samples), "samples")
        if shown:
            self._take(shown, now)
        self._count("samples", len(samples))

    def report(self, who: Principal, body: bytes) -> None:
        """Store the events of a body, if every one is of a host of the sender and of bearable time."""
        limits = event_lines.Limits(self.settings.events_max, self.settings.event_chars_max)
        events = event_lines.decode(body, limits)
        _check_hosts(who, (event.host for event in events))
        oldest = timedelta(days=self.settings.event_days_max)
        self._check_times((event.time for event in events), self._clock.now(), oldest)
        self._within(self._samples, who, len(events), "events")
        self._record(_from(who, event) for event in events)
        self._count("events", len(events))

    def exposition(self) -> str:
        """What was taken and what was refused, as a part of the page of metrics."""
        with self._lock:
            taken, refused = dict(self._taken), dict(self._refused)
        lines = []
        for name, number in taken.items():
            lines += counter(f"forewarn_ingest_{name}_total", [({}, float(number))])
        by_code = [({"code": code}, float(number)) for code, number in sorted(refused.items())]
        lines += counter("forewarn_ingest_refused_total", by_code)
        return "\n".join(lines) + "\n"

    def _within(self, buckets: Buckets, who: Principal, amount: int, what: str) -> None:
        wait = buckets.take(who.name, amount)
        if wait:
            raise TooMany(f"{who.name} sends more {what} than it may; try again in {wait:.0f} s", wait)

    def _check_times(self, times: Iterable[datetime], now: datetime, oldest: timedelta) -> None:
        first, last = now - oldest, now + timedelta(seconds=self.settings.skew_s)
        for time in times:
            if not first <= time <= last:
                words = f"{time.isoformat()} is too far from {now.isoformat(timespec='seconds')}, which it is here"
                raise BodyRefused(words, "out_of_bounds")

    def _count(self, what: str, number: int) -> None:
        with self._lock:
            self._taken[what] += number


def _by_host(samples: Shown) -> dict[str, Shown]:
    """What each host shows."""
    hosts = [series.host for series in samples.series]
    if hosts and hosts.count(hosts[0]) == len(hosts):
        return {hosts[0]: samples}
    rows: dict[str, list[int]] = {}
    for row, host in enumerate(hosts):
        rows.setdefault(host, []).append(row)
    return {host: samples.taken(found) for host, found in rows.items()}


def _check_hosts(who: Principal, hosts: Iterable[str]) -> None:
    for host in dict.fromkeys(hosts):
        if not host or not who.speaks_for(host):
            said = f"{who.name} may not speak of {host!r}" if host else "a series names no host: set the label instance"
            raise BodyRefused(said, "foreign_host")


def _from(who: Principal, event: ChangeEvent | FailureEvent) -> ChangeEvent | FailureEvent:
    """A failure says by whom it was reported."""
    if isinstance(event, ChangeEvent):
        return event
    return replace(event, source=f"{event.source} (agent {who.name})".strip())
