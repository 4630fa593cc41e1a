"""A DuckDB file as this store uses one: opening it, transactions, and what it notes of itself.

DuckDB's errors end here: a file in use is temporary, a foreign or damaged one is not.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import duckdb
import pyarrow as pa
from numpy.typing import NDArray

from forewarn.errors import StoreDamaged, StoreUnavailable, TelemetryError
from forewarn.store import duckdb_sql as sql
from forewarn.store.windows import NEVER, WIDTH

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def ask(connection: duckdb.DuckDBPyConnection, query: str, parameters: Sequence[int | str] = ()) -> pa.Table:
    """A statement's answer as one Arrow table."""
    table: pa.Table = connection.sql(query, params=list(parameters)).to_arrow_table()
    return table


def sentence(error: duckdb.Error) -> str:
    """The first line of what DuckDB says."""
    return str(error).partition("\n")[0].strip().rstrip(".") + "."


# DuckDB locks other processes out, but would let this one open a file twice, with two caches of what is in it.
_OPEN: "WeakValueDictionary[Path, DuckDBFile]" = WeakValueDictionary()


class DuckDBFile:
    """An open file, or a database in memory where `path` is None. Not safe for threads; its cursors are."""

    def __init__(self, path: Path | None, memory: str, threads: int) -> None:
        self.path = path
        self.notices: tuple[str, ...] = ()
        if path is not None and path.resolve() in _OPEN:
            raise StoreUnavailable(f"{path} is open already: one process has one telemetry store")
        self.connection = _connect(path, memory, threads)
        try:
            self.state = self._open()
            self.note({"open": "yes"})
        except duckdb.Error as error:
            self.connection.close()
            raise damaged(path, error) from error
        except TelemetryError:
            self.connection.close()
            raise
        if path is not None:
            _OPEN[path.resolve()] = self

    def _open(self) -> dict[str, str]:
        """The notes of the file, which is made where it is new."""
        found = self.connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()
        if not found:
            self._create()
        elif ("forewarn",) not in found:
            raise self._foreign("is a DuckDB file of something else")
        state = self._notes()
        while state.get("version") in sql.UPGRADES:
            self._upgrade(state["version"])
            state = self._notes()
        if state.get("version") != sql.SCHEMA_VERSION:
            raise self._foreign(f"is a store of version {state.get('version')}, this is for {sql.SCHEMA_VERSION}")
        if state.get("open") == "yes":
            text = f"the telemetry store {self.path} was not closed: samples on their way when it stopped are lost"
            self.notices = (text,)
        return state

    def _notes(self) -> dict[str, str]:
        return {str(key): str(value) for key, value in self.connection.execute(sql.STATE_NOTES).fetchall()}

    def _upgrade(self, version: str) -> None:
        following, statements = sql.UPGRADES[version]
        with self.transaction():
            for statement in statements:
                self.connection.execute(statement)
            self.note({"version": following})

    def _foreign(self, what: str) -> TelemetryError:
        return TelemetryError(f"{self.path} {what}: name another file for the telemetry store, or move it away")

    def _create(self) -> None:
        first = {"version": sql.SCHEMA_VERSION, "open": "no", "minutes_since": str(NEVER), "raw_since": str(NEVER)}
        rolled = {f"rolled_{tier}": str(NEVER // width * width) for tier, width in WIDTH.items()}
        with self.transaction():
            for statement in sql.SCHEMA:
                self.connection.execute(statement)
            self.connection.executemany("INSERT INTO forewarn VALUES (?, ?)", list({**first, **rolled}.items()))

    def close(self) -> None:
        """Note a clean stop and let go of the file."""
        self.note({"open": "no"})
        self.abandon()

    def abandon(self) -> None:
        """Let go of the file as it is."""
        self.connection.close()
        if self.path is not None:
            _OPEN.pop(self.path.resolve(), None)

    def note(self, entries: Mapping[str, str]) -> None:
        """Remember something beside the telemetry; part of a transaction, if there is one."""
        for key, value in entries.items():
            self.connection.execute("UPDATE forewarn SET value = ? WHERE key = ?", [value, key])

    def insert(self, table: str, rows: pa.Table) -> None:
        """Insert an Arrow table whose columns are called as the table's."""
        self.connection.register("incoming", rows)
        self.connection.execute(sql.insert(table, "incoming", rows.column_names))
        self.connection.unregister("incoming")

    def register(self, name: str, columns: Mapping[str, NDArray[Any]]) -> None:
        """Let statements see arrays as a table."""
        self.connection.register(name, pa.table({column: pa.array(array) for column, array in columns.items()}))

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing of what is done inside."""
        self.connection.begin()
        try:
            yield
        except BaseException:
            self.connection.rollback()
            raise
        self.connection.commit()

    @contextlib.contextmanager
    def cursor(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection of its own, for one reader."""
        cursor = self.connection.cursor()
        try:
            yield cursor
        finally:
            cursor.close()

    @contextlib.contextmanager
    def available(self) -> Iterator[None]:
        """Chain what DuckDB raises while it is asked."""
        try:
            yield
        except duckdb.Error as error:
            raise StoreUnavailable(f"the telemetry store {self.path} failed: {sentence(error)}") from error


@dataclass(frozen=True, slots=True)
class Look:
    """What a store's file says of itself: its version, whether it was closed, and when each host was last heard of."""

    version: str
    closed: bool
    last_seen: Mapping[str, datetime]


def look(path: Path) -> Look:
    """Look into the file of a store that nobody has open, and change nothing.

    Raises StoreUnavailable where another process has it open, TelemetryError where it is no store or is damaged.
    """
    if path.resolve() in _OPEN:
        raise StoreUnavailable(f"{path} is in use by this process")
    try:
        with duckdb.connect(str(path), read_only=True) as connection:
            state = {str(key): str(value) for key, value in connection.execute(sql.STATE_NOTES).fetchall()}
            hosts = connection.execute(sql.HOSTS_SEEN).fetchall()
    except duckdb.CatalogException as error:
        raise TelemetryError(f"{path} is a DuckDB file of something else: name another file for the store") from error
    except duckdb.Error as error:
        raise _not_opened(path, error) from error
    seen = {str(host): EPOCH + timedelta(microseconds=int(last)) for host, last in hosts}
    return Look(state.get("version", ""), state.get("open") == "no", seen)


def _connect(path: Path | None, memory: str, threads: int) -> duckdb.DuckDBPyConnection:
    config: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": memory,
        "threads": threads,
        "preserve_insertion_order": False,
        "python_enable_replacements": False,
    }
    try:
        return duckdb.connect(str(path) if path else ":memory:", config=config)
    except duckdb.Error as error:
        raise _not_opened(path, error) from error


def _not_opened(path: Path | None, error: duckdb.Error) -> StoreUnavailable | TelemetryError:
    """What DuckDB means, told by its words: it has one class of error for a lock, a folder and a broken file."""
    text = str(error)
    if "set lock" in text:
        return StoreUnavailable(f"{path} is in use by another process: stop it, or ask it over its API")
    if "not a valid DuckDB" in text:
        return StoreDamaged(f"{path} is no telemetry store: name another file, or move it away")
    if "Cannot open file" in text:
        return StoreUnavailable(f"{path} cannot be opened: {sentence(error)}")
    return damaged(path, error)


def damaged(path: Path | None, error: duckdb.Error) -> StoreDamaged:
    """A file that was a store once."""
    return StoreDamaged(f"{path} is damaged: {sentence(error)} Move it away to start anew.")
