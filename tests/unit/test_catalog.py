"""The list of features is consistent, and every one can be put into words."""

from collections import Counter

import pytest

from forewarn.domain.feature import Aggregate, Formula
from forewarn.domain.inventory import COMPONENT_KINDS, Kind
from forewarn.features.catalog import CATALOG

INPUTS = {
    Formula.PEER_RANK: 1,
    Formula.PEER_SHARE: 1,
    Formula.HIGHEST: 2,
    Formula.AGED: 2,
    Formula.DIFFERENCE: 2,
    Formula.RATIO: 2,
}


@pytest.mark.parametrize("kind", COMPONENT_KINDS)
def test_every_kind_has_features_each_under_its_own_name(kind: Kind) -> None:
    names = CATALOG.names(kind)
    assert len(names) >= 10
    assert not [name for name, count in Counter(names).items() if count > 1]


def test_every_stored_feature_is_of_a_known_metric_of_its_kind_or_of_the_host() -> None:
    kinds = {feature.name: (feature.kind, CATALOG.metric_by_key[feature.metric].kind) for feature in CATALOG.features}
    assert [name for name, (of, metric) in kinds.items() if metric not in (of, Kind.HOST)] == []


def test_names_say_metric_aggregate_and_window() -> None:
    short = {1: "1h", 6: "6h", 24: "1d", 168: "7d", 720: "30d", 2160: "90d"}
    for feature in CATALOG.features:
        end = "" if feature.aggregate is Aggregate.LAST else f"_{short[int(feature.window.total_seconds() // 3600)]}"
        assert feature.name == f"{feature.metric}_{feature.aggregate}{end}"


@pytest.mark.parametrize("kind", COMPONENT_KINDS)
def test_inputs_of_derived_features_come_before_them(kind: Kind) -> None:
    known = {feature.name for feature in CATALOG.stored(kind)}
    for feature in CATALOG.computed(kind):
        assert set(feature.inputs) <= known
        assert len(feature.inputs) == INPUTS.get(feature.formula, 2)
        known.add(feature.name)


def test_every_feature_has_words_with_room_for_its_value() -> None:
    texts = {feature.name: feature.text for feature in CATALOG.features}
    texts |= {feature.name: feature.text for feature in CATALOG.derived}
    assert [name for name, text in texts.items() if "{value}" not in text] == []
    assert [text for text in texts.values() if not text.format(value=1, window="a day")] == []


def test_counters_alone_are_asked_for_increases() -> None:
    increases = [feature for feature in CATALOG.features if feature.aggregate is Aggregate.INCREASE]
    gauges = {feature.metric for feature in increases if not CATALOG.metric_by_key[feature.metric].counter}
    assert gauges == {"smart_197", "smart_198"}  # sectors that wait can be mended: what counts is that new ones come
