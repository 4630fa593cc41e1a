"""What the columns of recorded DIMM features mean, written so that live records of corrected errors can fill them too.

A *record* is one corrected error as the platform logs it (EDAC, rasdaemon's `mc_event` with its raw CPER or MCE data):
its time, whether a read or the patrol scrubber met it, device (chip), bank, row, column, and the parity word that says
which bits of the burst were wrong: 32 bits, bit 4·b + d of beat b of 8 and data line (DQ) d of 4, for x4 chips of DDR4.
Every column looks at the records of one DIMM within a window that ends at the asked time. Records of a window that
agree in device, bank, row, column and parity are one *log*; its *count* is the number of them. All columns are over
logs. A DIMM without a record in any window has no row: its columns are missing and its forecast is unknown. A window
that a platform cannot look back over is missing too, never 0.

The columns carry the names of the public table that defined them (SmartMem). `docs/reference/columns.md` is written
from this list.
"""

from datetime import timedelta

from forewarn.domain.feature import Aggregate, Catalog, Feature
from forewarn.domain.inventory import Kind
from forewarn.domain.telemetry import Metric

WINDOWS = {"15m": timedelta(minutes=15), "1h": timedelta(hours=1), "6h": timedelta(hours=6)}
HORIZON = timedelta(days=7)  # within which an uncorrected error makes the label true

_STORMS = (
    "number of storms: more than 10 steps in a row of at most 60 s from log to log, by their first records; once a"
    " storm is counted, counting begins anew"
)

# Name, what it is, and how it is said. `{n}` stands for the number in names such as `dq_count=2`.
_COLUMNS: tuple[tuple[str, str, str], ...] = (
    ("read_ce_log_num", "number of logs met by a read", "{value} places with corrected read errors within {window}"),
    ("scrub_ce_log_num", "number of logs met by the patrol scrubber", "{value} places found by scrubbing in {window}"),
    ("all_ce_log_num", "number of logs", "{value} places with corrected errors within {window}"),
    ("read_ce_count", "number of records met by a read", "{value} corrected read errors within {window}"),
    ("scrub_ce_count", "number of records met by the scrubber", "{value} errors corrected by scrubbing in {window}"),
    ("all_ce_count", "number of records", "{value} corrected errors within {window}"),
    ("log_happen_frequency", "seconds of the window per log; 0 without a log", "{value} s of {window} per place"),
    ("ce_storm_count", _STORMS, "{value} storms of corrected errors within {window}"),
    ("fault_mode_others", "1 if more than one device is named", "errors on several chips within {window}"),
    ("fault_mode_device", "else 1 if more than one bank is", "errors in several banks of one chip within {window}"),
    ("fault_mode_bank", "else 1 if more than one row and more than one column is", "errors all over a bank ({window})"),
    ("fault_mode_row", "else 1 if more than one column is", "errors along one row within {window}"),
    ("fault_mode_column", "else 1 if more than one row is", "errors along one column within {window}"),
    ("fault_mode_cell", "else 1 if exactly one cell (row and column) is", "errors in one cell only within {window}"),
    ("fault_row_num", "number of rows (of device and bank) with more than one column", "{value} rows failing"),
    ("fault_column_num", "number of columns (of device and bank) with more than one row", "{value} columns failing"),
    ("error_bit_count", "sum over logs of the parity word's set bits", "{value} wrong bits within {window}"),
    ("error_dq_count", "sum over logs of the data lines with a set bit", "{value} wrong data lines within {window}"),
    ("error_burst_count", "sum over logs of the beats with a set bit", "{value} wrong beats within {window}"),
    ("max_dq_interval", "largest distance between wrong data lines of a log", "wrong data lines {value} apart"),
    ("max_burst_interval", "largest distance between wrong beats of a log", "wrong beats {value} apart"),
)
_COUNTED = (("dq_count", "data lines", 4), ("burst_count", "beats", 8))


def _columns() -> tuple[tuple[str, str, str], ...]:
    counted = tuple(
        (f"{name}={n}", f"number of logs with exactly {n} wrong {words}", f"{{value}} places with {n} wrong {words}")
        for name, words, most in _COUNTED
        for n in range(1, most + 1)
    )
    return (*_COLUMNS, *counted)


def _catalog() -> Catalog:
    metrics = tuple(
        Metric(f"dimm_{name}", Kind.MEMORY, f"dimm_{name}", words, hold_s=0.0) for name, words, _ in _columns()
    )
    features = tuple(
        Feature(f"{name}_{short}", Kind.MEMORY, f"dimm_{name}", Aggregate.LAST, window, text)
        for short, window in WINDOWS.items()
        for name, _, text in _columns()
    )
    return Catalog(metrics, features)


DIMM_CATALOG = _catalog()
COLUMNS = DIMM_CATALOG.names(Kind.MEMORY)
TELLING = tuple(f"all_ce_log_num_{short}" for short in WINDOWS)
