"""Reasons in words: which features moved a forecast, by how much, and what they said.

Contributions are TreeSHAP's, in log-odds of failure. Columns of one metric tell of one thing, so they are added up and
the one that weighs most speaks for all.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from forewarn.domain.feature import Catalog, DerivedFeature, Feature, Formula
from forewarn.domain.inventory import Kind
from forewarn.domain.risk import Reason

Floats = NDArray[np.float64]


class Explainer:
    """Puts the contributions of a model's columns into words."""

    def __init__(self, catalog: Catalog, kind: Kind, columns: Sequence[str]) -> None:
        by_name: dict[str, Feature | DerivedFeature] = {feature.name: feature for feature in catalog.stored(kind)}
        by_name.update({feature.name: feature for feature in catalog.computed(kind)})
        self._features = [by_name[name] for name in columns]
        metrics = [_metric(feature, by_name) for feature in self._features]
        groups = list(dict.fromkeys(metrics))
        self._group = np.array([groups.index(metric) for metric in metrics], dtype=np.int64)
        self._help = [catalog.metric_by_key[metric].help for metric in groups]

    def reasons(self, contributions: Floats, values: Floats, top: int) -> list[tuple[Reason, ...]]:
        """For each row the `top` metrics that moved it most, the weightiest first. Both arrays: (rows, columns)."""
        by_group = np.stack(
            [contributions[:, self._group == group].sum(axis=1) for group in range(len(self._help))], axis=1
        )
        order = np.argsort(-np.abs(by_group), axis=1, kind="stable")[:, :top]
        return [
            tuple(
                self._reason(int(group), float(by_group[row, group]), contributions[row], values[row])
                for group in found
            )
            for row, found in enumerate(order)
        ]

    def _reason(self, group: int, weight: float, contributions: Floats, values: Floats) -> Reason:
        columns = np.flatnonzero(self._group == group)
        speaks = int(columns[np.argmax(contributions[columns] * (1.0 if weight >= 0 else -1.0))])
        feature, value = self._features[speaks], float(values[speaks])
        known = not np.isnan(values[columns]).all()
        text = _missing(feature, self._help[group], known) if np.isnan(value) else in_words(feature, value)
        return Reason(feature.name, text, weight)


def in_words(feature: Feature | DerivedFeature, value: float) -> str:
    """A feature's text with its value and window.

    >>> from forewarn.domain.feature import Aggregate
    >>> rise = Feature("x", Kind.DISK, "smart_5", Aggregate.INCREASE, timedelta(days=7), "{value} more in {window}")
    >>> in_words(rise, 48.0)
    '48 more in 7 d'
    """
    span = window_in_words(feature.window) if isinstance(feature, Feature) else ""
    number = f"{value:,.0f}" if value == round(value) or abs(value) >= 1000 else f"{value:.3g}"
    return feature.text.format(value=number, window=span)


def _missing(feature: Feature | DerivedFeature, words: str, known: bool) -> str:
    """Why a column is missing; `known` where the metric itself is not."""
    if not known:
        return f"{words} not reported"
    if isinstance(feature, DerivedFeature) and feature.formula is Formula.PEER_SHARE:
        return f"{words}: too few of this model to compare with"
    if isinstance(feature, Feature):
        return f"{words} not reported any more"
    return f"{words}: not recorded for long enough"


def window_in_words(window: timedelta) -> str:
    """A window as people say it.

    >>> window_in_words(timedelta(hours=6)), window_in_words(timedelta(days=30))
    ('6 h', '30 d')
    """
    hours = window / timedelta(hours=1)
    return f"{hours / 24:g} d" if hours >= 24 else f"{hours:g} h"


def _metric(feature: Feature | DerivedFeature, by_name: Mapping[str, Feature | DerivedFeature]) -> str:
    """The metric that a column tells of; a derived one tells of its first input."""
    while isinstance(feature, DerivedFeature):
        feature = by_name[feature.inputs[0]]
    return feature.metric
