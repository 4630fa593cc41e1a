"""The breaker across cycles and restarts: it stays tripped until somebody clears it, with a reason."""

from sqlalchemy import insert, select, update

from forewarn.domain.situation import Breaker
from forewarn.state.database import Database
from forewarn.state.schema import BREAKER


class BreakerState:
    """How the breaker stands, and every time that it tripped."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def load(self) -> Breaker:
        with self._database.read() as connection:
            row = connection.execute(select(BREAKER).order_by(BREAKER.c.id.desc()).limit(1)).first()
        if row is None:
            return Breaker()
        return Breaker("" if row.cleared_at else row.text, row.cleared_at)

    def trip(self, text: str) -> None:
        """Write down that it tripped. One that is tripped already keeps its first cause."""
        if self.load().tripped:
            return
        values = {"tripped_at": self._database.clock.now(), "text": text, "cleared_by": "", "cleared_why": ""}
        with self._database.write() as connection:
            connection.execute(insert(BREAKER).values(**values))

    def clear(self, who: str, why: str) -> bool:
        """Let things move again; False if it was not tripped."""
        values = {"cleared_at": self._database.clock.now(), "cleared_by": who, "cleared_why": why}
        with self._database.write() as connection:
            cleared = connection.execute(update(BREAKER).where(BREAKER.c.cleared_at.is_(None)).values(**values))
            return cleared.rowcount > 0
