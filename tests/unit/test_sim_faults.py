from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest

from forewarn.domain.inventory import Cluster, Component, Criticality, Kind
from forewarn.domain.metrics import METRICS
from forewarn.sim.faults import MODES, Course, Fault, FaultSettings, Schedule, additions, fatal
from forewarn.sim.scenario import demo_cluster

START = datetime(2026, 3, 2, 10, tzinfo=UTC)
SEEDS = range(1, 9)


def _drawn(seed: int, count: int = 120, settings: FaultSettings | None = None) -> list[Fault]:
    cluster, _ = demo_cluster(seed)
    return list(islice(Schedule(seed, cluster, START, settings or FaultSettings()), count))


def _parts(cluster: Cluster) -> dict[tuple[str, Kind, str], Component]:
    return {(part.host, part.kind, part.device): part for part in cluster.components}


def _fault(kind: Kind, course: Course = Course.DECLINE, severity: float = 1.0, mode: str = "") -> Fault:
    mode = mode or MODES[kind][0].name
    peaks, ends = START + timedelta(seconds=100), START + timedelta(seconds=200)
    return Fault("host01", kind, "x", course, START, peaks, ends, mode, severity)


def _at(fault: Fault, seconds: float) -> dict[str, float]:
    found: dict[str, float] = {}
    for key, amount in additions(fault, START + timedelta(seconds=seconds)):
        found[key] = found.get(key, 0.0) + amount
    return found


def test_the_same_seed_draws_the_same_faults() -> None:
    assert _drawn(3) == _drawn(3)
    assert _drawn(3) != _drawn(4)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_first_fault_takes_down_critical_vms_within_two_minutes_and_shows_before(seed: int) -> None:
    cluster, _ = demo_cluster(seed)
    first = _drawn(seed, 1)[0]
    part = _parts(cluster)[first.host, first.kind, first.device]
    assert first.course is Course.DECLINE
    assert fatal(part)
    assert any(vm.criticality is Criticality.HIGH for vm in cluster.vms_by_host[first.host])
    assert first.starts >= START + timedelta(seconds=25)
    assert first.peaks <= START + timedelta(seconds=115)


@pytest.mark.parametrize("seed", SEEDS)
def test_at_no_time_have_fewer_than_a_third_of_host_failures_been_sudden(seed: int) -> None:
    cluster, _ = demo_cluster(seed)
    parts = _parts(cluster)
    failures = [f for f in _drawn(seed) if f.fails and fatal(parts[f.host, f.kind, f.device])]
    sudden = 0
    for count, fault in enumerate(failures, 1):
        sudden += fault.course is Course.SUDDEN
        assert count < 3 or sudden / count >= 1 / 3
    assert 0.35 <= sudden / len(failures) < 0.6


@pytest.mark.parametrize("seed", SEEDS)
def test_some_declines_come_to_nothing_and_some_parts_are_spared(seed: int) -> None:
    cluster, _ = demo_cluster(seed)
    parts, faults = _parts(cluster), _drawn(seed)
    assert 4 < sum(fault.course is Course.FALSE_ALARM for fault in faults) < 40
    assert any(not fatal(parts[fault.host, fault.kind, fault.device]) for fault in faults)
    assert {fault.kind for fault in faults} == set(MODES)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_host_has_one_fault_at_a_time_and_faults_come_in_order(seed: int) -> None:
    faults = _drawn(seed)
    assert [fault.starts for fault in faults] == sorted(fault.starts for fault in faults)
    ends: dict[str, datetime] = {}
    for fault in faults:
        assert fault.starts >= ends.get(fault.host, START)
        assert fault.starts < fault.peaks < fault.ends
        ends[fault.host] = fault.ends


def test_pace_stretches_every_time_alike() -> None:
    fast, slow = _drawn(5, 30), _drawn(5, 30, FaultSettings(pace=6.0))
    assert [f.host for f in fast] == [f.host for f in slow]
    for quick, calm in zip(fast, slow, strict=True):
        assert (calm.peaks - START) / (quick.peaks - START) == pytest.approx(6.0)


def test_a_cluster_without_parts_never_fails() -> None:
    assert list(Schedule(1, Cluster(START), START)) == []


def test_a_cluster_without_critical_vms_has_no_staged_first_fault() -> None:
    cluster, _ = demo_cluster(1, hosts=3, vms=0)
    faults = list(islice(Schedule(1, cluster, START), 5))
    assert len(faults) == 5
    assert faults[0].starts > START + timedelta(seconds=30)


def test_every_mode_moves_quantities_that_exporters_show() -> None:
    known = {metric.key for metric in METRICS}
    assert {effect.key for modes in MODES.values() for mode in modes for effect in mode.effects} <= known


def _lasting(kind: Kind) -> Iterator[str]:
    for mode in MODES[kind]:
        yield from (effect.key for effect in mode.effects if effect.lasting)


@pytest.mark.parametrize("kind", MODES)
def test_a_decline_shows_more_and_more_until_the_part_fails(kind: Kind) -> None:
    for mode in MODES[kind]:
        fault = _fault(kind, mode=mode.name)
        early, late, worst = (sum(map(abs, _at(fault, seconds).values())) for seconds in (5, 60, 99))
        assert early < late < worst
        assert _at(fault, -1) == {}


def test_counted_errors_never_become_fewer() -> None:
    fault = _fault(Kind.DISK)
    for key in set(_lasting(Kind.DISK)) & {effect.key for effect in MODES[Kind.DISK][0].effects}:
        values = [_at(fault, seconds)[key] for seconds in range(0, 200, 7)]
        assert values == sorted(values)


def test_a_sudden_failure_shows_nothing_before() -> None:
    assert _at(_fault(Kind.DISK, Course.SUDDEN), 99) == {}
    assert not _fault(Kind.DISK, Course.DARK).fails


def test_a_false_alarm_fades_but_what_was_counted_stays() -> None:
    fault = _fault(Kind.DISK, Course.FALSE_ALARM)
    worst, faded = _at(fault, 100), _at(fault, 190)
    assert faded["smart_5"] == worst["smart_5"] > 0
    assert 0 < faded["smart_197"] < 0.2 * worst["smart_197"]
    assert not fault.fails
    assert _at(fault, 200) == {}


def test_a_mild_decline_changes_no_sensor_state() -> None:
    assert _at(_fault(Kind.POWER, severity=0.4), 99)["psu_state"] == 0
    assert _at(_fault(Kind.POWER, severity=1.0), 99)["psu_state"] == 2


def test_memory_errors_come_in_bursts() -> None:
    fault = _fault(Kind.MEMORY)
    values = {round(_at(fault, seconds)["dimm_corrected"]) for seconds in range(100)}
    assert 5 < len(values) < 15
