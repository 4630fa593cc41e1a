"""Samples as columns are the same samples."""

from forewarn.domain.telemetry import Sample, Series, Shown
from tests.telemetry import NOON


def test_columns_are_read_as_the_samples_that_they_hold() -> None:
    up, load = Series("up", {"instance": "host03"}), Series("load", {})
    shown = Shown([up, load, up], [NOON, None, NOON], [1.0, 0.5, 0.0])
    assert len(shown) == 3
    assert list(shown) == [
        Sample("up", {"instance": "host03"}, 1.0, NOON),
        Sample("load", {}, 0.5, None),
        Sample("up", {"instance": "host03"}, 0.0, NOON),
    ]
    assert list(shown.taken([2, 0])) == [shown.sample(2), shown.sample(0)]
