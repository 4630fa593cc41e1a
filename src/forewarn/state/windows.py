"""Windows of maintenance and freezes that people or other systems have opened."""

from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime

from sqlalchemy import Row, insert, select, update

from forewarn.domain.authority import Window, WindowKind
from forewarn.state.database import Database
from forewarn.state.schema import WINDOWS


class Windows:
    """The windows that stand in the database; those of the configuration do not."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def open(self, window: Window) -> int:
        """Write a window down; returns the number by which it can be closed."""
        with self._database.write() as connection:
            key = connection.execute(insert(WINDOWS).values(**asdict(window), ended_at=None)).inserted_primary_key
            return int(key[0]) if key else 0

    def close(self, number: int) -> bool:
        """End a window before its time; False if there is none of that number that has not ended."""
        same = (WINDOWS.c.id == number, WINDOWS.c.ended_at.is_(None))
        with self._database.write() as connection:
            ended = update(WINDOWS).where(*same).values(ended_at=self._database.clock.now())
            return connection.execute(ended).rowcount > 0

    def replace(self, source: str, windows: Iterable[Window]) -> None:
        """Let `windows` be all that `source` says from now on."""
        now = self._database.clock.now()
        with self._database.write() as connection:
            mine = (WINDOWS.c.source == source, WINDOWS.c.ended_at.is_(None))
            known = [(row.id, _window(row)) for row in connection.execute(select(WINDOWS).where(*mine))]
            wanted = dict.fromkeys(windows)  # in order, each once
            standing = {window for _, window in known}
            for window in (window for window in wanted if window not in standing):
                connection.execute(insert(WINDOWS).values(**asdict(window), ended_at=None))
            gone = [number for number, window in known if window not in wanted]
            connection.execute(update(WINDOWS).where(WINDOWS.c.id.in_(gone)).values(ended_at=now))

    def load(self, now: datetime) -> tuple[Window, ...]:
        """The windows that are open or will open, by their start."""
        return tuple(window for _, window in self.numbered(now))

    def numbered(self, now: datetime) -> tuple[tuple[int, Window], ...]:
        """The same with their numbers."""
        coming = select(WINDOWS).where(WINDOWS.c.ended_at.is_(None), WINDOWS.c.ends_at > now)
        with self._database.read() as connection:
            rows = connection.execute(coming.order_by(WINDOWS.c.starts_at, WINDOWS.c.id))
            return tuple((row.id, _window(row)) for row in rows)


def _window(row: Row[tuple[object, ...]]) -> Window:
    fields = dict(row._mapping)
    del fields["id"], fields["ended_at"]
    return Window(**{**fields, "kind": WindowKind(fields["kind"])})
