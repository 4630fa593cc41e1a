"""The state database opens what is its own, says in a sentence what is not, and never half-migrates."""

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import insert, text
from sqlalchemy.exc import IntegrityError

from forewarn.clock import RealClock
from forewarn.errors import StateError, StoreUnavailable
from forewarn.state.database import Database, DatabaseSettings
from forewarn.state.schema import HEAD, LEADERS, METADATA
from tests.moves import NOW


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


@pytest.fixture
def database(path: Path) -> Iterator[Database]:
    opened = Database(f"sqlite:///{path}")
    yield opened
    opened.close()


def scalar(database: Database, statement: str) -> object:
    with database.read() as connection:
        return connection.execute(text(statement)).scalar()


def refusal(url: str) -> str:
    with pytest.raises(StateError) as refused:
        Database(url)
    return str(refused.value)


def test_the_migrations_make_exactly_the_tables_that_the_code_uses(database: Database) -> None:
    with database.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []
    assert scalar(database, "SELECT version_num FROM alembic_version") == HEAD


def test_one_move_per_vm_is_a_rule_of_the_database_itself(database: Database) -> None:
    index = scalar(database, "SELECT sql FROM sqlite_master WHERE name = 'moves_one_per_vm'")
    assert "UNIQUE" in str(index)
    assert "WHERE state IN ('intended', 'running')" in str(index)


def test_the_file_is_in_wal_mode_with_foreign_keys_and_durable_intents(database: Database) -> None:
    wanted = {"journal_mode": "wal", "foreign_keys": 1, "synchronous": 2, "busy_timeout": 10_000}
    assert {name: scalar(database, f"PRAGMA {name}") for name in wanted} == wanted


def test_what_was_written_is_there_after_opening_again(database: Database, path: Path) -> None:
    with database.write() as connection:
        connection.execute(insert(LEADERS).values(epoch=7, since=NOW))
    database.close()
    again = Database(f"sqlite:///{path}")
    assert scalar(again, "SELECT epoch FROM leaders") == 7
    again.close()


def test_a_failing_transaction_leaves_nothing_behind(database: Database) -> None:
    def fail() -> None:
        with database.write() as connection:
            connection.execute(insert(LEADERS).values(epoch=7, since=NOW))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert scalar(database, "SELECT count(*) FROM leaders") == 0


def test_a_row_that_breaks_a_rule_is_told_as_such(database: Database) -> None:
    with pytest.raises(IntegrityError), database.write() as connection:
        connection.execute(text("INSERT INTO steps VALUES (1, 'no such move', 1, '2026-01-01', 'running', '')"))


def test_without_a_clock_the_machine_s_own_is_used(database: Database) -> None:
    assert isinstance(database.clock, RealClock)


def test_a_database_in_memory_serves_several_threads_in_turn() -> None:
    database = Database("sqlite://")

    def write(epoch: int) -> None:
        with database.write() as connection:
            connection.execute(insert(LEADERS).values(epoch=epoch, since=NOW))

    threads = [threading.Thread(target=write, args=(epoch,)) for epoch in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert scalar(database, "SELECT count(*) FROM leaders") == 8
    database.close()


def test_many_may_open_a_new_file_at_once_and_one_of_them_migrates(path: Path) -> None:
    found: list[object] = []

    def open_it() -> None:
        opened = Database(f"sqlite:///{path}")
        found.append(scalar(opened, "SELECT version_num FROM alembic_version"))
        opened.close()

    threads = [threading.Thread(target=open_it) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [HEAD] * 6


def test_readers_see_one_state_while_somebody_writes(database: Database) -> None:
    with database.read() as reader:
        before = reader.execute(text("SELECT count(*) FROM leaders")).scalar()
        with database.write() as writer:
            writer.execute(insert(LEADERS).values(epoch=1, since=NOW))
        assert reader.execute(text("SELECT count(*) FROM leaders")).scalar() == before
    assert scalar(database, "SELECT count(*) FROM leaders") == 1


def test_a_lock_that_is_held_too_long_is_a_temporary_error(database: Database, path: Path) -> None:
    impatient = Database(f"sqlite:///{path}", settings=DatabaseSettings(busy_timeout_s=0.05))
    with database.write(), pytest.raises(StoreUnavailable, match="does not answer"), impatient.write():
        pass
    with impatient.write() as connection:
        assert connection.execute(text("SELECT count(*) FROM leaders")).scalar() == 0
    impatient.close()


@pytest.mark.parametrize("version", ["0099", "9999"])
def test_a_newer_schema_is_refused_with_what_to_do(database: Database, path: Path, version: str) -> None:
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :version"), {"version": version})
    database.close()
    assert f"written by a newer Forewarn (schema {version}, this one knows {HEAD})" in refusal(f"sqlite:///{path}")
    assert "install that version, or name another file" in refusal(f"sqlite:///{path}")


@pytest.mark.parametrize("version", ["ae1027a6", "12", "abcd"])
def test_another_program_s_schema_is_refused(database: Database, path: Path, version: str) -> None:
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :version"), {"version": version})
    database.close()
    assert "holds the tables of another program" in refusal(f"sqlite:///{path}")


def test_another_program_s_tables_are_refused_and_left_alone(path: Path) -> None:
    with sqlite3.connect(path) as foreign:
        foreign.execute("CREATE TABLE songs (name TEXT)")
    foreign.close()
    assert "(songs): name a file of its own" in refusal(f"sqlite:///{path}")
    with sqlite3.connect(path) as foreign:
        assert [row[0] for row in foreign.execute("SELECT name FROM sqlite_master")] == ["songs"]
    foreign.close()


def test_a_file_that_is_no_database_is_refused_and_left_alone(path: Path) -> None:
    path.write_text("this is a shopping list, and long enough to be looked at as a database file by anybody")
    before = path.read_bytes()
    assert "is no state database of Forewarn" in refusal(f"sqlite:///{path}")
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("no address", "is no database address: write sqlite:///PATH"),
        ("postgresql://host/name", "is kept in SQLite, not in postgresql"),
        ("sqlite:////no/such/folder/state.db", "the folder /no/such/folder for the state database does not exist"),
    ],
)
def test_an_address_that_leads_nowhere_is_refused_in_a_sentence(url: str, words: str) -> None:
    assert words in refusal(url)
