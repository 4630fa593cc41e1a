"""What became of a part after each asked time, and the one way in which rows are split: along time.

A label is known only from outcomes: whether and when a part failed, and until when it was watched. A part that was
taken away alive is censored from then on; it is no failure. Nothing here can split at random: rows to fit on, then an
embargo in which nothing is used, then rows to calibrate on, so that no outcome is shared. Data that knows no time at
all is split by part (`fold_of_part`).
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from forewarn.errors import FrameError
from forewarn.store.base import ROWS, TIME

Cadence = Literal["weekly", "daily"]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

_MICROSECOND = timedelta(microseconds=1)
_DAY_US = timedelta(days=1) // _MICROSECOND
_MONDAY = 4  # 1970-01-01 was a Thursday: days since then are Mondays where they leave 4 by 7
_STEP_DAYS = {"weekly": 7, "daily": 1}


@dataclass(frozen=True)
class Outcomes:
    """What became of the parts of a ROWS table, row by row, in seconds from the row's time.

    `failed_after_s` is infinite where the part is not known to have failed; `watched_s` is how long it was watched, up
    to its failure, its removal, or the time up to which outcomes are known.
    """

    failed_after_s: Floats
    watched_s: Floats

    def within(self, horizon: timedelta) -> Flags:
        """Which rows failed within `horizon`; a part that was taken away alive did not."""
        failed: Flags = self.failed_after_s <= horizon.total_seconds()
        return failed


def asked_times(since: datetime, until: datetime, cadence: Cadence = "weekly") -> Iterator[datetime]:
    """Mondays, or all days, at 00:00 UTC within [since, until).

    >>> from datetime import UTC
    >>> [f"{t:%d}" for t in asked_times(datetime(2015, 3, 2, tzinfo=UTC), datetime(2015, 3, 17, tzinfo=UTC))]
    ['02', '09', '16']
    """
    step = _STEP_DAYS[cadence]
    day = -(-_microseconds(since) // _DAY_US)
    if cadence == "weekly":
        day += (_MONDAY - day) % 7
    epoch = datetime(1970, 1, 1, tzinfo=since.tzinfo)
    while (time := epoch + timedelta(days=day)) < until:
        yield time
        day += step


def alive(lifetimes: pa.Table, time: datetime) -> pa.Table:
    """The parts that live at `time`, as ROWS. `lifetimes` has the columns component, start, end, failed."""
    now = _microseconds(time)
    living = np.flatnonzero((_times(lifetimes, "start") <= now) & (_times(lifetimes, "end") > now))
    components = lifetimes.column("component").take(living)
    return pa.table([pa.array(np.full(len(living), now)).cast(TIME), components], schema=ROWS)


def outcomes(rows: pa.Table, lifetimes: pa.Table, known_until: datetime) -> Outcomes:
    """What became of each row's part by `known_until`.

    Raises FrameError where a row's part does not live at its time.
    """
    life = life_of(rows, lifetimes)
    time, end = _times(rows, "time"), _times(lifetimes, "end")[life]
    known = np.minimum(end, _microseconds(known_until))
    failed = lifetimes.column("failed").to_numpy()[life] & (end <= known)
    return Outcomes(np.where(failed, end - time, np.inf) / 1e6, (known - time) / 1e6)


def life_of(rows: pa.Table, lifetimes: pa.Table) -> NDArray[np.int64]:
    """For each row the number of the life in which it falls. Raises FrameError where its part does not live then."""
    both = pa.chunked_array([*lifetimes.column("component").chunks, *rows.column("component").chunks], pa.string())
    codes = both.combine_chunks().dictionary_encode().indices.to_numpy().astype(np.int64)
    code, asked = codes[: lifetimes.num_rows], codes[lifetimes.num_rows :]
    start, time = _times(lifetimes, "start"), _times(rows, "time")
    # Times as ranks, so that (part, time) fits one sortable number.
    moments, rank = np.unique(np.concatenate((start, time)), return_inverse=True)
    key = codes * (len(moments) + 1) + rank
    order = np.argsort(key[: len(code)], kind="stable")
    place = np.searchsorted(key[: len(code)][order], key[len(code) :], side="right") - 1
    life = order[np.maximum(place, 0)] if len(order) else np.zeros(len(asked), np.int64)
    fits = (place >= 0) & (code[life] == asked) & (_times(lifetimes, "end")[life] > time) if len(order) else place >= 0
    if not fits.all():
        row = int(np.flatnonzero(~fits)[0])
        raise FrameError(
            f"{rows.column('component')[row]} does not live at {rows.column('time')[row]}: no label for it"
        )
    return life


@dataclass(frozen=True)
class Split:
    """Rows before `fit_until` are fitted on, rows within [`calibrate_since`, `until`) are calibrated on."""

    since: datetime
    fit_until: datetime
    calibrate_since: datetime
    until: datetime
    embargo: timedelta

    @property
    def outcomes_until(self) -> datetime:
        """From here on nothing has been looked at, not even as an outcome: whoever judges begins here."""
        return self.until + self.embargo


def chronological(since: datetime, until: datetime, calibrate: timedelta, embargo: timedelta) -> Split:
    """Split [since, until) into fit, embargo and calibration, in this order.

    The outcomes of the rows to fit on are used up to the end of the embargo and no further.

    Raises FrameError where nothing is left to fit on.
    """
    fit_until = until - calibrate - embargo
    if fit_until <= since:
        raise FrameError(
            f"{(until - since).days} days of history leave nothing to fit on:"
            f" {calibrate.days} are for calibration and {embargo.days} for the embargo"
        )
    return Split(since, fit_until, until - calibrate, until, embargo)


def fold_of_part(parts: Sequence[str | None], folds: int, seed: int) -> NDArray[np.int64]:
    """For each row the fold of its part, from the part's name alone: for data without time, and for that only.

    All rows of a part fall into one fold, whatever else is in the table.

    >>> fold_of_part(["A", "B", "A"], 5, 0).tolist()
    [2, 2, 2]
    """
    digests = (hashlib.sha256(f"{seed} {part}".encode()).digest() for part in parts)
    return np.array([int.from_bytes(digest[:8]) % folds for digest in digests], dtype=np.int64)


def _times(table: pa.Table, name: str) -> NDArray[np.int64]:
    return table.column(name).cast(TIME).cast(pa.int64()).to_numpy()


def _microseconds(time: datetime) -> int:
    return (time - datetime(1970, 1, 1, tzinfo=time.tzinfo)) // _MICROSECOND
