"""Each guard holds back what it should, lets through what it should, says so and counts it."""

from datetime import timedelta

import pytest

from forewarn.act.guards import Guard, Guards, GuardSettings, Slots
from forewarn.domain.inventory import Cluster, Host
from forewarn.domain.plan import Move, MoveState, Outcome, Refusal
from tests.moves import NOW, move, plan_of, small_cluster

SETTINGS = GuardSettings(
    moves_per_source=2,
    moves_per_target=2,
    moves_at_once=4,
    moves_per_hour=6,
    moves_per_link=2,
    hosts_share=0.5,
    plan_age_s_max=60,
    inventory_age_s_max=120,
    clock_skew_s_max=30,
)


def running(*moves: Move) -> list[Outcome]:
    return [Outcome(one, MoveState.RUNNING, NOW) for one in moves]


def many_hosts(racks: str = "") -> Cluster:
    return Cluster(
        NOW, 1, tuple(Host(name, rack=racks[n] if n < len(racks) else "") for n, name in enumerate("abcdefghijkl"))
    )


def slots(*moves: Move, this_hour: int = 0, cluster: Cluster | None = None) -> Slots:
    return Slots(SETTINGS, running(*moves), this_hour, cluster or many_hosts())


def closed(plan_s: float = 0, inventory_s: float = 0, generation: int = 1) -> tuple[Guard, str] | None:
    plan = plan_of(move(), at=NOW + timedelta(seconds=inventory_s), generation=generation)
    return Guards(SETTINGS).closed_because(plan, small_cluster(), NOW + timedelta(seconds=inventory_s + plan_s))


def test_a_free_cluster_lets_a_move_start() -> None:
    assert slots().full_because(move()) is None
    assert closed() is None


def test_a_pause_holds_everything_until_it_ends() -> None:
    guards = Guards(SETTINGS)
    guards.pause("storm (ann)")
    assert guards.closed_because(plan_of(), small_cluster(), NOW) == (Guard.PAUSED, "moves are paused: storm (ann)")
    guards.resume()
    assert guards.closed_because(plan_of(), small_cluster(), NOW) is None


def test_a_pause_outlives_a_restart_by_being_handed_in() -> None:
    closed_because = Guards(SETTINGS, paused="storm").closed_because(plan_of(), small_cluster(), NOW)
    assert closed_because == (Guard.PAUSED, "moves are paused: storm")


@pytest.mark.parametrize(
    ("plan_s", "inventory_s", "guard"),
    [
        (60, 0, None),
        (61, 0, Guard.PLAN_AGE),
        (-30, 0, None),
        (-31, 0, Guard.PLAN_AGE),
        (0, 120, None),
        (0, 121, Guard.INVENTORY_AGE),
        (0, -30, None),
        (0, -31, Guard.INVENTORY_AGE),
    ],
)
def test_old_and_future_plans_and_inventories_start_nothing(
    plan_s: float, inventory_s: float, guard: Guard | None
) -> None:
    found = closed(plan_s, inventory_s)
    assert (None if found is None else found[0]) is guard


def test_an_inventory_that_is_older_than_the_plan_starts_nothing() -> None:
    assert closed(generation=2) == (Guard.INVENTORY_AGE, "the inventory is older than the plan")


def test_the_age_is_said_beside_the_limit() -> None:
    assert closed(plan_s=90) == (Guard.PLAN_AGE, "the plan is 90 s old, and at most 60 s are allowed")
    assert closed(inventory_s=-90) == (
        Guard.INVENTORY_AGE,
        "the inventory is 90 s ahead of this machine's clock: one of the two clocks is wrong",
    )


@pytest.mark.parametrize(
    ("moves", "this_hour", "wanted", "guard"),
    [
        ([], 5, move(), None),
        ([], 6, move(), Guard.PER_HOUR),
        ([move(source="b", target="c")] * 3, 3, move(target="d"), None),
        ([move(source="b", target="c")] * 4, 4, move(target="d"), Guard.AT_ONCE),
        ([move(target="c")], 1, move(), None),
        ([move(target="c"), move(target="d")], 2, move(), Guard.PER_SOURCE),
        ([move(target="c"), move(target="d")], 2, move(source="b", target="a"), None),
        ([move(source="c"), move(source="d")], 2, move(), Guard.PER_TARGET),
    ],
)
def test_a_move_starts_only_within_every_limit(
    moves: list[Move], this_hour: int, wanted: Move, guard: Guard | None
) -> None:
    found = slots(*moves, this_hour=this_hour).full_because(wanted)
    assert (None if found is None else found[0]) is guard


def test_each_started_move_takes_a_slot_of_each_kind() -> None:
    made = slots()
    for target in "bc":
        assert made.full_because(move(target=target)) is None
        made.take(move(target=target))
    assert made.full_because(move(target="d")) == (Guard.PER_SOURCE, "2 moves are leaving a, the limit")
    made.take(move(source="d"))
    assert made.full_because(move(source="e")) == (Guard.PER_TARGET, "2 moves are arriving on b, the limit")
    made.take(move(source="e", target="f"))
    at_once = (Guard.AT_ONCE, "4 moves are running in the cluster, the limit")
    assert made.full_because(move(source="g", target="h")) == at_once
    made.take(move(source="g", target="h"))
    made.take(move(source="i", target="j"))
    per_hour = (Guard.PER_HOUR, "6 moves began within the last hour, the limit")
    assert made.full_because(move(source="k", target="l")) == per_hour


def test_what_is_held_is_said_and_counted() -> None:
    guards = Guards(SETTINGS)
    verdict = guards.held(move(), Guard.PER_SOURCE, "2 moves are leaving a, the limit")
    assert verdict.refusal is Refusal.LIMIT
    assert verdict.text == "web-name was not moved to b yet: 2 moves are leaving a, the limit"
    assert (verdict.vm, verdict.host, verdict.target) == ("web", "a", "b")
    assert guards.held(move(), Guard.PAUSED, "moves are paused").refusal is Refusal.PAUSED
    guards.held(move(), Guard.PER_SOURCE, "again")
    assert guards.hits == {Guard.PER_SOURCE: 2, Guard.PAUSED: 1}


def test_moves_between_racks_share_their_uplinks_and_those_within_one_do_not() -> None:
    racks = many_hosts("1122")
    crossing = [move(source="a", target="c"), move(source="b", target="d")]
    within = [move(source="a", target="b"), move(source="c", target="d")]
    found = slots(*crossing, cluster=racks).full_because(move(source="e", target="a"))
    assert found == (Guard.PER_LINK, "2 moves use the uplink of 1, the limit")
    assert slots(*within, cluster=racks).full_because(move(source="e", target="a")) is None


def test_vms_leave_only_so_many_hosts_at_once_and_in_a_small_cluster_one() -> None:
    six = [move(source=name, target="l") for name in "abcdef"]
    settings = GuardSettings(moves_per_target=99, moves_at_once=99, moves_per_hour=99, hosts_share=0.5)
    many = Slots(settings, running(*six), 0, many_hosts())
    assert many.full_because(move(source="g")) == (Guard.HOSTS, "VMs are leaving 6 hosts already, the limit")
    assert many.full_because(move(source="a", target="k")) is None
    small = Slots(settings, running(move(source="a")), 0, small_cluster())
    assert small.full_because(move(source="b", target="c")) == (
        Guard.HOSTS,
        "VMs are leaving 1 hosts already, the limit",
    )


def test_what_is_used_of_each_limit_is_told_with_the_limit() -> None:
    used = slots(move(), move(target="c"), this_hour=3).used()
    assert used[Guard.PER_SOURCE] == (2, 2)
    assert used[Guard.PER_TARGET] == (1, 2)
    assert (used[Guard.AT_ONCE], used[Guard.PER_HOUR], used[Guard.HOSTS]) == ((2, 4), (3, 6), (1, 6))


def test_ages_and_the_pause_are_told_as_limits_with_how_much_of_them_is_used() -> None:
    guards, later = Guards(SETTINGS), NOW + timedelta(seconds=90)
    assert guards.used(small_cluster(), later) == {
        Guard.PLAN_AGE: (0.0, 60),
        Guard.INVENTORY_AGE: (90.0, 120),
        Guard.PAUSED: (0.0, 1.0),
    }
    guards.pause("storm (ann)")
    guards.closed_because(plan_of(move(), at=NOW + timedelta(seconds=60)), small_cluster(), later)
    used = guards.used(small_cluster(), later)
    assert (used[Guard.PLAN_AGE], used[Guard.PAUSED]) == ((30.0, 60), (1.0, 1.0))


def test_every_guard_has_a_limit_that_is_told() -> None:
    told = {*slots().used(), *Guards(SETTINGS).used(small_cluster(), NOW)}
    assert told == set(Guard)
