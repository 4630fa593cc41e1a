"""A damaged store is set aside, a new one is begun, and what is lost is said."""

import random
import shutil
from datetime import timedelta
from pathlib import Path

import duckdb
import pytest

from forewarn.errors import TelemetryError
from forewarn.store.duckdb import DuckDBStore
from forewarn.store.duckdb_rescue import open_store
from tests.telemetry import NOON, batch, every

MINUTE = timedelta(minutes=1)
BATCH = 2000


def values(store: DuckDBStore) -> list[object]:
    found = store.series("disk:A", "smart_5", NOON - timedelta(days=1), NOON + timedelta(days=9))
    return found.column("value").to_pylist()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store that was killed: one batch in its file, one in its log."""
    first = tmp_path / "first.duckdb"
    for number in range(2):
        store = DuckDBStore(first)
        start = NOON + number * BATCH * timedelta(seconds=1)
        numbers = [float(number * BATCH + n) for n in range(BATCH)]
        store.append(batch("disk:A", "smart_5", every(start, timedelta(seconds=1), numbers)))
        if number == 1:
            for suffix in ("", ".wal"):
                shutil.copy(f"{first}{suffix}", tmp_path / f"telemetry.duckdb{suffix}")
        store.close()
    return tmp_path / "telemetry.duckdb"


def log_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.wal")


def works(path: Path, store: DuckDBStore, kept: int) -> None:
    """The store has the first samples, takes more, and opens again as if nothing had been."""
    assert values(store) == [float(number) for number in range(kept)]
    store.append(batch("disk:A", "smart_5", [(NOON + timedelta(days=1), 7.0)]))
    store.close()
    again = open_store(path)
    assert again.notices == ()
    assert len(values(again)) == kept + 1
    again.close()


def test_a_store_that_was_killed_has_what_is_in_its_log(path: Path) -> None:
    store = open_store(path)
    assert [note.partition(" was not closed")[1] for note in store.notices] == [" was not closed"]
    works(path, store, 2 * BATCH)


def test_of_a_log_that_ends_in_the_middle_the_last_batch_is_lost(path: Path) -> None:
    log = log_of(path)
    log.write_bytes(log.read_bytes()[:-1000])
    store = open_store(path)
    assert "samples on their way when it stopped are lost" in store.notices[0]
    works(path, store, BATCH)


def test_a_log_whose_head_is_damaged_is_said_to_be_lost(path: Path) -> None:
    log = log_of(path)
    log.write_bytes(b"\0" * 100 + log.read_bytes()[100:])
    store = open_store(path)
    assert len(store.notices) == 1
    assert "its log was not read: what was stored last may be lost" in store.notices[0]
    works(path, store, BATCH)


def test_a_damaged_log_is_set_aside_and_the_file_is_kept(path: Path) -> None:
    log = log_of(path)
    content = bytearray(log.read_bytes())
    for place in range(200, len(content), 40):
        content[place] ^= 0x55
    log.write_bytes(content)
    store = open_store(path)
    [said] = [note for note in store.notices if "log of the telemetry store" in note]
    aside = log.with_name(f"{log.name}.damaged-1")
    assert said.endswith(f"What was stored last is lost with it; it is {aside} now")
    assert aside.read_bytes() == bytes(content)
    works(path, store, BATCH)


@pytest.mark.parametrize("damage", ["empty", "short", "header", "flipped"])
def test_a_damaged_file_is_set_aside_and_a_new_one_begun(path: Path, damage: str) -> None:
    content = bytearray(path.read_bytes())
    if damage == "flipped":
        chance = random.Random(5)
        for _ in range(len(content) // 20):
            content[chance.randrange(12_288, len(content))] ^= 0xFF
    elif damage == "header":
        content[:12_288] = bytes(12_288)
    path.write_bytes(content[: {"empty": 0, "short": 5000}.get(damage, len(content))])
    for number in (1, 2):
        broken = path.read_bytes()
        store = open_store(path)
        [said] = [note for note in store.notices if "All telemetry until now is lost" in note]
        aside = path.with_name(f"{path.name}.damaged-{number}")
        assert str(aside) in said
        assert aside.read_bytes() == broken
        works(path, store, 0)
        path.write_bytes(b"")  # and once more


def test_a_database_of_something_else_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.duckdb"
    store = DuckDBStore(path)
    store.close()
    with duckdb.connect(str(path)) as inside:
        inside.execute("UPDATE forewarn SET value = '99' WHERE key = 'version'")
    before = path.read_bytes()
    with pytest.raises(TelemetryError, match="version 99"):
        open_store(path)
    assert path.read_bytes() == before
