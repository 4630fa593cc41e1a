"""A learned model beside the signs that it never saw.

A model knows only what its recording held: drives recorded day by day know no failed requests of the last hour and no
NVMe warnings. Signs of the rule table that say "act" and look at other metrics are hazards of their own and add to the
model's curve; signs that look at metrics which the model has weighed already say nothing new and are left out. A part
whose state is explained by something outside of it is the rules' alone.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pyarrow as pa

from forewarn.domain.feature import Catalog
from forewarn.domain.risk import FailureForecast, Reason
from forewarn.predict.base import Curves, Floats
from forewarn.predict.rule_table import ODDS_FACTOR
from forewarn.predict.rule_terms import Sign
from forewarn.predict.rules import WEEK, RulePredictor, acting, log_odds, odds_times
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
        learned, shown = self.trees.curves(frame), self._rules.shown(frame)
        joined = _either((learned.probabilities, learned.low, learned.high), shown.probabilities)
        ruled, excused = self._rules.curves(frame), shown.excused[:, np.newaxis]
        by_rules = (ruled.probabilities, ruled.low, ruled.high)
        probabilities, low, high = (np.where(excused, one, other) for one, other in zip(by_rules, joined, strict=True))
        return Curves(probabilities, low, high, np.where(shown.excused, ruled.unknown, learned.unknown))

    def forecast(self, frame: pa.Table) -> tuple[FailureForecast, ...]:
        """One forecast per row; the weightiest reasons of both."""
        shown = self._rules.shown(frame)
        made = list(self.trees.forecast(frame))
        excused = np.flatnonzero(shown.excused)
        for row, forecast in zip(excused.tolist(), self._rules.forecast(frame.take(excused)), strict=True):
            made[row] = forecast  # the trees know no excuse: they would take what the part shows for its own doing
        for row, reasons in shown.reasons.items():
            if not made[row].unknown and not shown.excused[row]:
                made[row] = self._joined(made[row], shown.probabilities[row], reasons)
        return tuple(made)

    def _joined(self, learned: FailureForecast, shown: Floats, reasons: Sequence[Reason]) -> FailureForecast:
        curves = _either([np.array(curve) for curve in (learned.probabilities, learned.low, learned.high)], shown)
        probabilities, low, high = (tuple(curve.tolist()) for curve in curves)
        # The rules weighed their reasons against their own base rate. Of two signs of a family that weigh the same,
        # neither adds anything to the other: then all share alike.
        added = log_odds(probabilities[WEEK]) - log_odds(learned.probabilities[WEEK])
        weights = np.array([reason.contribution for reason in reasons])
        weights = weights / weights.sum() if weights.sum() else np.full(len(reasons), 1.0 / len(reasons))
        weighed = [replace(r, contribution=w) for r, w in zip(reasons, (added * weights).tolist(), strict=True)]
        return replace(
            learned,
            probabilities=probabilities,
            low=low,
            high=high,
            reasons=_weightiest((*learned.reasons, *weighed)),
            model=f"{self.name} and rules",
            learned_from=self.learned_from,
        )


def unseen_signs(trees: TreesPredictor, catalog: Catalog) -> tuple[Sign, ...]:
    """The signs of the trees' kind that say "act" and look at a metric of which the trees know no column."""
    seen = {feature.metric for feature in catalog.narrowed(trees.kind, trees.card.columns).stored(trees.kind)}
    metric = {feature.name: feature.metric for feature in catalog.stored(trees.kind)}
    return tuple(sign for sign in acting(trees.kind) if metric.get(sign.feature) not in seen)


def _either(learned: Sequence[Floats], shown: Floats) -> tuple[Floats, ...]:
    """P(at least one of two independent failures): likely, low and high."""
    signs = (shown, odds_times(shown, 1.0 / ODDS_FACTOR), odds_times(shown, ODDS_FACTOR))
    return tuple(1.0 - (1.0 - one) * (1.0 - other) for one, other in zip(learned, signs, strict=True))


def _weightiest(reasons: Sequence[Reason]) -> tuple[Reason, ...]:
    return tuple(sorted(reasons, key=lambda reason: -abs(reason.contribution))[:REASONS])
