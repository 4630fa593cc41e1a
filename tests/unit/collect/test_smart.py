"""Asking drives: at an interval, within a time limit each, and recorded answers in their place."""

import json
import os
import stat
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from forewarn.clock import SimulatedClock
from forewarn.collect.smart import RecordedSmartCollector, Runner, SmartCollector, SmartSettings, load
from forewarn.errors import RecordingError, SourceAbsent
from tests.frozen import find, unreadable

SH = SmartSettings(command="sh")  # any program that is on PATH
STATUS = "smartctl_device_smart_status"
UNREADABLE = "forewarn_smartctl_unreadable_total"


class Drives:
    """A smartctl of the test's own: answers by device, which may be an error to raise."""

    def __init__(self, answers: dict[str, Any], scan: object = None) -> None:
        self.answers = answers
        self.scan: object = scan or {"devices": [{"name": name, "type": "sat"} for name in answers]}
        self.asked: list[str] = []

    def __call__(self, command: Sequence[str], timeout_s: float) -> bytes:
        assert timeout_s > 0
        self.asked.append(" ".join(command[1:]))
        answer = self.scan if "--scan-open" in command else self.answers[command[-1]]
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, bytes) else json.dumps(answer).encode()


def drive(serial: str, *, passed: bool = True) -> dict[str, Any]:
    return {"model_name": "EXAMPLE", "serial_number": serial, "smart_status": {"passed": passed}}


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock(datetime(2026, 1, 5, tzinfo=UTC))


def test_every_drive_that_the_scan_finds_is_asked_without_waking_it(clock: SimulatedClock) -> None:
    drives = Drives({"/dev/sda": drive("A"), "/dev/nvme0": drive("B", passed=False)})
    samples = list(SmartCollector(clock, SH, drives).collect())
    assert find(samples, STATUS) == {"device=sda": 1, "device=nvme0": 0}
    assert drives.asked[0] == "--scan-open --json"
    assert set(drives.asked[1:]) == {
        f"--json --all --log=devstat --log=ssd --tolerance=verypermissive --nocheck=standby --device sat {name}"
        for name in ("/dev/sda", "/dev/nvme0")
    }


def test_a_round_starts_smartctl_once_for_the_scan_and_once_for_each_drive(
    clock: SimulatedClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names, calls = ("/dev/sda", "/dev/sdb", "/dev/nvme0"), tmp_path / "calls"
    scan = json.dumps({"devices": [{"name": name, "type": "sat"} for name in names]})
    program = tmp_path / "smartctl"
    program.write_text(
        f'#!/bin/sh\nfor last; do :; done\necho "$last" >> {calls}\n'
        f"case $1 in --scan-open) echo '{scan}';; *) echo '{json.dumps(drive('A'))}';; esac\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    collector = SmartCollector(clock, SmartSettings())
    for rounds in (1, 2):
        assert find(collector.collect(), STATUS) == {"device=sda": 1, "device=sdb": 1, "device=nvme0": 1}
        assert sorted(calls.read_text().split()) == sorted(("--json", *names) * rounds)
        list(collector.collect())  # the answers stand: nothing is started
        assert len(calls.read_text().split()) == (1 + len(names)) * rounds
        clock.sleep(SmartSettings().interval_s)


def test_answers_stand_until_the_interval_is_over(clock: SimulatedClock) -> None:
    drives = Drives({"/dev/sda": drive("A")})
    collector = SmartCollector(clock, SH, drives)
    first = list(collector.collect())
    clock.sleep(SH.interval_s - 1)
    assert list(collector.collect()) == first
    assert len(drives.asked) == 2
    clock.sleep(1)
    drives.answers["/dev/sda"] = drive("A", passed=False)
    assert find(collector.collect(), STATUS) == {"device=sda": 0}


def test_drives_that_hang_babble_or_are_gone_hide_no_other_and_are_counted(clock: SimulatedClock) -> None:
    answers = {
        "/dev/sda": subprocess.TimeoutExpired("smartctl", 20),
        "/dev/sdb": b"Segmentation fault",
        "/dev/sdc": OSError("no such device"),
        "/dev/sdd": b"[" * 100_000,
        "/dev/sde": drive("E"),
        "/dev/sdf": [],
    }
    collector = SmartCollector(clock, SH, Drives(answers))
    samples = list(collector.collect())
    assert find(samples, STATUS) == {"device=sde": 1}
    assert find(samples, UNREADABLE) == {
        "device=sda why=no answer within 20 s": 1,
        "device=sdb why=not JSON: Expecting value: line 1 column 1 (char 0)": 1,
        "device=sdc why=no answer: OSError": 1,
        "device=sdd why=nested too deeply": 1,
        "device=sdf why=not an object": 1,
    }
    clock.sleep(SH.interval_s)
    assert find(collector.collect(), UNREADABLE)["device=sda why=no answer within 20 s"] == 2


def test_drives_behind_one_controller_are_told_apart_by_their_place(clock: SimulatedClock) -> None:
    scan = {"devices": [{"name": "/dev/bus/0", "type": f"megaraid,{slot}"} for slot in (4, 5)] + [{"name": "x"}, 7]}
    drives = Drives({"/dev/bus/0": drive("A")}, scan)
    assert set(find(SmartCollector(clock, SH, drives).collect(), STATUS)) == {
        "device=bus_0_megaraid_4",
        "device=bus_0_megaraid_5",
    }


def test_no_more_drives_are_asked_than_the_setting_allows(clock: SimulatedClock) -> None:
    drives = Drives({"/dev/sda": drive("A"), "/dev/sdb": drive("B")})
    samples = list(SmartCollector(clock, SmartSettings(command="sh", drives_max=1), drives).collect())
    assert find(samples, STATUS) == {"device=sda": 1}
    assert find(samples, UNREADABLE) == {"device=sdb why=more drives than are asked": 1}


@pytest.mark.parametrize("scan", [{"devices": []}, {"devices": 5}, [], OSError("no"), b"oops", b"[" * 100_000])
def test_a_host_on_which_no_drive_is_found_has_no_smart_and_is_not_asked_all_the_time(
    clock: SimulatedClock, scan: object
) -> None:
    drives = Drives({}, scan)
    collector = SmartCollector(clock, SH, drives)
    for _ in range(2):
        with pytest.raises(SourceAbsent, match="--scan-open"):
            list(collector.collect())
    assert len(drives.asked) == 1


def test_without_smartctl_the_source_is_absent(clock: SimulatedClock) -> None:
    collector = SmartCollector(clock, SmartSettings(command="smartctl-of-nowhere"))
    with pytest.raises(SourceAbsent, match="smartctl-of-nowhere is not on PATH"):
        list(collector.collect())


def test_a_real_program_is_asked_as_smartctl_would_be(clock: SimulatedClock, tmp_path: Path) -> None:
    program = tmp_path / "smartctl"
    answer = (
        '{"devices": [{"name": "/dev/sda", "type": "ata"}], "serial_number": "A", "smart_status": {"passed": true}}'
    )
    program.write_text(f"#!/bin/sh\necho '{answer}'\nexit 64\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    samples = list(SmartCollector(clock, SmartSettings(command=str(program))).collect())
    assert find(samples, STATUS) == {"device=sda": 1}


def test_a_command_that_takes_too_long_is_ended() -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        Runner()(["sleep", "60"], 0.05)


def test_a_command_that_cannot_be_ended_is_not_started_again() -> None:
    command = ["sleep", "60"]
    runner = Runner(grace_s=0.01, end=lambda _: None)  # as deaf to signals as one that waits for its drive
    for _ in range(2):
        with pytest.raises(subprocess.TimeoutExpired):
            runner(command, 0.01)
    (process,) = runner.stuck
    assert process.poll() is None
    assert runner(["echo", "other"], 10) == b"other\n"
    process.kill()
    process.wait(10)
    with pytest.raises(subprocess.TimeoutExpired):
        runner(command, 0.01)
    (successor,) = runner.stuck
    assert successor.pid != process.pid
    successor.kill()
    successor.wait(10)


def test_recorded_answers_stand_in_place_of_drives_under_their_files_names(recordings: Path) -> None:
    samples = list(RecordedSmartCollector(recordings).collect())
    assert set(find(samples, STATUS)) == {f"device={name}" for name in ("hdd-packed", "nvme", "sas", "ssd")}
    assert find(samples, UNREADABLE) == find([], UNREADABLE) | {
        key: 1 for key in find(samples, UNREADABLE) if key.startswith("device=odd ")
    }
    assert find(samples, "forewarn_smartctl_standby")["device=asleep"] == 1
    assert find(samples, "smartctl_devices") == {"": 6}


def test_a_recording_of_any_shape_is_taken_for_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "list.json").write_text("[1, 2]")
    (tmp_path / "bom.json").write_bytes(b"\xef\xbb\xbf" + json.dumps(drive("A")).encode())
    (tmp_path / "deep.json").write_text("[" * 100_000 + "]" * 100_000)
    (tmp_path / "digits.json").write_text('{"serial_number": "B", "power_cycle_count": ' + "9" * 5000 + "}")
    (tmp_path / "latin.json").write_bytes(b'{"serial_number": "C\xe9", "smart_status": {"passed": true}}')
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "gone.json").touch()
    unreadable(tmp_path / "gone.json")
    (tmp_path / "notes.txt").write_text("no recording")
    samples = list(RecordedSmartCollector(tmp_path).collect())
    assert set(find(samples, STATUS)) == {"device=bom", "device=latin"}
    assert find(samples, UNREADABLE) == {
        "device=list why=not an object": 1,
        "device=deep why=nested too deeply": 1,
        "device=digits why=power_cycle_count: not a number": 1,
        "device=folder why=is a directory": 1,
        "device=gone why=input/output error": 1,
    }


def test_a_file_that_is_too_large_is_counted_not_read(tmp_path: Path) -> None:
    (tmp_path / "big.json").write_text(json.dumps(drive("A")) + " " * 100)
    collector = RecordedSmartCollector(tmp_path, bytes_max=100)
    assert find(collector.collect(), UNREADABLE) == {"device=big why=more than 100 bytes": 1}


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "not JSON: Expecting value: line 1 column 1 (char 0)"),
        (b'{"a": 1,\n "b" 2}', "not JSON: Expecting ':' delimiter: line 2 column 6 (char 14)"),
        (
            b'{"serial_number": "A", "smart_status": {"passed": tr',
            "not JSON: Expecting value: line 1 column 51 (char 50)",
        ),
        (
            b"smartctl 6.6 2017-11-05 r4594\nDevice Model: EXAMPLE\n",
            "not JSON: Expecting value: line 1 column 1 (char 0)",
        ),
        (b"\xff\xfe\x00\x00", "not JSON: Expecting value: line 1 column 1 (char 0)"),
    ],
)
def test_a_file_that_is_no_json_is_counted_with_the_place_and_hides_no_other(
    tmp_path: Path, content: bytes, why: str
) -> None:
    (tmp_path / "sda.json").write_bytes(content)
    (tmp_path / "sdb.json").write_text(json.dumps(drive("B")))
    samples = list(RecordedSmartCollector(tmp_path).collect())
    assert find(samples, UNREADABLE) == {f"device=sda why={why}": 1}
    assert find(samples, STATUS) == {"device=sdb": 1}


def test_what_stands_around_the_document_is_named_and_the_document_read(tmp_path: Path) -> None:
    answer = json.dumps(drive("A"))
    (tmp_path / "twice.json").write_text(f"{answer}\n{answer}\n")
    (tmp_path / "said.json").write_text(f"sudo: unable to resolve host\n{answer}\n\0\n")
    (tmp_path / "wide.json").write_bytes(answer.encode("utf-16"))
    (tmp_path / "raw.json").write_bytes(b'{"serial_number": "A\tB", "smart_status": {"passed": true}}')
    samples = list(RecordedSmartCollector(tmp_path).collect())
    assert find(samples, STATUS) == {f"device={name}": 1 for name in ("twice", "said", "wide", "raw")}
    assert find(samples, UNREADABLE) == {
        "device=twice why=more behind the document": 1,
        "device=said why=words before the document": 1,
    }


def test_recordings_whose_names_make_one_label_are_told_apart(tmp_path: Path) -> None:
    for name, serial in (("a b", "A"), ("a  b", "B"), ("a\tb", "C")):
        (tmp_path / f"{name}.json").write_text(json.dumps(drive(serial)))
    samples = list(RecordedSmartCollector(tmp_path).collect())
    assert find(samples, STATUS) == {"device=a b": 1, "device=a b#2": 1, "device=a b#3": 1}


def test_what_is_no_file_is_counted_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "nowhere.json").symlink_to(tmp_path / "gone")
    samples = list(RecordedSmartCollector(tmp_path).collect())
    assert find(samples, UNREADABLE) == {"device=nowhere why=no file": 1, "device=pipe why=no file": 1}


def test_a_drive_that_sleeps_is_no_error_and_still_the_one_that_it_was(clock: SimulatedClock) -> None:
    asleep = {"smartctl": {"exit_status": 2, "messages": [{"string": "Device is in STANDBY mode, exit(2)"}]}}
    drives = Drives({"/dev/sda": drive("A"), "/dev/sdb": drive("B")})
    collector = SmartCollector(clock, SH, drives)
    list(collector.collect())
    for _ in range(2):
        drives.answers["/dev/sda"] = asleep
        clock.sleep(SH.interval_s)
        samples = list(collector.collect())
        assert find(samples, "forewarn_smartctl_standby") == {"device=sda": 1, "device=sdb": 0}
        assert [s.labels["serial_number"] for s in samples if s.name == "smartctl_device"] == ["B", "A"]
        assert find(samples, STATUS) == {"device=sdb": 1}
        assert find(samples, UNREADABLE) == {}
    drives.answers["/dev/sda"] = OSError("gone")
    clock.sleep(SH.interval_s)
    assert [s.labels["serial_number"] for s in collector.collect() if s.name == "smartctl_device"] == ["B"]


@pytest.mark.parametrize(
    ("name", "kind", "device"),
    [
        ("/dev/bus/0", "megaraid,5", "bus_0_megaraid_5"),
        ("/dev/bus/0", "sat+megaraid,5", "bus_0_sat_megaraid_5"),
        ("/dev/sg1", "cciss,0", "sg1_cciss_0"),
        ("/dev/sg2", "areca,1/2", "sg2_areca_1_2"),
        ("/dev/twa0", "3ware,3", "twa0_3ware_3"),
        ("/dev/sdc", "aacraid,0,0,1", "sdc_aacraid_0_0_1"),
        ("/dev/sdd", "usbjmicron,p", "sdd_usbjmicron_p"),
        ("/dev/sde", "sat", "sde"),
    ],
)
def test_the_type_that_the_scan_tells_is_given_through_to_the_call(
    clock: SimulatedClock, name: str, kind: str, device: str
) -> None:
    drives = Drives({name: drive("A")}, {"devices": [{"name": name, "type": kind}, {"name": name, "type": kind}]})
    assert find(SmartCollector(clock, SH, drives).collect(), STATUS) == {f"device={device}": 1}
    (asked,) = drives.asked[1:]
    assert asked.endswith(f" --device {kind} {name}")


def test_a_folder_that_is_not_there_fails_and_an_empty_one_is_absent(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="not a folder of recorded smartctl outputs"):
        RecordedSmartCollector(tmp_path / "nowhere")
    with pytest.raises(SourceAbsent, match="holds no recorded smartctl output"):
        list(RecordedSmartCollector(tmp_path).collect())


def test_whole_numbers_keep_all_their_digits() -> None:
    assert load(b'{"value": 9230082287649927}') == {"value": 9230082287649927}


def test_every_recorded_drive_tells_identity_health_and_temperature(recorded_fixtures: Path) -> None:
    folder = recorded_fixtures / "smartctl"
    samples = list(RecordedSmartCollector(folder).collect())
    devices = {f"device={file.name.removesuffix('.json')}" for file in folder.glob("*.json")}
    identities = [sample.labels for sample in samples if sample.name == "smartctl_device"]
    assert {f"device={labels['device']}" for labels in identities} == devices
    assert all(labels["model_name"] and labels["serial_number"] for labels in identities)
    for metric in ("smart_status", "capacity_bytes", "power_on_seconds"):
        assert set(find(samples, f"smartctl_device_{metric}")) == devices, metric
    celsius = find(samples, "smartctl_device_temperature")
    assert all(10 < celsius[f"{device} temperature_type=current"] < 60 for device in devices)
    assert find(samples, UNREADABLE) == {}


def test_every_recorded_drive_tells_wear_and_errors_where_it_has_them(recorded_fixtures: Path) -> None:
    folder = recorded_fixtures / "smartctl"
    samples = list(RecordedSmartCollector(folder).collect())
    documents = {file.name.removesuffix(".json"): load(file.read_bytes()) for file in folder.glob("*.json")}
    nvme = {f"device={name}" for name, drive in documents.items() if drive["device"]["protocol"] == "NVMe"}
    for metric in ("percentage_used", "available_spare", "media_errors", "critical_warning", "num_err_log_entries"):
        assert nvme <= set(find(samples, f"smartctl_device_{metric}")), metric
    for name, document in documents.items():
        rows = document.get("ata_smart_attributes", {}).get("table", [])
        told = [s for s in samples if s.name == "smartctl_device_attribute" and s.labels["device"] == name]
        assert len(told) == 4 * len(rows)
        if "ata_smart_error_log" in document:
            assert f"device={name} error_log_type=summary" in find(samples, "smartctl_device_error_log_count")
    (defects,) = find(samples, "smartctl_scsi_grown_defect_list")
    assert defects.startswith("device=HITACHI_H109060SESUN600G_9 ")
