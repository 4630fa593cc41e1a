"""Which part sat behind each device name of a host, and since when, as info series tell it.

What is said counts from its own time on and not from when it came, so that late and mixed bodies lead to the same parts
as those in order. Before the first word on a device that first word holds.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from forewarn.domain.inventory import Kind

RUNS_MAX = 8  # parts that are remembered per device name, the newest


@dataclass(frozen=True, slots=True)
class Part:
    """What an info series says of a device. A lower rank stands earlier in the table of identities."""

    rank: int
    serial: str
    model: str


UNKNOWN = Part(0, "", "")


@dataclass(slots=True)
class _Run:
    """A part, and the first and the last time at which it was said to sit there."""

    first: datetime
    last: datetime
    part: Part


class Identities:
    """The parts of one host, by kind and device name."""

    def __init__(self) -> None:
        self._runs: dict[tuple[Kind, str], list[_Run]] = {}
        self._turns: list[datetime] = []

    def __len__(self) -> int:
        """How many device names have been spoken of."""
        return len(self._runs)

    def learn(self, kind: Kind, device: str, part: Part, time: datetime) -> bool:
        """Take in what was said for `time`; whether that changes what sat where at any time."""
        runs = self._runs.setdefault((kind, device), [])
        news = _learn(runs, part, time)
        if news:
            del runs[:-RUNS_MAX]
            self._turns = sorted({run.first for of_one in self._runs.values() for run in of_one[1:]})
        return news

    @property
    def turns(self) -> Sequence[datetime]:
        """The times at which some part was changed."""
        return tuple(self._turns)

    def epoch(self, time: datetime) -> int:
        """A number that is the same for two times if no part was changed between them."""
        return bisect_right(self._turns, time)

    def part(self, kind: Kind, device: str, time: datetime) -> Part:
        """The part behind a name. A serial that two devices claim (a bond and its links) tells neither apart."""
        part = self._at((kind, device), time)
        claims = sum(1 for key in self._runs if key[0] == kind and self._at(key, time).serial == part.serial)
        return part if claims <= 1 else Part(part.rank, "", part.model)

    def _at(self, key: tuple[Kind, str], time: datetime) -> Part:
        runs = self._runs.get(key)
        return runs[max(_position(runs, time), 0)].part if runs else UNKNOWN


def _position(runs: list[_Run], time: datetime) -> int:
    """Which run holds at a time; -1 before all."""
    return bisect_right(runs, time, key=lambda run: run.first) - 1


def _learn(runs: list[_Run], part: Part, time: datetime) -> bool:
    if not runs or part.rank < runs[0].part.rank:  # the first word, or from here on the only one that counts
        runs[:] = [_Run(time, time, part)]
        return True
    at = _position(runs, time)
    held = runs[max(at, 0)]
    if part == held.part:
        held.first, held.last = min(held.first, time), max(held.last, time)
        return False
    if part.rank > held.part.rank or held.first <= time < held.last:  # the other part was there before and after
        return False
    return _insert(runs, at, part, time)


def _insert(runs: list[_Run], at: int, part: Part, time: datetime) -> bool:
    """Another part at a time after run `at`, or at its last moment, where the later word counts."""
    if at >= 0 and runs[at].first == runs[at].last == time:
        runs[at].part = part
    elif at + 1 < len(runs) and runs[at + 1].part == part:
        runs[at + 1].first = time
    else:
        runs.insert(at + 1, _Run(time, time, part))
    return True
