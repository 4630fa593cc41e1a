"""What a frame adds to the stored features, over all its rows at once."""

from datetime import timedelta
from typing import Any

import pyarrow as pa
import pytest

from forewarn.domain.feature import Aggregate, Catalog, DerivedFeature, Feature, Formula
from forewarn.domain.inventory import Kind
from forewarn.errors import FrameError
from forewarn.features import frame
from forewarn.store.base import FRAME_KEYS
from tests.telemetry import NOON


def catalog(*derived: DerivedFeature) -> Catalog:
    stored = tuple(Feature(name, Kind.DISK, name, Aggregate.LAST) for name in ("a", "b"))
    return Catalog((), stored, derived)


def derive(formula: Formula, *inputs: str, name: str = "found") -> DerivedFeature:
    return DerivedFeature(name, Kind.DISK, formula, inputs)


def stored(
    a: list[float | None], b: list[float | None] | None = None, models: list[str] | None = None, days: int = 1
) -> pa.Table:
    size = len(a)
    keys: dict[str, list[Any]] = {
        "time": [NOON + timedelta(days=number % days) for number in range(size)],
        "component": [f"disk:{number}" for number in range(size)],
        "host": ["h"] * size,
        "device": ["d"] * size,
        "model": models or ["M"] * size,
        "a": a,
        "b": b or [None] * size,
    }
    return pa.Table.from_pydict(keys, schema=pa.schema([*FRAME_KEYS, ("a", pa.float64()), ("b", pa.float64())]))


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        (Formula.DIFFERENCE, [4.0, 6.0, None, None]),
        (Formula.RATIO, [3.0, None, None, None]),
        (Formula.SHARE, [0.75, 1.0, None, None]),
        (Formula.HIGHEST, [6.0, 6.0, 1.0, 2.0]),
        (Formula.AGED, [6.0 + 2.0 / 3600, 6.0, None, None]),
    ],
)
def test_a_formula_gives_a_value_where_all_its_inputs_have_one(formula: Formula, expected: list[float | None]) -> None:
    found = frame.build(
        stored([6.0, 6.0, None, 2.0], [2.0, 0.0, 1.0, None]), catalog(derive(formula, "a", "b")), Kind.DISK
    )
    assert found.column("found").to_pylist() == expected


def test_a_share_of_nothing_is_missing() -> None:
    found = frame.build(stored([0.0], [0.0]), catalog(derive(Formula.SHARE, "a", "b")), Kind.DISK)
    assert found.column("found").to_pylist() == [None]


def test_a_derived_feature_can_be_derived_from_another() -> None:
    chain = (derive(Formula.DIFFERENCE, "a", "b", name="less"), derive(Formula.RATIO, "less", "b"))
    found = frame.build(stored([6.0], [2.0]), catalog(*chain), Kind.DISK)
    assert found.column("found").to_pylist() == [2.0]
    assert found.column_names == [*FRAME_KEYS.names, "a", "b", "less", "found"]


def test_the_rank_is_the_share_of_lower_peers_with_ties_half() -> None:
    found = frame.build(stored([1.0, 3.0, 3.0, 9.0]), catalog(derive(Formula.PEER_RANK, "a")), Kind.DISK)
    assert found.column("found").to_pylist() == [0.125, 0.5, 0.5, 0.875]


def test_peers_are_those_of_the_same_model_and_time_whose_value_is_known() -> None:
    models = ["M", "N", "M", "N", "M", ""]
    found = frame.build(
        stored([1.0, 5.0, None, 4.0, 2.0, 7.0], models=models, days=2),
        catalog(derive(Formula.PEER_RANK, "a")),
        Kind.DISK,
    )
    # Even rows are of one day, odd ones of the next: of M 1 and 2 (one unknown), of N 5 and 4; one model is unknown.
    assert found.column("found").to_pylist() == [0.25, 0.75, None, 0.25, 0.75, None]


def test_several_ranks_of_a_frame_are_each_among_their_own_values() -> None:
    ranks = (derive(Formula.PEER_RANK, "a", name="of_a"), derive(Formula.PEER_RANK, "b", name="of_b"))
    found = frame.build(stored([1.0, 2.0], [8.0, 7.0]), catalog(*ranks), Kind.DISK)
    assert found.select(["of_a", "of_b"]).to_pylist() == [{"of_a": 0.25, "of_b": 0.75}, {"of_a": 0.75, "of_b": 0.25}]


def test_ranks_of_nothing_are_nothing() -> None:
    none = frame.build(stored([]), catalog(derive(Formula.PEER_RANK, "a")), Kind.DISK)
    assert none.column("found").to_pylist() == []
    unknown = frame.build(stored([None, None]), catalog(derive(Formula.PEER_RANK, "a")), Kind.DISK)
    assert unknown.column("found").to_pylist() == [None, None]


def test_a_frame_without_a_stored_column_is_refused_by_name() -> None:
    with pytest.raises(FrameError, match="lacks the columns b"):
        frame.build(stored([1.0]).drop_columns(["b"]), catalog(), Kind.DISK)


def test_a_derived_feature_of_an_unknown_column_is_refused_by_name() -> None:
    with pytest.raises(FrameError, match="the column nowhere"):
        frame.build(stored([1.0]), catalog(derive(Formula.DIFFERENCE, "a", "nowhere")), Kind.DISK)


def test_the_share_of_peers_above_nothing_is_that_of_the_model_and_missing_where_peers_are_few() -> None:
    many, few = frame.PEERS_MIN, frame.PEERS_MIN - 1
    values: list[float | None] = [1.0] * 5 + [0.0] * (many - 5) + [1.0] * few + [None]
    table = stored(values, models=["M"] * many + ["N"] * few + ["M"])
    found = frame.build(table, catalog(derive(Formula.PEER_SHARE, "a")), Kind.DISK).column("found").to_pylist()
    assert found == [5 / many] * many + [None] * (few + 1)


def test_a_catalogue_is_narrowed_to_what_some_columns_need() -> None:
    whole = catalog(derive(Formula.DIFFERENCE, "a", "b"), derive(Formula.PEER_RANK, "b", name="other"))
    assert whole.narrowed(Kind.DISK, ["found"]).names(Kind.DISK) == ("a", "b", "found")
    assert whole.narrowed(Kind.DISK, ["other"]).names(Kind.DISK) == ("b", "other")
    with pytest.raises(KeyError, match="absent"):
        whole.narrowed(Kind.DISK, ["absent"])
