"""What a report shows of an evaluation: curves, tables and their uncertainty, as plain numbers.

Pure. Uncertainty is that of the parts: whole parts are drawn anew, for the rows of one part are no news to each other.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import pyarrow as pa

from forewarn.predict.base import Floats
from forewarn.predict.evaluate import (
    MOVED_SHARE,
    Flags,
    Judged,
    Numbers,
    alarms_by_part,
    average_precision,
    brier_skill,
    expected_calibration_error,
    precision_recall,
    thresholds_of,
)
from forewarn.predict.fitting import numbered
from forewarn.predict.scored import Evaluation, judged

RATES = (0.5, 1.0, 2.0, 5.0, 10.0)  # alarms per 1,000 devices and week at which recall is told
LEADS = {"1 h": timedelta(hours=1), "1 d": timedelta(days=1), "3 d": timedelta(days=3), "7 d": timedelta(days=7)}
WARNED_WITHIN = timedelta(days=30)  # an alarm longer before a failure than this did not foretell it
DRAWS = 200
POINTS = 300
BINS = 12
FAMILIES_MAX = 15
_WEEK_S = 604_800.0
_Z95 = 1.959963984540054


@dataclass(frozen=True)
class Estimate:
    """A measure with its 95 % interval; NaN where there was nothing to measure it on."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Curve:
    """Points of a line, in order."""

    x: tuple[float, ...]
    y: tuple[float, ...]


@dataclass(frozen=True)
class Group:
    """Some of the rows: a family or a month."""

    name: str
    rows: int
    failures: int
    base_rate: float
    average_precision: float
    brier_skill: float
    ece: float


@dataclass(frozen=True)
class Lead:
    """At one rate of alarms: of the failures, the share that was warned of so long before."""

    rate: float
    threshold: float
    precision: float  # of the parts that alarm, the share of which one alarm was right
    recall: tuple[float, ...]  # in the order of LEADS


@dataclass(frozen=True)
class Reliability:
    """In bins of equally many rows: what was forecast, what was seen, and its 95 % interval."""

    forecast: tuple[float, ...]
    seen: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True)
class Alarms:
    """At each threshold, from the highest down: parts that alarm (per 1,000 and week) and the share that failed."""

    threshold: tuple[float, ...]
    per_1000: tuple[float, ...]
    precision: tuple[float, ...]


@dataclass(frozen=True)
class Figures:
    """All that is shown of one model."""

    estimates: dict[str, Estimate]
    precision_by_recall: Curve
    alarms: Alarms
    leads: tuple[Lead, ...]  # none where the recording knows no time
    reliability: Reliability
    families: tuple[Group, ...]
    months: tuple[Group, ...]


def figures(found: Evaluation, seed: int = 7) -> Figures:
    """Everything of one evaluation."""
    rows = judged(found.scored, found.horizon)
    known = found.scored.filter(found.scored.column("judged"))
    timed = "time" in known.column_names
    return Figures(
        estimates=_estimates(rows, seed),
        precision_by_recall=_precision_by_recall(rows),
        alarms=_alarms(rows, _device_weeks(known) if timed else float(len(rows.failed))),
        leads=_leads(rows, known) if timed else (),
        reliability=_reliability(rows),
        families=_families(rows, known),
        months=_months(rows) if timed else (),
    )


def _estimates(rows: Judged, seed: int) -> dict[str, Estimate]:
    """Each measure with the 2.5 % and 97.5 % points over drawn sets of parts."""
    random = np.random.default_rng(seed)
    parts, place = np.unique(rows.part, return_inverse=True)
    drawn = Drawn(rows, place)
    measures: dict[str, Callable[[Floats], float]] = {
        "average precision": drawn.average_precision,
        "ROC AUC": drawn.roc_auc,
        "Brier skill": drawn.brier_skill,
        "log-loss skill": drawn.log_loss_skill,
        "VIRR at y = 0.1": drawn.virr,
    }
    ones = np.ones(len(parts))
    found = {name: measure(ones) for name, measure in measures.items()}
    again: dict[str, list[float]] = {name: [] for name in measures}
    for _ in range(DRAWS):
        weight = np.bincount(random.integers(0, len(parts), len(parts)), minlength=len(parts)).astype(np.float64)
        for name, measure in measures.items():
            again[name].append(measure(weight))
    return {name: _estimate(value, again[name]) for name, value in found.items()}


def _estimate(value: float, drawn: Sequence[float]) -> Estimate:
    known = [one for one in drawn if one == one]  # NaN alone differs from itself
    low, high = np.quantile(known, (0.025, 0.975)).tolist() if known else (np.nan, np.nan)
    return Estimate(value, low, high)


class Drawn:
    """Measures of rows whose parts have weights; what does not depend on them is computed once."""

    def __init__(self, rows: Judged, place: Numbers) -> None:
        self._place, self._rows = place, rows
        self._order = np.argsort(-rows.probability, kind="stable")
        ranked = rows.probability[self._order]
        self._last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
        self._failed = rows.failed.astype(np.float64)
        self._squares = (rows.probability - self._failed) ** 2
        self._said, self._reference = (self._surprise(p) for p in (rows.probability, rows.reference))
        self._highest, self._right = alarms_by_part(rows)
        self._thresholds = thresholds_of(self._highest, self._right)

    def _surprise(self, probability: Floats) -> Floats:
        surprise: Floats = -np.log(np.clip(np.where(self._rows.failed, probability, 1.0 - probability), 1e-12, 1.0))
        return surprise

    def _curve(self, weight: Floats) -> tuple[Floats, Floats]:
        """Weight of failures and of all rows above each threshold."""
        rows = weight[self._place][self._order]
        return np.cumsum(rows * self._failed[self._order])[self._last], np.cumsum(rows)[self._last]

    def average_precision(self, weight: Floats) -> float:
        hits, alarms = self._curve(weight)
        if not hits[-1]:
            return np.nan
        precision = hits / np.maximum(alarms, 1e-300)
        return float((np.diff(hits, prepend=0.0) * precision).sum() / hits[-1])

    def roc_auc(self, weight: Floats) -> float:
        hits, alarms = self._curve(weight)
        misses = alarms - hits
        if not hits[-1] or not misses[-1]:
            return np.nan
        middle = hits - np.diff(hits, prepend=0.0) / 2.0
        return float((np.diff(misses, prepend=0.0) * middle).sum() / (hits[-1] * misses[-1]))

    def brier_skill(self, weight: Floats) -> float:
        rows = weight[self._place]
        rate = float(rows @ self._failed / rows.sum())
        return float(1.0 - rows @ self._squares / rows.sum() / (rate * (1.0 - rate))) if 0.0 < rate < 1.0 else np.nan

    def brier(self, weight: Floats) -> float:
        """The mean squared difference between what was said and what came."""
        rows = weight[self._place]
        return float(rows @ self._squares / rows.sum())

    def off_by(self, weight: Floats) -> float:
        """By which factor the expected number of failures is off from the one that came, as |ln|."""
        rows = weight[self._place]
        came, said = float(rows @ self._failed), float(rows @ self._rows.probability)
        return float(abs(np.log(max(said, 1e-12) / came))) if came else np.nan

    def log_loss_skill(self, weight: Floats) -> float:
        rows = weight[self._place]
        before = float(rows @ self._reference)
        return float(1.0 - rows @ self._said / before) if rows @ self._failed else np.nan

    def virr(self, weight: Floats) -> float:
        fails = self._right >= 0.0
        if not weight @ fails:
            return np.nan
        hits, alarms = (_above(values, weight, self._thresholds) for values in (self._right, self._highest))
        precision = hits / np.maximum(alarms, 1e-300)
        worth = hits / (weight @ fails) * (1.0 - MOVED_SHARE / np.maximum(precision, 1e-300))
        return float(max(0.0, worth[precision > MOVED_SHARE].max(initial=0.0)))


def _above(values: Floats, weight: Floats, thresholds: Floats) -> Floats:
    """The weight of the values at or above each threshold."""
    order = np.argsort(-values, kind="stable")
    sums = np.concatenate(([0.0], np.cumsum(weight[order])))
    above: Floats = sums[np.searchsorted(-values[order], -thresholds, side="right")]
    return above


def _precision_by_recall(rows: Judged) -> Curve:
    precision, recall = precision_recall(rows.probability, rows.failed)
    chosen = _spread(recall)
    return Curve(tuple(recall[chosen].tolist()), tuple(precision[chosen].tolist()))


def _spread(rising: Floats) -> Numbers:
    """At most POINTS places of a rising row of values, spread over their range."""
    if len(rising) <= POINTS:
        return np.arange(len(rising))
    wanted = np.linspace(rising[0], rising[-1], POINTS)
    return np.unique(np.append(np.minimum(np.searchsorted(rising, wanted), len(rising) - 1), len(rising) - 1))


def _device_weeks(known: pa.Table) -> float:
    times = np.unique(known.column("time").cast(pa.int64()).to_numpy())
    step_s = float(np.diff(times).min()) / 1e6 if len(times) > 1 else _WEEK_S
    return known.num_rows * step_s / _WEEK_S


def _alarms(rows: Judged, device_weeks: float) -> Alarms:
    """Only a part's first alarm counts; it is right if one of its rows above the threshold fails within the horizon."""
    highest, right = alarms_by_part(rows)
    thresholds, ones = thresholds_of(highest, right), np.ones(len(highest))
    hits, parts = (_above(values, ones, thresholds) for values in (right, highest))
    per_1000 = parts / max(device_weeks, 1e-300) * 1000.0
    chosen = _spread(np.log(per_1000)) if len(thresholds) else np.empty(0, np.int64)
    return Alarms(*(tuple(values[chosen].tolist()) for values in (thresholds, per_1000, hits / np.maximum(parts, 1.0))))


def _leads(rows: Judged, known: pa.Table) -> tuple[Lead, ...]:
    """For each rate of alarms, how early failures were warned of: a failure is a part and when it failed."""
    weeks = _device_weeks(known)
    after = known.column("failed_after_s").to_numpy()
    highest, right = alarms_by_part(rows)
    ranked = np.sort(highest)[::-1]
    near = after <= WARNED_WITHIN.total_seconds()
    seconds = known.column("time").cast(pa.int64()).to_numpy()[near] / 1e6 + after[near]
    _, moment = np.unique(np.round(seconds), return_inverse=True)
    event = rows.part[near] * (len(near) + 1) + moment
    found = []
    for rate in RATES:
        allowed = min(int(rate * weeks / 1000.0), len(ranked) - 1)
        warned = rows.probability[near] > ranked[allowed]
        shares = [_share_warned(event, warned & (after[near] >= lead.total_seconds())) for lead in LEADS.values()]
        alarms = int((highest > ranked[allowed]).sum())
        precision = float((right > ranked[allowed]).sum()) / alarms if alarms else np.nan
        found.append(Lead(rate, float(ranked[allowed]), precision, tuple(shares)))
    return tuple(found)


def _share_warned(event: Numbers, warned: Flags) -> float:
    events = len(np.unique(event))
    return len(np.unique(event[warned])) / events if events else float("nan")


def _reliability(rows: Judged) -> Reliability:
    """Bins hold equally many failures, as far as there are enough, so that the risky end is not one bin."""
    order = np.argsort(rows.probability, kind="stable")
    failures = np.cumsum(rows.failed[order])
    total = int(failures[-1]) if len(failures) else 0
    cuts = np.searchsorted(failures, np.arange(1, BINS) * total / BINS) + 1 if total >= BINS else np.empty(0, np.int64)
    bins = [one for one in np.split(order, np.unique(cuts[cuts < len(order)])) if len(one)]
    forecast = [float(rows.probability[one].mean()) for one in bins]
    seen = [float(rows.failed[one].mean()) for one in bins]
    ends = [_wilson(rows.failed[one], rows.part[one]) for one in bins]
    low, high = (tuple(end[side] for end in ends) for side in (0, 1))
    return Reliability(tuple(forecast), tuple(seen), low, high)


def _wilson(failed: Flags, part: Numbers) -> tuple[float, float]:
    """Wilson's 95 % interval, as if each failed part were one trial that counts for its rows."""
    failures = int(failed.sum())
    per_part = max(1.0, failures / max(1, len(np.unique(part[failed]))))
    trials, rate = len(failed) / per_part, failures / len(failed)
    middle = (rate + _Z95**2 / (2 * trials)) / (1 + _Z95**2 / trials)
    reach = _Z95 / (1 + _Z95**2 / trials) * float(np.sqrt(rate * (1 - rate) / trials + _Z95**2 / (4 * trials**2)))
    return max(0.0, min(rate, middle - reach)), min(1.0, max(rate, middle + reach))


def _families(rows: Judged, known: pa.Table) -> tuple[Group, ...]:
    """The families with most rows; the rest together."""
    number = numbered(known.column("family").chunks)
    names = [str(name) for name in known.column("family").unique().to_pylist()]
    if len(names) < 2:
        return ()
    largest = np.argsort(-np.bincount(number, minlength=len(names)), kind="stable")
    shown, rest = largest[:FAMILIES_MAX], largest[FAMILIES_MAX:]
    groups = [_group(names[one] or "not told", rows, number == one) for one in shown]
    return (*groups, _group(f"{len(rest)} others", rows, np.isin(number, rest))) if len(rest) else tuple(groups)


def _months(rows: Judged) -> tuple[Group, ...]:
    return tuple(
        _group(str(np.datetime64(int(month), "M")), rows, rows.month == month) for month in np.unique(rows.month)
    )


def _group(name: str, rows: Judged, chosen: Flags) -> Group:
    probability, failed = rows.probability[chosen], rows.failed[chosen]
    return Group(
        name=name,
        rows=len(failed),
        failures=int(failed.sum()),
        base_rate=float(failed.mean()) if len(failed) else np.nan,
        average_precision=average_precision(probability, failed),
        brier_skill=brier_skill(probability, failed),
        ece=expected_calibration_error(probability, failed),
    )
