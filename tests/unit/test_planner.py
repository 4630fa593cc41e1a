"""Situations and the plans that follow from them."""

from dataclasses import replace
from datetime import timedelta

import pytest

from forewarn.decide.policy import PolicySettings
from forewarn.domain.authority import Approval, Window, WindowKind
from forewarn.domain.inventory import Criticality, HostState, Kind, VmState
from forewarn.domain.plan import COST_BENEFIT, PROACTIVE_FAILURE_AVOIDANCE, MoveState, Plan, Refusal, Verdict
from forewarn.domain.risk import Reason
from forewarn.domain.situation import Breaker, Rung, Situation, Workload
from tests.clusters import GIB, NOW, forecast, host, outcome, part, plan, situation, vm

HIGH, NORMAL, LOW = Criticality.HIGH, Criticality.NORMAL, Criticality.LOW
SETTINGS = PolicySettings(thresholds=dict.fromkeys(("cpu", "disk", "memory", "network", "power"), 0.1))
A, B, C = host("a"), host("b"), host("c")
WORD_FOR_WORD = replace(SETTINGS, policy="threshold")
SICK: dict[str, float | None] = {"a": 0.5}


def planned(seen: Situation, settings: PolicySettings = SETTINGS) -> Plan:
    return plan(seen, settings, NOW)[0]


def moves(seen: Situation, settings: PolicySettings = SETTINGS) -> list[tuple[str, str]]:
    return [(move.vm, move.target) for move in planned(seen, settings).moves]


def staying(seen: Situation, settings: PolicySettings = SETTINGS, name: str = "v") -> Verdict:
    """The verdict that says why this VM stays; it has not been planned to move."""
    made = planned(seen, settings)
    assert name not in [move.vm for move in made.moves]
    (verdict,) = [each for each in made.verdicts if each.vm == name and " stays on " in each.text]
    return verdict


def test_a_healthy_cluster_gives_an_empty_plan() -> None:
    made, ladder = plan(situation([A, B], [vm("v", "a", HIGH)]), SETTINGS, NOW)
    assert (made.moves, made.verdicts, made.tickets, made.generation, made.time) == ((), (), (), 7, NOW)
    assert {step.rung for step in ladder} == {Rung.CLEAR}


def test_a_high_vm_leaves_a_risky_host_for_the_host_with_the_most_headroom() -> None:
    seen = situation([A, B, C], [vm("v", "a", HIGH), vm("w", "b")], risks=SICK,
                     workloads=[Workload("v", 1.0, 1e6, GIB)])  # fmt: skip
    (move,) = planned(seen).moves
    assert (move.vm, move.vm_name, move.source, move.target) == ("v", "vm-v", "a", "c")
    assert (move.component, move.kind, move.risk, move.threshold) == ("cpu:a/cpu", Kind.CPU, 0.5, 0.1)
    assert move.rule == PROACTIVE_FAILURE_AVOIDANCE
    assert move.duration_s == pytest.approx(16 * GIB / 1.25e9, rel=0.01)
    assert 0 < move.downtime_ms <= 320


def test_the_reason_names_vm_source_target_part_risk_threshold_horizon_and_the_comparison() -> None:
    (move,) = planned(situation([A, B], [vm("v", "a", HIGH)], risks=SICK)).moves
    assert move.reason == (
        "VM vm-v (HIGH) goes from a to b, because cpu of a fails within 7 d with p=0.5, "
        f"over its threshold 0.1; benefit {move.benefit:.3g}, cost {move.cost:.3g} weighted minutes of outage; "
        "b is then 6% utilized, ceiling 100%"
    )


def test_word_for_word_a_high_vm_moves_even_if_the_part_is_not_proven_to_be_in_its_path() -> None:
    parts = [part("a", Kind.DISK, "sda", whole_host=False), part("b")]
    made = planned(situation([A, B], [vm("v", "a", HIGH), vm("w", "a")], parts=parts, risks=SICK), WORD_FOR_WORD)
    assert [move.vm for move in made.moves] == ["v"]
    assert [(v.vm, v.refusal) for v in made.verdicts if "stays" in v.text] == [("w", Refusal.NOT_IN_PATH)]
    (ticket,) = made.tickets
    assert (ticket.host, ticket.component, ticket.kind) == ("a", "disk:a/sda", Kind.DISK)
    assert ticket.text.endswith("over its threshold 0.1; it is not proven to be in the path of any VM")


def test_a_part_that_the_inventory_does_not_know_raises_a_ticket() -> None:
    seen = situation([A, B], [vm("v", "a")], risks=SICK)
    seen = replace(seen, cluster=replace(seen.cluster, components=(part("b"),)))
    assert [ticket.component for ticket in planned(seen).tickets] == ["cpu:a/cpu"]
    assert staying(seen).refusal is Refusal.NOT_IN_PATH


def test_another_vm_moves_if_it_pays_and_the_comparison_is_in_its_reason() -> None:
    (move,) = planned(situation([A, B], [vm("v", "a", NORMAL)], risks=SICK)).moves
    assert move.rule == COST_BENEFIT
    assert move.reason.startswith("VM vm-v (NORMAL) goes from a to b, because cpu of a fails")
    assert move.benefit == pytest.approx(15.0, rel=0.01)
    assert f"benefit {move.benefit:.3g}, cost {move.cost:.3g} weighted minutes" in move.reason
    assert move.reason.endswith("b is then 6% utilized, ceiling 90%")


def test_another_vm_stays_if_the_move_costs_more_than_it_saves() -> None:
    seen = situation([A, B], [vm("v", "a", LOW)], risks=SICK)
    verdict = staying(seen, replace(SETTINGS, move_failure_minutes=1000.0))
    assert (verdict.refusal, verdict.target, verdict.component) == (Refusal.DOES_NOT_PAY, "b", "cpu:a/cpu")
    assert "going to b does not pay: benefit 3, cost 4.0" in verdict.text


def test_another_vm_with_little_to_lose_stays_without_a_search() -> None:
    verdict = staying(situation([A, B], [vm("v", "a", LOW)], risks=SICK), replace(SETTINGS, margin_minutes=5.0))
    assert (verdict.refusal, verdict.target) == (Refusal.DOES_NOT_PAY, "")
    assert verdict.text.endswith(
        "it stands to lose 3 weighted minutes of outage, interrupted with p=0.5; the margin is 5"
    )


def test_by_cost_and_benefit_no_vm_leaves_for_a_part_that_is_not_proven_to_be_in_its_path() -> None:
    parts = [part("a", Kind.DISK, "sda", whole_host=False, vms=("w",)), part("b")]
    seen = situation([A, B], [vm("v", "a", HIGH), vm("w", "a", HIGH)], parts=parts, risks=SICK)
    assert moves(seen) == [("w", "b")]
    assert staying(seen).refusal is Refusal.NOT_IN_PATH


def test_one_of_a_pair_of_supplies_makes_a_ticket_and_moves_nobody() -> None:
    pair = [part("a", Kind.POWER, device, group="psu", spares=1) for device in ("PSU1", "PSU2")]
    seen = situation([A, B], [vm("v", "a"), vm("w", "a", HIGH)], parts=[*pair, part("b")], risks={"power:a/PSU1": 0.5})
    assert moves(seen) == []
    assert (staying(seen).refusal, staying(seen, name="w").refusal) == (Refusal.REDUNDANT, Refusal.REDUNDANT)
    assert moves(seen, WORD_FOR_WORD) == [("w", "b")]
    assert [ticket.text.partition("; ")[2] for ticket in planned(seen).tickets] == [
        "1 more of psu can fail before VMs do"
    ]


def test_a_pair_of_supplies_that_both_go_moves_everybody() -> None:
    pair = [part("a", Kind.POWER, device, group="psu", spares=1) for device in ("PSU1", "PSU2")]
    seen = situation([A, B], [vm("v", "a"), vm("w", "a", HIGH)], parts=[*pair, part("b")], risks=SICK)
    assert sorted(moves(seen)) == [("v", "b"), ("w", "b")]
    assert {move.rule for move in planned(seen).moves if move.vm == "w"} == {PROACTIVE_FAILURE_AVOIDANCE}


def test_a_high_vm_whose_part_has_a_stand_in_that_nobody_has_seen_moves_since_that_pays() -> None:
    parts = [part("a", Kind.DISK, "sda", spares=1), part("b")]
    (move,) = planned(situation([A, B], [vm("v", "a", HIGH)], parts=parts, risks={"disk:a/sda": 0.5})).moves
    assert move.rule == COST_BENEFIT


def test_a_move_that_will_hardly_be_done_before_the_failure_is_not_begun() -> None:
    dying = [forecast(part("a"), 0.999, hour=0.99), forecast(part("b"))]
    seen = replace(situation([A, host("b", link=4e6)], [vm("v", "a", HIGH)], risks=SICK), forecasts=tuple(dying))
    assert staying(seen).refusal is Refusal.TOO_LATE
    assert staying(seen).text.endswith("at least 0.1 is asked for; have it ready to be started elsewhere")
    assert moves(seen, WORD_FOR_WORD) == [("v", "b")]
    near = replace(seen, cluster=replace(seen.cluster, hosts=(A, B)))
    assert moves(near) == [("v", "b")]


def test_a_vm_that_no_rule_binds_waits_while_waiting_costs_less() -> None:
    seen = situation([A, B], [vm("v", "a"), vm("w", "a", HIGH)], risks=SICK)
    later = [forecast(part("a"), 0.5, hour=1e-7), forecast(part("b"))]
    waiting = replace(seen, forecasts=tuple(later))
    assert staying(waiting).refusal is Refusal.CAN_WAIT
    assert "going to b can wait: benefit 15" in staying(waiting).text
    assert staying(waiting).text.endswith("it is interrupted within 1 h with p=1e-07 only")
    assert moves(waiting) == [("w", "b")]
    assert sorted(moves(waiting, WORD_FOR_WORD)) == [("v", "b"), ("w", "b")]
    assert sorted(moves(seen)) == [("v", "b"), ("w", "b")]


def test_of_two_targets_of_nearly_the_same_worth_the_emptier_is_taken_and_else_the_sounder() -> None:
    hosts = [A, host("b", gib=512), host("c", gib=256)]
    seen = situation(hosts, [vm("v", "a", HIGH)], risks={"a": 0.5, "b": 0.002, "c": 1e-6})
    assert moves(seen) == [("v", "b")]
    assert moves(seen, replace(SETTINGS, indifference=0.0)) == [("v", "c")]
    riskier = situation(hosts, [vm("v", "a", HIGH)], risks={"a": 0.5, "b": 0.05, "c": 1e-6})
    assert moves(riskier) == [("v", "c")]
    assert moves(riskier, WORD_FOR_WORD) == [("v", "b")]


def test_a_crowded_target_takes_high_vms_only() -> None:
    seen = situation([A, host("b", gib=17)], [vm("v", "a"), vm("w", "a", HIGH, gib=17)], risks=SICK)
    assert moves(seen) == [("w", "b")]
    seen = situation([A, host("b", gib=17)], [vm("v", "a")], risks=SICK)
    assert staying(seen).refusal is Refusal.NO_SUITABLE_HOST
    assert Refusal.TARGET_UTILIZATION in [verdict.refusal for verdict in planned(seen).verdicts]


def test_moves_of_one_plan_count_in_each_other_s_room() -> None:
    hosts = [A, host("b", gib=20), host("c", gib=20)]
    seen = situation(hosts, [vm(name, "a", HIGH) for name in ("v1", "v2", "v3")], risks=SICK)
    assert sorted(target for _, target in moves(seen)) == ["b", "c"]
    assert staying(seen, name="v3").refusal is Refusal.NO_SUITABLE_HOST


def test_moves_in_flight_count_in_the_targets_room() -> None:
    seen = situation([A, host("b", gib=20)], [vm("v", "a", HIGH), vm("w", "c", HIGH)], risks=SICK,
                     in_flight=[outcome("w", "c", "b", MoveState.RUNNING)])  # fmt: skip
    assert staying(seen).refusal is Refusal.NO_SUITABLE_HOST


def test_twins_that_must_stay_apart_go_to_different_hosts() -> None:
    twins = [vm(name, "a", HIGH, apart="db") for name in ("v", "w")]
    assert sorted(moves(situation([A, B, C], twins, risks=SICK))) == [("v", "b"), ("w", "c")]
    assert len(moves(situation([A, B], twins, risks=SICK))) == 1


def test_a_vm_on_its_way_is_not_moved_again() -> None:
    seen = situation([A, B], [vm("v", "a", HIGH)], risks=SICK, in_flight=[outcome("v", "a", "b", MoveState.INTENDED)])
    verdict = staying(seen)
    assert (verdict.refusal, verdict.text.rpartition(": ")[2]) == (Refusal.ALREADY_MOVING, "it is on its way to b")


def test_a_vm_that_somebody_else_moves_is_left_alone() -> None:
    assert staying(situation([A, B], [vm("v", "a", HIGH, state=VmState.MIGRATING)], risks=SICK)).refusal is (
        Refusal.ALREADY_MOVING
    )


@pytest.mark.parametrize("state", [VmState.STOPPED, VmState.INTERRUPTED])
def test_a_vm_that_does_not_run_cannot_be_moved_live(state: VmState) -> None:
    verdict = staying(situation([A, B], [vm("v", "a", HIGH, state=state)], risks=SICK))
    assert (verdict.refusal, verdict.text.rpartition(": ")[2]) == (Refusal.IMMOVABLE, f"it is {state}")


def test_a_vm_that_cannot_move_says_why() -> None:
    verdict = staying(situation([A, B], [vm("v", "a", HIGH, immovable_because="a GPU is passed through")], risks=SICK))
    assert (verdict.refusal, verdict.text.rpartition(": ")[2]) == (Refusal.IMMOVABLE, "a GPU is passed through")


@pytest.mark.parametrize("state", [HostState.DOWN, HostState.UNKNOWN])
def test_nothing_is_moved_off_a_host_that_does_not_answer(state: HostState) -> None:
    assert (
        staying(situation([host("a", state=state), B], [vm("v", "a", HIGH)], risks=SICK)).refusal is Refusal.HOST_DOWN
    )


def test_nothing_is_moved_off_a_host_that_is_gone() -> None:
    seen = situation([B], [vm("v", "a", HIGH)], parts=[part("a"), part("b")], risks=SICK)
    assert staying(seen).text.endswith("a is not in the inventory")


def test_a_host_in_maintenance_may_be_left() -> None:
    assert moves(situation([host("a", state=HostState.MAINTENANCE), B], [vm("v", "a", HIGH)], risks=SICK)) == [
        ("v", "b")
    ]


@pytest.mark.parametrize("state", [MoveState.FAILED, MoveState.CANCELLED])
def test_a_vm_whose_move_failed_is_left_alone_for_a_while(state: MoveState) -> None:
    def seen(minutes: int) -> Situation:
        recent = [outcome("v", "a", "b", state, NOW - timedelta(minutes=minutes))]
        return situation([A, B], [vm("v", "a", HIGH)], risks=SICK, recent=recent)

    verdict = staying(seen(9))
    assert verdict.refusal is Refusal.BACK_OFF
    assert verdict.text.endswith("its last move did not succeed 540 s ago; it is left alone for 600 s")
    assert moves(seen(10)) == [("v", "b")]


def test_a_vm_that_was_moved_lately_costs_more_to_move_again() -> None:
    recent = [outcome("v", "b", "a", MoveState.SUCCEEDED, NOW - timedelta(minutes=5))]
    (first,) = planned(situation([A, B], [vm("v", "a")], risks=SICK)).moves
    (again,) = planned(situation([A, B], [vm("v", "a")], risks=SICK, recent=recent)).moves
    assert again.cost == pytest.approx(first.cost + 1.0)


def test_a_guest_too_busy_for_every_link_stays_and_says_so() -> None:
    busy = [Workload("v", 2.0, 5e9, 16 * GIB)]
    assert (
        staying(situation([A, B], [vm("v", "a", HIGH)], risks=SICK, workloads=busy)).refusal is Refusal.NO_CONVERGENCE
    )


def test_a_busy_guest_on_a_full_cluster_has_no_suitable_host() -> None:
    busy = [Workload("v", 2.0, 5e9, 16 * GIB)]
    seen = situation([A, B, host("c", gib=1)], [vm("v", "a", HIGH)], risks=SICK, workloads=busy)
    assert staying(seen).refusal is Refusal.NO_SUITABLE_HOST


def test_a_lone_host_has_nowhere_to_send_its_vms() -> None:
    assert staying(situation([A], [vm("v", "a", HIGH)], risks=SICK)).refusal is Refusal.NO_SUITABLE_HOST


def test_risky_and_unknown_and_silent_hosts_receive_nothing() -> None:
    hosts = [A, B, C, host("d"), host("e", gib=64)]
    parts = [part(name) for name in ("a", "b", "c", "e")]
    seen = situation(hosts, [vm("v", "a", HIGH)], parts=parts, risks={"a": 0.5, "b": 0.2, "c": None})
    assert moves(seen) == [("v", "e")]


def test_an_unknown_risk_is_watched_and_moves_nothing() -> None:
    made, ladder = plan(situation([A, B], [vm("v", "a", HIGH)], risks={"a": None}), SETTINGS, NOW)
    assert made.moves == ()
    (verdict,) = made.verdicts
    assert (verdict.refusal, verdict.host, verdict.vm) == (Refusal.UNKNOWN_RISK, "a", "")
    assert verdict.text == "the risk of cpu of a is unknown: no telemetry; it is watched, and nothing moves for it"
    assert [step.rung for step in ladder] == [Rung.WATCH, Rung.CLEAR]


def test_many_unknown_parts_are_summed_up() -> None:
    seen = situation([host(f"h{n}") for n in range(5)], risks={f"h{n}": None for n in range(5)})
    verdicts = planned(seen, replace(SETTINGS, unknowns_per_plan=2)).verdicts
    assert [verdict.host for verdict in verdicts] == ["h0", "h1", ""]
    assert verdicts[-1].text == "the risk of 3 more parts is unknown"


def test_a_pause_holds_back_every_move_and_says_what_it_held_back() -> None:
    seen = situation([A, B], [vm("v", "a", HIGH)], risks=SICK, paused="audit")
    made, ladder = plan(seen, SETTINGS, NOW)
    assert made.moves == ()
    held = [verdict for verdict in made.verdicts if verdict.refusal is Refusal.PAUSED]
    assert [(verdict.vm, verdict.target) for verdict in held] == [("", ""), ("v", "b")]
    assert held[0].text == "moves are paused (audit); 1 would have been planned"
    assert "else Proactive Failure Avoidance: VM vm-v" in held[1].text
    assert [step.rung for step in ladder] == [Rung.MOVE, Rung.CLEAR]


def test_a_plan_holds_so_many_moves_at_most() -> None:
    seen = situation([A, B], [vm("v", "a", HIGH), vm("w", "a", HIGH, gib=1)], risks=SICK)
    settings = replace(SETTINGS, moves_per_plan=1)
    assert moves(seen, settings) == [("w", "b")]
    assert staying(seen, settings).refusal is Refusal.LIMIT


def test_high_vms_start_first_and_then_what_saves_most_per_second() -> None:
    vms = [vm("big", "a", gib=128), vm("low", "a", LOW), vm("small", "a"), vm("high", "a", HIGH, gib=64)]
    assert [name for name, _ in moves(situation([A, B, C], vms, risks=SICK))] == ["high", "small", "low", "big"]


def test_a_vm_moves_once_for_the_worst_of_two_risky_parts() -> None:
    parts = [part("a", device="cpu0"), part("a", Kind.DISK, "sda"), part("b")]
    (move,) = planned(
        situation([A, B], [vm("v", "a", HIGH)], parts=parts, risks={"cpu:a/cpu0": 0.2, "disk:a/sda": 0.9})
    ).moves
    assert move.component == "disk:a/sda"


def test_a_vm_moves_for_the_part_in_its_path_rather_than_for_the_worst() -> None:
    parts = [part("a", device="cpu0"), part("a", Kind.DISK, "sda", whole_host=False, vms=("x",)), part("b")]
    (move,) = planned(
        situation([A, B], [vm("v", "a")], parts=parts, risks={"cpu:a/cpu0": 0.2, "disk:a/sda": 0.9})
    ).moves
    assert move.component == "cpu:a/cpu0"


def test_a_host_about_to_die_makes_a_long_move_worth_less() -> None:
    def benefit_at(hour: float) -> float:
        seen = situation([host("a", link=1e7), B], [vm("v", "a", HIGH)], risks=SICK, workloads=[Workload("v", 1, 0, 0)])
        sick = forecast(part("a"), 0.5, hour=hour)
        (move,) = planned(replace(seen, forecasts=(sick, *seen.forecasts[1:]))).moves
        return move.benefit

    assert benefit_at(0.4) < benefit_at(0.001)


def test_a_risky_target_host_s_own_small_risk_lessens_the_benefit() -> None:
    (safe,) = planned(situation([A, B], [vm("v", "a")], risks={"a": 0.5})).moves
    (less,) = planned(situation([A, B], [vm("v", "a")], risks={"a": 0.5, "b": 0.09})).moves
    assert less.benefit == pytest.approx(safe.benefit - 30 * 0.09, rel=1e-3)


def test_the_id_of_a_plan_tells_content_generation_and_time_apart() -> None:
    seen = situation([A, B], [vm("v", "a", HIGH)], risks=SICK)
    other = replace(seen, cluster=replace(seen.cluster, generation=8))
    ids = {
        planned(seen).id,
        planned(other).id,
        planned(situation([A, B], [vm("v", "a", HIGH)], risks={"a": 0.6})).id,
        plan(seen, SETTINGS, NOW + timedelta(seconds=1))[0].id,
    }
    assert len(ids) == 4
    assert planned(seen) == planned(seen)


def test_moves_of_different_cycles_have_different_ids() -> None:
    seen = situation([A, B], [vm("v", "a", HIGH)], risks=SICK)
    later = plan(seen, SETTINGS, NOW + timedelta(minutes=1))[0]
    assert planned(seen).moves[0].id != later.moves[0].id


# --- what speaks for leaving things alone -------------------------------------------------------------------------


def refusal(seen: Situation) -> tuple[Refusal, str]:
    verdict = staying(seen)
    return verdict.refusal, verdict.text.rpartition("over its threshold 0.1: ")[2]


def window(kind: WindowKind, hosts: str) -> Window:
    return Window(kind, hosts, NOW - timedelta(hours=1), NOW + timedelta(hours=1), "ann", "new kernel")


WINDOWS = [(WindowKind.MAINTENANCE, Refusal.MAINTENANCE), (WindowKind.FREEZE, Refusal.FREEZE)]


@pytest.mark.parametrize(("kind", "expected"), WINDOWS)
def test_nothing_moves_off_a_host_in_a_window(kind: WindowKind, expected: Refusal) -> None:
    seen = replace(situation([A, B], [vm("v", "a", HIGH)], risks=SICK), windows=(window(kind, "a"),))
    assert refusal(seen) == (expected, f"a is in a window: {kind} until 2026-01-05 13:00 UTC: new kernel (ann)")
    assert moves(replace(seen, windows=(window(kind, "c*"),))) == [("v", "b")]


@pytest.mark.parametrize(("kind", "expected"), WINDOWS)
def test_nothing_moves_onto_a_host_in_a_window(kind: WindowKind, expected: Refusal) -> None:
    seen = replace(situation([A, B, C], [vm("v", "a", HIGH)], risks=SICK), windows=(window(kind, "b"),))
    assert moves(seen) == [("v", "c")]
    assert (expected, "b") in [(verdict.refusal, verdict.target) for verdict in planned(seen).verdicts]


def test_a_vm_rests_after_each_move_twice_as_long_as_before() -> None:
    def seen(*minutes_ago: int) -> Situation:
        arrived = [outcome("v", "b", "a", MoveState.SUCCEEDED, NOW - timedelta(minutes=n)) for n in minutes_ago]
        return situation([A, B], [vm("v", "a", HIGH)], risks=SICK, recent=arrived)

    assert refusal(seen(4)) == (Refusal.COOL_DOWN, "vm-v has moved once within a day and rests for 60 s more")
    assert moves(seen(5)) == [("v", "b")]
    assert refusal(seen(5, 9)) == (Refusal.COOL_DOWN, "vm-v has moved 2 times within a day and rests for 300 s more")
    assert moves(seen(10, 19)) == [("v", "b")]


def test_a_vm_that_others_moved_back_is_left_there_unless_somebody_approves_of_its_leaving() -> None:
    back = outcome("v", "a", "b", MoveState.SUCCEEDED, NOW - timedelta(hours=1))
    seen = situation([A, B], [vm("v", "a", HIGH)], risks=SICK, recent=[back])
    contested = (Refusal.CONTESTED, "somebody else moved it back from b, and Forewarn does not fight")
    assert refusal(seen) == contested
    approval = Approval("v", "a", NOW + timedelta(minutes=1), "ann", "go")
    assert moves(replace(seen, approvals=(approval,))) == [("v", "b")]
    for wrong in (replace(approval, until=NOW), replace(approval, source="b"), replace(approval, vm="w")):
        assert refusal(replace(seen, approvals=(wrong,))) == contested


def test_nothing_moves_for_a_forecast_that_is_too_old_nor_to_a_host_that_has_only_such() -> None:
    def aged(name: str, minutes: float) -> Situation:
        seen = situation([A, B, C], [vm("v", "a", HIGH)], risks=SICK)
        time = NOW - timedelta(minutes=minutes)
        return replace(seen, forecasts=tuple(replace(f, time=time) if f.host == name else f for f in seen.forecasts))

    assert moves(aged("a", 15)) == [("v", "b")]
    assert moves(aged("a", 15.1)) == []
    assert moves(aged("b", 15.1)) == [("v", "c")]
    texts = [verdict.text for verdict in planned(aged("b", 16)).verdicts if verdict.target == "b"]
    assert [text.rpartition(": ")[2] for text in texts] == ["the forecast of its cpu is 960 s old"]


def test_a_tripped_breaker_holds_back_every_move() -> None:
    seen = replace(situation([A, B], [vm("v", "a", HIGH)], risks=SICK), breaker=Breaker("a storm"))
    made = planned(seen)
    assert made.moves == ()
    held = [verdict for verdict in made.verdicts if verdict.refusal is Refusal.BREAKER]
    assert [(verdict.vm, verdict.target) for verdict in held] == [("", ""), ("v", "b")]


def test_a_host_that_shares_a_suspected_cause_receives_nothing() -> None:
    hosts = [replace(host(name), rack="rack1" if name in "abcd" else "rack2") for name in "abcde"]
    seen = situation(hosts, [vm("v", "a", HIGH)], risks={"a": 0.5, "b": 0.06, "c": 0.06})
    hot = tuple(replace(f, reasons=(Reason("heat", "", 1.0),)) if f.host in "abc" else f for f in seen.forecasts)
    assert moves(replace(seen, forecasts=hot)) == [("v", "e")]
    refused = [v.refusal for v in planned(replace(seen, forecasts=hot)).verdicts if v.target == "d"]
    assert refused == [Refusal.TARGET_SUSPECT]
    assert moves(seen) == [("v", "d")]
