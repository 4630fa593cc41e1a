"""Forecasts from rules: signs that a part shows, a probability for each, and where that number comes from.

For parts without recorded failures to learn from, and for signs that a learned model does not know. A part without any
sign has the base rate of its kind; each sign adds a hazard of its own, and independent signs combine. The table stands
in `rule_table.py`; here is only how it is read, for all rows of a frame at once.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from forewarn.domain.feature import Feature
from forewarn.domain.inventory import Kind
from forewarn.domain.risk import HORIZONS, FailureForecast, Reason
from forewarn.features.catalog import CATALOG
from forewarn.predict.base import Curves, Floats
from forewarn.predict.explain import window_in_words
from forewarn.predict.rule_table import ACT, BASES, EXCUSES, ODDS_FACTOR, SIGNS, TELLING
from forewarn.predict.rule_terms import Comparison, Excuse, Grade, Sign

MONTH_S = HORIZONS[-1].total_seconds()
YEAR_S = timedelta(days=365.25).total_seconds()
HORIZONS_S: Floats = np.array([horizon.total_seconds() for horizon in HORIZONS])
WEEK = HORIZONS.index(timedelta(days=7))
REASONS = 3
EPOCH = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True)
class Shown:
    """The signs that rows show: P(failure) from them alone, (rows, 6), and the reasons of each row that shows any."""

    probabilities: Floats
    reasons: Mapping[int, tuple[Reason, ...]]
    excused: NDArray[np.bool_]  # (rows,): something outside of the part explains what it shows


def usual(kind: Kind, horizon: timedelta) -> float:
    """P(failure within `horizon`) of a part of `kind` of which nothing is known: the table's base rate.

    >>> round(usual(Kind.DISK, timedelta(days=365)), 3)
    0.02
    """
    return float(1.0 - (1.0 - BASES[kind].per_year) ** (horizon.total_seconds() / YEAR_S))


class RulePredictor:
    """Forecasts parts of one kind by the table of rules.

    >>> round(RulePredictor(Kind.MEMORY).threshold(timedelta(days=30)), 3)
    0.1
    """

    name = "rules"
    learned_from = "rules"

    def __init__(self, kind: Kind, signs: Sequence[Sign] | None = None) -> None:
        """Read all signs of `kind`, or only those given."""
        self.kind = kind
        self._signs = tuple(sign for sign in SIGNS if sign.kind == kind) if signs is None else tuple(signs)
        self._shapes = tuple(_shapes(sign) for sign in self._signs)
        self._base = _even(1.0 - (1.0 - BASES[kind].per_year) ** (MONTH_S / YEAR_S), HORIZONS_S)
        self._texts = {feature.name: _text(feature) for feature in CATALOG.stored(kind)}
        self._texts |= {feature.name: feature.text for feature in CATALOG.computed(kind)}

    def threshold(self, horizon: timedelta) -> float:
        """The risk from which on VMs should leave: the table's own step between looking and acting."""
        return float(_even(ACT, np.array([horizon.total_seconds()]))[0])

    def curves(self, frame: pa.Table) -> Curves:
        """P(failure within each horizon) for every row, with its low and high value."""
        return self._curves(frame, self._by_sign(frame))

    def shown(self, frame: pa.Table) -> Shown:
        """What the signs alone say, without the base rate."""
        by_sign = self._by_sign(frame)
        survival = self._survival(by_sign, frame.num_rows) / (1.0 - self._base)
        return Shown(1.0 - survival, self._reasons(frame, by_sign), self._excused(frame))

    def forecast(self, frame: pa.Table) -> tuple[FailureForecast, ...]:
        """A forecast per row, with the signs that raise it, or with what is missing to make one."""
        by_sign = self._by_sign(frame)
        curves, reasons, look_at = self._curves(frame, by_sign), self._reasons(frame, by_sign), self._look_at(frame)
        keys = [frame.column(name).to_pylist() for name in ("component", "host", "device", "time")]
        numbers = [array.tolist() for array in (curves.probabilities, curves.low, curves.high)]
        silent = FailureForecast("", self.kind, "", "", EPOCH, model=self.name, learned_from=self.learned_from)
        made = []
        for row, (component, host, device, time) in enumerate(zip(*keys, strict=True)):
            of_row = replace(silent, component=component, host=host, device=device, time=time)
            of_row = replace(of_row, look_at=look_at.get(row, "").format(device=device))
            if curves.unknown[row]:
                made.append(replace(of_row, unknown_because=self._missing()))
                continue
            probabilities, low, high = (tuple(values[row]) for values in numbers)
            why = reasons.get(row, self._no_sign())
            made.append(replace(of_row, probabilities=probabilities, low=low, high=high, reasons=why))
        return tuple(made)

    def _by_sign(self, frame: pa.Table) -> list[Floats]:
        """Per sign, rows by horizons: P(failure) for this sign alone, 0 where a row does not show it."""
        return [shape[_grade(sign, frame)] for sign, shape in zip(self._signs, self._shapes, strict=True)]

    def _curves(self, frame: pa.Table, by_sign: list[Floats]) -> Curves:
        probabilities = 1.0 - self._survival(by_sign, frame.num_rows)
        low, high = odds_times(probabilities, 1.0 / ODDS_FACTOR), odds_times(probabilities, ODDS_FACTOR)
        silent = [np.isnan(_column(frame, feature)) for feature, _ in TELLING[self.kind]]
        return Curves(probabilities, low, high, np.logical_and.reduce(silent))

    def _survival(self, by_sign: list[Floats], rows: int) -> Floats:
        worst: dict[str, Floats] = {}
        for sign, probabilities in zip(self._signs, by_sign, strict=True):
            worst[sign.family] = np.maximum(worst.get(sign.family, 0.0), probabilities)
        survival: Floats = np.broadcast_to(1.0 - self._base, (rows, len(HORIZONS))).copy()
        for probabilities in worst.values():
            survival *= 1.0 - probabilities
        return survival

    def _reasons(self, frame: pa.Table, by_sign: list[Floats]) -> dict[int, tuple[Reason, ...]]:
        """Per row that shows a sign: what each sign adds to its risk within a week, the weightiest first."""
        survival = self._survival(by_sign, frame.num_rows)[:, WEEK]
        found: dict[int, list[Reason]] = {}
        for excuse in EXCUSES.get(self.kind, ()):
            for row in np.flatnonzero(_excuses(excuse, frame)).tolist():
                found.setdefault(row, [Reason(excuse.feature, excuse.reason, 0.0)])
        for number, (sign, probabilities) in enumerate(zip(self._signs, by_sign, strict=True)):
            rows = np.flatnonzero(probabilities[:, WEEK])
            if not len(rows):
                continue
            others = [p[rows] if i != number else np.zeros_like(p[rows]) for i, p in enumerate(by_sign)]
            without = self._survival(others, len(rows))[:, WEEK]
            values = _column(frame, sign.feature)
            for row, alone in zip(rows.tolist(), without.tolist(), strict=True):
                weight = log_odds(1.0 - survival[row]) - log_odds(1.0 - alone)
                text = self._texts[sign.feature].format(value=f"{values[row]:.4g}")
                found.setdefault(row, []).append(Reason(sign.feature, text, weight))
        return {row: tuple(sorted(all_, key=_weightiest)[:REASONS]) for row, all_ in found.items()}

    def _excused(self, frame: pa.Table) -> NDArray[np.bool_]:
        excused = np.zeros(frame.num_rows, dtype=np.bool_)
        for excuse in EXCUSES.get(self.kind, ()):
            excused |= _excuses(excuse, frame)
        return excused

    def _look_at(self, frame: pa.Table) -> dict[int, str]:
        """Per row whose excuse still holds: what a person should look at."""
        found: dict[int, str] = {}
        for excuse in EXCUSES.get(self.kind, ()):
            holds = _meets(_column(frame, excuse.now), excuse.comparison, excuse.limit)
            for row in np.flatnonzero(holds).tolist():
                found.setdefault(row, excuse.look_at)
        return found

    def _no_sign(self) -> tuple[Reason, ...]:
        share = BASES[self.kind].per_year
        return (Reason("", f"no sign of failure; {share:.2%} of such parts fail in a year", 0.0),)

    def _missing(self) -> str:
        words = list(dict.fromkeys(words for _, words in TELLING[self.kind]))
        return f"no {' and no '.join(words)}"


def acting(kind: Kind) -> tuple[Sign, ...]:
    """The signs of a kind without the grades that only say "look".

    These are what counts beside a learned model: its threshold is that of its own rate of alarms and lies below such
    grades, so that a single failed request would move VMs.
    """
    cut = (
        replace(sign, grades=tuple(grade for grade in sign.grades if grade.probability >= ACT))
        for sign in SIGNS
        if sign.kind == kind
    )
    return tuple(sign for sign in cut if sign.grades)


def _text(feature: Feature) -> str:
    """The catalogue's words for a feature, its window filled in."""
    return feature.text.format(value="{value}", window=window_in_words(feature.window))


def _even(probability_of_month: float, times_s: Floats) -> Floats:
    """P(failure within each time) at an even hazard that reaches this probability in 30 days."""
    return -np.expm1(math.log1p(-probability_of_month) * times_s / MONTH_S)


def _shapes(sign: Sign) -> Floats:
    """Grades by horizons: P(failure) of each grade of a sign; before them a row of zeros for "not shown"."""
    return np.array([np.zeros_like(HORIZONS_S), *(_shape(grade) for grade in sign.grades)])


def _shape(grade: Grade) -> Floats:
    if grade.half_life is None:
        return _even(grade.probability, HORIZONS_S)
    half_life_s = grade.half_life.total_seconds()
    reached = -np.expm1(-math.log(2.0) * HORIZONS_S / half_life_s)
    shape: Floats = grade.probability * reached / reached[-1]
    return shape


def _grade(sign: Sign, frame: pa.Table) -> NDArray[np.intp]:
    """Per row: the number of the worst grade reached, from 1; 0 where the sign is not shown or not known."""
    values = _column(frame, sign.feature)
    reached = np.zeros(len(values), dtype=np.intp)
    for number, grade in enumerate(sign.grades, start=1):
        reached[_meets(values, sign.comparison, grade.limit)] = number
    if sign.only_if:
        feature, comparison, limit = sign.only_if
        reached[~_meets(_column(frame, feature), comparison, limit)] = 0
    for excuse in sign.unless:
        reached[_excuses(excuse, frame)] = 0
    return reached


def _excuses(excuse: Excuse, frame: pa.Table) -> NDArray[np.bool_]:
    """Which rows an excuse holds for; a missing value excuses nothing."""
    return _meets(_column(frame, excuse.feature), excuse.comparison, excuse.limit)


def _meets(values: Floats, comparison: Comparison, limit: float) -> NDArray[np.bool_]:
    """Which values meet the comparison; a missing value meets none, an infinite one has no bits."""
    if comparison is Comparison.AT_LEAST:
        met = values >= limit
    elif comparison is Comparison.AT_MOST:
        met = values <= limit
    elif comparison is Comparison.NEAR_ZERO:
        met = np.abs(values) <= limit
    else:
        bits = np.nan_to_num(values, posinf=0.0, neginf=0.0).astype(np.int64)
        met = np.bitwise_and(bits, int(limit)) != 0
    return np.asarray(met, dtype=np.bool_)


def _column(frame: pa.Table, name: str) -> Floats:
    """A feature of every row, NaN where it is missing; a frame without the column misses it everywhere."""
    if frame.schema.get_field_index(name) < 0:
        return np.full(frame.num_rows, np.nan)
    return frame.column(name).to_numpy().astype(np.float64)


def odds_times(probabilities: Floats, factor: float) -> Floats:
    """The probabilities whose odds are `factor` times these."""
    return factor * probabilities / (1.0 - probabilities + factor * probabilities)


def log_odds(probability: float) -> float:
    """ln(p / (1 - p)), bounded where that is infinite."""
    bounded = min(max(probability, 1e-12), 1.0 - 1e-12)
    return math.log(bounded / (1.0 - bounded))


def _weightiest(reason: Reason) -> tuple[float, str]:
    return -reason.contribution, reason.feature
