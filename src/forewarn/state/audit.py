"""Who did what, to what, why, and how it ended: kept in the database for the pages, and as JSON lines in a file.

Rows are never changed; the oldest go when there are too many. A secret never comes here.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path

from sqlalchemy import Row, delete, func, insert, select

from forewarn.state.database import Database
from forewarn.state.lines import append_lines
from forewarn.state.schema import AUDIT

DONE = "done"  # the result of what was not refused


@dataclass(frozen=True, slots=True)
class AuditSettings:
    """How much of the audit is kept."""

    rows_max: int = 100_000
    """Rows in the database; the oldest go first."""
    file_bytes_max: int = 64 * 1024**2
    """Bytes of `audit.jsonl`, after which it becomes `audit.jsonl.1` and a new one starts; at most the two exist."""
    text_max: int = 500
    """Characters of each text; the rest is cut off, so that a refused request cannot fill the disk."""


@dataclass(frozen=True, slots=True)
class Deed:
    """One thing that somebody did, or was refused: then `result` is the error's code."""

    who: str
    role: str
    action: str
    target: str = ""
    why: str = ""
    result: str = DONE
    detail: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AuditRow:
    """A deed as it was written down."""

    id: int
    time: datetime
    deed: Deed


class Audit:
    """The audit. `path` names the file of JSON lines, None for none."""

    def __init__(self, database: Database, path: Path | None = None, settings: AuditSettings | None = None) -> None:
        self._database = database
        self._path = path
        self._settings = settings or AuditSettings()

    def record(self, deed: Deed) -> None:
        """Write a deed down. Raises StoreUnavailable where the database or the file cannot be written."""
        row = {"time": self._database.clock.now(), **self._cut(deed)}
        with self._database.write() as connection:
            stored = {**row, "detail": json.dumps(row["detail"])}
            newest = connection.execute(insert(AUDIT).values(**stored)).inserted_primary_key
            if newest:
                connection.execute(delete(AUDIT).where(AUDIT.c.id <= newest[0] - self._settings.rows_max))
        if self._path is not None:
            append_lines(self._path, [row], self._settings.file_bytes_max)

    def page(self, limit: int = 100, offset: int = 0) -> tuple[tuple[AuditRow, ...], int]:
        """Rows, the newest first; and how many there are in all."""
        with self._database.read() as connection:
            total = connection.execute(select(func.count()).select_from(AUDIT)).scalar_one()
            rows = connection.execute(select(AUDIT).order_by(AUDIT.c.id.desc()).limit(limit).offset(offset))
            return tuple(_row(row) for row in rows), total

    def _cut(self, deed: Deed) -> dict[str, object]:
        most = self._settings.text_max
        texts = {name: value[:most] for name, value in asdict(deed).items() if name != "detail"}
        return {**texts, "detail": {name[:most]: value[:most] for name, value in deed.detail.items()}}


def _row(row: Row[tuple[object, ...]]) -> AuditRow:
    deed = Deed(row.who, row.role, row.action, row.target, row.why, row.result, json.loads(row.detail))
    return AuditRow(row.id, row.time, deed)
