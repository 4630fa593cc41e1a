"""From merged bucket states to aggregates: the one finisher that every store uses.

A store merges what it keeps to one state per row, metric and window (`States`: arrays, one element per row); here each
aggregate is derived from it. What an aggregate means is settled here and nowhere else:

- Windows are left-open. Values are a series' real samples; a stale marker (NaN) is none, it ends the value before it.
- The value at a window's start is the last one before it, if that still held then: no marker in between, and not older
  than the metric's hold limit. `min` and `max` take it in, `increase`, `changes` and `delta` count from it. `avg`,
  `stddev`, `count` and `slope` look at the samples inside; where there is none, a value that stood all the time is the
  average.
- Steps run from each sample to the next, over gaps and markers too, but never from a value that no longer held at the
  window's start.
- Unknown is NaN: neither a sample inside nor a value at the start.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from forewarn.domain.feature import Aggregate
from forewarn.store.windows import DAY, FOREVER, HOUR, NEVER, SECOND, Times

Column = NDArray[np.float64]
_Chosen = NDArray[np.bool_]


@dataclass
class States:
    """What is known of a window, one element per row. Times are microseconds; an unknown value is NaN, its time NEVER.

    `before*` is the state that the window's first sample met: the value before it, its time, and the time of the
    marker that ended it (FOREVER if none did). `last*` is the newest such state at the window's end, which may be older
    than the window. `increase` and `changes` hold the first sample's step too. For slopes, hours with samples are
    counted (`hours`), and summed are their distances from the window's end, those squared, their means, and the
    products.
    """

    count: Column
    total: Column
    squares: Column
    low: Column
    high: Column
    first: Column
    before: Column
    before_time: Times
    before_until: Times
    last: Column
    last_time: Times
    until: Times
    increase: Column
    changes: Column
    last_change: Times
    hours: Column
    hour_sum: Column
    hour_squares: Column
    mean_sum: Column
    hour_mean_sum: Column

    @classmethod
    def unknown(cls, rows: int) -> "States":
        """States of windows of which nothing is known."""
        return cls(**{name: filled(name, rows) for name in STATE_FIELDS})


STATE_FIELDS = tuple(field.name for field in fields(States))
TIME_FIELDS = ("before_time", "before_until", "last_time", "until", "last_change")
_EMPTY: dict[str, float] = {
    **dict.fromkeys(("low", "high", "first", "before", "last"), math.nan),
    **dict.fromkeys(("before_time", "last_time", "last_change"), NEVER),
    **dict.fromkeys(("before_until", "until"), FOREVER),
}


def filled(name: str, rows: int) -> Any:
    """An array for one field of `States`, as it is where nothing is known."""
    return np.full(rows, _EMPTY.get(name, 0), np.int64 if name in TIME_FIELDS else np.float64)


@dataclass(frozen=True)
class Ask:
    """Windows, one per row: (start, end], and for how long a value of the metric holds (FOREVER: until marked)."""

    start: Times
    end: Times
    hold: Times


def finish(aggregate: Aggregate, states: States, ask: Ask) -> Column:
    """The aggregate of each row's window, NaN where it is unknown."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return _FINISHERS[aggregate](states, ask)


def _holds(value_time: Times, until: Times, at: Times, hold: Times) -> _Chosen:
    """Whether a value still holds at a time."""
    fresh: _Chosen = (at - value_time <= hold) | (hold == FOREVER)
    chosen: _Chosen = (value_time != NEVER) & (value_time <= at) & (until > at) & fresh
    return chosen


def _at_start(states: States, ask: Ask) -> Column:
    """The value at the window's start, NaN where none held."""
    sampled = states.count > 0
    value = np.where(sampled, states.before, states.last)
    time = np.where(sampled, states.before_time, states.last_time)
    until = np.where(sampled, states.before_until, states.until)
    return np.where(_holds(time, until, ask.start, ask.hold), value, np.nan)


def _last(states: States, ask: Ask) -> Column:
    return np.where(_holds(states.last_time, states.until, ask.end, ask.hold), states.last, np.nan)


def _first(states: States, ask: Ask) -> Column:
    start = _at_start(states, ask)
    return np.where(np.isnan(start) & (states.count > 0), states.first, start)


def _mean(states: States, ask: Ask) -> Column:
    return np.where(states.count > 0, states.total / states.count, _at_start(states, ask))


def _min(states: States, ask: Ask) -> Column:
    return np.fmin(states.low, _at_start(states, ask))


def _max(states: States, ask: Ask) -> Column:
    return np.fmax(states.high, _at_start(states, ask))


def _stddev(states: States, ask: Ask) -> Column:
    mean = states.total / states.count
    spread = np.sqrt(np.maximum(0.0, states.squares / states.count - mean * mean))
    sampled = np.where(states.low == states.high, 0.0, spread)  # rounding must not make a constant waver
    return np.where(states.count > 0, sampled, np.where(np.isnan(_at_start(states, ask)), np.nan, 0.0))


def _known(states: States, ask: Ask) -> _Chosen:
    known: _Chosen = (states.count > 0) | ~np.isnan(_at_start(states, ask))
    return known


def _enters(states: States, ask: Ask) -> _Chosen:
    """Where the first sample's step comes from a value that no longer held at the window's start."""
    from_past = (states.count > 0) & ~np.isnan(states.before)
    enters: _Chosen = from_past & np.isnan(_at_start(states, ask))
    return enters


def _changed(states: States, ask: Ask) -> Column:
    entering = _enters(states, ask) & (states.first != states.before)
    changed: Column = states.changes - entering.astype(np.float64)
    return changed


def _increase(states: States, ask: Ask) -> Column:
    step = np.where(_enters(states, ask), np.maximum(0.0, states.first - states.before), 0.0)
    inside = np.where(_changed(states, ask) > 0, np.maximum(0.0, states.increase - step), 0.0)
    return np.where(_known(states, ask), inside, np.nan)


def _changes(states: States, ask: Ask) -> Column:
    return np.where(_known(states, ask), _changed(states, ask), np.nan)


def _age(states: States, ask: Ask) -> Column:
    since = np.where(_changed(states, ask) > 0, states.last_change, ask.start)
    return np.where(_known(states, ask), (ask.end - since) / SECOND, np.nan)


def _delta(states: States, ask: Ask) -> Column:
    newest = np.where(states.count > 0, states.last, _at_start(states, ask))
    return np.subtract(newest, _first(states, ask))


def _count(states: States, ask: Ask) -> Column:  # noqa: ARG001 - one signature for all
    return np.where((states.count > 0) | (states.last_time != NEVER), states.count, np.nan)


def _slope(states: States, ask: Ask) -> Column:  # noqa: ARG001 - one signature for all
    n = states.hours
    spread = n * states.hour_squares - states.hour_sum * states.hour_sum
    shared: Column = n * states.hour_mean_sum - states.hour_sum * states.mean_sum
    per_day = shared / spread * (DAY / HOUR)
    return cast("Column", np.where((n >= 2) & (spread > 0), per_day, np.nan))


_FINISHERS: dict[Aggregate, Callable[[States, Ask], Column]] = {
    Aggregate.LAST: _last,
    Aggregate.FIRST: _first,
    Aggregate.AVG: _mean,
    Aggregate.MIN: _min,
    Aggregate.MAX: _max,
    Aggregate.STDDEV: _stddev,
    Aggregate.INCREASE: _increase,
    Aggregate.DELTA: _delta,
    Aggregate.SLOPE: _slope,
    Aggregate.COUNT: _count,
    Aggregate.CHANGES: _changes,
    Aggregate.AGE: _age,
}

_START = ("count", "before", "before_time", "before_until", "last", "last_time", "until")
_STEPS = (*_START, "first", "increase", "changes", "last_change")
_SLOPE = ("hours", "hour_sum", "hour_squares", "mean_sum", "hour_mean_sum")

# What each aggregate reads of a window's state: a store need not merge more. LAST reads the newest state alone.
NEEDS: dict[Aggregate, tuple[str, ...]] = {
    Aggregate.LAST: (),
    Aggregate.FIRST: (*_START, "first"),
    Aggregate.AVG: (*_START, "total"),
    Aggregate.MIN: (*_START, "low"),
    Aggregate.MAX: (*_START, "high"),
    Aggregate.STDDEV: (*_START, "total", "squares", "low", "high"),
    Aggregate.INCREASE: _STEPS,
    Aggregate.DELTA: (*_START, "first"),
    Aggregate.SLOPE: _SLOPE,
    Aggregate.COUNT: ("count", "last_time"),
    Aggregate.CHANGES: _STEPS,
    Aggregate.AGE: _STEPS,
}
