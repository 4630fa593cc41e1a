"""Series are numbered in the order in which they come, and numbers of a refused batch are given again."""

import numpy as np
import pyarrow as pa

from forewarn.store.index import SeriesIndex


def column(*names: str) -> "pa.ChunkedArray[pa.StringScalar]":
    return pa.chunked_array([pa.array(names, pa.string())])


def test_a_series_keeps_its_number() -> None:
    index = SeriesIndex()
    assert index.number(column("a", "b", "a", "a"), column("x", "x", "y", "x")).tolist() == [0, 1, 2, 0]
    assert index.number(column("c", "b"), column("x", "x")).tolist() == [3, 1]
    components, metrics = index.named(np.array([2, 3]))
    assert (components.to_pylist(), metrics.to_pylist()) == (["a", "c"], ["y", "x"])


def test_numbers_of_a_refused_batch_are_given_again() -> None:
    index = SeriesIndex()
    index.number(column("a"), column("x"))
    index.number(column("b", "c"), column("x", "x"))
    index.forget_from(1)
    assert index.number(column("c"), column("x")).tolist() == [1]
    assert index.find(index.components.numbers(column("a", "b", "c"), new=False), "x").tolist() == [0, -1, 1]


def test_what_was_never_seen_has_no_series() -> None:
    index = SeriesIndex()
    index.number(column("a"), column("x"))
    assert index.find(np.array([0, -1, 99]), "x").tolist() == [0, -1, -1]
    assert index.find(np.array([0]), "y").tolist() == [-1]
