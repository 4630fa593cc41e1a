"""What is found on frozen machines: each finding where it belongs, and none where all is well."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from importlib import import_module
from inspect import getmembers, isfunction
from pathlib import Path
from pkgutil import iter_modules
from typing import get_type_hints

import pytest

from forewarn.clock import SimulatedClock
from forewarn.collect import doctor
from forewarn.collect.agent import AgentSettings, build_collectors, collect_once
from forewarn.collect.doctor import drives, evidence, machine, mapping, memory, sensors
from forewarn.collect.doctor.examination import Examination, examine, parse_status
from forewarn.collect.doctor.host import CHECKS, host_findings
from forewarn.collect.firmware_first import CONTROLLERS
from forewarn.collect.smart import SmartSettings
from forewarn.collect.tree import Tree
from forewarn.domain.finding import Finding, State
from forewarn.domain.telemetry import Sample

Thaw = Callable[[str], Path]
ROOT_STATUS = "Uid:\t0\t0\t0\t0\nCapEff:\t000001ffffffffff\n"
NOBODY_STATUS = "Uid:\t65534\t65534\t65534\t65534\nCapEff:\t0000000000000000\n"
INTEL = "vendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 85\nflags\t\t: fpu vme\n\n"


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """The root of a process that may do everything."""
    return write(tmp_path / "own", "proc/self/status", ROOT_STATUS)


@pytest.fixture
def look(own: Path) -> Callable[..., Examination]:
    """Examines a machine, as root, with a smartctl that is not there."""

    def examined(root: Path, status: str = ROOT_STATUS, tree: Tree | None = None) -> Examination:
        settings = AgentSettings(root=root, smart=SmartSettings(command="smartctl-of-nobody"))
        clock = SimulatedClock(datetime(2026, 1, 1, tzinfo=UTC))
        samples = collect_once(build_collectors(settings, clock), clock).samples
        write(own, "proc/self/status", status)
        return Examination(settings, tree or Tree(root), Tree(own), samples, in_time=True)

    return examined


def write(root: Path, name: str, text: str) -> Path:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)
    return root


def one(found: Iterator[Finding], part: str) -> Finding:
    """The one finding that says this."""
    findings = list(found)
    fitting = [finding for finding in findings if part in finding.text]
    assert len(fitting) == 1, findings
    return fitting[0]


def states(found: Iterator[Finding]) -> set[State]:
    return {finding.state for finding in found}


class Locked(Tree):
    """A machine on which some files are for root only."""

    def __init__(self, root: Path, ending: str) -> None:
        super().__init__(root)
        self._ending = ending

    def raw(self, name: str) -> bytes | None:
        return None if name.endswith(self._ending) else super().raw(name)


def with_smartctl(seen: Examination, version: bytes, *more: Sample) -> Examination:
    return replace(seen, which=lambda _: "/sbin/smartctl", run=lambda *_: version, samples=(*seen.samples, *more))


# --- The machine ----------------------------------------------------------------------------------------------------


def test_a_virtual_machine_is_told_by_its_cpu_and_named_by_its_maker(
    thaw: Thaw, look: Callable[..., Examination]
) -> None:
    root = write(thaw("bare-vm"), "proc/cpuinfo", "flags\t\t: fpu hypervisor lm\n\n")
    write(root, "sys/class/dmi/id/sys_vendor", "QEMU\n")
    assert one(machine.machine(look(root)), "virtual machine (QEMU)").state is State.NOTE


def test_a_virtual_machine_of_another_architecture_is_told_by_its_maker(
    thaw: Thaw, look: Callable[..., Examination]
) -> None:
    root = write(thaw("bare-vm"), "sys/class/dmi/id/product_name", "KVM Virtual Machine\n")
    assert look(root).virtual == "KVM Virtual Machine"


def test_hardware_and_the_first_domain_of_xen_are_no_virtual_machines(
    thaw: Thaw, look: Callable[..., Examination]
) -> None:
    root = write(thaw("two-socket-server"), "proc/cpuinfo", "flags\t\t: fpu hypervisor lm\n\n")
    write(root, "proc/xen/capabilities", "control_d\n")
    assert look(root).virtual == ""
    assert states(machine.machine(look(root))) == {State.OK}


def test_in_a_virtual_machine_nothing_of_the_hardware_is_held_against_it(
    thaw: Thaw, look: Callable[..., Examination]
) -> None:
    root = write(thaw("bare-vm"), "proc/cpuinfo", "flags\t\t: hypervisor\n\n")
    assert states(host_findings(look(root))) == {State.OK, State.NOTE}


def test_a_container_that_shows_its_own_files_is_told(own: Path, look: Callable[..., Examination]) -> None:
    write(own, ".dockerenv", "")
    seen = look(Path("/"))
    assert one(machine.machine(seen), "in a container").remedy.startswith("mount the host's root")
    elsewhere = replace(seen, settings=replace(seen.settings, root=Path("/host")))
    assert one(machine.machine(elsewhere), "reads the host below /host").state is State.OK


def test_without_root_it_says_what_root_would_add(machines: Path, look: Callable[..., Examination]) -> None:
    found = one(machine.privileges(look(machines / "two-socket-server", NOBODY_STATUS)), "user 65534")
    assert found.state is State.NOTE
    assert "lacks CAP_DAC_READ_SEARCH, CAP_SYS_RAWIO, CAP_SYS_ADMIN" in found.text
    assert states(machine.privileges(look(machines / "two-socket-server"))) == {State.OK}


def test_privileges_that_cannot_be_read_are_not_guessed(machines: Path, look: Callable[..., Examination]) -> None:
    assert parse_status("Uid:\tx") is None
    seen = look(machines / "two-socket-server", "")
    assert one(machine.privileges(seen), "cannot be read").state is State.NOTE
    assert list(drives.permissions(seen)) == []


@pytest.mark.parametrize(
    ("in_time", "keeper", "state", "words"),
    [
        (True, "run/chrony/x", State.OK, "kept in time by chrony"),
        (False, "run/ntpd.pid", State.WARNING, "ntpd is running"),
        (False, "", State.WARNING, "nothing keeps this clock in time"),
        (None, "", State.NOTE, "does not say"),
    ],
)
def test_the_clock_is_judged_by_what_the_kernel_says(
    thaw: Thaw, look: Callable[..., Examination], in_time: bool | None, keeper: str, state: State, words: str
) -> None:
    root = thaw("bare-vm")
    if keeper:
        write(root, keeper, "")
    assert one(machine.clock(replace(look(root), in_time=in_time)), words).state is state


def test_the_kernel_of_this_machine_is_asked() -> None:
    settings = AgentSettings(collectors=("memory",))
    assert examine(settings, SimulatedClock(datetime(2026, 1, 1, tzinfo=UTC))).in_time in (True, False, None)


# --- Collectors -----------------------------------------------------------------------------------------------------


def test_a_collector_without_a_source_is_a_gap_on_hardware(thaw: Thaw, look: Callable[..., Examination]) -> None:
    root = thaw("two-socket-server")
    (root / "proc/net/dev").unlink()
    assert one(machine.collectors(look(root)), "network gives nothing: no network interface").state is State.WARNING
    assert one(machine.collectors(look(root)), "cpu is read").state is State.OK


def test_a_collector_that_stopped_early_is_told(machines: Path, look: Callable[..., Examination]) -> None:
    seen = look(machines / "two-socket-server")
    labels = {"collector": "cpu", "why": "more than 10 samples"}
    seen = replace(seen, samples=(*seen.samples, Sample("forewarn_collector_problem", labels, 1.0)))
    assert "agent.samples_max" in one(machine.collectors(seen), "cpu does not give everything").remedy


def test_refused_files_name_the_capability_only_to_whom_it_lacks(
    machines: Path, look: Callable[..., Examination]
) -> None:
    refused = Sample("forewarn_collector_refused", {"collector": "disk", "why": "permission denied"}, 3.0)
    for status, remedy in ((NOBODY_STATUS, "CAP_DAC_READ_SEARCH"), (ROOT_STATUS, "dmesg")):
        seen = look(machines / "bare-vm", status)
        assert list(machine.refusals(seen)) == []
        seen = replace(seen, samples=(*seen.samples, refused))
        assert remedy in one(machine.refusals(seen), "disk: 3 readings were refused").remedy


# --- Drives ---------------------------------------------------------------------------------------------------------


def test_a_missing_smartctl_is_a_gap_on_hardware(machines: Path, look: Callable[..., Examination]) -> None:
    found = one(drives.smartctl(look(machines / "amd-box")), "smartctl-of-nobody is not on PATH")
    assert (found.state, found.remedy) == (State.WARNING, drives.INSTALL)


@pytest.mark.parametrize(
    ("said", "state", "words"),
    [
        (b"smartctl 6.6 2017-11-05 r4594", State.ERROR, "smartctl is 6.6 and writes no JSON"),
        (b"what?", State.ERROR, "of a version that it does not tell"),
        (b"smartctl 7.3 2022-02-28 r5338", State.OK, "smartctl 7.3 writes JSON"),
        (b"smartctl 10.0", State.OK, "smartctl 10.0 writes JSON"),
    ],
)
def test_a_smartctl_too_old_for_json_is_wrong(
    machines: Path, look: Callable[..., Examination], said: bytes, state: State, words: str
) -> None:
    seen = with_smartctl(look(machines / "amd-box"), said)
    assert one(drives.smartctl(seen), words).state is state


def test_a_smartctl_that_does_not_run_is_told(machines: Path, look: Callable[..., Examination]) -> None:
    def broken(*_: object) -> bytes:
        raise PermissionError("not executable")

    seen = replace(look(machines / "amd-box"), which=lambda _: "/sbin/smartctl", run=broken)
    assert one(drives.smartctl(seen), "does not run").state is State.WARNING


def test_drives_that_stay_silent_are_named(machines: Path, look: Callable[..., Examination]) -> None:
    answer = Sample("smartctl_device", {"device": "nvme0"}, 1.0)
    unread = Sample("forewarn_smartctl_unreadable_total", {"device": "sdb", "why": "no answer within 20 s"}, 1.0)
    seen = with_smartctl(look(machines / "two-socket-server"), b"smartctl 7.3", answer, unread)
    assert (
        one(drives.smartctl(seen), "2 drives of the kernel do not tell of themselves: sda, sdb").state is State.WARNING
    )
    assert one(drives.smartctl(seen), "sdb: no answer within 20 s").state is State.NOTE
    everyone = tuple(Sample("smartctl_device", {"device": name}, 1.0) for name in ("sda", "sdb"))
    assert states(drives.smartctl(with_smartctl(seen, b"smartctl 7.3", *everyone))) == {State.OK, State.NOTE}


def test_the_privileges_for_drives_are_named_by_their_kind(machines: Path, look: Callable[..., Examination]) -> None:
    seen = look(machines / "two-socket-server", NOBODY_STATUS)
    assert "CAP_SYS_RAWIO" in one(drives.permissions(seen), "ATA and SAS drives may not be asked: sda, sdb").remedy
    assert "CAP_SYS_ADMIN" in one(drives.permissions(seen), "NVMe drives may not be asked: nvme0").remedy
    assert list(drives.permissions(look(machines / "two-socket-server"))) == []


def test_whoever_may_open_the_devices_needs_only_the_command(thaw: Thaw, look: Callable[..., Examination]) -> None:
    root = write(thaw("amd-box"), "dev/sda", "")
    status = "Uid:\t9\t9\t9\t9\nCapEff:\t0000000000020000\n"
    assert list(drives.permissions(look(root, status))) == []
    (root / "dev/sda").unlink()
    assert "the group disk" in one(drives.permissions(look(root, status)), "sda").remedy


def test_recorded_answers_and_no_answers_need_no_smartctl(
    machines: Path, recordings: Path, look: Callable[..., Examination]
) -> None:
    seen = look(machines / "amd-box", NOBODY_STATUS)
    recorded = replace(seen, settings=replace(seen.settings, smart=SmartSettings(recorded=recordings)))
    assert one(drives.smartctl(recorded), "recordings").state is State.OK
    without = replace(seen, settings=replace(seen.settings, collectors=("cpu",)))
    assert one(drives.smartctl(without), "leaves smart out").state is State.NOTE
    assert [*drives.permissions(recorded), *drives.permissions(without)] == []


# --- Memory ---------------------------------------------------------------------------------------------------------


def no_edac(root: Path) -> Path:
    (root / CONTROLLERS).rename(root / "gone")
    return write(root, "proc/cpuinfo", INTEL)


def test_counting_controllers_are_well(machines: Path, look: Callable[..., Examination]) -> None:
    assert states(memory.edac(look(machines / "two-socket-server"))) == {State.OK}
    assert states(memory.labels(look(machines / "two-socket-server"))) == {State.OK}


def test_hidden_errors_mean_unknown_where_the_firmware_takes_them_first(
    thaw: Thaw, look: Callable[..., Examination]
) -> None:
    root = write(no_edac(thaw("two-socket-server")), "sys/firmware/acpi/tables/HEST", "")
    found = one(memory.edac(look(root)), memory.UNKNOWN)
    assert found.state is State.WARNING
    assert "ACPI table HEST" in found.text
    assert "modprobe skx_edac" in found.remedy
    write(root, "sys/module/ghes/parameters/disable", "Y\n")
    assert "is not loaded" in one(memory.edac(look(root)), memory.UNKNOWN).text


def test_a_controller_of_the_firmware_counts_what_the_firmware_likes(
    thaw: Thaw, look: Callable[..., Examination]
) -> None:
    root = write(thaw("two-socket-server"), f"{CONTROLLERS}/mc0/mc_name", "ghes_edac\n")
    assert one(memory.edac(look(root)), memory.UNKNOWN).state is State.WARNING


def test_the_driver_of_the_cpu_is_named_where_it_is_not_loaded(thaw: Thaw, look: Callable[..., Examination]) -> None:
    root = no_edac(thaw("two-socket-server"))
    assert "modprobe skx_edac" in one(memory.edac(look(root)), "skx_edac, is not loaded").remedy
    (root / "sys/module/skx_edac").mkdir(parents=True)
    assert "ECC" in one(memory.edac(look(root)), "skx_edac is loaded and found no memory controller").remedy
    write(root, "proc/cpuinfo", "vendor_id : Other\n")
    assert one(memory.edac(look(root)), "no memory controller counts errors").state is State.WARNING


@pytest.mark.parametrize(
    ("vendor", "family", "model", "driver"),
    [
        ("GenuineIntel", "6", "106", "i10nm_edac"),
        ("GenuineIntel", "6", "79", "sb_edac"),
        ("AuthenticAMD", "25", "1", "amd64_edac"),
        ("GenuineIntel", "6", "1", ""),
    ],
)
def test_each_cpu_has_its_driver(vendor: str, family: str, model: str, driver: str) -> None:
    assert memory.edac_driver(f"vendor_id : {vendor}\ncpu family : {family}\nmodel : {model}\n") == driver


def test_modules_without_a_label_of_the_board_are_told(machines: Path, look: Callable[..., Examination]) -> None:
    found = one(memory.labels(look(machines / "amd-box")), "1 of 3 memory modules have no label of the board")
    assert "--register-labels" in found.remedy
    assert list(memory.labels(look(machines / "bare-vm"))) == []


# --- Power and heat -------------------------------------------------------------------------------------------------


def test_energy_for_root_only_names_the_capability(machines: Path, look: Callable[..., Examination]) -> None:
    root = machines / "two-socket-server"
    found = one(sensors.energy(look(root, NOBODY_STATUS, Locked(root, "energy_uj"))), "CVE-2020-8694")
    assert found.text.startswith("4 energy counters")
    assert found.remedy.endswith("CAP_DAC_READ_SEARCH")
    assert states(sensors.energy(look(root))) == {State.OK}
    assert list(sensors.energy(look(machines / "bare-vm"))) == []


def test_energy_is_not_told_twice(machines: Path, look: Callable[..., Examination]) -> None:
    root = machines / "two-socket-server"
    seen = look(root, NOBODY_STATUS, Locked(root, "energy_uj"))
    denied = Sample("forewarn_collector_refused", {"collector": "power", "why": "permission denied"}, 4.0)
    assert list(machine.refusals(replace(seen, samples=(*seen.samples, denied)))) == []


def test_a_board_without_sensors_is_a_gap_on_hardware(
    machines: Path, thaw: Thaw, look: Callable[..., Examination]
) -> None:
    assert states(sensors.board(look(machines / "two-socket-server"))) == {State.OK}
    root = thaw("two-socket-server")
    for chip in (root / "sys/class/hwmon").iterdir():
        chip.unlink()
    assert one(sensors.board(look(root)), "no sensor of the board").state is State.WARNING


def test_sensors_without_that_of_the_cpu_are_told(thaw: Thaw, look: Callable[..., Examination]) -> None:
    root = thaw("amd-box")
    for name in (root / "sys/class/hwmon").glob("*/name"):
        name.write_text("other\n")
    assert "k10temp" in one(sensors.board(look(root)), "no sensor tells the temperature of the CPU").remedy


def test_supplies_behind_the_bmc_are_a_note(machines: Path, look: Callable[..., Examination]) -> None:
    assert one(sensors.supplies(look(machines / "two-socket-server")), "only to the BMC").state is State.NOTE
    assert list(sensors.supplies(look(machines / "amd-box"))) == []


# --- What Forewarn makes of it --------------------------------------------------------------------------------------


def test_each_kind_says_how_much_of_the_catalogue_is_read(machines: Path, look: Callable[..., Examination]) -> None:
    found = list(mapping.kinds(look(machines / "two-socket-server")))
    assert [finding.place for finding in found] == ["cpu", "memory", "disk", "network", "power"]
    assert states(iter(found)) == {State.OK}
    bare = one(mapping.kinds(look(machines / "bare-vm")), "memory: no metric of the catalogue is read")
    assert bare.state is State.WARNING


def test_names_that_feed_nothing_are_counted(machines: Path, look: Callable[..., Examination]) -> None:
    seen = look(machines / "bare-vm")
    assert one(mapping.unmapped(seen), "names of series feed no forecast").state is State.NOTE
    assert list(mapping.unmapped(replace(seen, samples=()))) == []


def test_parts_without_a_serial_are_named(thaw: Thaw, look: Callable[..., Examination]) -> None:
    root = thaw("bare-vm")
    assert one(mapping.identities(look(root)), "disk: all 1 parts").state is State.OK
    (root / "sys/block/vda/serial").unlink()
    address = next((root / "sys/devices").glob("pci*/**/net/eth0/address"))
    address.write_text("00:00:00:00:00:00\n")
    assert "serial=" in one(mapping.identities(look(root)), "disk: vda show no serial").remedy
    assert one(mapping.identities(look(root)), "network: eth0 show no serial").state is State.WARNING


def test_parts_that_share_a_serial_are_named(machines: Path, look: Callable[..., Examination]) -> None:
    seen = look(machines / "bare-vm")
    twin = Sample("node_disk_info", {"device": "vdb", "serial": "vm-disk-0001"}, 1.0)
    found = one(mapping.identities(replace(seen, samples=(*seen.samples, twin))), "disk: vda, vdb show one serial")
    assert found.state is State.WARNING


def test_a_drive_is_known_by_the_serial_that_any_source_tells(machines: Path, look: Callable[..., Examination]) -> None:
    seen = replace(
        look(machines / "bare-vm"),
        samples=(
            Sample("node_disk_info", {"device": "nvme0n1", "serial": ""}, 1.0),
            Sample("smartctl_device", {"device": "nvme0", "serial_number": "S1"}, 1.0),
        ),
    )
    assert one(mapping.identities(seen), "disk: all 1 parts").state is State.OK


def test_an_address_drawn_at_each_start_is_told(thaw: Thaw, look: Callable[..., Examination]) -> None:
    root = thaw("bare-vm")
    folder = next((root / "sys/devices").glob("pci*/**/net/eth0"))
    (folder / "addr_assign_type").write_text("0\n")
    assert list(mapping.addresses(look(root))) == []
    (folder / "addr_assign_type").write_text("1\n")
    assert one(mapping.addresses(look(root)), "eth0 are drawn at each start").state is State.WARNING


def test_every_check_that_is_written_is_made() -> None:
    modules = [import_module(f"{doctor.__name__}.{found.name}") for found in iter_modules(doctor.__path__)]
    written = {
        function
        for module in modules
        for name, function in getmembers(module, isfunction)
        if function.__module__ == module.__name__ and not name.startswith("_")
        if get_type_hints(function) == {"seen": Examination, "return": Iterator[Finding]}
    }
    assert written - {host_findings} == set(CHECKS)


def test_logs_that_are_read_and_those_that_are_not_are_told(thaw: Thaw, look: Callable[..., Examination]) -> None:
    root = thaw("two-socket-server")
    seen = look(root)
    assert states(evidence.kernel_log(seen)) == states(evidence.records(seen)) == {State.OK}
    (root / "dev/kmsg").unlink()
    (root / "var/lib/rasdaemon/ras-mc_event.db").unlink()
    seen = look(root)
    assert one(evidence.kernel_log(seen), "/dev/kmsg cannot be read").state is State.WARNING
    assert one(evidence.records(seen), "rasdaemon does not run here").state is State.NOTE
    shutil.rmtree(root / CONTROLLERS)
    assert list(evidence.records(look(root))) == []


def test_logs_that_nobody_asks_for_are_not_missed() -> None:
    asked = Examination(AgentSettings(), Tree(Path("/")), Tree(Path("/")), (), in_time=True)
    assert [*evidence.kernel_log(asked), *evidence.records(asked)] == []


def test_supplies_that_the_bmc_tells_of_are_not_missed(machines: Path, look: Callable[..., Examination]) -> None:
    seen = look(machines / "two-socket-server")
    told = replace(seen, samples=(*seen.samples, Sample("forewarn_psu_present", {"name": "PSU1"}, 1.0)))
    assert list(sensors.supplies(told)) == []
