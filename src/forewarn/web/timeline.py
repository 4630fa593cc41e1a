"""The time line of moves: when each ran, beside how long it was predicted to take. Pure geometry.

Drawn as SVG by the template; numbers are in units of the picture's own grid. Overlapping moves of one source host get
lanes of their own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from forewarn.web.migrations import MoveRow

WIDTH, LEFT, SPAN = 960.0, 118.0, 836.0
LANE, BAR, GAP = 15.0, 11.0, 8.0
_TICKS_MAX = 8
_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400)


@dataclass(frozen=True, slots=True)
class Bar:
    """One move. `ghost` is the width of its predicted duration."""

    row: MoveRow
    x: float
    y: float
    width: float
    ghost: float


@dataclass(frozen=True, slots=True)
class Group:
    """The moves away from one host, with the height of its name and the line below it."""

    host: str
    middle: float
    bottom: float


@dataclass(frozen=True, slots=True)
class Timeline:
    """The whole picture. Empty when no move has started."""

    height: float = 0.0
    ticks: tuple[tuple[float, str], ...] = ()
    bars: tuple[Bar, ...] = ()
    groups: tuple[Group, ...] = ()


@dataclass(frozen=True, slots=True)
class _Stretch:
    """A move's time: its start, its end (now, while it runs), and when it was to end."""

    row: MoveRow
    began: datetime
    ended: datetime
    guess: datetime

    @property
    def until(self) -> datetime:
        return max(self.ended, self.guess)


def timeline_of(rows: Sequence[MoveRow], now: datetime) -> Timeline:
    """Lay out the moves that have started, grouped by source host, the host that moved last on top."""
    stretches = sorted(_stretches(rows, now), key=lambda s: (s.began, s.row.key))
    if not stretches:
        return Timeline()
    start = stretches[0].began
    whole_s = max(1.0, (max(s.until for s in stretches) - start).total_seconds()) * 1.02
    groups: list[Group] = []
    bars: list[Bar] = []
    top = 4.0
    for host, items in _by_host(stretches).items():
        lanes = _lanes(items)
        bars += [_bar(item, start, whole_s, top + lane * LANE) for item, lane in zip(items, lanes, strict=True)]
        height = (max(lanes) + 1) * LANE
        groups.append(Group(host, top + height / 2 - 2, top + height + GAP / 2 - 2))
        top += height + GAP
    return Timeline(top, _ticks(start, whole_s), tuple(bars), tuple(groups))


def _stretches(rows: Sequence[MoveRow], now: datetime) -> list[_Stretch]:
    found = []
    for row in rows:
        began = row.outcome.started
        if began is not None:
            ended = row.outcome.time if row.outcome.state.final else now
            guess = began + timedelta(seconds=row.outcome.move.duration_s)
            found.append(_Stretch(row, began, max(began, ended), guess))
    return found


def _by_host(stretches: Sequence[_Stretch]) -> dict[str, list[_Stretch]]:
    found: dict[str, list[_Stretch]] = {}
    for stretch in reversed(stretches):
        found.setdefault(stretch.row.outcome.move.source, []).insert(0, stretch)
    return found


def _lanes(items: Sequence[_Stretch]) -> list[int]:
    """The first lane that is free when each item begins; items come in the order of their beginnings."""
    busy: list[datetime] = []
    found = []
    for item in items:
        lane = next((i for i, until in enumerate(busy) if until <= item.began), len(busy))
        busy[lane : lane + 1] = [item.until]
        found.append(lane)
    return found


def _bar(item: _Stretch, start: datetime, whole_s: float, y: float) -> Bar:
    scale = SPAN / whole_s
    x = LEFT + (item.began - start).total_seconds() * scale
    width = max(3.0, (item.ended - item.began).total_seconds() * scale)
    return Bar(item.row, x, y, width, (item.guess - item.began).total_seconds() * scale)


def _ticks(start: datetime, whole_s: float) -> tuple[tuple[float, str], ...]:
    """Round times of day along the line."""
    step = next((s for s in _STEPS_S if whole_s / s <= _TICKS_MAX), _STEPS_S[-1])
    pattern = "%H:%M:%S" if step < 60 else "%H:%M" if step < 86400 else "%d %b"
    first = -(-start.timestamp() // step) * step
    times = [first + step * i for i in range(_TICKS_MAX + 1)]
    places = [(LEFT + (time - start.timestamp()) * SPAN / whole_s, time) for time in times]
    edge = LEFT + SPAN * 0.97
    return tuple((x, f"{datetime.fromtimestamp(t, start.tzinfo):{pattern}}") for x, t in places if x <= edge)
