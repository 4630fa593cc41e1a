"""How long draining takes, and by when it must begin."""

from dataclasses import replace
from datetime import timedelta

import pytest

from forewarn.domain.authority import Mode
from forewarn.domain.inventory import Cluster, Component, Criticality, Host, Kind, VirtualMachine
from forewarn.domain.plan import Move, MoveState, Outcome, Plan, Proposal
from forewarn.domain.risk import HORIZONS
from forewarn.domain.situation import Budget, Snapshot, Standing
from forewarn.web.safe_start import Drain, SafeStart, drain_of, safe_start
from tests.shown import NOW, forecast_of

PART = Component("cpu:a", Kind.CPU, "h1", "a", whole_host=True)


def vm(name: str, because: str = "") -> VirtualMachine:
    return VirtualMachine(name, name, "h1", 1, 1, immovable_because=because)


def move(name: str, duration_s: float) -> Move:
    return Move(
        f"m-{name}", name, name, Criticality.NORMAL, "h1", "h2", PART.id, PART.kind, 0.3, 0.1, "", "", 0, 0, duration_s
    )


def shown(*vms: VirtualMachine, **more: object) -> Snapshot:
    cluster = Cluster(NOW, 1, (Host("h1"), Host("h2")), (PART,), vms)
    made = (forecast_of(PART, 0.3),)
    return replace(Snapshot(NOW, 1, "", cluster, made, (), Plan("p", NOW, 1), (), {"cpu": 0.1}), **more)  # type: ignore[arg-type]  # whatever the test wants


def planned(*moves: Move, proposed: tuple[Move, ...] = ()) -> Plan:
    return Plan("p", NOW, 1, moves, proposals=tuple(Proposal(one, Mode.OBSERVE, "") for one in proposed))


def test_draining_takes_the_sum_of_the_moves_one_after_another_where_no_limit_is_told() -> None:
    snapshot = shown(vm("a"), vm("b"), plan=planned(move("a", 90.0), proposed=(move("b", 150.0),)))
    drain = drain_of(snapshot, "h1")
    assert (drain.seconds, drain.predicted, drain.words) == (240.0, 2, "about 4 min for 2 VMs")


def test_draining_takes_half_as_long_where_two_may_leave_at_once() -> None:
    standing = Standing(budgets=(Budget("moves_per_source", 0, 2),))
    plan = planned(move("a", 90.0), move("b", 150.0))
    assert drain_of(shown(vm("a"), vm("b"), plan=plan, standing=standing), "h1").seconds == 120.0


def test_of_a_move_that_runs_only_the_rest_counts() -> None:
    running = Outcome(move("a", 100.0), MoveState.RUNNING, NOW, NOW, progress=0.75)
    assert drain_of(shown(vm("a"), moves=(running,)), "h1").seconds == 25.0


@pytest.mark.parametrize(
    ("drain", "words"),
    [
        (Drain(), "no VM runs here"),
        (Drain(0.0, 0, 3), "unknown for 3 VMs: no move predicted yet"),
        (Drain(130.0, 2, 1), "at least 2 min; unknown for 1 of 3 VMs"),
        (Drain(20.0, 2, 1), "unknown for 1 of 3 VMs"),
        (Drain(20.0, 1, 0, 2), "under a minute for 1 VM; 2 VMs cannot move"),
        (Drain(0.0, 0, 0, 1), "1 VM cannot move"),
    ],
)
def test_the_time_to_drain_says_what_it_leaves_out(drain: Drain, words: str) -> None:
    assert drain.words == words


def test_a_vm_that_cannot_move_is_not_waited_for() -> None:
    drain = drain_of(shown(vm("a"), vm("b", "it has a PCI device"), plan=planned(move("a", 90.0))), "h1")
    assert (drain.predicted, drain.unpredicted, drain.immovable) == (1, 0, 1)


def test_the_latest_safe_start_is_the_first_unsafe_horizon_minus_the_time_to_drain() -> None:
    snapshot, forecast = shown(vm("a")), forecast_of(PART, 0.3)
    start = safe_start(snapshot, forecast, 0.1, Drain(3600.0, 1))
    assert start.crossing == HORIZONS[3]  # 30 % in 7 days are 14 % in 3 days and 5 % in one
    assert start.latest == NOW + timedelta(days=3) - timedelta(hours=1)
    assert start.words(NOW) == "2026-01-08 11:00 UTC, in 2 d 23 h"


def test_a_part_below_its_threshold_within_the_horizon_has_none() -> None:
    start = safe_start(shown(vm("a")), forecast_of(PART, 0.08), 0.1, Drain(60.0, 1))
    assert (start.crossing, start.latest, start.words(NOW)) == (None, None, "")


def test_an_unknown_risk_has_none() -> None:
    assert safe_start(shown(), forecast_of(PART, 0.0, because="no temperature"), 0.1, Drain(60.0, 1)).crossing is None
    assert safe_start(shown(), None, 0.1, Drain(60.0, 1)).crossing is None
    assert safe_start(shown(), forecast_of(PART, 0.3), None, Drain(60.0, 1)).crossing is None


def test_an_unknown_time_to_drain_makes_it_unknown_and_says_what_is_known() -> None:
    start = safe_start(shown(), forecast_of(PART, 0.3), 0.1, Drain(0.0, 0, 4))
    assert start.latest is None
    assert start.order == NOW + timedelta(days=3)
    assert start.words(NOW) == "unknown; the threshold is crossed within 3 days"


def test_a_time_to_drain_that_is_a_lower_bound_makes_it_an_upper_one() -> None:
    start = safe_start(shown(), forecast_of(PART, 0.3), 0.1, Drain(3600.0, 1, 3))
    assert start.words(NOW) == "before 2026-01-08 11:00 UTC, in 2 d 23 h"


def test_one_that_has_passed_says_so() -> None:
    start = SafeStart(Drain(7200.0, 3), HORIZONS[0], NOW + HORIZONS[0])
    assert start.words(NOW) == "passed 1 h ago"


def test_where_no_vm_can_leave_nothing_has_to_start() -> None:
    assert SafeStart(Drain(), HORIZONS[0], NOW + HORIZONS[0]).words(NOW) == ""
