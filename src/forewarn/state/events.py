"""Failure events: what broke, who says so, and what became of that claim."""

from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime

from sqlalchemy import ColumnElement, Row, insert, select, update

from forewarn.domain.events import FailureEvent, LabelState
from forewarn.domain.inventory import Kind
from forewarn.state.database import Database
from forewarn.state.schema import FAILURES


class FailureEvents:
    """The failures of this site; none is ever deleted, for models learn from them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(self, events: Iterable[FailureEvent]) -> tuple[FailureEvent, ...]:
        """Store events and return those that were new: the same one told twice is one."""
        new = []
        with self._database.write() as connection:
            for event in events:
                same = _same(event)
                if connection.execute(select(FAILURES.c.id).where(*same)).first() is None:
                    connection.execute(insert(FAILURES).values(**asdict(event)))
                    new.append(event)
        return tuple(new)

    def between(self, start: datetime, end: datetime) -> tuple[FailureEvent, ...]:
        """The events in [start, end), in the order of their times."""
        within = (FAILURES.c.time >= start, FAILURES.c.time < end)
        with self._database.read() as connection:
            rows = connection.execute(select(FAILURES).where(*within).order_by(FAILURES.c.time, FAILURES.c.id))
            return tuple(_event(row) for row in rows)

    def judge(self, event: FailureEvent, state: LabelState) -> bool:
        """Say what became of an event; False if it is not known."""
        same = _same(event)
        with self._database.write() as connection:
            return connection.execute(update(FAILURES).where(*same).values(state=state)).rowcount > 0


def _same(event: FailureEvent) -> list[ColumnElement[bool]]:
    """What makes two reports one: all that is said, but how surely, and what became of it."""
    said = ("time", "host", "kind", "component", "source", "text")
    return [FAILURES.c[name] == getattr(event, name) for name in said]


def _event(row: Row[tuple[object, ...]]) -> FailureEvent:
    fields = dict(row._mapping)
    del fields["id"]
    return FailureEvent(**{**fields, "kind": Kind(fields["kind"]), "state": LabelState(fields["state"])})
