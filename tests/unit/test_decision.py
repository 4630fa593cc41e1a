"""A decision survives being written down, and a damaged one is refused by its place."""

from dataclasses import replace
from datetime import timedelta

import pytest

from forewarn.decide.decision import Decision
from forewarn.decide.policy import PolicySettings
from forewarn.domain.inventory import Criticality
from forewarn.domain.situation import Workload
from forewarn.errors import RecordingError
from tests.clusters import GIB, NOW, host, situation, vm

SEEN = situation(
    [host("a"), host("b")],
    [vm("v", "a", Criticality.HIGH)],
    risks={"a": 0.5, "b": 1e-6},
    workloads=[Workload("v", 2.0, 1e7, GIB)],
)
DECISION = Decision(SEEN, PolicySettings(thresholds={"cpu": 0.1}), NOW)


def test_a_decision_read_back_gives_the_same_plan() -> None:
    read = Decision.from_json(DECISION.to_json(), "decision.json")
    assert read == DECISION
    assert read.plan() == DECISION.plan()
    assert len(read.plan()[0].proposals) == 1


def test_a_file_that_is_no_json_is_refused_by_its_place() -> None:
    with pytest.raises(RecordingError, match=r"decision\.json is not a decision: the whole: Invalid JSON"):
        Decision.from_json(b"{", "decision.json")


def test_what_is_missing_is_named() -> None:
    with pytest.raises(RecordingError, match="is not a decision: situation: Field required"):
        Decision.from_json(b"{}", "decision.json")


def test_settings_that_make_no_sense_are_refused_with_their_sentence() -> None:
    text = DECISION.to_json().replace(b'"horizon_s":604800.0', b'"horizon_s":-1')
    with pytest.raises(RecordingError, match=r"settings.*horizon_s is -1; it lies above 0"):
        Decision.from_json(text, "decision.json")


def test_equal_decisions_have_equal_digests_and_others_have_not() -> None:
    assert DECISION.digest == Decision.from_json(DECISION.to_json(), "decision.json").digest
    assert DECISION.digest != replace(DECISION, now=NOW + timedelta(seconds=1)).digest
