"""Recorded drives as samples: what others have published, read into the shape in which stores keep telemetry.

Two forms are told apart by their columns: drive intervals (raw values that hold from `start_time` to `end_time`) and
Backblaze's daily snapshots (Parquet, CSV, CSV.gz, or a folder of these). Both become change points: a sample where a
value begins to hold, a stale marker (NaN) where nothing more is known of it. When a drive died stands in `lifetimes`
alone, for labels; samples say no more than one could have seen at their time. Times without a zone are UTC.
"""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa

from forewarn.domain.inventory import Kind
from forewarn.errors import RecordingError
from forewarn.store import recordings_sql as sql
from forewarn.store.base import DEVICES, SAMPLES, TIME, Batch

# One row per life of a part: `end` is when it failed, or until when it was seen alive (censored).
LIFETIMES = pa.schema([("component", pa.string()), ("start", TIME), ("end", TIME), ("failed", pa.bool_())])

_SUFFIXES = (".parquet", ".csv", ".csv.gz")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class RecordingSettings:
    """Machinery of reading recordings."""

    memory: str = "2GB"
    """What may be held in memory before it spills to the temporary folder; a size with unit."""
    batch_rows: int = 1_000_000
    """How many samples a batch has at about most; bounds the memory of an import."""


@dataclass(frozen=True)
class Recording:
    """Telemetry of parts from `start` to `end`, with what became of each; outcomes are known until `end`."""

    path: Path
    kind: Kind
    start: datetime
    end: datetime
    lifetimes: pa.Table  # LIFETIMES
    metrics: tuple[str, ...]
    connection: duckdb.DuckDBPyConnection  # of its own, in memory
    batch_rows: int

    def batches(self) -> Iterator[Batch]:
        """Every sample once, metric by metric, each series in the order of time; all devices come first."""
        yield Batch(SAMPLES.empty_table(), _cast(self.connection.sql(sql.DEVICES).to_arrow_table(), DEVICES), True)
        for metric in self.metrics:
            for rows in self.connection.sql(sql.change_points(metric)).to_arrow_reader(self.batch_rows):
                yield Batch(_samples(pa.Table.from_batches([rows]), metric), DEVICES.empty_table(), True)


def _samples(rows: pa.Table, metric: str) -> pa.Table:
    names = pa.repeat(pa.scalar(metric), rows.num_rows)
    return _cast(rows.append_column("metric", names).select(SAMPLES.names), SAMPLES)


def _cast(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """DuckDB's times have no zone, they are UTC."""
    return table.cast(schema)


def open_recording(path: Path, settings: RecordingSettings | None = None) -> Recording:
    """Read and check a recording; raises RecordingError with the file, the place and what was expected there."""
    settings = settings or RecordingSettings()
    files = _files(path)
    config: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": settings.memory,
        "temp_directory": tempfile.gettempdir(),
        "python_enable_replacements": False,
    }
    connection = duckdb.connect(config=config)
    try:
        return _read(path, files, connection, settings)
    except duckdb.Error as error:
        connection.close()
        found = str(error).partition("\n")[0]
        raise RecordingError(f"{path} cannot be read as {_form_name(files)}: {found}") from error
    except RecordingError:
        connection.close()
        raise


def _files(path: Path) -> list[str]:
    """The files of a recording, all of one form."""
    if not path.exists():
        raise RecordingError(f"{path} does not exist: name a Parquet or CSV file, or a folder of them")
    found = sorted(path.iterdir()) if path.is_dir() else [path]
    files = [str(file) for file in found if file.name.endswith(_SUFFIXES)]
    if not files:
        raise RecordingError(f"{path} is or has no file whose name ends in {', '.join(_SUFFIXES)}")
    if len({_form_name([file]) for file in files}) > 1:
        raise RecordingError(f"{path} mixes Parquet and CSV files: expected one of both")
    return files


def _form_name(files: Sequence[str]) -> str:
    return "Parquet" if files[0].endswith(".parquet") else "CSV"


def _read(
    path: Path, files: Sequence[str], connection: duckdb.DuckDBPyConnection, settings: RecordingSettings
) -> Recording:
    source = sql.source(parquet=_form_name(files) == "Parquet")
    names = {str(row[0]) for row in connection.execute(sql.describe(source), [list(files)]).fetchall()}
    form = _form(path, names)
    metrics = [metric for metric, cell in form.metrics.items() if cell.column in names]
    cells = {cell.column for cell in form.cells.values()} | {form.metrics[metric].column for metric in metrics}
    if not any(metric.startswith("smart_") for metric in metrics):
        raise RecordingError(f"{path} has no column smart_N_raw that is understood: expected at least smart_5_raw")
    connection.execute(sql.load(source, sorted(cells & names)), [list(files)])
    _check(connection, [cell for cell in sql.checked(form, metrics) if cell.column in names])
    connection.execute(sql.settle(form, sorted(names), metrics))
    if (clash := connection.execute(sql.CLASH).fetchone()) is not None:
        raise RecordingError(f"{clash[0]}, row {clash[1]}, drive {clash[2]}: expected {form.clash}")
    start, end = connection.execute(sql.BOUNDS).fetchall()[0]
    if start is None:
        raise RecordingError(f"{path} has no rows: expected {form.name}")
    connection.execute(sql.FORGET_CELLS)
    lifetimes = _cast(connection.sql(sql.LIFETIMES).to_arrow_table(), LIFETIMES)
    known = (_EPOCH + timedelta(microseconds=start), _EPOCH + timedelta(microseconds=end))
    return Recording(path, Kind.DISK, *known, lifetimes, tuple(metrics), connection, settings.batch_rows)


def _form(path: Path, names: set[str]) -> sql.Form:
    """The form that has all its required columns there."""
    for form in sql.FORMS:
        if names.issuperset(form.required):
            return form
    expected = " or ".join(f"{', '.join(form.required)} ({form.name})" for form in sql.FORMS)
    raise RecordingError(f"{path} has the columns {', '.join(sorted(names)[:12])}: expected {expected}")


def _check(connection: duckdb.DuckDBPyConnection, cells: Sequence[sql.Cell]) -> None:
    for cell in cells:
        if (found := connection.execute(sql.misread(cell)).fetchone()) is not None:
            file, row, text = found
            held = "nothing" if text is None else repr(text)
            raise RecordingError(f"{file}, row {row}, column {cell.column}: expected {cell.expected}, found {held}")
