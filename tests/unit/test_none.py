"""A cluster that is only watched shows what telemetry shows, and nothing on it can be moved."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

import pyarrow as pa
import pytest

from forewarn.clock import SimulatedClock
from forewarn.domain.inventory import Host, HostState, Kind
from forewarn.domain.plan import MoveState
from forewarn.drivers.none import ObservedDriver, ObservedSettings
from forewarn.errors import CordonRefused, MoveRefused
from forewarn.store.base import DEVICES
from tests.moves import NOW, move


def row(
    component: str, kind: str = "disk", host: str = "h1", seen: datetime = NOW, model: str | None = "M"
) -> Mapping[str, object]:
    place = {"component": component, "kind": kind, "host": host, "device": component[-3:], "model": model}
    return {**place, "first_seen": seen - timedelta(days=1), "last_seen": seen}


class Watched:
    """A driver over devices that a test may change."""

    def __init__(self, *rows: Mapping[str, object], facts: tuple[Host, ...] = ()) -> None:
        self.rows = list(rows)
        self.clock = SimulatedClock(NOW)
        self.driver = ObservedDriver(self.devices, self.clock, facts, ObservedSettings(600.0, 7 * 86400.0))

    def devices(self) -> pa.Table:
        return pa.Table.from_pylist([dict(row) for row in self.rows], schema=DEVICES)


def test_hosts_and_parts_are_those_that_telemetry_shows() -> None:
    cluster = Watched(row("disk:sdb"), row("cpu:cpu", "cpu", model=None), row("host:h1", "host")).driver.inventory()
    assert [(found.id, found.kind, found.host, found.model) for found in cluster.components] == [
        ("cpu:cpu", Kind.CPU, "h1", ""),
        ("disk:sdb", Kind.DISK, "h1", "M"),
        ("memory:h1/memory", Kind.MEMORY, "h1", ""),
        ("power:h1/power", Kind.POWER, "h1", ""),
    ]
    assert cluster.hosts == (Host("h1", can_receive=False, driver="none"),)
    assert cluster.vms == ()


def test_a_part_that_moved_is_where_it_was_seen_last() -> None:
    watched = Watched(row("disk:sda", host="old", seen=NOW - timedelta(hours=1)), row("disk:sda", host="new"))
    forwards = watched.driver.inventory().components
    watched.rows.reverse()
    assert watched.driver.inventory().components == forwards
    assert {part.host for part in forwards} == {"new"}


def test_a_kind_that_nothing_tells_of_is_there_until_a_part_of_it_is_shown() -> None:
    watched = Watched(row("cpu:cpu", "cpu"))
    assert "memory:h1/memory" in watched.driver.inventory().component_by_id
    watched.rows.append(row("memory:h1/DIMM_A1", "memory"))
    assert {part.id for part in watched.driver.inventory().components if part.kind is Kind.MEMORY} == {
        "memory:h1/DIMM_A1"
    }


def test_a_silent_host_is_unknown_and_in_the_end_forgotten() -> None:
    watched = Watched(row("disk:sda"))
    states: list[list[HostState]] = []
    for wait_s in (600, 1, 7 * 86400):
        watched.clock.sleep(wait_s)
        states.append([host.state for host in watched.driver.inventory().hosts])
    assert states == [[HostState.UP], [HostState.UNKNOWN], []]


def test_known_facts_of_a_host_stand_and_its_state_is_still_observed() -> None:
    facts = (Host("h1", cpus=4, memory_bytes=2**30, rack="r1"), Host("h2", rack="r2"))
    hosts = Watched(row("disk:sda"), facts=facts).driver.inventory().hosts
    assert [(host.name, host.rack, host.state, host.can_receive) for host in hosts] == [
        ("h1", "r1", HostState.UP, False),
        ("h2", "r2", HostState.UNKNOWN, False),
    ]


def test_the_generation_grows_with_each_change_and_only_then() -> None:
    watched = Watched(row("disk:sda"))
    first = watched.driver.inventory().generation
    watched.clock.sleep(10)
    assert watched.driver.inventory().generation == first
    watched.rows.append(row("disk:sdb"))
    assert watched.driver.inventory().generation == first + 1


def test_every_move_is_refused_and_none_ever_ran() -> None:
    driver = Watched(row("disk:sda")).driver
    for call in (driver.check, driver.start):
        with pytest.raises(MoveRefused, match="h1 is only watched"):
            call(move(source="h1"))
    assert driver.poll(move(source="h1")).state is MoveState.FAILED
    assert driver.workloads() == ()
    before = driver.inventory()
    driver.cancel(move())
    assert replace(driver.inventory(), time=before.time) == before


def test_a_host_that_is_only_watched_cannot_be_cordoned() -> None:
    driver = Watched(row("disk:A")).driver
    with pytest.raises(CordonRefused, match="h1 is only watched"):
        driver.cordon("h1", "its disk may fail", NOW + timedelta(hours=1))
    driver.uncordon("h1")
    assert [host.cordoned for host in driver.inventory().hosts] == [False]
