"""Changes on hosts: boots, kernels, firmware, parts, maintenance. None is a failure; each may explain or excuse one."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from sqlalchemy import Row, delete, insert, select

from forewarn.domain.events import ChangeEvent, ChangeKind
from forewarn.state.database import Database
from forewarn.state.schema import CHANGES


@dataclass(frozen=True, slots=True)
class ChangeSettings:
    """How many changes are kept."""

    keep_days: float = 1900.0
    """Days for which changes are kept: as long as the telemetry that they explain."""


class ChangeEvents:
    """The changes of this site."""

    def __init__(self, database: Database, settings: ChangeSettings | None = None) -> None:
        self._database = database
        self._keep = timedelta(days=(settings or ChangeSettings()).keep_days)

    def record(self, events: Iterable[ChangeEvent]) -> tuple[ChangeEvent, ...]:
        """Store events and return those that were new: the same one told twice is one."""
        new = []
        with self._database.write() as connection:
            for event in events:
                row = asdict(event)
                same = [CHANGES.c[name] == value for name, value in row.items()]
                if connection.execute(select(CHANGES.c.id).where(*same)).first() is None:
                    connection.execute(insert(CHANGES).values(**row))
                    new.append(event)
            connection.execute(delete(CHANGES).where(CHANGES.c.time < self._database.clock.now() - self._keep))
        return tuple(new)

    def between(self, start: datetime, end: datetime) -> tuple[ChangeEvent, ...]:
        """The changes in [start, end), in the order of their times."""
        within = (CHANGES.c.time >= start, CHANGES.c.time < end)
        with self._database.read() as connection:
            rows = connection.execute(select(CHANGES).where(*within).order_by(CHANGES.c.time, CHANGES.c.id))
            return tuple(_event(row) for row in rows)


def _event(row: Row[tuple[object, ...]]) -> ChangeEvent:
    fields = dict(row._mapping)
    del fields["id"]
    return ChangeEvent(**{**fields, "kind": ChangeKind(fields["kind"])})
