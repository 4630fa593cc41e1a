"""A map from what a model says to what came true, fitted on rows that it has not seen."""

import numpy as np
import pytest
from numpy.typing import NDArray

from forewarn.predict.calibrate import Calibration, CalibrationSettings, calibrate

Floats = NDArray[np.float64]
ROWS = 200_000


def log_odds(probability: Floats) -> Floats:
    return np.log(probability / (1.0 - probability))


def probability(odds: Floats) -> Floats:
    return 1.0 / (1.0 + np.exp(-odds))


def made(bend: float, slope: float, intercept: float, middle: float = -5.0) -> tuple[Floats, Floats, Calibration]:
    """Raw probabilities, what they truly mean, and the calibration learned from one draw of outcomes."""
    random = np.random.default_rng(5)
    odds = random.normal(middle, 1.5, ROWS)
    true = probability(bend * odds * odds + slope * odds + intercept)
    raw = probability(odds)
    return raw, true, calibrate(raw, random.random(ROWS) < true, np.arange(ROWS))


@pytest.mark.parametrize(
    ("bend", "slope", "intercept"),
    [(0.0, 1.0, 0.0), (0.0, 0.6, -1.0), (0.0, 1.3, 1.5), (-0.07, 0.5, -0.2), (0.06, 1.4, 1.0)],
)
def test_a_map_that_bends_in_log_odds_is_found_again(bend: float, slope: float, intercept: float) -> None:
    raw, true, found = made(bend, slope, intercept)
    calibrated = found.apply(raw)
    for chosen in np.array_split(np.argsort(true), 10):
        assert calibrated[chosen].mean() == pytest.approx(true[chosen].mean(), rel=0.2, abs=2e-4)


@pytest.mark.parametrize(("bend", "slope", "intercept"), [(-0.07, 0.5, -0.2), (0.0, 0.6, -1.0), (-0.3, -1.0, -1.0)])
def test_the_order_of_the_parts_is_kept_even_far_from_what_was_seen(
    bend: float, slope: float, intercept: float
) -> None:
    _, _, found = made(bend, slope, intercept)
    asked = probability(np.linspace(-18.0, 18.0, 500))
    assert (np.diff(found.apply(asked)) >= 0.0).all()


def test_of_a_parabola_that_falls_where_rows_lie_only_the_line_is_believed() -> None:
    raw, _, found = made(-0.3, -1.0, -1.0, middle=-2.5)
    assert found.bend == 0.0
    assert found.slope > 0.0
    assert (np.diff(found.apply(np.sort(raw))) >= 0.0).all()


@pytest.mark.parametrize("seed", range(12))
def test_few_failures_do_not_flatten_the_risky_end(seed: int) -> None:
    random = np.random.default_rng(seed)
    raw = probability(random.normal(-7.0, 1.3, 20_000))
    found = calibrate(raw, random.random(20_000) < raw, np.arange(20_000))
    assert found.bend == 0.0
    assert found.apply(np.array([0.5]))[0] > 1.5 * found.apply(np.array([0.1]))[0]


def test_of_a_map_that_falls_only_the_level_is_believed() -> None:
    raw, true, found = made(0.0, -0.8, -7.0)
    assert (found.bend, found.slope) == (0.0, 1.0)
    assert found.apply(raw).mean() == pytest.approx(true.mean(), rel=0.1)


@pytest.mark.parametrize("outcome", [False, True])
def test_without_both_outcomes_there_is_no_map(outcome: bool) -> None:
    raw = np.linspace(0.01, 0.9, 50)
    found = calibrate(raw, np.full(50, outcome), np.arange(50))
    assert np.allclose(found.apply(raw), raw)


def test_intervals_hold_the_rate_and_narrow_with_what_was_seen() -> None:
    raw, true, found = made(0.0, 1.0, 0.0)
    low, high = found.interval(found.apply(raw))
    assert (low <= found.apply(raw) + 1e-12).all()
    assert (found.apply(raw) <= high + 1e-12).all()
    assert np.mean((low <= true) & (true <= high)) > 0.7
    few = calibrate(raw[:400], np.random.default_rng(1).random(400) < true[:400], np.arange(400), CalibrationSettings())
    few_low, few_high = few.interval(few.apply(raw))
    assert np.median(few_high / few_low) > np.median(high / low)
