"""A learned model beside the signs that it never saw.

A model knows only what its recording held: drives recorded day by day know no failed requests of the last hour and no
NVMe warnings. Signs of the rule table that look at other metrics are hazards of their own and add to the model's
curve; signs that look at metrics which the model has weighed already say nothing new and are left out.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pyarrow as pa

from forewarn.domain.feature import Catalog
from forewarn.domain.risk import FailureForecast, Reason
from forewarn.predict.base import Curves, Floats
from forewarn.predict.rule_table import ODDS_FACTOR, SIGNS, Sign
from forewarn.predict.rules import RulePredictor, odds_times
from forewarn.predict.trees import REASONS, TreesPredictor


class JointPredictor:
    """Trees for what they learned, signs for the rest; unknown where the trees are, for they carry the base rate."""

    def __init__(self, trees: TreesPredictor, catalog: Catalog) -> None:
        self.trees = trees
        self.kind, self.name = trees.kind, trees.name
        self.signs = unseen_signs(trees, catalog)
        self.learned_from = f"{trees.learned_from}; and rules" if self.signs else trees.learned_from
        self._rules = RulePredictor(trees.kind, self.signs)

    def threshold(self, horizon: timedelta) -> float | None:
        return self.trees.threshold(horizon)

    def curves(self, frame: pa.Table) -> Curves:
        """The curves of all rows, signs included."""
        learned, shown = self.trees.curves(frame), self._rules.shown(frame).probabilities
        return Curves(
            _either(learned.probabilities, shown),
            _either(learned.low, odds_times(shown, 1.0 / ODDS_FACTOR)),
            _either(learned.high, odds_times(shown, ODDS_FACTOR)),
            learned.unknown,
        )

    def forecast(self, frame: pa.Table) -> tuple[FailureForecast, ...]:
        """One forecast per row; the weightiest reasons of both."""
        shown = self._rules.shown(frame)
        learned = self.trees.forecast(frame)
        if not shown.reasons:
            return learned
        curves = self.curves(frame)
        numbers = [array.tolist() for array in (curves.probabilities, curves.low, curves.high)]
        made = list(learned)
        for row, reasons in shown.reasons.items():
            if not made[row].unknown:
                likely, low, high = (tuple(values[row]) for values in numbers)
                joined = _weightiest((*made[row].reasons, *reasons))
                made[row] = replace(
                    made[row],
                    probabilities=likely,
                    low=low,
                    high=high,
                    reasons=joined,
                    model=f"{self.name} and rules",
                    learned_from=self.learned_from,
                )
        return tuple(made)


def unseen_signs(trees: TreesPredictor, catalog: Catalog) -> tuple[Sign, ...]:
    """The signs of the trees' kind that look at a metric of which the trees know no column."""
    seen = {feature.metric for feature in catalog.narrowed(trees.kind, trees.card.columns).stored(trees.kind)}
    metric = {feature.name: feature.metric for feature in catalog.stored(trees.kind)}
    return tuple(sign for sign in SIGNS if sign.kind == trees.kind and metric.get(sign.feature) not in seen)


def _either(one: Floats, other: Floats) -> Floats:
    """P(at least one of two independent events)."""
    joined: Floats = 1.0 - (1.0 - one) * (1.0 - other)
    return joined


def _weightiest(reasons: Sequence[Reason]) -> tuple[Reason, ...]:
    return tuple(sorted(reasons, key=lambda reason: -abs(reason.contribution))[:REASONS])
