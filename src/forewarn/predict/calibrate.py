"""Calibration: what a model's probabilities meant on later time than it was fitted on, horizon by horizon.

The map from a raw to a calibrated probability is a parabola in log-odds (Platt's line and one term more), cut off where
it would fall, so it keeps the order of the drives and needs few failures. Bins of the calibrated probability say how
far that can be trusted: the 80 % interval of the rate of failure seen in each. Failures are counted by part, not by
row, for weekly rows of one failing drive are no news.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_Z80 = 1.2815515655446004  # the normal distribution's 90 % point: an 80 % interval leaves 10 % on either side
_TINY = 1e-9
_FAR = 500.0  # log-odds beyond which exp would overflow
_SMALL = 1e-7  # a step of a map's terms that is none
_BENT_FAILURES = 200  # failed rows below which a bend at the risky end would be chance
_GAIN_MIN = 4.0  # log-likelihood that a bend must gain
_RISE_MIN = 0.05  # log-odds by which a map must rise per raw log-odds to be believed

_Terms: TypeAlias = tuple[float, float, float]  # bend, slope, intercept


@dataclass(frozen=True)
class Calibration:
    """One horizon's map and its bins. `edges` split calibrated probabilities into `len(edges) + 1` bins."""

    bend: float  # of the square of the log-odds
    slope: float
    intercept: float
    edges: tuple[float, ...]
    low: tuple[float, ...]  # factor in odds from the calibrated probability to the interval's lower end, at most 1
    high: tuple[float, ...]  # likewise to its upper end, at least 1

    def apply(self, raw: Floats) -> Floats:
        """Calibrated probabilities."""
        return _mapped(_log_odds(raw), (self.bend, self.slope, self.intercept))

    def interval(self, calibrated: Floats) -> tuple[Floats, Floats]:
        """The low and high end of each probability's 80 % interval."""
        place = np.searchsorted(np.array(self.edges), calibrated, side="right")
        odds = _log_odds(calibrated)
        return (
            _probability(odds + np.log(np.array(self.low))[place]),
            _probability(odds + np.log(np.array(self.high))[place]),
        )


@dataclass(frozen=True)
class CalibrationSettings:
    """How a calibration is made."""

    bin_failures: int = 25
    """Failed parts per bin, at least; fewer make intervals that say nothing."""
    bins_max: int = 12
    """Number of bins, at most."""
    steps_max: int = 50
    """Newton steps, at most; it takes about eight."""
    prior_failures: float = 0.0
    """Failures' worth of belief that the trees are right already; the map is drawn towards none by so much. Above 0
    where the rows to calibrate on are few or say little of what comes, and the trees start from a rate that adapts."""


def calibrate(
    raw: Floats, failed: NDArray[np.bool_], part: NDArray[np.int64], settings: CalibrationSettings | None = None
) -> Calibration:
    """Fit the map and the bins of one horizon. `part` numbers the part of each row.

    Without any failure, or with nothing else, there is no map to fit: the probabilities stay as they are.
    """
    settings = settings or CalibrationSettings()
    terms = (0.0, 1.0, 0.0)
    if 0 < failed.sum() < len(failed):
        terms = _drawn(
            _fitted(_log_odds(raw), failed, settings.steps_max), float(failed.sum()), settings.prior_failures
        )
    calibrated = _mapped(_log_odds(raw), terms)
    edges = _edges(calibrated, failed, part, settings)
    low, high = _factors(calibrated, failed, part, edges)
    return Calibration(*terms, tuple(edges.tolist()), low, high)


def _drawn(terms: _Terms, failures: float, prior: float) -> _Terms:
    """The map drawn towards the one that changes nothing."""
    bend, slope, intercept = terms
    share = failures / (failures + prior)
    return share * bend, 1.0 + share * (slope - 1.0), share * intercept


def _mapped(odds: Floats, terms: _Terms) -> Floats:
    """Probabilities of log-odds under a map; past the vertex of a parabola all are as likely as at it."""
    bend, slope, intercept = terms
    if bend:
        vertex = -slope / (2.0 * bend)
        odds = np.minimum(odds, vertex) if bend < 0 else np.maximum(odds, vertex)
    return _probability(bend * odds * odds + slope * odds + intercept)


def _fitted(odds: Floats, failed: NDArray[np.bool_], steps_max: int) -> _Terms:
    """A parabola if much speaks for it, else a line if that rises, else the level alone."""
    _, slope, intercept = line = _likeliest(odds, failed, 2, steps_max)
    if failed.sum() >= _BENT_FAILURES:
        parabola = _likeliest(odds, failed, 3, steps_max)
        if _better(odds, failed, parabola, line):
            return parabola
    # A line that falls would turn the order of the drives around: then only the level is believed.
    return (0.0, slope, intercept) if slope > _RISE_MIN else (0.0, 1.0, _level(odds, float(failed.sum())))


def _better(odds: Floats, failed: NDArray[np.bool_], parabola: _Terms, line: _Terms) -> bool:
    """Whether nearly all rows lie where the parabola rises, and it is clearly likelier than the line."""
    bend, slope, _ = parabola
    reach = np.quantile(odds, 0.999 if bend < 0 else 0.001)
    losses = [_loss(b * odds * odds + s * odds + i, failed.astype(np.float64)) for b, s, i in (parabola, line)]
    return bool(2.0 * bend * reach + slope > _RISE_MIN and losses[1] - losses[0] > _GAIN_MIN)


def _likeliest(odds: Floats, failed: NDArray[np.bool_], size: int, steps_max: int) -> _Terms:
    """Bend, slope and intercept of most likelihood, by Newton's method; with `size` 2 there is no bend.

    Failures are drawn in a little, as Platt advises.
    """
    failures = float(failed.sum())
    target = np.where(failed, (failures + 1.0) / (failures + 2.0), 1.0 / (len(failed) - failures + 2.0))
    powers = np.stack([odds * odds, odds, np.ones_like(odds)][-size:], axis=1)
    terms = np.array([0.0, 1.0, 0.0][-size:])
    for _ in range(steps_max):
        probability = _probability(powers @ terms)
        gradient = powers.T @ (target - probability)
        hessian = (powers * (probability * (1.0 - probability))[:, None]).T @ powers
        step = np.linalg.solve(hessian + 1e-9 * np.eye(size), gradient)
        now = _loss(powers @ terms, target)
        while _loss(powers @ (terms + step), target) > now and np.abs(step).max() > _SMALL:
            step = step / 2.0
        terms = terms + step
        if np.abs(step).max() < _SMALL:
            break
    bend, slope, intercept = [0.0] * (3 - size) + terms.tolist()
    return bend, slope, intercept


def _loss(odds: Floats, target: Floats) -> float:
    """-ln of the likelihood of `target` under these log-odds."""
    return float((np.logaddexp(0.0, odds) - target * odds).sum())


def _level(odds: Floats, failures: float) -> float:
    """The shift at which the mean probability is the rate seen, by halving."""
    low, high = -20.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2.0
        low, high = (middle, high) if _probability(odds + middle).sum() < failures else (low, middle)
    return (low + high) / 2.0


def _edges(
    calibrated: Floats, failed: NDArray[np.bool_], part: NDArray[np.int64], settings: CalibrationSettings
) -> Floats:
    """Cuts between which equally many failed parts lie, each part at its riskiest row."""
    _, number = np.unique(part[failed], return_inverse=True)
    riskiest = np.zeros(number.max() + 1 if len(number) else 0)
    np.maximum.at(riskiest, number, calibrated[failed])
    bins = min(settings.bins_max, len(riskiest) // settings.bin_failures)
    if bins < 2:
        return np.empty(0)
    return np.unique(np.quantile(riskiest, np.arange(1, bins) / bins))


def _factors(
    calibrated: Floats, failed: NDArray[np.bool_], part: NDArray[np.int64], edges: Floats
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Per bin, how far in odds the 80 % interval of its rate reaches below and above what was forecast."""
    place = np.searchsorted(edges, calibrated, side="right")
    low, high = [], []
    for number in range(len(edges) + 1):
        chosen = place == number
        mean = float(calibrated[chosen].mean()) if chosen.any() else 0.0
        ends = _interval(failed[chosen], part[chosen])
        below, above = (float(np.exp(_log_odds(np.array(end)) - _log_odds(np.array(mean)))) for end in ends)
        low.append(min(1.0, below))
        high.append(max(1.0, above))
    return tuple(low), tuple(high)


def _interval(failed: NDArray[np.bool_], part: NDArray[np.int64]) -> tuple[float, float]:
    """Wilson's 80 % interval of the rate of failure, as if each failed part were one trial that counts for its rows."""
    rows, failures = len(failed), int(failed.sum())
    if rows == 0:
        return 0.0, 1.0
    per_part = max(1.0, failures / max(1, len(np.unique(part[failed]))))
    trials, rate = rows / per_part, failures / rows
    middle = (rate + _Z80**2 / (2 * trials)) / (1 + _Z80**2 / trials)
    reach = _Z80 / (1 + _Z80**2 / trials) * float(np.sqrt(rate * (1 - rate) / trials + _Z80**2 / (4 * trials**2)))
    return max(0.0, middle - reach), min(1.0, middle + reach)


def _log_odds(probability: Floats) -> Floats:
    bounded = np.clip(probability, _TINY, 1.0 - _TINY)
    odds: Floats = np.log(bounded) - np.log1p(-bounded)
    return odds


def _probability(log_odds: Floats) -> Floats:
    probability: Floats = 1.0 / (1.0 + np.exp(-np.maximum(log_odds, -_FAR)))
    return probability


def threshold(risk: Floats, part: NDArray[np.int64], alarms_per_1000_weeks: float, device_weeks: float) -> float:
    """The risk which at most that many parts per 1,000 and week ever cross: only a part's first alarm counts."""
    allowed = int(alarms_per_1000_weeks * device_weeks / 1000.0)
    _, number = np.unique(part, return_inverse=True)
    highest = np.zeros(number.max() + 1 if len(number) else 0)
    np.maximum.at(highest, number, risk)
    ranked: Sequence[float] = np.sort(highest)[::-1].tolist()
    return ranked[allowed] if allowed < len(ranked) else 0.0
