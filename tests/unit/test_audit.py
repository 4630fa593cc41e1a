"""The audit tells who did what, in the database and in a file, and stays within its limits."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from forewarn.clock import SimulatedClock
from forewarn.errors import StoreUnavailable
from forewarn.state.audit import Audit, AuditSettings, Deed
from forewarn.state.database import Database
from tests.moves import NOW

PAUSE = Deed("ann", "operator", "request", "pause", "a storm", detail={"from": "192.0.2.7"})


@pytest.fixture
def database() -> Iterator[Database]:
    opened = Database("sqlite://", SimulatedClock(NOW))
    yield opened
    opened.close()


def test_a_deed_comes_back_as_it_was_told(database: Database) -> None:
    audit = Audit(database)
    audit.record(PAUSE)
    (row,), total = audit.page()
    assert (row.time, row.deed, total) == (NOW, PAUSE, 1)
    assert row.deed.result == "done"


def test_the_audit_comes_in_pages_the_newest_first(database: Database) -> None:
    audit = Audit(database)
    for number in range(5):
        audit.record(Deed("ann", "admin", "token.add", f"token {number}"))
    rows, total = audit.page(limit=2, offset=1)
    assert ([row.deed.target for row in rows], total) == (["token 3", "token 2"], 5)


def test_the_same_stands_in_a_file_line_by_line(database: Database, tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    audit = Audit(database, path)
    audit.record(PAUSE)
    audit.record(Deed("bob", "viewer", "request", result="forbidden", why="zwei\nZeilen"))
    first, second = map(json.loads, path.read_text().splitlines())
    assert first == {
        "time": str(NOW),
        "who": "ann",
        "role": "operator",
        "action": "request",
        "target": "pause",
        "why": "a storm",
        "result": "done",
        "detail": {"from": "192.0.2.7"},
    }
    assert (second["result"], second["why"]) == ("forbidden", "zwei\nZeilen")


def test_rows_and_file_stay_within_their_limits(database: Database, tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    audit = Audit(database, path, AuditSettings(rows_max=3, file_bytes_max=1000))
    for number in range(20):
        audit.record(Deed("ann", "admin", "token.add", f"token {number}"))
    rows, total = audit.page()
    assert ([row.deed.target for row in rows], total) == (["token 19", "token 18", "token 17"], 3)
    assert sorted(found.name for found in tmp_path.iterdir()) == ["audit.jsonl", "audit.jsonl.1"]
    assert all(found.stat().st_size <= 1000 for found in tmp_path.iterdir())


def test_a_long_text_is_cut(database: Database) -> None:
    audit = Audit(database, settings=AuditSettings(text_max=10))
    audit.record(Deed("ann", "admin", "token.add", why="x" * 5000, detail={"name": "y" * 5000}))
    (row,), _ = audit.page()
    assert (row.deed.why, row.deed.detail) == ("x" * 10, {"name": "y" * 10})


def test_a_file_that_cannot_be_written_is_told(database: Database, tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="cannot be written"):
        Audit(database, tmp_path).record(PAUSE)
