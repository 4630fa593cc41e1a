"""The agent in a guest whose hardware really fails: what a scrape shows of it, and what is told as an event."""

import os
import re
from collections.abc import Iterator

import pytest

from forewarn.lab.machine import look, refusal
from forewarn.lab.settings import LabSettings
from tests import firmware, hardware
from tests.hardware import HardwareGuest
from tests.support import eventually

SETTINGS = LabSettings(beside_guests=True)
CORRECTED, UNCORRECTED = "9c00000000010091", "be00000000800400"


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HardwareGuest]:
    """One guest for all these tests; each breaks another part of it."""
    if os.environ.get("LAB") == "0":
        pytest.skip("LAB=0: no guest is started")
    if why := refusal(look(), SETTINGS):
        pytest.skip(why)
    folder = tmp_path_factory.mktemp("hw")
    if len(str(folder)) > 80:
        pytest.skip("the folder for temporary files has too long a path for sockets")
    with hardware.hardware(SETTINGS, folder) as running:
        yield running


def value(shown: str, series: str) -> float:
    """The value of the one series of a scrape that begins like this; -1 where there is none."""
    found = re.search(rf"^{re.escape(series)}[^ ]* ([0-9.e+]+)$", shown, re.MULTILINE)
    return float(found[1]) if found else -1.0


def checked(guest: HardwareGuest, bank: int, status: str) -> None:
    """A machine check as the kernel's own injector makes it."""
    guest.sh("[ -d /sys/kernel/debug/mce-inject ] || insmod /modules/mce-inject.ko")
    put = {"flags": "sw", "status": f"0x{status}", "addr": "0x12345000", "bank": str(bank)}
    guest.sh("; ".join(f"echo {text} >/sys/kernel/debug/mce-inject/{name}" for name, text in put.items()))
    eventually(lambda: f"Bank {bank}: {status}" in guest.sh("dmesg"), 30.0, 0.3)


def test_the_next_scrape_shows_a_drives_warning_and_a_machine_check(guest: HardwareGuest) -> None:
    before = guest.scrape()
    assert value(before, 'smartctl_device_critical_warning{device="nvme0"') == 0
    assert value(before, 'smartctl_device_smart_status{device="nvme0"') == 1
    assert value(before, 'forewarn_kernel_log_lines_total{template="machine_check"') == 0
    nvme = {"path": "/machine/peripheral/nv0", "property": "smart_critical_warning"}
    guest.monitor("qom-set", **nvme, value=4)
    guest.sh("echo 1 >/sys/devices/system/machinecheck/machinecheck0/check_interval")
    guest.monitor("human-monitor-command", **{"command-line": f"mce 0 9 0x{CORRECTED} 0x0 0x23456000 0x8c"})
    eventually(lambda: f"Bank 9: {CORRECTED}" in guest.sh("dmesg"), 30.0, 0.3)
    after = guest.scrape()
    assert value(after, 'smartctl_device_critical_warning{device="nvme0"') == 4
    assert value(after, 'smartctl_device_smart_status{device="nvme0"') == 0
    assert value(after, 'forewarn_kernel_log_lines_total{template="machine_check"') >= 1
    assert guest.events() == []  # it was corrected
    checked(guest, 8, UNCORRECTED)
    [failure] = eventually(guest.events, 30.0, 0.5)
    told = {name: failure[name] for name in ("event", "host", "kind", "component", "source", "confidence")}
    assert told == {
        "event": "failure", "host": "guest", "kind": "cpu", "component": "cpu:guest/cpu", "source": "kernel log",
        "confidence": 0.8,
    }  # fmt: skip
    assert UNCORRECTED in failure["text"]


@pytest.mark.nightly
def test_a_drive_that_predicts_its_failure_and_cannot_read_a_sector_is_told(guest: HardwareGuest) -> None:
    guest.sh("insmod /modules/scsi_debug.ko dev_size_mb=8")
    eventually(lambda: "sda" in guest.sh("ls /sys/block"), 30.0, 0.3)
    guest.sh("sdparm --set=MRIE=6,TEST=1,DEXCPT=0 /dev/sda")
    assert value(guest.scrape(), 'smartctl_device_smart_status{device="sda"') == 0
    guest.sh("echo 2 >/sys/bus/pseudo/drivers/scsi_debug/opts; dd if=/dev/sda of=/dev/null bs=512 skip=4660 count=4")
    shown = guest.scrape()
    assert value(shown, 'forewarn_disk_io_errors_total{device="sda"') >= 1
    assert value(shown, 'forewarn_kernel_log_lines_total{template="medium_error"') >= 1

    def told() -> list[str]:
        return [event["component"] for event in guest.events() if "medium error" in event["text"]]

    assert eventually(told, 30.0, 0.5) == ["disk:2000"]  # the serial number that scsi_debug gives its drive


@pytest.mark.nightly
def test_memory_errors_that_the_firmware_takes_first_are_counted_and_those_beyond_correction_are_failures(
    guest: HardwareGuest,
) -> None:
    before, known, said = (
        guest.scrape(),
        len(guest.events()),
        'forewarn_kernel_log_lines_total{template="machine_check"',
    )
    assert value(before, 'forewarn_memory_firmware_first{by="HEST"') == 1
    assert "node_edac_channel_correctable_errors_total" not in before  # zero is unknown here
    guest.firmware_says(firmware.record(corrected=True, kind=firmware.SINGLE_BIT, row=7, column=1))
    eventually(lambda: "Bank 255: 9c" in guest.sh("dmesg"), 30.0, 0.3)
    assert value(guest.scrape(), said) > value(before, said)
    assert guest.events()[known:] == []
    guest.firmware_says(firmware.record(corrected=False, kind=firmware.MULTI_BIT, row=7, column=2))
    eventually(lambda: "Bank 255: bc" in guest.sh("dmesg"), 30.0, 0.3)
    uncorrected = "Machine Check: 0 Bank 255: bc"

    def told() -> list[tuple[str, str]]:
        return [(event["kind"], event["source"]) for event in guest.events()[known:] if uncorrected in event["text"]]

    guest.scrape()
    assert eventually(told, 30.0, 0.5) == [("memory", "kernel log")]


@pytest.mark.nightly
def test_a_page_that_is_taken_out_of_use_is_told(guest: HardwareGuest) -> None:
    before = value(guest.scrape(), "node_memory_HardwareCorrupted_bytes")
    guest.sh("echo 0x4000000 >/sys/devices/system/memory/hard_offline_page")
    shown = guest.scrape()
    assert value(shown, "node_memory_HardwareCorrupted_bytes") == before + 4096
    assert value(shown, 'forewarn_kernel_log_lines_total{template="memory_page_offlined"') >= 1


@pytest.mark.nightly
def test_what_a_real_rasdaemon_records_is_read(guest: HardwareGuest) -> None:
    guest.sh("rasdaemon -e; echo 0 >/sys/kernel/tracing/instances/rasdaemon/buffer_percent")
    guest.sh("(rasdaemon -f -r >/tmp/ras 2>&1 &)")
    records = 'forewarn_rasdaemon_records_total{table="mce_record"'
    eventually(lambda: value(guest.scrape(), records) == 0, 60.0, 0.5)
    known = len(guest.events())
    checked(guest, 7, UNCORRECTED)
    eventually(lambda: value(guest.scrape(), records) == 1, 30.0, 0.5)

    def told() -> list[str]:
        return [event["kind"] for event in guest.events()[known:] if event["source"] == "rasdaemon"]

    assert eventually(told, 30.0, 0.5) == ["cpu"]
