"""The state database: opened, brought to today's schema, and read and written in short transactions.

One SQLite file in WAL mode, so that the pages read while the loop writes. A writing transaction takes its lock at its
start, hence never fails half-way for want of it. Nothing outside the database may be called within a transaction.
"""

import contextlib
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, IntegrityError, OperationalError
from sqlalchemy.pool import QueuePool

from forewarn.clock import Clock, RealClock
from forewarn.errors import StateError, StoreUnavailable
from forewarn.state.schema import HEAD


@dataclass(frozen=True, slots=True)
class DatabaseSettings:
    """How the state database is reached."""

    busy_timeout_s: float = 10.0
    """Seconds to wait for another process's writing before the database counts as unavailable."""
    connections_max: int = 8
    """Number of connections at once: the loop, and the pages' readers."""


class Database:
    """An open state database. `clock` is what its tables are stamped with.

    Raises StateError if the file is not a state database of this or an older Forewarn, StoreUnavailable if it is locked
    for too long.

    >>> with Database("sqlite://").read() as connection:
    ...     connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one()
    '0002'
    """

    def __init__(self, url: str, clock: Clock | None = None, settings: DatabaseSettings | None = None) -> None:
        self.clock: Clock = clock or RealClock()
        self._url = _checked(url)
        self._engine = _engine(self._url, settings or DatabaseSettings())
        try:
            self._migrate()
        except BaseException:
            self.close()
            raise

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that sees one state of the database throughout."""
        with self._transaction(write=False) as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that holds the database's one lock for writers: keep it short."""
        with self._transaction(write=True) as connection:
            yield connection

    def close(self) -> None:
        """Release every connection."""
        self._engine.dispose()

    @contextmanager
    def _transaction(self, write: bool) -> Iterator[Connection]:
        try:
            with self._engine.connect().execution_options(writes=write) as connection, connection.begin():
                yield connection
        except IntegrityError:
            raise
        except OperationalError as error:
            raise StoreUnavailable(f"the state database {self._name} does not answer: {error.orig}") from error
        except DatabaseError as error:
            raise StateError(f"{self._name} is no state database of Forewarn: {error.orig}") from error

    @property
    def _name(self) -> str:
        return self._url.database or "in memory"

    def _migrate(self) -> None:
        with self.read() as connection:
            if _revision(connection) == HEAD:
                return
        with self.write() as connection:  # whoever waited here finds the work done
            found = _revision(connection)
            self._refuse_foreign(connection, found)
            if found != HEAD:
                _upgrade(connection)

    def _refuse_foreign(self, connection: Connection, found: str | None) -> None:
        tables = sorted(inspect(connection).get_table_names())
        if found is None and not tables:
            return
        if found is None or not (found.isdecimal() and len(found) == len(HEAD)):
            raise StateError(
                f"{self._name} holds the tables of another program ({', '.join(tables[:3])}): "
                "name a file of its own for Forewarn's state"
            )
        if found > HEAD:
            raise StateError(
                f"{self._name} was written by a newer Forewarn (schema {found}, this one knows {HEAD}): "
                "install that version, or name another file"
            )


def schema_of(path: Path) -> str | None:
    """The schema's revision in a state database that may be in use, None if it has none; changes nothing.

    Raises StateError for a file that is no database, StoreUnavailable if it cannot be read now.
    """
    # Without a write-ahead log beside it nobody has it open, and only a file called immutable leaves none behind.
    mode = "mode=ro" if path.with_name(f"{path.name}-wal").exists() else "immutable=1"
    try:
        with contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?{mode}", uri=True)) as connection:
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
            if "alembic_version" not in tables:
                return None
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.OperationalError as error:
        raise StoreUnavailable(f"the state database {path} does not answer: {error}") from error
    except sqlite3.DatabaseError as error:
        raise StateError(f"{path} is no state database of Forewarn: {error}") from error
    return str(row[0]) if row else None


def _checked(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise StateError(f"{url!r} is no database address: write sqlite:///PATH") from error
    if parsed.get_backend_name() != "sqlite":
        raise StateError(f"the state is kept in SQLite, not in {parsed.get_backend_name()}: write sqlite:///PATH")
    folder = Path(parsed.database or ".").parent
    if not folder.is_dir():
        raise StateError(f"the folder {folder} for the state database does not exist: create it, or name another")
    return parsed


def _engine(url: URL, settings: DatabaseSettings) -> Engine:
    in_memory = url.database in (None, "", ":memory:")
    engine = create_engine(
        url,
        poolclass=QueuePool,
        # A database in memory is one connection, and whoever wants it takes a turn.
        pool_size=1 if in_memory else settings.connections_max,
        max_overflow=0,
        connect_args={"timeout": settings.busy_timeout_s, "check_same_thread": False},
    )
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    return engine


def _prepare(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # transactions begin where SQLAlchemy says so, not where sqlite3 guesses
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _revision(connection: Connection) -> str | None:
    """The schema's revision as Alembic keeps it, None if the database has none."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return found


def _upgrade(connection: Connection) -> None:
    from alembic import command  # here, because a database that is up to date has no need of it
    from alembic.config import Config

    config = Config()
    folder = str(Path(__file__).parent / "migrations")
    config.set_main_option("script_location", folder.replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, HEAD)
