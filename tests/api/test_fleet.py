"""What the fleet page shows, computed from a snapshot."""

from dataclasses import replace

import pytest

from forewarn.domain.inventory import Cluster, Component, Host, HostState, Kind
from forewarn.domain.plan import Plan
from forewarn.domain.situation import LadderStep, Rung, Snapshot
from forewarn.web.fleet import Level, brief_words, fleet_of, key_of, level_of, place, risk_words
from tests.shown import NOW, forecast_of, snapshot_of

WEEK_S = 604800.0


def small(*forecasts: tuple[str, float], unknown: str = "", **more: object) -> Snapshot:
    """One host with a CPU per given device and weekly risk, under a threshold of 10 %."""
    parts = tuple(Component(f"cpu:{device}", Kind.CPU, "h1", device) for device, _ in forecasts)
    made = tuple(forecast_of(part, risk, because=unknown) for part, (_, risk) in zip(parts, forecasts, strict=True))
    snapshot = Snapshot(
        NOW, 1, "", Cluster(NOW, 1, (Host("h1"),), parts), made, (), Plan("p", NOW, 1), (), {"cpu": 0.1}, WEEK_S
    )
    return replace(snapshot, **more)  # type: ignore[arg-type]  # whatever the test wants otherwise


@pytest.mark.parametrize(
    ("ratio", "level"),
    [(0.0, "l0"), (0.1, "l1"), (0.5, "l2"), (0.99, "l2"), (1.0, "l2"), (1.01, "l3"), (4.0, "l4"), (90.0, "l4")],
)
def test_a_level_is_the_risk_beside_its_threshold(ratio: float, level: str) -> None:
    assert level_of(ratio, 0.5) == level


def test_a_level_is_above_exactly_where_the_policy_would_act() -> None:
    assert not fleet_of(small(("a", 0.1))).cells[0].at_risk
    assert fleet_of(small(("a", 0.1001))).cells[0].at_risk


def test_unknown_is_a_level_of_its_own_and_says_why() -> None:
    (cell,) = fleet_of(small(("a", 0.0), unknown="no temperature")).cells
    assert cell.level is Level.UNKNOWN
    assert (cell.probability, cell.ratio) == (None, None)
    assert cell.label == "h1, CPU a: unknown: no temperature"


def test_a_component_without_a_forecast_is_unknown() -> None:
    fleet = fleet_of(small(("a", 0.2), forecasts=()))
    assert fleet.cells[0].level is Level.UNKNOWN
    assert fleet.unknown_causes == (("CPU: no forecast has been made yet", 1),)
    assert fleet.counts.unknown == 1


def test_a_risk_without_a_threshold_is_shown_but_not_judged() -> None:
    fleet = fleet_of(small(("a", 0.2), thresholds={}))
    (cell,) = fleet.cells
    assert cell.level is Level.UNJUDGED
    assert cell.short == "20.0 % within 7 days, no threshold set"
    assert fleet.rows[0].worst_words == "CPU a: 20.0 % in 7 days"


def test_a_forecast_of_a_part_that_the_inventory_does_not_know_is_shown_too() -> None:
    snapshot = small(("a", 0.2))
    bare = replace(snapshot, cluster=replace(snapshot.cluster, components=()))
    assert [cell.component for cell in fleet_of(bare).cells] == ["cpu:a"]


def test_every_risk_is_said_with_its_horizon_and_its_threshold() -> None:
    assert risk_words(0.046, 0.01, WEEK_S) == "4.6 % within 7 days, 4.6 times its threshold of 1.0 %"
    assert risk_words(0.0001, 0.01, WEEK_S) == "0.010 % within 7 days, far below its threshold of 1.0 %"
    assert risk_words(None, 0.01, WEEK_S) == "unknown: the cause was not given"
    assert brief_words(0.046, 0.01, 3600) == "4.6 % in 1 hour (1.0 %)"


def test_the_riskiest_component_stands_for_its_host() -> None:
    (row,) = fleet_of(small(("a", 0.01), ("b", 0.3), ("c", 0.02))).rows
    assert row.worst is not None
    assert row.worst.device == "b"


def test_a_host_of_which_nothing_is_known_has_no_riskiest_component() -> None:
    (row,) = fleet_of(small(("a", 0.0), unknown="dark")).rows
    assert row.worst is None


def test_hosts_at_risk_come_first_then_those_that_are_down() -> None:
    snapshot = snapshot_of()
    ranked = sorted(fleet_of(snapshot).rows, key=lambda row: row.rank)
    groups = [0 if r.worst and r.worst.at_risk else 1 if r.host.state is HostState.DOWN else 2 for r in ranked]
    assert groups == sorted(groups)
    assert set(groups) == {0, 1, 2}


def test_devices_are_counted_as_people_count_them() -> None:
    fleet = fleet_of(small(("cpu10", 0.1), ("cpu2", 0.1), ("cpu1", 0.1)))
    assert [cell.device for cell in fleet.cells] == ["cpu1", "cpu2", "cpu10"]


def test_a_part_whose_vms_leave_says_so() -> None:
    fleet = fleet_of(small(("a", 0.3), ladder=(LadderStep("cpu:a", Rung.MOVE, NOW),)))
    assert fleet.cells[0].moving
    assert fleet.cells[0].label.endswith(", moving its VMs away")


def test_keys_are_safe_in_html_and_differ_by_where_a_name_ends() -> None:
    assert key_of('<b>"&', "x").isalnum()
    assert key_of("a", "bc") != key_of("ab", "c")


@pytest.mark.parametrize(
    ("kind", "device", "name"),
    [(Kind.CPU, "cpu", "CPU"), (Kind.DISK, "sda", "disk sda"), (Kind.MEMORY, "", "memory"), (Kind.CPU, "1", "CPU 1")],
)
def test_a_component_is_called_by_kind_and_device(kind: Kind, device: str, name: str) -> None:
    assert place(kind, device) == name


def test_the_counts_agree_with_the_snapshot() -> None:
    snapshot = snapshot_of()
    fleet = fleet_of(snapshot)
    assert fleet.counts.hosts == 25
    assert fleet.counts.components == len(snapshot.forecasts) == 375
    assert fleet.counts.unknown == sum(f.unknown for f in snapshot.forecasts) > 0
    assert fleet.counts.vms == 200
    assert fleet.counts.moves_running == 3
    assert fleet.counts.hosts_down == 1
    assert fleet.mixed


def test_the_layout_changes_when_a_part_is_swapped_and_not_when_a_risk_moves() -> None:
    assert fleet_of(small(("a", 0.1))).layout == fleet_of(small(("a", 0.9))).layout
    assert fleet_of(small(("a", 0.1))).layout != fleet_of(small(("b", 0.1))).layout
