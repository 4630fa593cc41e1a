"""Arrived scrapes in line protocol, as Telegraf writes what it scrapes: several metrics of the same labels in a line.

That is its layout `metric_version = 2`: the measurement `prometheus`, a field for each metric. A marker is the field
`NAME_ended`.
"""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tests.integration.parity.fleet import Arrivals, Fleet, metrics


def bodies(fleet: Fleet, arrived: Arrivals) -> list[bytes]:
    """One body."""
    at = (arrived.step, arrived.drive)
    time: Any = pa.array(fleet.time_ms[at]).cast(pa.string())
    found = []
    for where, columns in _alike().items():
        labels = "".join(f",{label}={text}" for label, text in where)
        heads: Any = pa.array([f"{_head(fleet, drive)}{labels}" for drive in range(len(fleet.drives))])
        fields = [_field(fleet, at, column) for column in columns]
        joined = fields[0]
        if len(fields) > 1:  # pyarrow leaves rows out where it is to skip nulls of a single column
            joined = pc.binary_join_element_wise(*fields, pa.scalar(","), null_handling="skip")
        lines: Any = pc.binary_join_element_wise(heads.take(arrived.drive), joined, time, pa.scalar(" "))
        here: Any = fleet.present[at][:, list(columns)].any(axis=1)
        found.append(lines.filter(pa.array(here)))
    told = fleet.told(arrived)
    said = [
        f"{_head(fleet, number)},serial_number={drive.serial},model_name={drive.model.replace(' ', chr(92) + ' ')}"
        for number, drive in enumerate(fleet.drives)
    ]
    words: Any = pa.array(said)
    field = pa.scalar("smartctl_device=1")
    found.append(pc.binary_join_element_wise(words.take(arrived.drive[told]), field, time.take(told), pa.scalar(" ")))
    return [_joined(pa.concat_arrays(found))]


def _joined(lines: Any) -> bytes:
    whole: Any = pa.LargeListArray.from_arrays(pa.array([0, len(lines)], pa.int64()), lines)
    text: Any = pc.binary_join(whole, "\n")
    return bytes(text[0].as_buffer())


def _alike() -> dict[tuple[tuple[str, str], ...], tuple[int, ...]]:
    """The metrics that share their labels."""
    found: dict[tuple[tuple[str, str], ...], tuple[int, ...]] = {}
    for column, metric in enumerate(metrics()):
        found[metric.where] = (*found.get(metric.where, ()), column)
    return found


def _head(fleet: Fleet, drive: int) -> str:
    return f"prometheus,device={fleet.drives[drive].device},instance={fleet.drives[drive].host}:9633"


def _field(fleet: Fleet, at: tuple[Any, Any], column: int) -> Any:
    name = metrics()[column].name
    value, here = fleet.value[at][:, column], fleet.present[at][:, column]
    text: Any = pa.array(value).cast(pa.string())
    fields: Any = pc.binary_join_element_wise(pa.scalar(f"{name}="), text, pa.scalar(""))
    fields = pc.if_else(pa.array(np.isnan(value)), pa.scalar(f"{name}_ended=true"), fields)
    return pc.if_else(pa.array(here), fields, pa.scalar(None, pa.string()))
