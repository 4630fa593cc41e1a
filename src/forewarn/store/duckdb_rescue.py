"""Opening the embedded store whatever has become of its file: what is damaged is set aside, and said to be lost.

Nothing is deleted: a damaged file stands beside the new one under a name of its own, for whoever wants to look into it.
"""

from pathlib import Path

from forewarn.errors import StoreDamaged
from forewarn.store.duckdb import DuckDBSettings, DuckDBStore


def open_store(path: Path, settings: DuckDBSettings | None = None) -> DuckDBStore:
    """The store at `path`; its `notices` say what had to be set aside.

    A damaged log costs what was stored since the file was last written, a damaged file all telemetry until now.
    Raises StoreUnavailable and TelemetryError as `DuckDBStore`, but for damage.
    """
    log = path.with_name(f"{path.name}.wal")
    if path.exists() and path.stat().st_size == 0:
        return _anew(path, log, settings, "it is empty")
    logged = log.exists() and log.stat().st_size > 0
    try:
        store = DuckDBStore(path, settings)
    except StoreDamaged as error:
        why = str(error).removeprefix(f"{path} ")
    else:
        if logged and not store.notices:  # DuckDB passes over a log whose head it does not know
            text = (
                f"the telemetry store {path} was not closed, and its log was not read: what was stored last may be lost"
            )
            store.notices = (text,)
        return store
    if log.exists():
        aside = _set_aside(log)
        try:
            store = DuckDBStore(path, settings)
        except StoreDamaged:
            pass
        else:
            text = (
                f"the log of the telemetry store {path} {why} What was stored last is lost with it; it is {aside} now"
            )
            store.notices = (*store.notices, text)
            return store
    return _anew(path, log, settings, why)


def _anew(path: Path, log: Path, settings: DuckDBSettings | None, why: str) -> DuckDBStore:
    aside = _set_aside(path)
    if log.exists():
        _set_aside(log)
    store = DuckDBStore(path, settings)
    text = f"the telemetry store {path}: {why} All telemetry until now is lost with it; it is {aside} now"
    store.notices = (*store.notices, text)
    return store


def _set_aside(path: Path) -> Path:
    """Rename a file to the first free name; returns that."""
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    return path.rename(aside)
