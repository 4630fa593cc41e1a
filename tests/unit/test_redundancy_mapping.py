"""From what agents tell of sets to the parts of the inventory: which stand in for each other, and how many may fail."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from forewarn.assemble.site import Site, SiteSettings
from forewarn.clock import SimulatedClock
from forewarn.domain.redundancy import Redundancy
from forewarn.domain.telemetry import Sample
from forewarn.drivers.none import ObservedDriver
from forewarn.store.base import DEVICES
from forewarn.store.mapping import Mapper

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
LONG_AGO = NOON - timedelta(days=1)


def drive(device: str, serial: str) -> Sample:
    return Sample("smartctl_device", {"device": device, "serial_number": serial}, 1.0)


def member(group: str, device: str, state: str = "active", kind: str = "disk") -> Sample:
    labels = {"group": group, "kind": kind, "device": device, "state": state}
    return Sample("forewarn_redundancy_member_info", labels, 1.0)


def spares(group: str, count: float, kind: str = "disk") -> Sample:
    return Sample("forewarn_redundancy_spares", {"group": group, "kind": kind}, count)


def learned(*samples: Sample, since: datetime = LONG_AGO) -> Mapping[str, Redundancy]:
    mapper = Mapper()
    mapper.map("h1", samples, NOON)
    assert not mapper.unmapped
    return mapper.redundancy(since)


MIRROR = (drive("sda", "A"), drive("sdb", "B"), member("md0", "sda"), member("md0", "sdb"), spares("md0", 1))


def test_parts_are_known_by_their_serials_and_stand_in_their_set() -> None:
    assert learned(*MIRROR) == {"disk:A": Redundancy("md0", 1), "disk:B": Redundancy("md0", 1)}


def test_a_namespace_of_nvme_is_the_drive_and_a_card_is_a_card() -> None:
    assert learned(
        drive("nvme0", "N"),
        member("md0", "nvme0n1"),
        spares("md0", 1),
        member("bond0", "eno1", kind="network"),
        spares("bond0", 1, "network"),
    ) == {"disk:N": Redundancy("md0", 1), "network:h1/eno1": Redundancy("bond0", 1)}


@pytest.mark.parametrize("odd", [float("inf"), float("nan"), -3.0])
def test_a_count_of_spares_that_is_none_protects_nothing(odd: float) -> None:
    assert learned(*MIRROR[:-1], spares("md0", odd)) == {"disk:A": Redundancy("md0", 0), "disk:B": Redundancy("md0", 0)}


@pytest.mark.parametrize("state", ["spare", "failed", "unknown", ""])
def test_a_part_that_does_not_hold_what_its_set_holds_stands_in_none(state: str) -> None:
    assert set(learned(*MIRROR, member("md0", "sdb", state))) == {"disk:A"}


@pytest.mark.parametrize(
    "samples",
    [
        (drive("sda", "A"), member("md0", "sda")),  # how many may fail is not told
        (spares("md0", 1),),
        (member("md0", "", "active"), spares("md0", 1)),
        (member("md0", "x", "active", "cushion"), spares("md0", 1, "cushion")),
    ],
)
def test_half_of_what_is_needed_makes_no_redundancy(samples: tuple[Sample, ...]) -> None:
    assert learned(*samples) == {}


def test_of_two_sets_the_one_counts_that_may_lose_fewer() -> None:
    rebuilding = (member("md1", "sda"), member("md1", "sdb", "rebuilding"), spares("md1", 0))
    assert set(learned(*MIRROR, *rebuilding).values()) == {Redundancy("md1", 0)}
    assert set(learned(*MIRROR, member("md1", "sda"), spares("md1", 1)).values()) == {Redundancy("md0", 1)}


def test_a_count_that_is_no_number_is_none_to_spare() -> None:
    assert learned(*MIRROR, spares("md0", float("nan")))["disk:A"].spares == 0
    assert learned(*MIRROR, spares("md0", -3.0))["disk:A"].spares == 0


def test_what_was_told_long_ago_protects_nobody() -> None:
    assert learned(*MIRROR, since=NOON + timedelta(seconds=1)) == {}


def test_the_inventory_shows_the_sets_and_forgets_those_of_a_silent_host() -> None:
    clock, mapper = SimulatedClock(NOON), Mapper()
    batch = mapper.map("h1", MIRROR, NOON)
    row = {"kind": "disk", "host": "h1", "model": "", "first_seen": NOON, "last_seen": NOON}
    devices = pa.Table.from_pylist(
        [{**row, "component": f"disk:{serial}", "device": f"sd{serial.lower()}"} for serial in "AB"], schema=DEVICES
    )
    driver = ObservedDriver(lambda: devices, clock, redundancy=mapper.redundancy)
    shown = {part.id: (part.group, part.spares) for part in driver.inventory().components if part.kind == "disk"}
    assert shown == {"disk:A": ("md0", 1), "disk:B": ("md0", 1)}
    assert batch.samples.num_rows == 0
    before = driver.inventory().generation
    mapper.map("h1", [spares("md0", 0)], clock.now())
    rebuilding = driver.inventory()
    assert rebuilding.component_by_id["disk:A"].spares == 0
    assert rebuilding.generation == before + 1
    clock.sleep(601)
    assert driver.inventory().component_by_id["disk:A"].group == ""


def test_what_an_agent_tells_of_a_set_reaches_the_inventory_of_its_controller(tmp_path: Path) -> None:
    reads = [Sample("node_disk_reads_completed_total", {"device": device}, 7.0) for device in ("sda", "sdb")]
    site = Site(tmp_path, SimulatedClock(NOON), SiteSettings())
    try:
        site.take({"h1": (*MIRROR, *reads)}, NOON)
        parts = site.driver().inventory().component_by_id
        assert {name: (parts[name].group, parts[name].spares) for name in ("disk:A", "disk:B")} == {
            "disk:A": ("md0", 1),
            "disk:B": ("md0", 1),
        }
    finally:
        site.close()
