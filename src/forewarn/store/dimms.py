"""Recorded corrected-error features of DIMMs: a row for a DIMM at a time that is not told, and whether it failed after.

Such tables are case-control data: failed DIMMs are in it far more often than in a fleet, and nothing says when. So they
are told apart by DIMM alone, and figures hold at the base rate of the table. Columns that no row fills, or that are
nowhere to be found, are missing values. The columns are defined in `features/dimm_columns.py`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from forewarn.errors import RecordingError

SERIAL, FAILED, FAMILY = "serial_number", "label", "serial_number_type"
COUNTED = "all_ce_log_num"  # a window in which this is 0, while a shorter one is not, was not computed


@dataclass(frozen=True)
class DimmTable:
    """Rows of DIMMs; values are missing where a window was not computed."""

    name: str
    serial: "pa.Array[Any]"
    family: "pa.Array[Any]"
    failed: NDArray[np.bool_]
    values: pa.Table  # the feature columns that the file has, float64


def is_dimm_table(path: Path) -> bool:
    """Whether a file is Parquet with a serial number, a label and corrected-error columns."""
    if not path.is_file() or not path.name.endswith(".parquet"):
        return False
    try:
        names = pq.read_schema(path).names
    except (OSError, pa.ArrowException):
        return False
    return {SERIAL, FAILED} <= set(names) and any(name.startswith(COUNTED) for name in names)


def read_dimms(path: Path, columns: tuple[str, ...]) -> DimmTable:
    """Read the rows with those of the columns that are there.

    Raises RecordingError for cells that are no numbers, no label, or not finite.
    """
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise RecordingError(f"{path} cannot be read as Parquet: {str(error).partition(chr(10))[0]}") from error
    if missing := [name for name in (SERIAL, FAILED) if name not in table.column_names]:
        raise RecordingError(f"{path} lacks the columns {', '.join(missing)}: expected corrected-error features")
    if not table.num_rows:
        raise RecordingError(f"{path} has no rows: expected corrected-error features of DIMMs")
    known = [name for name in columns if name in table.column_names]
    values = pa.table({name: _numbers(path, name, table.column(name)) for name in known})
    serial = table.column(SERIAL).cast(pa.string()).combine_chunks()
    if serial.null_count:
        raise RecordingError(f"{path}, column {SERIAL}: {serial.null_count} rows name no DIMM")
    family = table.column(FAMILY).cast(pa.string()) if FAMILY in table.column_names else None
    families = family.combine_chunks().fill_null("") if family is not None else pa.array([""] * table.num_rows)
    return DimmTable(path.name, serial, families, _labels(path, table.column(FAILED)), _blanked(values))


def _numbers(path: Path, name: str, column: "pa.ChunkedArray[Any]") -> "pa.Array[Any]":
    try:
        numbers = column.cast(pa.float64()).combine_chunks()
    except pa.ArrowException as error:
        raise RecordingError(f"{path}, column {name}: expected numbers, found {column.type}") from error
    if pc.any(pc.is_inf(numbers)).as_py():
        row = int(np.flatnonzero(np.isinf(numbers.to_numpy(zero_copy_only=False)))[0])
        raise RecordingError(f"{path}, row {row + 1}, column {name}: expected a finite number")
    return numbers


def _labels(path: Path, column: "pa.ChunkedArray[Any]") -> NDArray[np.bool_]:
    try:
        found = column.cast(pa.float64()).to_numpy()
    except pa.ArrowException as error:
        raise RecordingError(f"{path}, column {FAILED}: expected 0 or 1, found {column.type}") from error
    if not np.isin(found, (0.0, 1.0)).all():
        row = int(np.flatnonzero(~np.isin(found, (0.0, 1.0)))[0])
        raise RecordingError(f"{path}, row {row + 1}, column {FAILED}: expected 0 or 1, found {found[row]}")
    failed: NDArray[np.bool_] = found == 1.0
    return failed


def _blanked(values: pa.Table) -> pa.Table:
    """A longer window cannot hold fewer records than a shorter one: where it does, it was never computed."""
    counts = {name.removeprefix(COUNTED): name for name in values.column_names if name.startswith(COUNTED)}
    whole = np.zeros(values.num_rows)
    made = values
    for window, name in counts.items():
        count = np.nan_to_num(values.column(name).to_numpy())
        gone = pa.array(count < whole, pa.bool_())
        for column in (one for one in values.column_names if one.endswith(window)):
            place = made.schema.get_field_index(column)
            made = made.set_column(place, column, pc.if_else(gone, None, made.column(column)))
        whole = np.maximum(whole, count)
    return made
