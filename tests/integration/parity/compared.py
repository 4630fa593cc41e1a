"""Frames beside each other: which values differ by more than is allowed."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from forewarn.store.base import FRAME_KEYS

RELATIVE = 1e-6  # of the value; absolute where the value is below one


@dataclass(frozen=True)
class Difference:
    """One value that two frames do not agree on; NaN is unknown."""

    component: str
    feature: str
    wanted: float
    found: float


def differences(wanted: pa.Table, found: pa.Table) -> list[Difference]:
    """All values that differ. Both frames must have the same rows, in the same order, and the same columns."""
    assert found.schema.equals(wanted.schema), f"{found.schema} instead of {wanted.schema}"
    for name in FRAME_KEYS.names:
        assert found.column(name).to_pylist() == wanted.column(name).to_pylist(), f"the frames' {name} differ"
    components = wanted.column("component").to_pylist()
    different = []
    for name in wanted.column_names[len(FRAME_KEYS.names) :]:
        here, there = _values(wanted, name), _values(found, name)
        rows = np.flatnonzero(_differ(here, there)).tolist()
        different += [Difference(str(components[row]), name, float(here[row]), float(there[row])) for row in rows]
    return different


def known(frame: pa.Table) -> int:
    """How many values of a frame are known."""
    return sum(int((~np.isnan(_values(frame, name))).sum()) for name in frame.column_names[len(FRAME_KEYS.names) :])


def _values(frame: pa.Table, name: str) -> NDArray[np.float64]:
    return frame.column(name).to_numpy().astype(np.float64)


def _differ(here: NDArray[np.float64], there: NDArray[np.float64]) -> NDArray[np.bool_]:
    unknown, not_there = np.isnan(here), np.isnan(there)
    allowed = RELATIVE * np.maximum(1.0, np.abs(here))
    apart = np.abs(np.where(unknown, 0.0, here) - np.where(not_there, 0.0, there)) > allowed
    different: NDArray[np.bool_] = (unknown != not_there) | (apart & ~unknown)
    return different
