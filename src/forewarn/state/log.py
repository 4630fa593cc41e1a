"""The log in plain sentences: kept in the database for the pages, and as JSON lines in a file for everybody else."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from sqlalchemy import delete, func, insert, select

from forewarn.domain.situation import LogLine, Severity
from forewarn.state.database import Database
from forewarn.state.lines import append_lines
from forewarn.state.schema import LOG


@dataclass(frozen=True, slots=True)
class LogSettings:
    """How much of the log is kept."""

    lines_max: int = 100_000
    """Number of lines in the database; the oldest go first."""
    file_bytes_max: int = 64 * 1024**2
    """Bytes of the file, after which it becomes `NAME.1` and a new one starts; at most the two exist."""


class LogLines:
    """The log. `path` names the file of JSON lines, None for none."""

    def __init__(self, database: Database, path: Path | None = None, settings: LogSettings | None = None) -> None:
        self._database = database
        self._path = path
        self._settings = settings or LogSettings()

    def append(self, lines: Iterable[LogLine]) -> None:
        rows = [asdict(line) for line in lines]
        if not rows:
            return
        with self._database.write() as connection:
            connection.execute(insert(LOG), rows)
            newest = connection.execute(select(func.max(LOG.c.id))).scalar_one()
            connection.execute(delete(LOG).where(LOG.c.id <= newest - self._settings.lines_max))
        if self._path is not None:
            append_lines(self._path, rows, self._settings.file_bytes_max)

    def recent(self, limit: int = 200) -> tuple[LogLine, ...]:
        """The latest lines, the newest first."""
        with self._database.read() as connection:
            rows = connection.execute(select(LOG).order_by(LOG.c.id.desc()).limit(limit))
            return tuple(LogLine(row.time, Severity(row.severity), row.text, row.host) for row in rows)
