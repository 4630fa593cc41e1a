"""What a situation says once the settings are applied."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import timedelta

from forewarn.decide.outlook import Outlook
from forewarn.decide.policy import PolicySettings, next_ladder
from forewarn.domain.inventory import Component, Host, Kind
from forewarn.domain.plan import MoveState, Outcome
from forewarn.domain.risk import HORIZONS
from forewarn.domain.situation import LadderStep, Rung, Situation
from tests.clusters import NOW, host, outcome, part, situation, vm

SETTINGS = PolicySettings(thresholds=dict.fromkeys(("cpu", "disk", "memory", "network", "power"), 0.1))


def outlook(seen: Situation, settings: PolicySettings = SETTINGS) -> Outlook:
    return Outlook(seen, settings, next_ladder(seen, settings, NOW), NOW)


def why(seen: Outlook) -> Mapping[str, str]:
    return {host: text for host, (_, text) in seen.blocked.items()}


def test_risks_are_the_parts_above_their_threshold_the_worst_excess_first() -> None:
    parts = [part("b", device="cpu0"), part("b", Kind.DISK, "sda"), part("b", Kind.POWER, "PSU1"), part("a")]
    seen = situation([host("a"), host("b")], parts=parts,
                     risks={"cpu:b/cpu0": 0.2, "disk:b/sda": 0.3, "power:b/PSU1": 0.1, "a": 0.15})  # fmt: skip
    assert {on: [risk.component for risk in risks] for on, risks in outlook(seen).risks.items()} == {
        "a": ["cpu:a/cpu"],
        "b": ["disk:b/sda", "cpu:b/cpu0"],
    }


def test_a_part_above_its_threshold_but_not_yet_on_the_rung_is_no_risk_yet_and_receives_nothing() -> None:
    seen = situation([host("a")], risks={"a": 0.2})
    slow = outlook(seen, replace(SETTINGS, hold_up_cycles=2))
    assert slow.risks == {}
    assert why(slow) == {"a": "cpu of a fails within 7 d with p=0.2, over its threshold 0.1"}


def test_a_part_on_the_rung_but_below_its_threshold_moves_nothing_and_receives_nothing() -> None:
    seen = situation([host("a")], risks={"a": 0.09}, ladder=[LadderStep("cpu:a/cpu", Rung.MOVE, NOW)])
    assert outlook(seen).risks == {}
    assert why(outlook(seen)) == {"a": "its cpu has not been below its threshold for long enough"}


def test_a_host_with_an_unknown_part_receives_nothing_unless_its_kind_is_allowed() -> None:
    parts = [part("a"), part("a", Kind.MEMORY, "A1")]
    seen = situation([host("a")], parts=parts, risks={"memory:a/A1": None})
    assert why(outlook(seen)) == {"a": "the risk of its memory A1 is unknown: no telemetry"}
    assert [forecast.component for forecast in outlook(seen).unknowns] == ["memory:a/A1"]
    assert outlook(seen, replace(SETTINGS, unknown_may_receive=("memory",))).blocked == {}


def test_a_silent_host_receives_nothing_unless_allowed() -> None:
    seen = situation([host("a"), host("b")], parts=[part("a")])
    assert why(outlook(seen)) == {"b": "nothing is known of its health"}
    assert outlook(seen, replace(SETTINGS, silent_may_receive=True)).blocked == {}


def test_a_host_is_blocked_for_the_first_of_its_parts() -> None:
    parts = [part("a", device="cpu1"), part("a", device="cpu0")]
    assert "cpu0" in outlook(situation([host("a")], parts=parts, risks={"a": 0.2})).blocked["a"][1]


def test_exposure_is_worked_out_once_per_host_and_horizon() -> None:
    seen = outlook(situation([host("a")], risks={"a": 0.2}))
    assert seen.exposure("a", HORIZONS[4]) is seen.exposure("a", HORIZONS[4])
    assert seen.exposure("a", HORIZONS[4]).whole_host > seen.exposure("a", HORIZONS[0]).whole_host > 0.0
    assert seen.exposure("gone", HORIZONS[4]).whole_host == 0.0


def moves(*states: MoveState, minutes: Iterable[int] = (0, 1, 2, 3, 4)) -> list[Outcome]:
    return [
        outcome("v", "a", "b", state, NOW - timedelta(minutes=ago)) for state, ago in zip(states, minutes, strict=False)
    ]


def test_only_moves_that_have_not_ended_are_under_way() -> None:
    seen = situation([host("a")], in_flight=[outcome("v", "a", "b", MoveState.RUNNING),
                     outcome("w", "a", "c", MoveState.INTENDED), outcome("u", "a", "d", MoveState.FAILED)])  # fmt: skip
    assert outlook(seen).under_way == {"v": "b", "w": "c"}


def test_moves_lately_counts_the_successful_ones() -> None:
    recent = moves(MoveState.SUCCEEDED, MoveState.FAILED, MoveState.SUCCEEDED)
    assert outlook(situation([host("a")], recent=recent)).moved_lately == {"v": [recent[0], recent[2]]}


def test_failed_at_is_the_latest_failure_or_cancellation_whatever_their_order() -> None:
    states = (MoveState.REFUSED, MoveState.SUCCEEDED, MoveState.FAILED, MoveState.CANCELLED)
    recent = moves(*states)
    for order in (recent, recent[::-1]):
        assert outlook(situation([host("a")], recent=order)).failed_at == {"v": NOW - timedelta(minutes=2)}


def reached(component: Component | None, name: str) -> bool:
    parts: Mapping[bool, list[Component]] = {True: [component] if component else [], False: []}
    seen = situation([host("a")], [vm(name, "a")], parts=parts[component is not None] or [part("a")], risks={"a": 0.2})
    if component is None:
        cluster = replace(seen.cluster, components=())
        seen = replace(seen, cluster=cluster)
    view = outlook(seen)
    return view.reaches(view.risks["a"][0], seen.cluster.vm_by_id[name])


def test_a_part_reaches_all_or_those_that_it_names_and_an_unlisted_part_nobody() -> None:
    assert reached(part("a"), "v")
    assert reached(part("a", Kind.DISK, "sda", whole_host=False, vms=("v",)), "v")
    assert not reached(part("a", Kind.DISK, "sda", whole_host=False, vms=("w",)), "v")
    assert not reached(None, "v")


def test_hosts_are_named_in_order_whatever_the_order_of_forecasts() -> None:
    hosts: list[Host] = [host(name) for name in "cab"]
    assert list(outlook(situation(hosts, risks=dict.fromkeys("abc", 0.2))).risks) == ["a", "b", "c"]
