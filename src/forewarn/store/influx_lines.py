"""InfluxDB's line protocol: readings to the lines that `/write` takes. Pure; no network.

A series is a measurement of its name whose tags are its labels, as InfluxDB itself keeps what Prometheus sends it; its
values are the field `value`. No NaN can be kept: a marker is the field `value_ended`, which is always
true, at its time.
Source: https://docs.influxdata.com/influxdb/v1/write_protocols/line_protocol_reference/
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from forewarn.store.scrapes import Key
from forewarn.store.source import Readings
from forewarn.store.windows import Times

VALUE, ENDED = "value", "_ended"
_NAME = str.maketrans({",": r"\,", " ": r"\ ", "\n": r"\ ", "\r": r"\ "})
_TAG = str.maketrans({",": r"\,", " ": r"\ ", "=": r"\=", "\n": r"\ ", "\r": r"\ "})
_US_MAX = (2**63 - 1) // 1000 - 1  # times are kept in nanoseconds, 64 bits


def bearable(readings: Readings) -> NDArray[np.bool_]:
    """Which samples can be written: of a time that fits, and not infinite."""
    fits: NDArray[np.bool_] = (np.abs(readings.time) < _US_MAX) & ~np.isinf(readings.value)
    return fits


def bodies(readings: Readings, samples_max: int) -> Iterator[tuple[Times, bytes]]:
    """The lines of bearable readings in the order of time, times in microseconds, and the times in each body."""
    heads: Any = pa.array([_head(key) for key in readings.series], pa.string())
    order = np.argsort(readings.time, kind="stable")
    for begin in range(0, len(readings), samples_max):
        part = readings.where(order[begin : begin + samples_max])
        yield part.time, _lines(part, heads)


def _lines(readings: Readings, heads: Any) -> bytes:
    """One line a sample: `NAME,LABEL=TEXT value=1.5 1704067200000000`."""
    value: Any = pa.array(readings.value).cast(pa.string())
    fields: Any = pc.binary_join_element_wise(pa.scalar(f"{VALUE}="), value, pa.scalar(""))
    marked = pa.array(np.isnan(readings.value))
    fields = pc.if_else(marked, pa.scalar(f"{VALUE}{ENDED}=true"), fields)
    moments: Any = pa.array(readings.time).cast(pa.string())
    lines: Any = pc.binary_join_element_wise(heads.take(readings.of), fields, moments, pa.scalar(" "))
    whole: Any = pa.LargeListArray.from_arrays(pa.array([0, len(lines)], pa.int64()), lines)
    joined: Any = pc.binary_join(whole, "\n")
    return bytes(joined[0].as_buffer())


def _head(key: Key) -> str:
    """What stands before the fields. A backslash at the end of a text would take the comma behind it for its own."""
    name, pairs = key
    parts = [_text(name, _NAME), *(f"{_text(label, _TAG)}={_text(text, _TAG)}" for label, text in pairs if text)]
    return ",".join(parts)


def _text(text: str, escapes: dict[int, str]) -> str:
    written = text.translate(escapes)
    return f"{written[:-1]}/" if written.endswith("\\") else written
