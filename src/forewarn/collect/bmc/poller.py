"""Many BMCs, asked in the background: each at its interval, within its time limit, and none in another's way."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from forewarn.clock import Clock
from forewarn.collect.base import Collected, Event
from forewarn.collect.bmc.answer import Answer
from forewarn.collect.bmc.events import Past, compare
from forewarn.collect.bmc.ipmi import IpmiBmc
from forewarn.collect.bmc.redfish import RedfishBmc
from forewarn.collect.bmc.samples import samples, set_aside
from forewarn.collect.bmc.settings import BmcSettings, BmcTarget
from forewarn.collect.bmc.settings import Protocol as Way
from forewarn.collect.files import Kept
from forewarn.collect.tree import label_text
from forewarn.domain.telemetry import Sample
from forewarn.errors import SourceAbsent

FILE = "bmc.json"
LOCAL = "local"
_STUCK_READINGS_MIN = 3


class Bmc(Protocol):
    """One BMC that can be asked."""

    def ask(self) -> Answer:
        """Raises SourceAbsent where it gives nothing."""
        ...


@dataclass
class _Watched:
    """One BMC: how it is asked, what it said last and when."""

    name: str
    host: str
    bmc: Bmc
    past: Past
    asking: Future[Answer] | None = None
    due: float = 0.0
    answer: Answer | None = None
    answered_at: float = 0.0
    moved_at: float = 0.0
    fresh: bool = False  # whether the answer came with the last look
    shown: tuple[float, ...] = ()
    trouble: str = ""
    news: list[Event] = field(default_factory=list)


class Poller:
    """Asks BMCs and tells what they said. Safe to use from one thread; asking runs in others."""

    def __init__(self, settings: BmcSettings, folder: Path | None, clock: Clock) -> None:
        self._settings, self._kept, self._clock = settings, Kept(folder, FILE), clock
        pasts = _pasts(self._kept.text)
        started = clock.monotonic()
        self._watched = [
            _Watched(name, host, bmc, pasts.get(name, Past()), due=started, answered_at=started)
            for name, host, bmc in _bmcs(settings, clock)
        ]
        self._pool = ThreadPoolExecutor(settings.at_once, "bmc")

    def close(self) -> None:
        """End what goes on; what hangs is left to its time limit."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def look(self, wait_s: float = 0.0, *, news_only: bool = False) -> Mapping[str, Sequence[Collected]]:
        """What is known of each host now. BMCs that are due are asked, for at most `wait_s` until they answer.

        With `news_only` an answer that was told before is not told again, but how the BMC itself does.
        """
        for watched in self._watched:
            if watched.asking is None and self._clock.monotonic() >= watched.due:
                watched.asking = self._pool.submit(watched.bmc.ask)
                watched.due = self._clock.monotonic() + self._settings.interval_s
        end = self._clock.monotonic() + wait_s
        for watched in self._watched:
            watched.fresh = False
        changed = [self._take(watched, max(end - self._clock.monotonic(), 0.0)) for watched in self._watched]
        if any(changed):
            self._remember()
        found: dict[str, list[Collected]] = {}
        for watched in self._watched:
            found.setdefault(watched.host, []).extend(self._told(watched, news_only=news_only))
        return found

    def _take(self, watched: _Watched, wait_s: float) -> bool:
        """Take the answer, where it has come; whether there is something to remember."""
        if watched.asking is None:
            return False
        wait([watched.asking], wait_s)
        if not watched.asking.done():
            return False
        asked, watched.asking = watched.asking, None  # whatever came of it, it is asked again
        try:
            answer = asked.result()
        except (SourceAbsent, OSError) as trouble:
            watched.trouble = label_text(str(trouble))
            return False
        now = self._clock.monotonic()
        watched.answer, watched.answered_at, watched.fresh = answer, now, True
        watched.trouble = label_text("; ".join(answer.trouble))
        shown = tuple(r.value for r in answer.readings if r.value is not None and not set_aside(r, answer))
        if shown != watched.shown or len(shown) < _STUCK_READINGS_MIN:
            watched.shown, watched.moved_at = shown, now
        before = watched.past
        watched.past, news = compare(before, answer, self._clock.now())
        watched.news += news
        return watched.past != before

    def _told(self, watched: _Watched, *, news_only: bool) -> Iterator[Collected]:
        now, labels = self._clock.monotonic(), {"bmc": watched.name}
        silent_s = now - watched.answered_at
        up = watched.answer is not None and silent_s <= self._settings.stale_s
        if watched.answer is not None and up and (watched.fresh or not news_only):
            yield from _labelled(samples(watched.answer), watched.name)
        yield Sample("forewarn_telemetry_bmc_up", labels, float(up))
        yield Sample("forewarn_telemetry_bmc_silent_seconds", labels, silent_s)
        yield Sample("forewarn_telemetry_bmc_resets_total", labels, float(watched.past.resets))
        if watched.answer is not None:
            stuck = now - watched.moved_at >= self._settings.stuck_s
            yield Sample("forewarn_telemetry_bmc_stuck", labels, float(stuck))
        if watched.trouble:
            yield Sample("forewarn_telemetry_bmc_problem", {**labels, "why": watched.trouble}, 1.0)
        yield from watched.news
        watched.news = []

    def _remember(self) -> None:
        """Keep what was seen; where that fails the next start takes everything for old, which tells too little."""
        rows = {watched.name: json.loads(watched.past.to_json()) for watched in self._watched}
        try:
            self._kept.keep(json.dumps(rows).encode())
        except SourceAbsent as problem:
            for watched in self._watched:
                watched.trouble = str(problem)


def _labelled(found: Iterator[Sample], bmc: str) -> Iterator[Sample]:
    """The series of one BMC; two of one host are told apart by the sensor's number."""
    for sample in found:
        if sample.name.startswith("forewarn_bmc_"):
            yield Sample(sample.name, {**sample.labels, "bmc": bmc}, sample.value)
        else:
            yield sample


def _bmcs(settings: BmcSettings, clock: Clock) -> Iterator[tuple[str, str, Bmc]]:
    if settings.local:
        yield LOCAL, "", IpmiBmc(None, settings)
    for target in settings.targets:
        yield target.address, target.host, _remote(target, settings, clock)


def _remote(target: BmcTarget, settings: BmcSettings, clock: Clock) -> Bmc:
    ways: Mapping[Way, Callable[[], Bmc]] = {
        Way.IPMI: lambda: IpmiBmc(target, settings),
        Way.REDFISH: lambda: RedfishBmc(target, settings, clock),
    }
    return ways[target.protocol]()


def _pasts(text: str) -> dict[str, Past]:
    try:
        rows = json.loads(text or "{}")
    except ValueError:
        return {}
    return {str(name): Past.from_row(row) for name, row in rows.items()} if isinstance(rows, dict) else {}
