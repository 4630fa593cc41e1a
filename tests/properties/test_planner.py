"""What holds for every plan, and the rule word for word as an oracle."""

import math
from collections import Counter
from dataclasses import replace
from random import Random
from typing import Any, TypeVar

from hypothesis import example, given, settings
from hypothesis import strategies as st

from forewarn.decide.narrate import part_name
from forewarn.decide.policy import PolicySettings
from forewarn.domain.inventory import Cluster, Component, Criticality, Host, HostState, Kind, VirtualMachine, VmState
from forewarn.domain.plan import PROACTIVE_FAILURE_AVOIDANCE, MoveState, Outcome, Plan, Refusal
from forewarn.domain.situation import LadderStep, Rung, Situation, Workload
from tests.clusters import GIB, NOW, host, outcome, part, plan, situation, vm

T = TypeVar("T")
WORDS = ("bridge:br0", "storage:/srv/shared")  # what hosts offer and VMs need

POLICY = PolicySettings(thresholds=dict.fromkeys(("cpu", "disk", "memory", "network", "power"), 0.1))
few = settings(max_examples=settings().max_examples // 3)  # a situation has many parts and takes long to draw
RISKS = (None, 1e-6, 0.01, 0.06, 0.1, 0.11, 0.3, 0.9)


@st.composite
def hosts(draw: st.DrawFn, name: str) -> Host:
    state = draw(st.sampled_from([HostState.UP] * 6 + [HostState.DOWN, HostState.MAINTENANCE, HostState.UNKNOWN]))
    return host(
        name,
        state=state,
        cpus=draw(st.sampled_from([16.0, 32.0, 64.0])),
        gib=draw(st.sampled_from([64, 128, 256])),
        link=draw(st.sampled_from([0.0, 1.25e8, 1.25e9])),
        cordoned=draw(st.sampled_from([False] * 5 + [True])),
        can_receive=draw(st.sampled_from([True] * 5 + [False])),
        offers=draw(st.sampled_from([WORDS] * 4 + [WORDS[:1], ()])),
    )


@st.composite
def vms(draw: st.DrawFn, name: str, on: list[str]) -> VirtualMachine:
    return vm(
        name,
        draw(st.sampled_from(on)),
        draw(st.sampled_from(list(Criticality))),
        vcpus=draw(st.sampled_from([1, 4, 8])),
        gib=draw(st.sampled_from([1, 8, 32, 64])),
        state=draw(st.sampled_from([VmState.RUNNING] * 6 + list(VmState))),
        immovable_because=draw(st.sampled_from([""] * 6 + ["a device is passed through"])),
        apart=draw(st.sampled_from(["", "", "", "db", "web"])),
        needs=draw(st.sampled_from([(), (), WORDS[:1], WORDS[1:]])),
    )


@st.composite
def parts(draw: st.DrawFn, on: str, names: list[str]) -> list[Component]:
    cpu = part(on)
    group, spares = draw(st.sampled_from([("", 0), ("psu", 1), ("psu", 0)]))
    supplies = [part(on, Kind.POWER, f"PSU{n}", group=group, spares=spares) for n in range(draw(st.integers(0, 2)))]
    reached = tuple(draw(st.lists(st.sampled_from(names), max_size=3, unique=True))) if names else ()
    disks = [part(on, Kind.DISK, "sda", whole_host=False, vms=reached)] if draw(st.booleans()) else []
    return [cpu, *supplies, *disks]


@st.composite
def situations(draw: st.DrawFn) -> Situation:
    host_names = [f"h{n}" for n in range(draw(st.integers(1, 6)))]
    vm_names = [f"v{n}" for n in range(draw(st.integers(0, 12)))]
    all_vms = [draw(vms(name, [*host_names, "gone"])) for name in vm_names]
    all_parts = [each for name in host_names for each in draw(parts(name, vm_names))]
    risks = {each.id: draw(st.sampled_from(RISKS)) for each in all_parts}
    loads = [
        Workload(
            each.id, draw(st.floats(0, each.vcpus)), draw(st.sampled_from([0.0, 1e7, 5e9])), each.memory_bytes // 4
        )
        for each in all_vms
        if draw(st.booleans())
    ]
    ladder = [
        LadderStep(each.id, draw(st.sampled_from(list(Rung))), NOW)
        for each in all_parts
        if draw(st.integers(0, 3)) == 0
    ]
    ended = [
        outcome(each.id, each.host, draw(st.sampled_from(host_names)), draw(st.sampled_from(list(MoveState))))
        for each in all_vms
        if draw(st.integers(0, 4)) == 0
    ]
    return situation(
        [draw(hosts(name)) for name in host_names],
        all_vms,
        parts=all_parts,
        risks=risks,
        workloads=loads,
        ladder=ladder,
        in_flight=[each for each in ended if not each.state.final],
        recent=[each for each in ended if each.state.final],
        paused=draw(st.sampled_from(["", "", "", "", "audit"])),
    )


def decide(seen: Situation, policy: PolicySettings = POLICY) -> Plan:
    return plan(seen, policy, NOW)[0]


def exceeding(seen: Situation) -> dict[str, list[str]]:
    """By host: the parts whose risk exceeds their threshold."""
    found: dict[str, list[str]] = {}
    for each in seen.forecasts:
        if not each.unknown and each.probabilities[4] > POLICY.threshold(each.kind):
            found.setdefault(each.host, []).append(each.component)
    return found


def carried(seen: Situation, moves: list[tuple[str, str]]) -> dict[str, list[VirtualMachine]]:
    """By host: what runs there, comes there, or would come there by these moves."""
    by_id = seen.cluster.vm_by_id
    found = {each.name: list(seen.cluster.vms_by_host[each.name]) for each in seen.cluster.hosts}
    under_way = {o.move.vm: o.move.target for o in seen.in_flight}
    for name, target in [*under_way.items(), *moves]:
        if by_id[name].host != target:
            found[target].append(by_id[name])
    return found


@few
@given(situations())
def test_no_plan_puts_more_on_a_target_than_it_can_promise(seen: Situation) -> None:
    moves = [(move.vm, move.target) for move in decide(seen).moves]
    load = carried(seen, moves)
    for name in {target for _, target in moves}:
        there = seen.cluster.host_by_name[name]
        assert sum(each.memory_bytes for each in load[name]) <= there.memory_bytes
        assert sum(each.vcpus for each in load[name]) <= there.cpus


@few
@given(situations())
@example(
    situation(
        [host("a"), host("b"), host("c", gib=64, offers=WORDS)],
        [vm("v", "a", Criticality.HIGH, needs=WORDS)],
        risks={"a": 0.9},
    )
)
def test_no_plan_targets_a_host_that_lacks_what_a_vm_needs(seen: Situation) -> None:
    made, cluster = decide(seen), seen.cluster
    for move in made.moves:
        assert cluster.vm_by_id[move.vm].needs <= cluster.host_by_name[move.target].offers
    for verdict in made.verdicts:
        if verdict.refusal is Refusal.TARGET_LACKS and verdict.target:
            lacking = cluster.vm_by_id[verdict.vm].needs - cluster.host_by_name[verdict.target].offers
            assert lacking
            assert all(word in verdict.text for word in lacking)


@few
@given(situations())
def test_no_plan_brings_together_what_must_stay_apart(seen: Situation) -> None:
    moves = [(move.vm, move.target) for move in decide(seen).moves]
    load = carried(seen, moves)
    for name, target in moves:
        group = seen.cluster.vm_by_id[name].anti_affinity
        assert not group or Counter(each.anti_affinity for each in load[target])[group] == 1


@few
@given(situations())
def test_no_vm_is_moved_twice_or_while_it_moves_or_if_it_cannot(seen: Situation) -> None:
    moved = Counter(move.vm for move in decide(seen).moves)
    under_way = {o.move.vm for o in seen.in_flight}
    for name, times in moved.items():
        mover = seen.cluster.vm_by_id[name]
        assert times == 1
        assert name not in under_way
        assert mover.state is VmState.RUNNING
        assert not mover.immovable_because


@few
@given(situations())
def test_no_move_goes_to_the_same_a_down_a_cordoned_a_deaf_or_a_risky_host(seen: Situation) -> None:
    risky = exceeding(seen)
    unknown = {each.host for each in seen.forecasts if each.unknown}
    for move in decide(seen).moves:
        target = seen.cluster.host_by_name[move.target]
        assert move.target != move.source == seen.cluster.vm_by_id[move.vm].host
        assert target.state is HostState.UP
        assert target.can_receive
        assert not target.cordoned
        assert move.target not in risky
        assert move.target not in unknown


@few
@given(situations())
def test_no_move_goes_to_a_host_with_a_part_that_has_not_come_down_the_ladder(seen: Situation) -> None:
    made, ladder = plan(seen, POLICY, NOW)
    hosts_of = {each.id: each.host for each in seen.cluster.components}
    suspect = {hosts_of[step.component] for step in ladder if step.rung is Rung.MOVE}
    assert suspect.isdisjoint(move.target for move in made.moves)


@few
@given(situations(), st.sampled_from([(), ("power",), ("power", "cpu", "disk")]), st.booleans())
def test_an_unknown_or_silent_host_receives_only_where_that_is_allowed(
    seen: Situation, allowed: tuple[str, ...], silent_may: bool
) -> None:
    last = seen.cluster.hosts[-1].name
    heard = replace(seen, forecasts=tuple(each for each in seen.forecasts if each.host != last))
    policy = replace(POLICY, unknown_may_receive=allowed, silent_may_receive=silent_may)
    unknown = {each.host for each in heard.forecasts if each.unknown and each.kind not in allowed}
    for move in decide(heard, policy).moves:
        assert move.target not in unknown
        assert silent_may or move.target != last


@few
@given(situations())
def test_a_second_plan_made_while_the_first_is_under_way_still_promises_no_host_too_much(seen: Situation) -> None:
    first = decide(seen)
    started = tuple(Outcome(move, MoveState.RUNNING, NOW) for move in first.moves)
    going = {move.vm for move in first.moves}
    moving = tuple(replace(each, state=VmState.MIGRATING) if each.id in going else each for each in seen.cluster.vms)
    later = replace(seen, cluster=replace(seen.cluster, vms=moving), in_flight=(*seen.in_flight, *started))
    second = decide(later).moves
    assert going.isdisjoint(move.vm for move in second)
    load = carried(later, [(move.vm, move.target) for move in second])
    for name in {move.target for move in (*first.moves, *second)}:
        there = seen.cluster.host_by_name[name]
        assert sum(each.memory_bytes for each in load[name]) <= there.memory_bytes
        assert sum(each.vcpus for each in load[name]) <= there.cpus
    for move in second:
        group = seen.cluster.vm_by_id[move.vm].anti_affinity
        assert not group or Counter(each.anti_affinity for each in load[move.target])[group] == 1


@st.composite
def crowded(draw: st.DrawFn) -> Situation:
    """A risky host full of idle VMs, two or three small ones to take them, some VMs on their way there already."""
    names = ["h0", *(f"h{n}" for n in range(1, draw(st.integers(3, 4))))]
    risks: dict[str, float | None] = {name: draw(st.sampled_from([1e-6, 1e-6, 1e-6, 0.3])) for name in names}
    sizes = st.tuples(st.sampled_from([4, 8]), st.sampled_from([8, 32]), st.sampled_from(["", "", "db"]))
    drawn = [draw(sizes) for _ in range(draw(st.integers(2, 9)))]
    movers = [
        vm(f"v{n}", "h0", Criticality.HIGH, vcpus=vcpus, gib=gib, apart=apart)
        for n, (vcpus, gib, apart) in enumerate(drawn)
    ]
    going = movers[: draw(st.integers(0, 2))]
    return situation(
        [host("h0", cpus=128.0, gib=512), *(host(name, cpus=16.0, gib=64) for name in names[1:])],
        movers,
        risks={**risks, "h0": 0.9},
        workloads=[Workload(each.id, 0.1, 1e6, each.memory_bytes // 16) for each in movers],
        ladder=[LadderStep("cpu:h0/cpu", Rung.MOVE, NOW)],
        in_flight=[outcome(each.id, "h0", draw(st.sampled_from(names[1:])), MoveState.RUNNING) for each in going],
    )


@few
@given(crowded())
def test_a_crowd_that_must_leave_goes_only_where_there_is_room_and_health(seen: Situation) -> None:
    """Ceilings above 1 and a hold of two cycles leave the promises and the risk itself as the only limits."""
    policy = replace(POLICY, utilization_ceiling_high=3.0, hold_up_cycles=2)
    risky, moves = exceeding(seen), [(move.vm, move.target) for move in decide(seen, policy).moves]
    load = carried(seen, moves)
    for name, target in moves:
        there, group = seen.cluster.host_by_name[target], seen.cluster.vm_by_id[name].anti_affinity
        assert sum(each.memory_bytes for each in load[target]) <= there.memory_bytes
        assert sum(each.vcpus for each in load[target]) <= there.cpus
        assert not group or Counter(each.anti_affinity for each in load[target])[group] == 1
        assert target not in risky


FLAWS: dict[str, dict[str, Any]] = {
    "cordoned": {"cordoned": True},
    "deaf": {"can_receive": False},
    "down": {"state": HostState.DOWN},
    "maintained": {"state": HostState.MAINTENANCE},
    "unheard of": {"state": HostState.UNKNOWN},
    "unknown": {},
    "silent": {},
}


@few
@given(st.lists(st.sampled_from(["", *FLAWS]), min_size=1, max_size=4), st.integers(1, 3))
def test_a_high_vm_goes_to_a_host_without_a_flaw_or_stays(flaws: list[str], count: int) -> None:
    """All hosts have room, and those with a flaw come first by name and by headroom."""
    targets = {f"h{n}": flaw for n, flaw in enumerate(sorted(flaws, reverse=True))}
    made = [
        replace(host(name, gib=256 if flaw else 128, cpus=64.0 if flaw else 32.0), **FLAWS.get(flaw, {}))
        for name, flaw in targets.items()
    ]
    risks: dict[str, float | None] = {name: None for name, flaw in targets.items() if flaw == "unknown"}
    movers = [vm(f"v{n}", "z", Criticality.HIGH) for n in range(count)]
    seen = situation([*made, host("z")], movers, risks={**risks, "z": 0.9})
    heard = tuple(each for each in seen.forecasts if targets.get(each.host) != "silent")
    moves = decide(replace(seen, forecasts=heard)).moves
    assert {targets[move.target] for move in moves} <= {""}
    assert len(moves) == (count if "" in flaws else 0)


@few
@given(st.one_of(situations(), crowded()))
def test_each_move_and_each_verdict_says_why(seen: Situation) -> None:
    made = decide(seen)
    for move in made.moves:
        words = (
            f"VM {move.vm_name} ",
            f"from {move.source} to {move.target}",
            part_name(move.component),
            f"threshold {move.threshold:.3g}",
        )
        assert all(word in move.reason for word in words)
        assert move.vm_name == seen.cluster.vm_by_id[move.vm].name
    for verdict in made.verdicts:
        assert verdict.text
        assert not verdict.vm or seen.cluster.vm_by_id[verdict.vm].name in verdict.text
        assert not verdict.target or verdict.target in verdict.text
    for ticket in made.tickets:
        assert part_name(ticket.component) in ticket.text


@few
@given(situations())
def test_only_parts_above_their_threshold_move_anything(seen: Situation) -> None:
    risky = exceeding(seen)
    for move in decide(seen).moves:
        assert move.component in risky[move.source]
        assert move.risk > move.threshold
        assert (move.rule == PROACTIVE_FAILURE_AVOIDANCE) == (move.criticality is Criticality.HIGH)
        assert move.criticality is Criticality.HIGH or move.benefit - move.cost > POLICY.margin_minutes


@few
@given(situations())
def test_every_vm_of_a_risky_host_is_moved_or_told_why_not(seen: Situation) -> None:
    made = decide(seen)
    spoken_of = {move.vm for move in made.moves} | {verdict.vm for verdict in made.verdicts}
    for name in exceeding(seen):
        assert {each.id for each in seen.cluster.vms_by_host.get(name, ())} <= spoken_of


@few
@given(situations(), st.randoms(use_true_random=False))
def test_a_plan_is_a_pure_function_whatever_the_order_of_the_inventory(seen: Situation, random: Random) -> None:
    def shuffled(values: tuple[T, ...]) -> tuple[T, ...]:
        return tuple(random.sample(values, len(values)))

    cluster = seen.cluster
    turned = replace(
        seen,
        cluster=Cluster(cluster.time, cluster.generation, shuffled(cluster.hosts), shuffled(cluster.components),
                        shuffled(cluster.vms)),
        forecasts=shuffled(seen.forecasts),
        workloads=shuffled(seen.workloads),
        ladder=shuffled(seen.ladder),
        in_flight=shuffled(seen.in_flight),
        recent=shuffled(seen.recent),
    )  # fmt: skip
    before = repr(seen)
    assert plan(turned, POLICY, NOW) == plan(seen, POLICY, NOW)
    assert repr(seen) == before


@few
@given(situations())
def test_a_pause_changes_what_is_done_and_nothing_else(seen: Situation) -> None:
    free, held = decide(replace(seen, paused="")), decide(replace(seen, paused="audit"))
    assert held.moves == ()
    assert held.tickets == free.tickets
    assert [verdict.vm for verdict in held.verdicts[-len(free.moves) :]] == [
        move.vm for move in free.moves
    ] or not free.moves


def the_rule(hosts: list[Host], vms: list[VirtualMachine], risk: dict[str, float], threshold: float) -> dict[str, str]:
    """The rule as it was first written down: no index, no cache, everything counted anew for each VM.

    One part per host, each VM with its memory and CPUs fully at work. VMs in the order of what they stand to lose.
    """

    def headroom(there: Host) -> float:
        on_it = [each for each in vms if each.host == there.name or goes.get(each.id) == there.name]
        memory, cpus = sum(each.memory_bytes for each in on_it), sum(each.vcpus for each in on_it)
        return 1 - max(memory / there.memory_bytes, cpus / there.cpus)

    def fits(there: Host, mover: VirtualMachine) -> bool:
        on_it = [each for each in vms if each.host == there.name or goes.get(each.id) == there.name]
        memory = sum(each.memory_bytes for each in on_it) + mover.memory_bytes
        return memory <= there.memory_bytes and sum(each.vcpus for each in on_it) + mover.vcpus <= there.cpus

    goes: dict[str, str] = {}
    for mover in sorted(vms, key=lambda each: (-risk[each.host] / each.memory_bytes, -risk[each.host], each.id)):
        if mover.criticality is Criticality.HIGH and risk[mover.host] > threshold:
            for there in sorted(hosts, key=lambda each: (-headroom(each), each.name)):
                if there.name != mover.host and risk[there.name] <= threshold and fits(there, mover):
                    goes[mover.id] = there.name
                    break
    return goes


@st.composite
def plain_clusters(draw: st.DrawFn) -> tuple[list[Host], list[VirtualMachine], dict[str, float]]:
    """Hosts whose sizes are powers of two, so that headroom is the same number however it is summed."""
    names = [f"h{n}" for n in range(draw(st.integers(2, 7)))]
    risk = {name: draw(st.sampled_from([0.001953125, 0.0625, 0.25, 0.5])) for name in names}
    sizes = st.sampled_from([(16.0, 64), (32.0, 128), (64.0, 256)])
    made = [host(name, cpus=cpus, gib=gib) for name in names for cpus, gib in [draw(sizes)]]
    movers = [
        vm(f"v{n}", draw(st.sampled_from(names)), draw(st.sampled_from(list(Criticality))),
           vcpus=draw(st.sampled_from([1, 2, 8])), gib=draw(st.sampled_from([4, 8, 32])))
        for n in range(draw(st.integers(0, 25)))
    ]  # fmt: skip
    return made, movers, risk


@given(plain_clusters())
@few
@example(([host("a"), host("b")], [vm("v", "a", Criticality.HIGH)], {"a": 0.5, "b": 0.001953125}))
def test_high_vms_go_where_the_rule_word_for_word_sends_them(
    cluster: tuple[list[Host], list[VirtualMachine], dict[str, float]],
) -> None:
    all_hosts, all_vms, risk = cluster
    calm = [Workload(each.id, float(each.vcpus), 1e6, each.memory_bytes // 16) for each in all_vms]
    seen = situation(all_hosts, all_vms, risks=dict(risk), workloads=calm)
    word_for_word = decide(seen, replace(POLICY, policy="threshold"))
    made = {move.vm: move.target for move in word_for_word.moves if move.rule == PROACTIVE_FAILURE_AVOIDANCE}
    assert made == the_rule(all_hosts, all_vms, risk, 0.1)


@few
@given(plain_clusters(), st.integers(2, 4))
def test_the_rule_waits_for_the_hold(
    cluster: tuple[list[Host], list[VirtualMachine], dict[str, float]], hold: int
) -> None:
    all_hosts, all_vms, risk = cluster
    policy = replace(POLICY, hold_up_cycles=hold)
    seen = situation(all_hosts, all_vms, risks=dict(risk))
    for _ in range(hold - 1):
        made, ladder = plan(seen, policy, NOW)
        assert made.moves == ()
        seen = replace(seen, ladder=ladder)
    assert decide(seen, policy).moves == decide(replace(seen, ladder=())).moves


@given(st.lists(st.sampled_from([1, 8, 64]), min_size=1, max_size=12))
def test_a_full_cluster_gives_a_partial_plan(sizes: list[int]) -> None:
    movers = [vm(f"v{n}", "a", Criticality.HIGH, gib=gib, vcpus=1) for n, gib in enumerate(sizes)]
    seen = situation([host("a", gib=1024), host("b", gib=64)], movers, risks={"a": 0.5})
    made = decide(seen)
    sent = sum(seen.cluster.vm_by_id[move.vm].memory_bytes for move in made.moves)
    left = [each for each in movers if each.id not in {move.vm for move in made.moves}]
    assert sent <= 64 * GIB
    assert all(each.memory_bytes > 64 * GIB - sent for each in left)
    assert all(math.isfinite(move.benefit) for move in made.moves)
