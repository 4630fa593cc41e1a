"""The ladder between cycles and across restarts: where each component stands."""

from collections.abc import Iterable
from dataclasses import fields

from sqlalchemy import delete, insert, select

from forewarn.domain.situation import LadderStep, Rung
from forewarn.state.database import Database
from forewarn.state.schema import LADDER

_FIELDS = tuple(field.name for field in fields(LadderStep))


class Ladder:
    """The steps as the last cycle left them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def load(self) -> tuple[LadderStep, ...]:
        with self._database.read() as connection:
            rows = connection.execute(select(LADDER).order_by(LADDER.c.component))
            return tuple(LadderStep(**{**row._mapping, "rung": Rung(row.rung)}) for row in rows)

    def save(self, steps: Iterable[LadderStep]) -> None:
        """Replace all steps at once."""
        rows = [{name: getattr(step, name) for name in _FIELDS} for step in steps]
        with self._database.write() as connection:
            connection.execute(delete(LADDER))
            if rows:
                connection.execute(insert(LADDER), rows)
