from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from forewarn.clock import SimulatedClock
from forewarn.domain.inventory import Component, HostState, Kind, VmState
from forewarn.domain.telemetry import Sample
from forewarn.drivers.simulated import SimulatedDriver
from forewarn.sim.faults import MODES, Course, Fault
from forewarn.sim.scenario import demo_cluster
from forewarn.sim.world import World
from forewarn.store.base import DEVICES, SAMPLES
from forewarn.store.mapping import Mapper

START = datetime(2026, 3, 2, 10, tzinfo=UTC)


class Stage:
    """A small cluster, its driver and clock, and the world around them."""

    def __init__(self, seed: int = 1, hosts: int = 4, vms: int = 20) -> None:
        self.clock = SimulatedClock(START)
        self.cluster, workloads = demo_cluster(seed, hosts, vms)
        self.driver = SimulatedDriver(self.cluster, workloads, self.clock)
        self.seed = seed
        self.mapper = Mapper()
        self.world = World(self.driver, seed, START, faults=())

    def suffers(self, *faults: Fault) -> None:
        self.world = World(self.driver, self.seed, START, faults=faults)
        self.world.step(START)

    def after(self, seconds: float) -> dict[str, list[Sample]]:
        self.clock.sleep((START + timedelta(seconds=seconds) - self.clock.now()).total_seconds())
        return self.world.advance(self.clock.now())

    def values(self, shown: dict[str, list[Sample]], host: str) -> dict[tuple[str, str], float]:
        rows = self.mapper.map(host, shown[host], self.clock.now()).samples.to_pylist()
        return {(row["component"], row["metric"]): row["value"] for row in rows}


def _fault(part: Component, course: Course = Course.DECLINE, ends: float = 200, severity: float = 1.0) -> Fault:
    times = [START + timedelta(seconds=seconds) for seconds in (20, 100, ends)]
    mode = "cells" if part.device.startswith("nvme") else MODES[part.kind][0].name
    return Fault(part.host, part.kind, part.device, course, times[0], times[1], times[2], mode, severity)


def _some(parts: Iterable[Component], kind: Kind, *, whole: bool, spares: int) -> Component:
    return next(part for part in parts if (part.kind, part.whole_host, part.spares) == (kind, whole, spares))


def test_telemetry_leads_to_the_parts_of_the_inventory() -> None:
    stage = Stage(hosts=24, vms=48)
    shown = stage.after(0)
    found = {component for host in shown for component, _ in stage.values(shown, host)}
    parts = {part.id for part in stage.cluster.components}
    assert found == parts | {f"host:{host.name}" for host in stage.cluster.hosts}
    assert stage.mapper.unmapped == {}


def test_history_and_live_telemetry_show_the_same_quantities() -> None:
    stage = Stage(hosts=24, vms=48)
    past = pa.concat_tables([batch.samples for batch in stage.world.history(1)])
    shown = stage.after(0)
    live = {pair for host in shown for pair in stage.values(shown, host)}
    assert set(zip(past["component"].to_pylist(), past["metric"].to_pylist(), strict=True)) == live


def test_history_is_hourly_and_a_batch_a_day() -> None:
    stage = Stage()
    batches = list(stage.world.history(3))
    assert len(batches) == 3
    for number, batch in enumerate(batches):
        assert (batch.samples.schema, batch.devices.schema) == (SAMPLES, DEVICES)
        first = START - timedelta(days=3 - number)
        assert pc.min(batch.samples["time"]).as_py() == first
        assert pc.max(batch.samples["time"]).as_py() == first + timedelta(hours=23)
        assert len(pc.unique(batch.samples["time"])) == 24


def test_devices_of_the_history_are_those_that_the_mapping_finds() -> None:
    stage = Stage()
    keys = ["component", "kind", "host", "device", "model"]
    (past,) = (batch.devices.select(keys) for batch in stage.world.history(1))
    shown = stage.after(0)
    live = [stage.mapper.map(host, samples, START).devices.select(keys) for host, samples in shown.items()]
    assert sorted(map(str, past.to_pylist())) == sorted(map(str, pa.concat_tables(live).to_pylist()))


def test_counters_go_on_where_the_history_ends_and_never_fall() -> None:
    stage = Stage()
    last = list(stage.world.history(2))[-1].samples
    newest = last.filter(pc.equal(last["time"], pc.max(last["time"]))).to_pylist()
    before = {(row["component"], row["metric"]): row["value"] for row in newest}
    counters = {"cpu_busy_seconds", "nic_receive_bytes", "disk_reads", "smart_9"}
    for seconds in (0, 30, 60):
        shown = stage.after(seconds)
        now = {pair: value for host in shown for pair, value in stage.values(shown, host).items()}
        assert all(now[pair] >= before[pair] for pair in now if pair[1] in counters)
        before = now


def test_load_has_a_daily_rhythm() -> None:
    stage = Stage()
    past = pa.concat_tables([batch.samples for batch in stage.world.history(5)])
    cpu = f"cpu:{stage.cluster.hosts[0].name}/cpu"
    wanted = [row["value"] for row in past.to_pylist() if (row["component"], row["metric"]) == (cpu, "cpu_temperature")]
    values = np.array(wanted, dtype=np.float64).reshape(5, 24)
    by_hour = values.mean(axis=0)
    assert by_hour.max() - by_hour.min() > 2
    assert 25 < values.min() < values.max() < 85


def test_equal_seeds_and_times_show_equal_telemetry() -> None:
    one, other = Stage(seed=5), Stage(seed=5)
    assert [one.after(seconds) for seconds in (0, 7, 21)] == [other.after(seconds) for seconds in (0, 7, 21)]


def test_a_few_healthy_drives_bear_old_reallocated_sectors() -> None:
    stage = Stage(hosts=24, vms=24)
    shown = stage.after(0)
    found = [value for host in shown for (_, metric), value in stage.values(shown, host).items() if metric == "smart_5"]
    assert 0 < sum(value > 0 for value in found) < len(found) / 4
    assert max(found) < 50


def test_a_declining_disk_shows_it_until_its_host_fails_and_its_replacement_is_clean() -> None:
    stage = Stage()
    disk = _some(stage.cluster.components, Kind.DISK, whole=True, spares=0)
    stage.suffers(_fault(disk))
    counts = [stage.values(stage.after(seconds), disk.host)[disk.id, "smart_5"] for seconds in (10, 50, 80)]
    assert counts == sorted(counts)
    assert counts[2] > counts[0] + 100
    assert disk.host not in stage.after(110)
    assert stage.driver.inventory().host_by_name[disk.host].state is HostState.DOWN
    back = stage.values(stage.after(210), disk.host)
    new = next(p for p in stage.driver.inventory().components if (p.host, p.device) == (disk.host, disk.device))
    assert new.id != disk.id
    assert (disk.id, "smart_5") not in back
    assert back[new.id, "smart_5"] < 50
    assert stage.driver.audit() == ()


def test_a_host_that_comes_back_has_its_vms_and_young_kernel_counters() -> None:
    stage = Stage()
    cpu = _some(stage.cluster.components, Kind.CPU, whole=True, spares=0)
    stage.suffers(_fault(cpu, Course.SUDDEN))
    busy = stage.values(stage.after(90), cpu.host)[cpu.id, "cpu_busy_seconds"]
    stage.after(100)
    (failure,) = stage.world.failures
    assert failure.host_failed
    assert not failure.signs
    assert set(failure.interrupted) == {vm.id for vm in stage.cluster.vms_by_host[cpu.host]}
    assert stage.world.events() == (failure.event,)
    assert stage.values(stage.after(200), cpu.host)[cpu.id, "cpu_busy_seconds"] < busy
    states = {vm.state for vm in stage.driver.inventory().vms_by_host[cpu.host]}
    assert states == {VmState.RUNNING}


@pytest.mark.parametrize("kind", [Kind.DISK, Kind.NETWORK, Kind.POWER])
def test_a_part_with_a_spare_does_not_take_its_host_down(kind: Kind) -> None:
    stage = Stage(hosts=8, vms=24)
    part = _some(stage.cluster.components, kind, whole=True, spares=1)
    stage.suffers(_fault(part))
    shown = stage.after(100)
    (failure,) = stage.world.failures
    assert not failure.host_failed
    assert failure.signs
    assert failure.interrupted == ()
    seen = stage.values(shown, part.host)
    match kind:
        case Kind.DISK:
            assert all(component != part.id for component, _ in seen)
        case Kind.NETWORK:
            assert seen[part.id, "nic_up"] == 0
        case _:
            assert seen[part.id, "psu_state"] == 2
    twin = next(p for p in stage.driver.inventory().components if p.group == part.group and p.id != part.id)
    assert twin.spares == 0


def test_the_second_death_in_a_set_takes_the_host_down() -> None:
    stage = Stage(hosts=8, vms=24)
    one = _some(stage.cluster.components, Kind.POWER, whole=True, spares=1)
    other = next(part for part in stage.cluster.components if part.group == one.group and part.id != one.id)
    later = replace(_fault(other, Course.SUDDEN), peaks=START + timedelta(seconds=150))
    stage.suffers(_fault(one, ends=300), later)
    stage.after(120)
    stage.after(150)
    assert [failure.host_failed for failure in stage.world.failures] == [False, True]


def test_a_data_disk_interrupts_the_vms_on_it_and_no_others() -> None:
    stage = Stage(hosts=8, vms=40)
    disk = next(part for part in stage.cluster.components if part.vms and part.spares == 0)
    stage.suffers(_fault(disk))
    stage.after(100)
    (failure,) = stage.world.failures
    assert set(failure.interrupted) == set(disk.vms)
    assert not failure.host_failed
    vms = stage.driver.inventory().vm_by_id
    assert all(vms[vm].state is VmState.INTERRUPTED for vm in disk.vms)
    stage.after(200)
    vms = stage.driver.inventory().vm_by_id
    assert all(vms[vm].state is VmState.RUNNING for vm in disk.vms)


def test_a_false_alarm_shows_and_nothing_fails() -> None:
    stage = Stage()
    disk = _some(stage.cluster.components, Kind.DISK, whole=True, spares=0)
    stage.suffers(_fault(disk, Course.FALSE_ALARM, severity=0.7))
    healthy = stage.values(stage.after(0), disk.host)[disk.id, "smart_187"]
    assert stage.values(stage.after(100), disk.host)[disk.id, "smart_187"] > healthy + 10
    stage.after(250)
    assert stage.world.failures == ()
    assert disk.id not in stage.driver.inventory().component_by_id


def test_a_host_whose_exporters_fall_silent_is_well() -> None:
    stage = Stage()
    cpu = stage.cluster.components[0]
    stage.suffers(_fault(cpu, Course.DARK))
    assert cpu.host in stage.after(10)
    assert cpu.host not in stage.after(150)
    assert stage.driver.inventory().host_by_name[cpu.host].state is HostState.UP
    assert cpu.host in stage.after(200)
    assert stage.world.failures == ()


def test_a_fault_that_passes_between_two_ticks_still_happens() -> None:
    stage = Stage()
    cpu = stage.cluster.components[0]
    stage.suffers(_fault(cpu))
    stage.after(500)
    assert [failure.event.component for failure in stage.world.failures] == [cpu.id]
    assert stage.driver.inventory().host_by_name[cpu.host].state is HostState.UP


def test_ripples_never_show_negative_values() -> None:
    stage = Stage()
    psu = _some(stage.cluster.components, Kind.POWER, whole=True, spares=0)
    stage.suffers(_fault(psu, severity=20.0))
    for seconds in range(20, 99, 3):
        shown = stage.after(seconds)
        assert all(sample.value >= 0 for sample in shown[psu.host] if sample.name.startswith("ipmi_voltage"))


def test_fate_begins_with_the_first_tick_however_long_setting_up_took() -> None:
    stage = Stage()
    stage.world = World(stage.driver, 1, START, faults=[_fault(stage.cluster.components[0])])
    stage.after(300)
    assert stage.world.failures == ()
    stage.after(399)
    assert stage.world.failures == ()
    stage.after(400)
    assert len(stage.world.failures) == 1
