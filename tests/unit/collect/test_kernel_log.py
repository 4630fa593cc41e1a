"""What the kernel says of failing hardware becomes counters and events, each told once, a storm as one."""

import os
import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from forewarn.clock import SimulatedClock
from forewarn.collect.kernel_log import (
    FILE,
    JournalReader,
    KernelLogCollector,
    KernelLogSettings,
    LogSource,
    parse_kmsg,
)
from forewarn.collect.kernel_templates import TEMPLATES, read
from forewarn.domain.events import FailureEvent
from forewarn.domain.inventory import Kind
from forewarn.errors import SourceAbsent
from tests.frozen import find

NOW = datetime(2026, 1, 5, 10, tzinfo=UTC)
UP_S = 1000.0
IO_ERROR = "I/O error, dev sda, sector 4660 op 0x0:(READ) flags 0x0 phys_seg 1 prio class 2"


class Host:
    """A host whose kernel says what a test lets it say."""

    def __init__(self, root: Path) -> None:
        self.root, self.folder, self.clock, self._sequence = root, root / "state", SimulatedClock(NOW), 0
        (root / "dev").mkdir(exist_ok=True)
        (root / "dev/kmsg").write_text("")
        (root / "proc/sys/kernel/random").mkdir(parents=True, exist_ok=True)
        self.boot("a-1")

    def boot(self, boot_id: str) -> None:
        (self.root / "proc/sys/kernel/random/boot_id").write_text(f"{boot_id}\n")
        (self.root / "proc/uptime").write_text(f"{UP_S} 900.0\n")
        (self.root / "dev/kmsg").unlink()
        (self.root / "dev/kmsg").write_text("")
        self._sequence = 0

    def say(self, *lines: str, facility: int = 0, at_s: float = UP_S) -> None:
        with (self.root / "dev/kmsg").open("a") as log:
            for line in lines:
                log.write(f"{(facility << 3) | 4},{self._sequence},{int(at_s * 1e6)},-;{line}\n SUBSYSTEM=x\n")
                self._sequence += 1

    def collector(self, settings: KernelLogSettings | None = None) -> KernelLogCollector:
        return KernelLogCollector(self.root, settings or KernelLogSettings(), self.folder, self.clock)


def told(collector: KernelLogCollector) -> list[FailureEvent]:
    return [found for found in collector.collect() if isinstance(found, FailureEvent)]


@pytest.fixture
def host(thaw: Callable[[str], Path]) -> Host:
    return Host(thaw("two-socket-server"))


@pytest.mark.parametrize(
    ("line", "template", "device", "failure"),
    [
        ("mce: [Hardware Error]: Machine check events logged", "machine_check", "", False),
        ("mce: [Hardware Error]: CPU 0: Machine Check: 0 Bank 9: 9c00000000010091", "machine_check", "", False),
        ("[Hardware Error]: CPU 2: Machine Check Exception: 5 Bank 8: be00000000800400", "machine_check", "", True),
        (
            "EDAC MC0: 2 CE memory read error on CPU_SrcID#0_MC#0_Chan#0_DIMM#0 (channel:0 slot:0 page:0x1)",
            "edac_corrected", "", False,
        ),
        ("EDAC MC1: 1 UE lab injection on DIMM_A1 (csrow:0 channel:0 page:0x1)", "edac_uncorrected", "DIMM_A1", True),
        ("EDAC MC1: 1 UE memory scrub error on any memory ( page:0x0 )", "edac_uncorrected", "", True),
        ("Memory failure: 0x4000: recovery action for free buddy page: Recovered", "memory_page_offlined", "", False),
        ("Memory failure: 0x4000: recovery action for reserved kernel page: Ignored", "memory_page_lost", "", True),
        ("{1}[Hardware Error]: event severity: fatal", "hardware_error_fatal", "", True),
        ("{1}[Hardware Error]: event severity: corrected", None, "", False),
        ("md/raid1:md0: Disk failure on sda1, disabling device.", "raid_member_failed", "sda1", True),
        ("critical medium error, dev sdb, sector 4660 op 0x0:(READ) flags 0x0", "medium_error", "sdb", True),
        ("blk_update_request: I/O error, dev sda, sector 12345 op 0x0:(READ)", "io_error", "sda", True),
        ("Buffer I/O error on dev sda, logical block 582, async page read", "io_error", "sda", True),
        ("nvme nvme0: I/O 3 QID 4 timeout, reset controller", "drive_reset", "nvme0", True),
        ("nvme nvme1: Removing after probe failure status: -19", "drive_lost", "nvme1", True),
        ("sd 0:0:0:0: [sdc] tag#3 rejecting I/O to dead device", "drive_lost", "sdc", True),
        ("ixgbe 0000:18:00.0 eno1: NIC Link is Down", "link_down", "eno1", True),
        ("mlx5_core 0000:3b:00.0 ens1f0np0: Link down", "link_down", "ens1f0np0", True),
        ("e1000e: eth0 NIC Link is Down", "link_down", "eth0", True),
        ("ixgbe 0000:18:00.0 eno1: NIC Link is Up 10 Gbps, Flow Control: RX/TX", None, "", False),
        ("NETDEV WATCHDOG: eno1 (ixgbe): transmit queue 3 timed out", "nic_reset", "eno1", True),
        ("ixgbe 0000:18:00.0 eno1: Reset adapter", "nic_reset", "eno1", True),
        ("thermal thermal_zone0: critical temperature reached, shutting down", "thermal_trip", "", True),
        ("CPU3: Core temperature above threshold, cpu clock throttled (total = 12)", "thermal_throttle", "", False),
        ("EXT4-fs (sda1): mounted filesystem with ordered data mode", None, "", False),
        # What drivers of several kernels say.
        (
            "[Hardware Error]: CPU:2 (19:1:1) MC0_STATUS[-|UE|MiscV|AddrV|-|TCC|SyndV|UECC|-|-|-]: 0xbc00080001010135",
            "machine_check", "", True,
        ),
        (
            "[Hardware Error]: CPU:0 (17:31:0) MC17_STATUS[-|CE|MiscV|AddrV|-|-|SyndV|CECC|-|-]: 0xdc2040000000011b",
            "machine_check", "", False,
        ),
        ("[Hardware Error]: Machine check events logged", "machine_check", "", False),
        ("mce: CPU supports 32 MCE banks", None, "", False),
        ("mce: [Hardware Error]: TSC 0 ADDR 12345000 MISC 8c", None, "", False),
        (
            "EDAC MC0: 1 UE on mc#0csrow#1channel#2 (csrow:1 channel:2 page:0x1 offset:0x0 grain:64)",
            "edac_uncorrected", "mc#0csrow#1channel#2", True,
        ),
        ("EDAC MC0: Giving out device to module i10nm_edac controller Intel_10nm Socket#0 IMC#0", None, "", False),
        ("EDAC skx MC0: HANDLING MCE MEMORY ERROR", None, "", False),
        (
            "Memory failure: 0x12345: Killing qemu-system-x86:4711 due to hardware memory corruption",
            "memory_page_lost", "", True,
        ),
        ("mce: Uncorrected hardware memory error in user-access at 12345000", "memory_page_lost", "", True),
        ("soft offline: 0x12345: invalidated", None, "", False),
        ("pcieport 0000:5d:00.0: AER: Uncorrected (Fatal) error received: 0000:5e:00.0", "pcie_fatal", "", True),
        ("pcieport 0000:5d:00.0: AER: Multiple Corrected error received: 0000:5e:00.0", "pcie_error", "", False),
        ("pcieport 0000:5d:00.0: AER: Correctable error message received from 0000:5e:00.0", "pcie_error", "", False),
        ("pcieport 0000:5d:00.0: AER: Uncorrectable (Non-Fatal) error message received from 0000:5e:00.0",
         "pcie_error", "", False),
        ("pcieport 0000:5d:00.0: AER: enabled with IRQ 34", None, "", False),
        ("nvme nvme0: I/O tag 128 (1080) opcode 0x2 (I/O Cmd) QID 5 timeout, aborting req_op:READ(0) size:131072",
         "drive_reset", "nvme0", True),
        ("nvme nvme2: Device not ready; aborting initialisation, CSTS=0x0", "drive_lost", "nvme2", True),
        ("nvme nvme2: Disabling device after reset failure: -19", "drive_lost", "nvme2", True),
        ("nvme0n1: Read(0x2) @ LBA 1234, 8 blocks, Unrecovered Read Error (sct 0x2 / sc 0x81) DNR",
         "medium_error", "nvme0n1", True),
        ("nvme0n1: I/O Cmd(0x2) @ LBA 1234, 8 blocks, I/O Error (sct 0x2 / sc 0x81) MORE DNR",
         "medium_error", "nvme0n1", True),
        ("nvme nvme0: allocated 64 MiB host memory buffer.", None, "", False),
        ("nvme nvme0: 32/0/0 default/read/poll queues", None, "", False),
        ("ata3.00: failed command: READ FPDMA QUEUED", "drive_reset", "ata3", True),
        ("ata3.00: failed command: SMART", None, "", False),
        ("ata3: COMRESET failed (errno=-16)", "drive_reset", "ata3", True),
        ("ata3.00: disabled", "drive_lost", "ata3", True),
        ("ata1: SATA link down (SStatus 0 SControl 300)", None, "", False),
        ("ata2: SATA link up 6.0 Gbps (SStatus 133 SControl 300)", None, "", False),
        ("sd 0:0:0:0: [sda] tag#5 Sense Key : Hardware Error [current]", "drive_hardware_error", "sda", True),
        ("sd 0:0:0:0: [sda] tag#5 Sense Key : Illegal Request [current]", None, "", False),
        ("sd 2:0:0:0: Device offlined - not ready after error recovery", "drive_lost", "", True),
        ("I/O error, dev fd0, sector 0 op 0x0:(READ) flags 0x0 phys_seg 1 prio class 2", None, "", False),
        ("Buffer I/O error on dev sr0, logical block 0, async page read", None, "", False),
        ("print_req_error: I/O error, dev loop0, sector 0", None, "", False),
        ("print_req_error: I/O error, dev sdb, sector 1234", "io_error", "sdb", True),
        ("Buffer I/O error on device sda1, logical block 582", "io_error", "sda1", True),
        ("critical target error, dev sda, sector 4096 op 0x3:(DISCARD) flags 0x800", None, "", False),
        ("operation not supported error, dev nvme0n1, sector 0 op 0x9:(WRITE_ZEROES)", None, "", False),
        (
            "megaraid_sas 0000:02:00.0: 2843 (578613281s/0x0001/CRIT) - VD 00/0 is now DEGRADED",
            "raid_member_failed", "", True,
        ),
        ("megaraid_sas 0000:02:00.0: 99 (578613281s/0x0002/WARN) - Predictive failure: PD 00(e0x20/s0)",
         "drive_predicts", "", True),
        ("megaraid_sas 0000:02:00.0: 7 (578613281s/0x0001/info) - VD 00/0 is now OPTIMAL", None, "", False),
        ("megaraid_sas 0000:02:00.0: Found FW in FAULT state, will reset adapter scsi0.",
         "storage_controller_fault", "", True),
        ("mpt3sas_cm0: fault_state(0x2665)!", "storage_controller_fault", "", True),
        ("mpt3sas_cm0: log_info(0x31120303): originator(PL), code(0x12), sub_code(0x0303)", None, "", False),
        ("i40e 0000:18:00.0 ens1f0: NIC Link is Down", "link_down", "ens1f0", True),
        ("igb 0000:01:00.0 enp1s0: igb: enp1s0 NIC Link is Down", "link_down", "enp1s0", True),
        ("bnxt_en 0000:3b:00.0 eno1np0: NIC Link is Down", "link_down", "eno1np0", True),
        ("bnx2 0000:02:00.0 eth0: NIC Copper Link is Down", "link_down", "eth0", True),
        ("tg3 0000:02:00.0 eth0: Link is down", "link_down", "eth0", True),
        ("[qede_link_update:2233(eno3)]Link is down", "link_down", "eno3", True),
        ("IPv6: ADDRCONF(NETDEV_UP): eth0: link is not ready", None, "", False),
        ("pcieport 0000:00:1c.0: pciehp: Slot(0): Link Down", None, "", False),
        ("br0: port 2(vnet3) entered disabled state", None, "", False),
        ("igb 0000:07:00.0 enp7s0: NETDEV WATCHDOG: CPU: 4: transmit queue 3 timed out 5368 ms",
         "nic_reset", "enp7s0", True),
        ("NETDEV WATCHDOG: eth0 (bnxt_en): transmit queue 1 timed out 5432 ms", "nic_reset", "eth0", True),
        ("e1000e 0000:00:1f.6 eno1: Detected Hardware Unit Hang:", "nic_reset", "eno1", True),
        ("tg3 0000:02:00.0 eno1: transmit timed out, resetting", "nic_reset", "eno1", True),
        ("bnxt_en 0000:3b:00.0 eno1np0: TX timeout detected, starting reset task!", "nic_reset", "eno1np0", True),
        ("mlx5_core 0000:3b:00.0: poll_health:800:(pid 0): device's health compromised - reached miss count",
         "nic_reset", "", True),
        ("mlx5_core 0000:3b:00.0: firmware version: 16.35.4030", None, "", False),
        ("igb 0000:01:00.0 enp1s0: PCIe link lost", "nic_lost", "enp1s0", True),
        ("ixgbe 0000:18:00.0: Adapter removed", "nic_lost", "", True),
        ("ixgbe 0000:18:00.0 eno1: Network adapter has been stopped because it has over heated. Restart the computer.",
         "nic_lost", "eno1", True),
        ("igc 0000:03:00.0 enp3s0: NIC Link is Up 1000 Mbps Full Duplex, Flow Control: RX", None, "", False),
        ("CPU3: Package temperature is above threshold, cpu clock is throttled (total events = 2)",
         "thermal_throttle", "", False),
        ("CPU3: Core temperature/speed normal", None, "", False),
        ("acpitz: critical temperature reached (105 C), shutting down", "thermal_trip", "", True),
        ("ACPI: thermal: Thermal Zone [THRM] (45 C)", None, "", False),
    ],
)  # fmt: skip
def test_lines_are_read_for_what_they_mean(line: str, template: str | None, device: str, failure: bool) -> None:
    said = read(line)
    assert (said.template if said else None) == template
    if said is not None:
        assert (said.device, said.confidence > 0) == (device, failure)


@pytest.mark.parametrize(
    ("status", "kind"), [("bc00000000000091", Kind.MEMORY), ("be00000000800400", Kind.CPU), ("8c00000000000091", None)]
)
def test_an_uncorrected_machine_check_of_a_memory_controller_is_memorys(status: str, kind: Kind | None) -> None:
    said = read(f"mce: [Hardware Error]: CPU 0: Machine Check: 0 Bank 7: {status}")
    assert said is not None
    assert (said.kind if said.confidence else None) == kind


def test_a_machine_check_of_the_cpu_hides_none_of_the_memory(host: Host) -> None:
    collector = host.collector()
    told(collector)
    host.say("mce: [Hardware Error]: CPU 0: Machine Check: 0 Bank 7: be00000000800400")
    assert [event.kind for event in told(collector)] == [Kind.CPU]
    host.say("mce: [Hardware Error]: CPU 0: Machine Check: 0 Bank 7: bc00000000000091")
    assert [event.kind for event in told(collector)] == [Kind.MEMORY]


def test_a_port_is_the_one_drive_that_hangs_on_it(host: Host) -> None:
    collector = host.collector()
    told(collector)
    port = host.root / "sys/devices/pci0000:00/0000:00:17.0/ata3/host2/target2:0:0/2:0:0:0"
    port.mkdir(parents=True)
    (host.root / "sys/block/sdx").mkdir()
    (host.root / "sys/block/sdx/device").symlink_to(port)
    host.say("ata3.00: failed command: READ FPDMA QUEUED", "ata9.00: failed command: WRITE FPDMA QUEUED")
    assert [event.component for event in told(collector)] == ["disk:/sdx", ""]


def test_a_record_that_is_none_is_left_out() -> None:
    text = "6,1,2,-;good\n KEY=value\n7;short\nx,1,2,-;no number\n\n6,9,2000000,c,caller=T1;also good\n"
    assert [(sequence, said) for _, sequence, _, said in parse_kmsg(text)] == [(1, "good"), (9, "also good")]


def test_what_stood_in_the_log_before_the_first_look_is_no_news_and_what_follows_is(host: Host) -> None:
    host.say(IO_ERROR)
    collector = host.collector()
    assert told(collector) == []
    host.say(IO_ERROR, at_s=UP_S - 5)
    [event] = told(collector)
    assert event.time == NOW - timedelta(seconds=5)
    assert (event.kind, event.source, event.confidence) == (Kind.DISK, "kernel log", 0.3)
    assert event.component == "disk:Z1Z0EXAM"
    assert told(collector) == told(host.collector()) == []


def test_after_a_reboot_every_line_is_news(host: Host) -> None:
    assert told(host.collector()) == []
    host.boot("b-2")
    host.say("ixgbe 0000:18:00.0 eno1: NIC Link is Down", at_s=10.0)
    [event] = told(host.collector())
    assert (event.kind, event.component, event.time) == (Kind.NETWORK, "network:/eno1", NOW - timedelta(seconds=990))


def test_a_storm_of_equal_lines_is_one_event_with_their_number(host: Host) -> None:
    collector = host.collector(KernelLogSettings(storm_s=600.0))
    told(collector)
    host.say(*(IO_ERROR.replace("4660", str(sector)) for sector in range(3000)), "EDAC MC0: 1 UE x on A1 (page:0x1)")
    found = list(collector.collect())
    events = [event for event in found if isinstance(event, FailureEvent)]
    assert [event.text for event in events] == [
        f"{IO_ERROR.replace('4660', '0')} (3000 times)",
        "EDAC MC0: 1 UE x on A1 (page:0x1)",
    ]
    assert find(found, "forewarn_kernel_log_lines_total")["template=io_error"] == 3000
    host.clock.sleep(300)
    host.say(IO_ERROR, IO_ERROR)
    collector = host.collector(KernelLogSettings(storm_s=600.0))  # started anew within the storm
    assert told(collector) == []
    host.clock.sleep(301)
    host.say(IO_ERROR)
    [event] = told(collector)
    assert event.text.endswith(" (3 times, since the last such event)")
    assert find(collector.collect(), "forewarn_kernel_log_lines_total")["template=io_error"] == 3


def test_what_a_user_writes_into_the_log_is_not_believed(host: Host) -> None:
    collector = host.collector()
    told(collector)
    host.say(IO_ERROR, facility=1)
    assert told(collector) == []


def test_a_volume_is_no_part_and_a_partition_is_its_drive(host: Host) -> None:
    collector = host.collector()
    told(collector)
    host.say("Buffer I/O error on dev dm-3, logical block 5, async page read", IO_ERROR.replace("sda", "sda1"))
    assert [event.component for event in told(collector)] == ["", "disk:Z1Z0EXAM"]


def test_lines_that_only_count_are_no_failures(host: Host) -> None:
    collector = host.collector()
    told(collector)
    host.say("EDAC MC0: 1 CE memory read error on A1 (page:0x1)", "CPU3: Core temperature above threshold, throttled")
    found = list(collector.collect())
    assert [each for each in found if isinstance(each, FailureEvent)] == []
    counts = find(found, "forewarn_kernel_log_lines_total")
    assert (counts["template=edac_corrected"], counts["template=thermal_throttle"]) == (1, 1)
    assert set(counts) == {f"template={template.name}" for template in TEMPLATES}


def test_a_storm_that_is_over_is_forgotten(host: Host) -> None:
    collector = host.collector(KernelLogSettings(storm_s=60.0))
    told(collector)
    host.say(IO_ERROR)
    assert len(told(collector)) == 1
    host.clock.sleep(121)
    told(collector)
    assert "io_error" not in (host.folder / FILE).read_text()


@pytest.mark.parametrize("damage", ["", "[]", '{"storms": {"x": {"told_at": "never", "since": 0}}}'])
def test_what_was_remembered_and_got_damaged_is_as_if_never_seen(host: Host, damage: str) -> None:
    host.folder.mkdir()
    (host.folder / FILE).write_text(damage)
    host.say(IO_ERROR)
    assert told(host.collector()) == []


def test_a_log_that_cannot_be_read_or_a_folder_that_cannot_be_made_is_told(host: Host) -> None:
    host.folder.touch()
    with pytest.raises(SourceAbsent, match="cannot be kept"):
        told(host.collector())
    (host.root / "dev/kmsg").unlink()
    with pytest.raises(SourceAbsent, match="/dev/kmsg cannot be read: no such file"):
        told(host.collector())


def test_the_log_of_this_very_kernel_is_read_where_it_may_be() -> None:
    collector = KernelLogCollector(Path("/"), KernelLogSettings(), None, SimulatedClock(NOW))
    try:
        found = list(collector.collect())
    except SourceAbsent as absent:  # a container without /dev/kmsg, or a user who may not
        assert "/dev/kmsg cannot be read" in str(absent)  # noqa: PT017
        return
    assert len(find(found, "forewarn_kernel_log_lines_total")) == len({template.name for template in TEMPLATES})


JOURNALCTL = """#!/bin/sh
# Answers as journalctl does: with its last line alone, or with what follows a cursor.
echo "$*" >>"$JOURNAL.asked"
case "$*" in
    *--after-cursor=c1*) tail -n +2 "$JOURNAL" ;;
    *--after-cursor=*) ;;
    *) head -n 1 "$JOURNAL" ;;
esac
"""


def test_journald_is_asked_for_what_follows_the_last_line(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program, journal = tmp_path / "bin/journalctl", tmp_path / "journal"
    program.parent.mkdir()
    program.write_text(JOURNALCTL)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    micros = int(NOW.timestamp() * 1e6)
    lines = [
        f'{{"__CURSOR":"c{number}","__REALTIME_TIMESTAMP":"{micros}","MESSAGE":{message}}}'
        for number, message in enumerate((f'"{IO_ERROR}"', "[1,2]", '"thermal x: critical temperature reached"'), 1)
    ]
    journal.write_text("\n".join([*lines, "no json", '"no object"']) + "\n")
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("JOURNAL", str(journal))
    settings = KernelLogSettings(source=LogSource.JOURNALD)
    assert told(host.collector(settings)) == []
    [event] = told(host.collector(settings))
    assert (event.kind, event.component, event.time) == (Kind.CPU, "cpu:/cpu", NOW)
    assert told(host.collector(settings)) == []
    asked = Path(f"{journal}.asked").read_text().splitlines()
    assert [line.partition("_TRANSPORT=kernel ")[2].partition(" --lines=+")[0] for line in asked] == [
        "--lines=1",
        "--after-cursor=c1",
        "--after-cursor=c3",
    ]


def test_without_journalctl_or_where_it_hangs_the_log_is_absent(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = KernelLogSettings(source=LogSource.JOURNALD, timeout_s=0.2)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SourceAbsent, match="not on PATH"):
        told(host.collector(settings))
    program = tmp_path / "journalctl"
    program.write_text("#!/bin/sh\nexec /bin/sleep 60\n")
    program.chmod(0o755)
    with pytest.raises(SourceAbsent, match="journalctl gives nothing: TimeoutExpired"):
        told(KernelLogCollector(host.root, settings, None, host.clock, JournalReader(settings)))
