"""From parts to VMs: who is interrupted by what, and what a move is worth."""

import pytest

from forewarn.decide.migration_cost import MigrationEstimate
from forewarn.decide.policy import PolicySettings
from forewarn.decide.score import Exposure, benefit, cost, exposure, known, loss, more_than
from forewarn.domain.inventory import Component, Criticality, Kind
from forewarn.domain.risk import HORIZONS
from tests.clusters import GIB, forecast, part, vm

ASSUMED = dict.fromkeys(Kind, 0.2)
SETTINGS = PolicySettings()


def interruption(name: str, parts: list[Component], **probabilities: float) -> float:
    by_id = {each.id: probabilities[each.device] for each in parts if each.device in probabilities}
    return exposure(parts, by_id, ASSUMED).interruption(name)


def test_a_part_of_the_whole_host_interrupts_every_vm() -> None:
    assert interruption("a", [part("h", device="cpu0")], cpu0=0.3) == pytest.approx(0.3)


def test_a_part_interrupts_only_the_vms_in_its_path() -> None:
    parts = [part("h", Kind.DISK, "sda", whole_host=False, vms=("a",))]
    assert interruption("a", parts, sda=0.3) == pytest.approx(0.3)
    assert interruption("b", parts, sda=0.3) == 0.0


def test_a_part_not_proven_in_any_path_interrupts_nothing() -> None:
    assert interruption("a", [part("h", Kind.DISK, "sda", whole_host=False)], sda=0.9) == 0.0


def test_independent_parts_add_up_as_hazards() -> None:
    parts = [part("h", device="cpu0"), part("h", Kind.DISK, "sda", whole_host=False, vms=("a",))]
    assert interruption("a", parts, cpu0=0.1, sda=0.2) == pytest.approx(1 - 0.9 * 0.8)


def test_two_parts_of_one_vm_add_up() -> None:
    parts = [part("h", Kind.DISK, device, whole_host=False, vms=("a",)) for device in ("sda", "sdb")]
    assert interruption("a", parts, sda=0.1, sdb=0.2) == pytest.approx(1 - 0.9 * 0.8)


def test_of_a_pair_both_must_fail() -> None:
    pair = [part("h", Kind.POWER, device, group="psu", spares=1) for device in ("PSU1", "PSU2")]
    assert interruption("a", pair, PSU1=0.5, PSU2=0.01) == pytest.approx(0.005)


def test_a_degraded_group_without_spares_interrupts_with_the_first() -> None:
    raid = [part("h", Kind.DISK, device, group="md0", spares=0) for device in ("sda", "sdb")]
    assert interruption("a", raid, sda=0.5, sdb=0.1) == pytest.approx(1 - 0.5 * 0.9)


def test_a_group_of_three_with_two_spares_needs_all_three() -> None:
    raid = [part("h", Kind.DISK, device, group="z", spares=2) for device in ("sda", "sdb", "sdc")]
    assert interruption("a", raid, sda=0.5, sdb=0.4, sdc=0.1) == pytest.approx(0.02)


def test_a_stand_in_of_unknown_risk_protects_no_better_than_one_at_its_threshold() -> None:
    pair = [part("h", Kind.POWER, device, group="psu", spares=1) for device in ("PSU1", "PSU2")]
    assert interruption("a", pair, PSU1=0.5) == pytest.approx(0.5 * 0.2)


def test_a_stand_in_that_nobody_sees_counts_as_unknown() -> None:
    assert interruption("a", [part("h", Kind.POWER, "PSU1", spares=1)], PSU1=0.5) == pytest.approx(0.5 * 0.2)


def test_groups_of_the_same_name_and_ungrouped_parts_stay_apart() -> None:
    parts = [part("h", Kind.DISK, "sda", group="disk:h/sdb", spares=0), part("h", Kind.DISK, "sdb")]
    assert interruption("a", parts, sda=0.5, sdb=0.5) == pytest.approx(0.75)


def test_an_unknown_part_alone_adds_nothing() -> None:
    assert interruption("a", [part("h")]) == 0.0


def test_a_group_reaches_whom_any_of_its_parts_reaches() -> None:
    raid = [
        part("h", Kind.DISK, "sda", group="md0", spares=1, whole_host=False, vms=("a",)),
        part("h", Kind.DISK, "sdb", group="md0", spares=1, whole_host=False, vms=("b",)),
    ]
    assert interruption("a", raid, sda=0.5, sdb=0.5) == interruption("b", raid, sda=0.5, sdb=0.5) == pytest.approx(0.25)


def test_nothing_known_is_no_exposure() -> None:
    assert Exposure().interruption("a") == 0.0


@pytest.mark.parametrize(("spares", "expected"), [(0, 1 - 0.9 * 0.8 * 0.7), (1, 0.098), (2, 0.1 * 0.2 * 0.3), (3, 0.0)])
def test_more_than_so_many_of_three(spares: int, expected: float) -> None:
    assert more_than(spares, [0.1, 0.2, 0.3]) == pytest.approx(expected)


def test_unknown_forecasts_are_left_out() -> None:
    seen, unseen = part("h", device="cpu0"), part("h", device="cpu1")
    assert known([forecast(seen, 0.3), forecast(unseen, None)], HORIZONS[4]) == {seen.id: 0.3}


def test_a_loss_is_outage_minutes_times_weight() -> None:
    assert [loss(vm("a", "h", level), SETTINGS) for level in Criticality] == [300.0, 30.0, 6.0]


def test_a_benefit_is_the_risk_left_behind_less_the_risk_met() -> None:
    hour = MigrationEstimate(3600.0, 0.0, 0, converges=True)
    # half the hosts in question fail within the hour that the move takes
    assert benefit(100.0, 0.8, 0.5, 0.1, hour) == pytest.approx(100 * (0.8 * 0.5 - 0.1))


def test_a_move_that_is_done_at_once_saves_the_whole_difference() -> None:
    assert benefit(100.0, 0.8, 0.5, 0.1, MigrationEstimate(0.0, 0.0, 0, converges=True)) == pytest.approx(70.0)


def test_a_cost_adds_stop_slowness_failure_restlessness_and_traffic() -> None:
    settings = PolicySettings(
        slowdown=0.1,
        network_minutes_per_gib=0.01,
        move_failure_probability=0.05,
        move_failure_minutes=2.0,
        churn_minutes=3.0,
    )
    minute = MigrationEstimate(60.0, 300.0, 8 * GIB, converges=True)
    outage = 0.005 + 0.1 + 0.1 + 2 * 3.0
    assert cost(vm("a", "h"), minute, 2, settings) == pytest.approx(outage + 0.08)
    assert cost(vm("a", "h", Criticality.HIGH), minute, 2, settings) == pytest.approx(10 * outage + 0.08)
