"""The SQL that reads recorded drives: checks of their cells, and change points from rows that hold for a while.

`cells` has a recording's cells as they were found, with file and row; `drives` has one row per interval in which a
drive's values held. Column names come from our own tables and are quoted; file names go in as parameters.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from forewarn.domain.metrics import SMART_ATTRIBUTES, SMART_LOW_BITS


@dataclass(frozen=True)
class Cell:
    """A column of a recording: how it is read, and what is expected where it cannot be."""

    column: str
    read: str
    expected: str
    required: bool = False


@dataclass(frozen=True)
class Form:
    """A form of recordings, known by its required cells. `cells` are named as the columns of `drives`."""

    name: str
    cells: Mapping[str, Cell]
    metrics: Mapping[str, Cell]
    stop: str
    clash: str

    @property
    def required(self) -> tuple[str, ...]:
        return tuple(cell.column for cell in self.cells.values() if cell.required)


def _number(column: str, read: str = "TRY_CAST({} AS DOUBLE)") -> Cell:
    return Cell(column, read.format(f'"{column}"'), "a number")


def _attribute(number: int) -> Cell:
    bits = SMART_LOW_BITS.get(number)
    return _number(f"smart_{number}_raw", "TRY_CAST({} AS DOUBLE)" + (f" % {1 << bits}" if bits else ""))


_SMART = {f"smart_{number}": _attribute(number) for number, _ in SMART_ATTRIBUTES}
_SERIAL = Cell("serial_number", "nullif(trim(CAST(serial_number AS VARCHAR)), '')", "a serial number", required=True)
_MODEL = Cell("model", "CAST(model AS VARCHAR)", "a model")

# Temperature in Celsius; some makers pack more than it into attribute 194, which tells nothing then.
_TEMPERATURE = Cell(
    "smart_194_raw",
    "if(TRY_CAST(smart_194_raw AS DOUBLE) BETWEEN 1 AND 125, TRY_CAST(smart_194_raw AS DOUBLE), NULL)",
    "",
)

INTERVALS = Form(
    "drive intervals",
    {
        "serial": _SERIAL,
        "model": _MODEL,
        "start": Cell("start_time", "TRY_CAST(start_time AS TIMESTAMP)", "a time", required=True),
        "stop": Cell("end_time", "TRY_CAST(end_time AS TIMESTAMP)", "a time", required=True),
        "failed": Cell("failed", "TRY_CAST(failed AS BOOLEAN)", "true or false", required=True),
    },
    {
        **_SMART,
        "smart_9": _number("power_on_hours"),
        "disk_capacity": _number("capacity_tb", "TRY_CAST({} AS DOUBLE) * 1e12"),
        "disk_temperature": _TEMPERATURE,
    },
    stop="stop",
    clash="intervals that end after they start and do not overlap",
)

DAILY = Form(
    "daily drive snapshots",
    {
        "serial": _SERIAL,
        "model": _MODEL,
        "start": Cell("date", "TRY_CAST(date AS TIMESTAMP)", "a date", required=True),
        "failed": Cell("failure", "TRY_CAST(failure AS BOOLEAN)", "0 or 1", required=True),
    },
    {
        **_SMART,
        "disk_capacity": _number("capacity_bytes", "nullif(greatest(TRY_CAST({} AS DOUBLE), 0), 0)"),
        "disk_temperature": _TEMPERATURE,
    },
    stop="start + INTERVAL 1 DAY",
    clash="one row per drive and day",
)

FORMS = (INTERVALS, DAILY)

_CHECKED = ("disk_capacity", "disk_temperature")  # read as unknown where they make no sense


def source(*, parquet: bool) -> str:
    """The rows of all files, with the file's name. Parameter: the files."""
    if parquet:
        return "read_parquet(?, union_by_name = true, filename = true)"
    return "read_csv(?, union_by_name = true, filename = true, all_varchar = true, header = true, nullstr = '')"


def describe(rows: str) -> str:
    """The columns that the rows of `source` have."""
    return f"DESCRIBE SELECT * FROM {rows}"


def load(rows: str, columns: Sequence[str]) -> str:
    """Take the chosen columns as they are."""
    names = ", ".join(f'"{column}"' for column in columns)
    return f"CREATE TABLE cells AS SELECT filename, row_number() OVER () AS row, {names} FROM {rows}"


def misread(cell: Cell) -> str:
    """The first cell that cannot be read: file, row in it, and what was found."""
    unreadable = f"({cell.read}) IS NULL" if cell.required else f'"{cell.column}" IS NOT NULL AND ({cell.read}) IS NULL'
    return (
        f"SELECT filename, row - (SELECT min(row) FROM cells AS of_file WHERE of_file.filename = cells.filename) + 1,"
        f' CAST("{cell.column}" AS VARCHAR) FROM cells WHERE {unreadable} ORDER BY row LIMIT 1'
    )


def checked(form: Form, metrics: Sequence[str]) -> tuple[Cell, ...]:
    """The cells in which something unreadable is an error."""
    return (*form.cells.values(), *(form.metrics[metric] for metric in metrics if metric not in _CHECKED))


def settle(form: Form, columns: Sequence[str], metrics: Sequence[str]) -> str:
    """The drives' rows. Columns that the recording lacks are unknown."""
    read = {name: cell.read if cell.column in columns else "NULL" for name, cell in form.cells.items()}
    fixed = ", ".join(f"{expression} AS {name}" for name, expression in read.items())
    values = ", ".join(f"CAST({form.metrics[metric].read} AS DOUBLE) AS {metric}" for metric in metrics)
    stop = "" if "stop" in form.cells else f", {form.stop} AS stop"
    return (
        f"CREATE TABLE drives AS SELECT 'disk:' || serial AS component, * FROM"
        f" (SELECT *{stop} FROM (SELECT {fixed}, {values}, row FROM cells))"
    )


# The first row that does not follow the one before it: file, row in it, and the drive.
CLASH = """
SELECT filename, cells.row - (SELECT min(row) FROM cells AS of_file WHERE of_file.filename = cells.filename) + 1, serial
FROM (SELECT row, serial, start, stop, lag(stop) OVER (PARTITION BY serial ORDER BY start, row) AS before FROM drives)
JOIN cells USING (row)
WHERE start >= stop OR start < before ORDER BY cells.row LIMIT 1
"""

FORGET_CELLS = "DROP TABLE cells"

BOUNDS = "SELECT epoch_us(min(start)), epoch_us(max(stop)) FROM drives"

# A drive that comes back after it failed begins a new life; a gap in what was recorded ends none.
LIFETIMES = """
SELECT component, min(start) AS start, max(stop) AS "end", bool_or(failed) AS failed
FROM (SELECT component, start, stop, failed, coalesce(sum(failed::INTEGER) OVER (
    PARTITION BY component ORDER BY start ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS life FROM drives)
GROUP BY component, life ORDER BY component, start
"""

DEVICES = """
SELECT component, 'disk' AS kind, '' AS host, any_value(serial) AS device,
    coalesce(arg_max(model, start), '') AS model, min(start) AS first_seen, max(stop) AS last_seen
FROM drives GROUP BY component ORDER BY component
"""


def change_points(metric: str) -> str:
    """Where a value begins to hold, and where one stops without a next: at a gap, at the end, where it is missing."""
    return f"""
WITH held AS (
    SELECT component, start, stop, {metric} AS value, lag({metric}) OVER drive AS before, lag(stop) OVER drive AS until,
        lead({metric}) OVER drive AS next, lead(start) OVER drive AS resumes
    FROM drives WINDOW drive AS (PARTITION BY component ORDER BY start))
SELECT component, start AS time, value FROM held
WHERE value IS NOT NULL AND (before IS NULL OR value <> before OR until < start)
UNION ALL
SELECT component, stop AS time, CAST('nan' AS DOUBLE) AS value FROM held
WHERE value IS NOT NULL AND (next IS NULL OR resumes > stop)
ORDER BY component, time
"""
