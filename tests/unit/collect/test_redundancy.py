"""Sets of drives on a frozen storage node: arrays of md, RAID of LVM, a pool of ZFS, an OSD of Ceph."""

import subprocess
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from forewarn.clock import SimulatedClock
from forewarn.collect.base import Collected
from forewarn.collect.redundancy.ceph import parse_volumes
from forewarn.collect.redundancy.collector import RedundancyCollector, RedundancySettings
from forewarn.collect.redundancy.device_mapper import parse_status
from forewarn.collect.redundancy.md import parse_mdstat
from forewarn.collect.redundancy.zfs import parse_zpool
from forewarn.errors import SourceAbsent
from tests.frozen import find

START = datetime(2026, 1, 5, tzinfo=UTC)
ON_PATH = RedundancySettings(dmsetup="sh", zpool="sh", ceph_volume="sh")  # any program that is on PATH
SPARES, MEMBER = "forewarn_redundancy_spares", "forewarn_redundancy_member_info"


class Commands:
    """The commands of a frozen machine: each answers with what was recorded of it, or raises what the test says."""

    def __init__(self, machine: Path) -> None:
        self._folder = machine / "commands"
        self.asked: list[str] = []
        self.hangs = False

    def __call__(self, command: Sequence[str], timeout_s: float) -> bytes:
        self.asked.append(" ".join(command[1:]))
        if self.hangs:
            raise subprocess.TimeoutExpired(command, timeout_s)
        by_arguments = {"--target": "dmsetup", "-P": "zpool", "list": "ceph-volume"}
        return (self._folder / f"{by_arguments[command[2]]}.txt").read_bytes()


class Node:
    """A collector over a machine, and what it was asked."""

    def __init__(self, machine: Path, settings: RedundancySettings = ON_PATH) -> None:
        self.clock = SimulatedClock(START)
        self.commands = Commands(machine)
        self.collector = RedundancyCollector(self.clock, machine, settings, self.commands)

    def collect(self) -> list[Collected]:
        return list(self.collector.collect())


def members(samples: list[Collected], group: str) -> dict[str, str]:
    """Device and state of a set's members."""
    told = (dict(label.split("=", 1) for label in key.split(" ")) for key in find(samples, MEMBER))
    return {labels["device"]: labels["state"] for labels in told if labels["group"] == group}


def spares(samples: list[Collected]) -> dict[str, float]:
    return {key.split(" ")[0].removeprefix("group="): value for key, value in find(samples, SPARES).items()}


@pytest.fixture
def node(machines: Path) -> Node:
    return Node(machines / "storage-node")


def test_arrays_are_told_as_node_exporter_tells_them(node: Node) -> None:
    samples = node.collect()
    assert find(samples, "node_md_state")["device=md1 state=recovering"] == 1
    assert find(samples, "node_md_state")["device=md0 state=active"] == 1
    assert find(samples, "node_md_state")["device=md9 state=inactive"] == 1
    assert find(samples, "node_md_disks")["device=md2 state=failed"] == 1
    assert find(samples, "node_md_disks")["device=md2 state=active"] == 3
    assert find(samples, "node_md_disks_required") == {
        "device=md0": 2,
        "device=md1": 2,
        "device=md2": 4,
        "device=md9": 0,
    }
    assert find(samples, "node_md_degraded") == {"device=md0": 0, "device=md1": 1, "device=md2": 1}
    assert find(samples, "node_md_blocks_synced")["device=md1"] == 16775552
    assert find(samples, "forewarn_md_member_errors_total")["array=md0 device=sdb1"] == 3


def test_how_many_more_may_fail_is_what_the_level_bears_less_what_is_lost(node: Node) -> None:
    assert spares(node.collect()) == {
        "md0": 1,
        "md1": 0,  # rebuilding
        "md2": 0,  # one of four is lost, and a resync is pending
        "md9": 0,
        "guests-images": 1,
        "tank/mirror-0": 1,
        "tank/raidz2-1": 1,
    }


def test_members_are_the_drives_below_partitions_and_volumes(node: Node) -> None:
    samples = node.collect()
    assert members(samples, "md0") == {"sda": "active", "sdb": "active"}
    assert members(samples, "md1") == {"sda": "active", "sdb": "rebuilding"}
    assert members(samples, "md2") == {"sdc": "active", "sdd": "failed", "sde": "active", "sdf": "active"}
    assert members(samples, "md9") == {"sdg": "spare"}
    assert members(samples, "guests-images") == {"sdg": "active", "sdh": "active"}
    assert members(samples, "tank/raidz2-1") == {"sdc": "active", "sdd": "failed", "sde": "active", "sdf": "active"}


def test_a_check_takes_no_redundancy_and_a_recovery_takes_all(thaw: Callable[[str], Path]) -> None:
    root = thaw("storage-node")
    whole = "md0 : active raid6 sdd1[3] sdc1[2] sdb1[1] sda1[0]\n      100 blocks level 6 [4/4] [UUUU]\n"
    found = []
    for action in ("", "      [=>..] check = 5.0% (5/100) finish=1min\n", "      [=>..] recovery = 5.0% (5/100)\n"):
        (root / "proc/mdstat").write_text(whole + action)
        found.append(spares(Node(root).collect())["md0"])
    assert found == [2, 2, 0]


def test_pools_are_told_by_state_and_their_devices_by_errors(node: Node) -> None:
    samples = node.collect()
    states = find(samples, "node_zfs_zpool_state")
    assert {key for key, value in states.items() if value} == {"state=degraded zpool=tank"}
    assert len(states) == 7
    errors = find(samples, "forewarn_zfs_device_errors_total")
    assert errors["device=sdd1 kind=read pool=tank"] == 31
    assert errors["device=sdb3 kind=checksum pool=tank"] == 2


def test_a_resilvering_mirror_has_no_spare() -> None:
    text = (
        "  pool: tank\n state: DEGRADED\n  scan: resilver in progress since Mon Jan  5\nconfig:\n\n"
        "\tNAME              STATE     READ WRITE CKSUM\n\ttank              DEGRADED     0     0     0\n"
        "\t  mirror-0        DEGRADED     0     0     0\n\t    /dev/sda        ONLINE       0     0     0\n"
        "\t    replacing-1   DEGRADED     0     0     0\n\t      /dev/sdb      REMOVED      0     0     0\n"
        "\t      /dev/sdc      ONLINE       0     0     0  (resilvering)\n\n  pool: other\n state: ONLINE\nconfig:\n\n"
        "\tNAME        STATE\n\tother       ONLINE\n\t  /dev/sdd  ONLINE\n"
    )
    devices, resilvering = parse_zpool(text)
    told = [(device.path, device.group, device.state, device.resilvers) for device in devices]
    assert told == [
        ("/dev/sda", "mirror-0", "ONLINE", False),
        ("/dev/sdb", "mirror-0", "REMOVED", False),
        ("/dev/sdc", "mirror-0", "ONLINE", True),
        ("/dev/sdd", "", "ONLINE", False),
    ]
    assert resilvering == {"tank"}


def test_the_drives_of_an_osd_are_found_by_its_folder_else_by_ceph_volume(thaw: Callable[[str], Path]) -> None:
    root = thaw("storage-node")
    assert find(Node(root).collect(), "forewarn_ceph_osd_info") == {
        "cluster=8f0a2b1c-0000-4000-8000-5d5d5d5d5d5d device=nvme0n1 osd=7 role=block": 1
    }
    (root / "var/lib/ceph/osd/ceph-7/block").unlink()
    assert find(Node(root).collect(), "forewarn_ceph_osd_info") == {
        "cluster=8f0a device=sdh osd=3 role=block": 1,
        "cluster= device=nvme0n1 osd=3 role=db": 1,
    }


def test_without_the_privilege_members_are_known_and_spares_are_not(machines: Path) -> None:
    bare = Node(machines / "storage-node", RedundancySettings(dmsetup="none-such", zpool="none-such"))
    samples = bare.collect()
    assert members(samples, "guests-images") == {"sdg": "unknown", "sdh": "unknown"}
    assert set(spares(samples)) == {"md0", "md1", "md2", "md9"}


def test_a_command_that_hangs_hides_no_other_source_and_is_not_asked_all_the_time(node: Node) -> None:
    node.commands.hangs = True
    for _ in range(3):
        assert spares(node.collect())["md0"] == 1
    assert sorted(node.commands.asked) == ["status --target raid", "status -P -L -p"]
    node.clock.sleep(ON_PATH.interval_s)
    node.commands.hangs = False
    assert spares(node.collect())["tank/mirror-0"] == 1


def test_below_another_root_no_command_is_asked_on_its_own(machines: Path) -> None:
    collector = RedundancyCollector(SimulatedClock(START), machines / "storage-node", ON_PATH)
    assert set(spares(list(collector.collect()))) == {"md0", "md1", "md2", "md9"}


def test_a_host_without_sets_says_so(machines: Path) -> None:
    with pytest.raises(SourceAbsent, match="no RAID of md or LVM"):
        Node(machines / "bare-vm").collect()


@pytest.mark.parametrize(
    ("line", "level", "members"),
    [
        ("md0 : active raid0 sdb[1] sda[0]", "raid0", 2),
        ("md0 : active (read-only) raid1 sdb1[1] sda1[0](W)", "raid1", 2),
        ("md_d0 : active linear nvme0n1p1[1] sda1[0]", "linear", 2),
        ("md127 : inactive sdb[1](S) sda[0](S)", "", 2),
        ("md5 : broken raid0 sda[0]", "raid0", 1),
        ("md3 : active raid5 sdc1[2](J) sdb1[1](R) sda1[0]", "raid5", 3),
    ],
)
def test_lines_of_mdstat_of_every_kind_are_read(line: str, level: str, members: int) -> None:
    (array,) = parse_mdstat(f"Personalities : [raid0]\n{line}\n      10 blocks\n\nunused devices: <none>\n")
    assert (array.level, len(array.members), array.blocks) == (level, members, 10)


@pytest.mark.parametrize(
    ("line", "spares"),
    [
        ("v: 0 1 raid raid1 3 AAA 8/8 idle 0 0 -", 2),
        ("v: 0 1 raid raid1 3 AAD 8/8 idle 0 0 -", 1),
        ("v: 0 1 raid raid1 2 Aa 1/8 recover 0 0 -", 0),
        ("v: 0 1 raid raid6_zr 5 AAAAA 8/8 check 0 0 -", 2),
        ("v: 0 1 raid raid5_ls 3 ADD 8/8 idle 0 0 -", 0),
        ("v: 0 1 raid raid10 4 AAAA 4/8 resync 0 0 -", 0),
        ("v: 0 1 raid raid1 2 AA 8/8", 1),
    ],
)
def test_the_health_of_a_volume_says_how_many_more_may_fail(line: str, spares: int) -> None:
    assert parse_status(f"{line}\nother: 0 1 linear 8:0\nNo devices found\n")["v"].spares == spares


@pytest.mark.parametrize("text", ["", "[]", "{", '{"1": 5}', '{"1": [5, {}, {"devices": 3}]}', "[" * 100_000])
def test_what_is_no_answer_of_ceph_volume_gives_no_osd(text: str) -> None:
    assert parse_volumes(text) == ()
