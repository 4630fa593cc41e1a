"""The embedded store keeps the contract, and the check finds stores that do not."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pytest

from forewarn.domain.feature import Catalog
from forewarn.domain.inventory import Kind
from forewarn.errors import TelemetryError
from forewarn.store.base import Batch
from forewarn.store.duckdb import DuckDBStore
from forewarn.testing import check_store


def test_the_embedded_store_keeps_the_contract_in_memory_and_in_a_file(tmp_path: Path) -> None:
    paths: list[Path | None] = [None, *(tmp_path / f"{number}.duckdb" for number in range(10))]
    made: list[DuckDBStore] = []

    def in_memory() -> DuckDBStore:
        made.append(DuckDBStore(None))
        return made[-1]

    def in_a_file() -> DuckDBStore:
        made.append(DuckDBStore(paths.pop()))
        return made[-1]

    check_store(in_memory)
    check_store(in_a_file)
    assert len(made) == 10


class Wrong(DuckDBStore):
    """An embedded store with room for one mistake."""

    def __init__(self) -> None:
        super().__init__(None)


class CountsNothing(Wrong):
    def append(self, batch: Batch) -> int:
        return super().append(batch) * 0


class KeepsTheFirst(Wrong):
    """Takes a component's first batch alone."""

    def append(self, batch: Batch) -> int:
        known = self.devices(Kind.DISK).num_rows
        return batch.samples.num_rows if known else super().append(batch)


class ForgetsWeights(Wrong):
    def append(self, batch: Batch) -> int:
        return super().append(replace(batch, weights=None))


class ClosedInterval(Wrong):
    def series(self, component: str, metric: str, start: datetime, end: datetime) -> pa.Table:
        return super().series(component, metric, start.replace(hour=0), end)


class NamesAnyDevice(Wrong):
    def devices(self, kind: Kind | None = None) -> pa.Table:
        return super().devices(Kind.DISK if kind is not None else None)


class ForgetsDevices(Wrong):
    def devices(self, kind: Kind | None = None) -> pa.Table:
        return super().devices(kind).slice(0, 0)


class Answers(Wrong):
    """A store whose frames are changed on the way out."""

    change: Callable[[pa.Table], pa.Table]

    def features(self, catalog: Catalog, kind: Kind, at: Sequence[datetime] | pa.Table) -> pa.Table:
        return type(self).change(super().features(catalog, kind, at))


class DropsColumns(Answers):
    change = staticmethod(lambda frame: frame.drop_columns(["model"]))


class DoublesRows(Answers):
    change = staticmethod(lambda frame: pa.concat_tables([frame, frame]))


class Reorders(Answers):
    change = staticmethod(lambda frame: frame.take(list(reversed(range(frame.num_rows)))))


class HoldsForEver(Answers):
    change = staticmethod(
        lambda frame: frame.set_column(5, frame.column_names[5], pa.array([41.0, 40.0][: frame.num_rows], pa.float64()))
    )


class TakesAnything(Wrong):
    def append(self, batch: Batch) -> int:
        try:
            return super().append(batch)
        except TelemetryError:
            return 0


WRONG: dict[type[Wrong], str] = {
    CountsNothing: "append did not return the number of samples taken",
    KeepsTheFirst: "after 44.0 of weight None the sample should be 44.0, it is 40.0",
    ForgetsWeights: "after -1.0 of weight 4 the sample should be 70.0, it is -1.0",
    ClosedInterval: "should be [42.0, 41.0]",
    NamesAnyDevice: "a disk is told among the CPUs",
    ForgetsDevices: "the one device should be disk:A",
    DropsColumns: "the frame's columns are",
    DoublesRows: "last and highest value should be",
    Reorders: "asked rows come in their order",
    HoldsForEver: "a value past its hold limit is missing",
    TakesAnything: "append took samples of another shape",
}


@pytest.mark.parametrize(("wrong", "words"), WRONG.items(), ids=[wrong.__name__ for wrong in WRONG])
def test_the_check_finds_a_store_that_breaks_the_contract(wrong: type[Wrong], words: str) -> None:
    with pytest.raises(AssertionError) as found:
        check_store(wrong)
    assert words in str(found.value)
