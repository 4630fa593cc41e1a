"""The roll-ups of the DuckDB store: which buckets are made, and when they are made anew or dropped.

Minutes, and sixths of an hour made of them, serve windows under a day and are made of the latest hours alone; hours
come from minutes where there are any, else from samples; days come from hours. The newest samples get time to settle,
so that what is a little late costs nothing extra.
"""

from dataclasses import dataclass

import numpy as np

from forewarn.store import duckdb_sql as sql
from forewarn.store.duckdb_file import DuckDBFile
from forewarn.store.index import Numbers
from forewarn.store.windows import DAY, HOUR, MINUTE, NEVER, SECOND, WIDTH, Kept, Tier, Times

_FINE = (Tier.SIXTHS, Tier.MINUTES)  # of the latest hours alone
_REPAIRS = (
    (Tier.MINUTES, Tier.SAMPLES),
    (Tier.SIXTHS, Tier.MINUTES),
    (Tier.HOURS, Tier.SAMPLES),
    (Tier.DAYS, Tier.HOURS),
)


@dataclass(frozen=True)
class Retention:
    """How long each tier is kept, and how far roll-ups stay behind; see `DuckDBSettings`."""

    raw_days: float
    minute_hours: float
    hour_days: float
    day_days: float
    settle_s: float


class Buckets:
    """What is rolled up of a file; times are microseconds."""

    def __init__(self, file: DuckDBFile, keep: Retention) -> None:
        self._file = file
        self._keep = keep
        self._rolled = {tier: int(file.state[f"rolled_{tier}"]) for tier in WIDTH}
        self._minutes_since = int(file.state["minutes_since"])
        self.raw_since = int(file.state["raw_since"])

    @property
    def kept(self) -> tuple[Kept, ...]:
        """What is complete, from coarse to fine."""
        return (
            Kept(Tier.DAYS, NEVER // DAY * DAY, self._rolled[Tier.DAYS]),
            Kept(Tier.HOURS, NEVER // HOUR * HOUR, self._rolled[Tier.HOURS]),
            Kept(Tier.SIXTHS, max(self._minutes_since, NEVER // HOUR * HOUR), self._rolled[Tier.SIXTHS]),
            Kept(Tier.MINUTES, max(self._minutes_since, NEVER // MINUTE * MINUTE), self._rolled[Tier.MINUTES]),
        )

    def roll(self, now: int, newest: int) -> None:
        """Make every bucket that ended by `now`, but for those that the newest samples may still fall into."""
        until = min(now, newest - int(self._keep.settle_s * SECOND))
        targets = {tier: until // width * width for tier, width in WIDTH.items()}
        if all(targets[tier] <= self._rolled[tier] for tier in WIDTH):
            return
        with self._file.transaction():
            minutes_since = self._roll_minutes(targets)
            begin = max(self._rolled[Tier.SIXTHS], minutes_since)
            self._extend(Tier.SIXTHS, Tier.MINUTES, begin, targets[Tier.SIXTHS])
            self._roll_hours(targets[Tier.HOURS], minutes_since)
            self._extend(Tier.DAYS, Tier.HOURS, self._rolled[Tier.DAYS], targets[Tier.DAYS])
            rolled = {tier: max(targets[tier], self._rolled[tier]) for tier in WIDTH}
            notes = {f"rolled_{tier}": str(rolled[tier]) for tier in WIDTH}
            self._file.note({**notes, "minutes_since": str(minutes_since)})
        self._rolled, self._minutes_since = rolled, minutes_since

    def _roll_minutes(self, targets: dict[Tier, int]) -> int:
        """Returns since when minutes are complete."""
        horizon = targets[Tier.HOURS] - int(self._keep.minute_hours * HOUR) // HOUR * HOUR
        since = self._minutes_since if self._rolled[Tier.MINUTES] >= horizon else horizon
        begin = max(self._rolled[Tier.MINUTES], since)
        self._extend(Tier.MINUTES, Tier.SAMPLES, begin, targets[Tier.MINUTES])
        return max(since, self._minutes_since)

    def _roll_hours(self, until: int, minutes_since: int) -> None:
        begin = self._rolled[Tier.HOURS]
        border = min(max(begin, minutes_since), until)
        self._extend(Tier.HOURS, Tier.SAMPLES, begin, border)
        self._extend(Tier.HOURS, Tier.MINUTES, max(begin, border), until)

    def _extend(self, tier: Tier, source: Tier, begin: int, until: int) -> None:
        if begin < until:
            self._file.connection.execute(sql.roll_up(tier, source), [begin, until])

    def repair(self, series: Numbers, since: Times) -> None:
        """Make the buckets anew that samples from `since` on fall into, if they were made already."""
        stale = since <= max(self._rolled.values())
        if not stale.any():
            return
        before = since[stale] - 1
        self._file.register("repairs", {"series": series[stale], "since": before})
        for tier in WIDTH:
            self._file.connection.execute(sql.forget_repaired(tier))
        for tier, source in _REPAIRS:
            begin = int(np.min(before)) // WIDTH[tier] * WIDTH[tier]
            begin = max(begin, self._minutes_since) if tier in _FINE else begin
            self._file.connection.execute(sql.roll_up(tier, source, repair=True), [begin, self._rolled[tier]])

    def drop(self, now: int) -> None:
        """Drop what is past its retention; samples only once they are in days."""
        keep = self._keep
        raw_since = min((now - int(keep.raw_days * DAY)) // DAY * DAY, self._rolled[Tier.DAYS])
        minutes_since = (now - int(keep.minute_hours * HOUR)) // HOUR * HOUR
        limits = {
            "samples": raw_since,
            "sixths": minutes_since,
            "minutes": minutes_since,
            "hours": (now - int(keep.hour_days * DAY)) // DAY * DAY,
            "days": (now - int(keep.day_days * DAY)) // DAY * DAY,
        }
        raw_since, minutes_since = max(raw_since, self.raw_since), max(minutes_since, self._minutes_since)
        with self._file.transaction():
            for table, limit in limits.items():
                self._file.connection.execute(sql.forget(table), [limit])
            self._file.note({"raw_since": str(raw_since), "minutes_since": str(minutes_since)})
        self.raw_since, self._minutes_since = raw_since, minutes_since
