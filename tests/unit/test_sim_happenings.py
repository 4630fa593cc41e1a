"""What befalls hosts beside the wearing out of parts, as it shows in their telemetry and at the placement service."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest

from forewarn.clock import SimulatedClock
from forewarn.domain.inventory import Component, HostState, Kind, VmState
from forewarn.domain.plan import Move
from forewarn.domain.telemetry import Sample
from forewarn.errors import MoveRefused
from forewarn.sim.happenings import (
    FOREVER,
    ElsewhereMove,
    Happening,
    Maintenance,
    Outage,
    PullBack,
    Readings,
    Silence,
    Where,
    feed_pulled,
    heat,
    link_lost,
)
from forewarn.sim.play import Simulation, SimulationSettings
from forewarn.sim.scenario import ClusterSettings
from forewarn.store.mapping import Mapper

START = datetime(2026, 3, 2, 10, tzinfo=UTC)
TWO_RACKS = SimulationSettings(hosts=4, vms=16, cluster=ClusterSettings(hosts_per_rack=2))


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


class Stage:
    """A small simulation without faults, to which things happen."""

    def __init__(self, *happenings: Happening) -> None:
        self.clock = SimulatedClock(START)
        self.simulation = Simulation(1, self.clock, TWO_RACKS, (), happenings)
        self.driver, self.world = self.simulation.driver, self.simulation.world
        self.shown: Mapping[str, list[Sample]] = self.world.advance(START)
        self._mapper = Mapper()

    def until(self, seconds: float) -> "Stage":
        self.clock.sleep((at(seconds) - self.clock.now()).total_seconds())
        self.shown = self.world.advance(self.clock.now())
        return self

    def value(self, part: Component | str, metric: str) -> float:
        component, host = (part.id, part.host) if isinstance(part, Component) else (f"host:{part}", part)
        rows = self._mapper.map(host, self.shown[host], self.clock.now()).samples.to_pylist()
        return next(float(row["value"]) for row in rows if (row["component"], row["metric"]) == (component, metric))

    def part(self, host: str, kind: Kind) -> Component:
        return next(each for each in self.driver.inventory().components_by_host[host] if each.kind is kind)

    def state(self, host: str) -> HostState:
        return self.driver.inventory().host_by_name[host].state

    def move(self, vm: str, target: str) -> Move:
        mover = self.driver.inventory().vm_by_id[vm]
        return Move(f"{vm}-{self.clock.now()}", vm, mover.name, mover.criticality, mover.host, target,
                    "cpu:x", Kind.CPU, 0.5, 0.1, "drill", "a drill")  # fmt: skip


def test_hosts_are_meant_by_pattern_or_rack_and_parts_by_kind_place_and_model() -> None:
    assert Where().on("host01", "rack1")
    assert Where(hosts=("host0*",)).on("host01", "rack1")
    assert not Where(hosts=("host1*", "host2?")).on("host01", "rack1")
    assert not Where(rack="rack2").on("host01", "rack1")
    disk = Component("disk:A", Kind.DISK, "host01", "sda", "ST4000DM000")
    assert Where(kind="disk", device="sda", model="ST4000DM000").part(disk)
    assert not any(where.part(disk) for where in (Where(kind="cpu"), Where(device="sdb"), Where(model="other")))


def test_silent_hosts_show_nothing_and_count_on() -> None:
    stage = Stage(Silence(Where(hosts=("host01",)), at(60), at(600)))
    cpu = stage.part("host01", Kind.CPU)
    before = stage.value(cpu, "cpu_busy_seconds")
    assert stage.until(60).shown.keys() == {"host02", "host03", "host04"}
    assert stage.state("host01") is HostState.UP
    assert stage.until(600).value(cpu, "cpu_busy_seconds") > before


def test_a_reboot_in_maintenance_is_announced_silent_and_starts_the_kernels_counters_anew() -> None:
    stage = Stage(Maintenance(Where(hosts=("host02",)), at(60), at(600), boots=True))
    cpu = stage.part("host02", Kind.CPU)
    assert stage.until(59).value(cpu, "cpu_busy_seconds") > 0
    assert "host02" not in stage.until(60).shown
    assert stage.state("host02") is HostState.MAINTENANCE
    assert stage.until(600).value(cpu, "cpu_busy_seconds") == 0
    assert stage.state("host02") is HostState.UP
    assert stage.world.failures == ()
    assert all(vm.state is VmState.RUNNING for vm in stage.driver.inventory().vms)


def test_maintenance_leaves_a_host_alone_that_is_down() -> None:
    where = Where(hosts=("host01",))
    stage = Stage(Outage(where, at(10), at(100)), Maintenance(where, at(20), at(50)))
    assert [stage.until(seconds).state("host01") for seconds in (20, 50)] == [HostState.DOWN, HostState.DOWN]
    assert stage.until(100).state("host01") is HostState.UP


def test_an_outage_takes_the_vms_down_and_is_a_failure_that_nothing_foretold() -> None:
    stage = Stage(Outage(Where(hosts=("host03",)), at(60), at(120)))
    hit = {vm.id for vm in stage.driver.inventory().vms_by_host["host03"]}
    assert "host03" not in stage.until(60).shown
    (failure,) = stage.world.failures
    assert (failure.event.kind, failure.event.host, failure.host_failed, failure.signs) == (
        Kind.HOST,
        "host03",
        True,
        False,
    )
    assert set(failure.interrupted) == hit
    stage.until(120)
    assert {vm.state for vm in stage.driver.inventory().vms} == {VmState.RUNNING}


def test_a_warm_rack_shows_on_every_sensor_of_its_hosts_and_nowhere_else() -> None:
    warm, cool = Stage(heat(Where(rack="rack2"), at(0), at(60), 15.0)), Stage()
    for host, more in (("host03", 15.0), ("host01", 0.0)):
        for kind, metric in ((Kind.CPU, "cpu_temperature"), (Kind.POWER, "psu_temperature")):
            part = warm.part(host, kind)
            assert warm.value(part, metric) - cool.value(part, metric) == pytest.approx(more)
    part = warm.part("host03", Kind.CPU)
    assert warm.until(60).value(part, "cpu_temperature") == pytest.approx(cool.until(60).value(part, "cpu_temperature"))


def test_a_reading_jumps_on_every_part_of_a_model_and_on_no_other() -> None:
    stage = Stage(Readings(Where(kind="memory"), at(60), adds={"dimm_corrected": 500.0, "no_such_metric": 1.0}))
    part = stage.part("host01", Kind.MEMORY)
    before = stage.value(part, "dimm_corrected")
    assert stage.until(60).value(part, "dimm_corrected") >= before + 500.0


def test_a_supply_without_its_feed_gives_nothing_and_lives() -> None:
    supply = Stage().part("host01", Kind.POWER)
    stage = Stage(feed_pulled(Where(hosts=("host01",), device=supply.device), at(60), at(120))).until(60)
    assert (stage.value(supply, "psu_output_volts"), stage.value(supply, "psu_state")) == (0.0, 2.0)
    assert stage.value(supply, "psu_fan_speed") > 1000
    assert supply in stage.driver.inventory().components
    assert stage.until(120).value(supply, "psu_output_volts") > 11


def test_a_lost_link_counts_one_change_and_its_return_another() -> None:
    nic = Stage().part("host01", Kind.NETWORK)
    stage = Stage(*link_lost(Where(hosts=("host01",), device=nic.device), at(60), at(120)))
    before = stage.value(nic, "nic_carrier_changes")
    assert (stage.until(60).value(nic, "nic_up"), stage.value(nic, "nic_carrier_changes")) == (0.0, before + 1)
    assert (stage.until(120).value(nic, "nic_up"), stage.value(nic, "nic_carrier_changes")) == (1.0, before + 2)


def test_another_tool_moves_a_vm_once() -> None:
    vm = Stage().driver.inventory().vms_by_host["host01"][0].id
    stage = Stage(ElsewhereMove(vm, "host04", at(60))).until(60)
    assert stage.driver.inventory().vm_by_id[vm].host == "host04"
    stage.driver.move_elsewhere(vm, "host01")
    assert stage.until(120).driver.inventory().vm_by_id[vm].host == "host01"


def test_another_tool_pulls_a_vm_back_some_seconds_after_it_left_as_often_as_it_is_told_to() -> None:
    vm = Stage().driver.inventory().vms_by_host["host01"][0].id
    stage = Stage(PullBack(vm, 50.0, at(0), times=1))
    places = []
    for seconds in (10, 40, 60, 70, 120, 200):
        if seconds in (10, 70):
            stage.driver.move_elsewhere(vm, "host02")
        places.append(stage.until(seconds).driver.inventory().vm_by_id[vm].host)
    assert places == ["host02", "host02", "host01", "host02", "host02", "host02"]


def test_nothing_is_pulled_back_to_a_host_that_is_down() -> None:
    vm = Stage().driver.inventory().vms_by_host["host01"][0].id
    stage = Stage(PullBack(vm, 0.0, at(0)), Outage(Where(hosts=("host01",)), at(5)))
    stage.driver.move_elsewhere(vm, "host02")
    stage.driver.fail_host("host01")
    assert stage.until(10).driver.inventory().vm_by_id[vm].host == "host02"


def test_what_comes_between_a_plan_and_its_move_is_met_by_the_check_of_the_move() -> None:
    stage = Stage(Maintenance(Where(hosts=("host04",)), at(60), amid=True)).until(60)
    assert stage.state("host04") is HostState.UP
    vm = stage.driver.inventory().vms_by_host["host01"][0].id
    with pytest.raises(MoveRefused, match="host04 is in maintenance"):
        stage.simulation.service.check(stage.move(vm, "host04"))
    assert stage.state("host04") is HostState.MAINTENANCE


def test_what_should_have_come_amid_a_plan_comes_without_one_at_the_next_tick() -> None:
    stage = Stage(Outage(Where(hosts=("host04",)), at(60), FOREVER, amid=True))
    assert [stage.until(seconds).state("host04") for seconds in (60, 90)] == [HostState.UP, HostState.DOWN]


def test_the_driver_that_the_loop_holds_is_the_simulated_one_behind_a_thin_wall() -> None:
    stage = Stage()
    service, vm = stage.simulation.service, stage.driver.inventory().vms_by_host["host01"][0].id
    move = stage.move(vm, "host02")
    assert (service.name, service.inventory(), service.workloads()) == (
        stage.driver.name, stage.driver.inventory(), stage.driver.workloads(),
    )  # fmt: skip
    service.check(move)
    service.start(move)
    assert service.poll(move).state == stage.driver.poll(move).state == "running"
    service.cancel(move)
    assert service.poll(move).state == "cancelled"
