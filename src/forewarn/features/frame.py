"""What is computed on a feature frame from its own columns: change against oneself, ratios, rank among peers.

Pure: a table in, a wider table out. Stores compute the other features, wherever the samples lie. Everything here is
vectorized, because training frames have millions of rows.
"""

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from forewarn.domain.feature import Catalog, Formula
from forewarn.domain.inventory import Kind
from forewarn.errors import FrameError

_Column = NDArray[np.float64]

PEERS_MIN = 200  # devices of a model from which on one of them in trouble does not speak for all


def build(stored: pa.Table, catalog: Catalog, kind: Kind) -> pa.Table:
    """The frame of `kind`: the stored columns, and after them the derived ones in the catalogue's order.

    Raises FrameError where a column that the catalogue names is not there.
    """
    known = set(stored.column_names)
    missing = [f.name for f in catalog.stored(kind) if f.name not in known]
    if missing:
        raise FrameError(f"the {kind} frame lacks the columns {', '.join(missing)}: ask the store with this catalogue")
    columns: dict[str, _Column] = {}
    peers = _Peers(stored)
    among = {Formula.PEER_RANK: peers.rank, Formula.PEER_SHARE: peers.share}
    computed = catalog.computed(kind)
    for feature in computed:
        inputs = [_input(stored, columns, name) for name in feature.inputs]
        value = among[feature.formula](inputs[0]) if feature.formula in among else _FORMULAS[feature.formula](inputs)
        columns[feature.name] = value
    schema = pa.schema([*stored.schema, *(pa.field(feature.name, pa.float64()) for feature in computed)])
    return pa.table([*stored.columns, *(_nullable(columns[feature.name]) for feature in computed)], schema=schema)


def _input(stored: pa.Table, columns: dict[str, _Column], name: str) -> _Column:
    if name not in columns:
        if stored.schema.get_field_index(name) < 0:
            raise FrameError(f"a derived feature names the column {name}, which no feature before it has")
        columns[name] = stored.column(name).to_numpy().astype(np.float64)
    return columns[name]


def _nullable(values: _Column) -> pa.DoubleArray:
    return pa.array(values, pa.float64(), mask=np.isnan(values))


def _difference(inputs: Sequence[_Column]) -> _Column:
    return inputs[0] - inputs[1]


def _ratio(inputs: Sequence[_Column]) -> _Column:
    above, below = inputs[0], inputs[1]
    return np.divide(above, below, out=np.full_like(above, np.nan), where=below != 0)


def _share(inputs: Sequence[_Column]) -> _Column:
    return _ratio((inputs[0], inputs[0] + inputs[1]))


def _highest(inputs: Sequence[_Column]) -> _Column:
    highest: _Column = np.fmax.reduce(inputs)
    return highest


def _aged(inputs: Sequence[_Column]) -> _Column:
    return inputs[0] + inputs[1] / 3600.0


_FORMULAS: dict[Formula, Callable[[Sequence[_Column]], _Column]] = {
    Formula.DIFFERENCE: _difference,
    Formula.RATIO: _ratio,
    Formula.SHARE: _share,
    Formula.HIGHEST: _highest,
    Formula.AGED: _aged,
}


class _Peers:
    """Compares values among the rows of the same time and model. A row whose model is not known has no peers."""

    def __init__(self, frame: pa.Table) -> None:
        self._frame = frame
        self._groups: NDArray[np.int64] | None = None

    def rank(self, values: _Column) -> _Column:
        """The share of peers with a lower value, the row itself and its ties counted half."""
        ranks = np.full(len(values), np.nan)
        rows = self._known(values)
        if len(rows) == 0:
            return ranks
        rows = rows[np.lexsort((values[rows], self.groups[rows]))]
        group, value = self.groups[rows], values[rows]
        new_group = np.r_[True, group[1:] != group[:-1]]
        first, size = _runs(new_group)
        first_tie, ties = _runs(new_group | np.r_[True, value[1:] != value[:-1]])
        ranks[rows] = (first_tie - first + ties / 2.0) / size
        return ranks

    def share(self, values: _Column) -> _Column:
        """The share of peers with a value above 0, the row itself among them: how the model fares as a whole."""
        shares = np.full(len(values), np.nan)
        rows = self._known(values)
        _, group = np.unique(self.groups[rows], return_inverse=True)
        size = np.bincount(group)
        share = np.bincount(group, weights=values[rows] > 0) / np.maximum(size, 1)
        shares[rows] = np.where(size >= PEERS_MIN, share, np.nan)[group]
        return shares

    def _known(self, values: _Column) -> NDArray[np.int64]:
        return np.flatnonzero((self.groups >= 0) & ~np.isnan(values))

    @property
    def groups(self) -> NDArray[np.int64]:
        if self._groups is None:
            self._groups = _groups(self._frame)
        return self._groups


def _runs(starts: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each position, where its run begins and how long it is."""
    first = np.flatnonzero(starts)
    length = np.diff(np.r_[first, len(starts)])
    return np.repeat(first, length), np.repeat(length, length)


def _groups(frame: pa.Table) -> NDArray[np.int64]:
    """One number per (time, model), and -1 where the model is not known."""
    model = frame.column("model").combine_chunks().fill_null("").dictionary_encode()
    names = model.dictionary.to_pylist()
    codes = model.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    _, times = np.unique(frame.column("time").cast(pa.int64()).to_numpy(), return_inverse=True)
    groups = times.astype(np.int64) * max(1, len(names)) + codes
    if "" in names:
        groups[codes == names.index("")] = -1
    return groups
