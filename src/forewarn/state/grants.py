"""What people granted: the modes of scopes, in the order in which they were given."""

from dataclasses import asdict
from datetime import datetime

from sqlalchemy import Row, delete, insert, select

from forewarn.domain.authority import Grant, Mode
from forewarn.state.database import Database
from forewarn.state.schema import GRANTS


class Grants:
    """The grants of this site. A new one of the same scope replaces the old one."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def give(self, grant: Grant) -> None:
        """Write a grant down in place of the one that its scope had."""
        scope = [GRANTS.c[name] == getattr(grant, name) for name in ("aggregate", "kind", "action")]
        with self._database.write() as connection:
            connection.execute(delete(GRANTS).where(*scope))
            connection.execute(insert(GRANTS).values(**asdict(grant)))

    def load(self) -> tuple[Grant, ...]:
        """Every grant that was not replaced, the expired ones too, oldest first."""
        with self._database.read() as connection:
            return tuple(_grant(row) for row in connection.execute(select(GRANTS).order_by(GRANTS.c.id)))

    def drop_expired(self, now: datetime) -> tuple[Grant, ...]:
        """Take out what has expired, and return it, so that it can be told once."""
        expired = (GRANTS.c.until.is_not(None), GRANTS.c.until <= now)
        with self._database.read() as connection:
            rows = connection.execute(select(GRANTS).where(*expired).order_by(GRANTS.c.id)).all()
        if rows:
            with self._database.write() as connection:
                connection.execute(delete(GRANTS).where(GRANTS.c.id.in_([row.id for row in rows])))
        return tuple(_grant(row) for row in rows)


def _grant(row: Row[tuple[object, ...]]) -> Grant:
    fields = dict(row._mapping)
    del fields["id"]
    return Grant(**{**fields, "mode": Mode(fields["mode"])})
