"""What BMCs say, as it is read and set aside; BMCs that answer over the network are in tests/integration."""

import json
import tempfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from forewarn.clock import SimulatedClock
from forewarn.collect.bmc.answer import Answer, Entry, Quantity, Reading, Supply
from forewarn.collect.bmc.collector import BmcCollector
from forewarn.collect.bmc.events import Past, compare
from forewarn.collect.bmc.ipmi import IpmiBmc, parse_log, parse_sensors
from forewarn.collect.bmc.poller import Poller
from forewarn.collect.bmc.samples import samples, set_aside
from forewarn.collect.bmc.settings import BmcSettings, BmcTarget, Protocol
from forewarn.domain.events import ChangeEvent, FailureEvent
from forewarn.domain.inventory import Kind
from forewarn.errors import SourceAbsent
from tests.frozen import find

NOW = datetime(2026, 1, 5, 10, tzinfo=UTC)
SENSORS = """\
Fan1A            | 30h | ok  |  7.1 | 7800 RPM
Fan1B            | 31h | ns  |  7.1 | No Reading
Exhaust Temp     | 01h | cr  |  7.1 | 72 degrees C
Current 1        | 6Ah | ok  | 10.1 | 0.40 Amps
Power Supply 2 V | 6Dh | nc  | 10.2 | 218 Volts
Status           | 85h | ok  | 10.1 | Presence detected
PS2 Status       | 86h | ok  | 10.2 | Presence detected, Failure detected, Power Supply AC lost
PS Redundancy    | 77h | ok  |  7.1 | Redundancy Lost
Intrusion        | 73h | ok  |  7.1 | Enabled
SEL              | 72h | ns  |  7.1 | Event-Only
garbage
"""


def test_sensors_are_read_as_ipmitool_prints_them_on_a_real_board() -> None:
    answer = parse_sensors(SENSORS)
    assert [(r.number, r.name, r.value, r.supply) for r in answer.readings] == [
        ("30h", "Fan1A", 7800, ""),
        ("01h", "Exhaust Temp", 72, ""),
        ("6Ah", "Current 1", 0.4, ""),
        ("6Dh", "Power Supply 2 V", 218, "PSU2"),
    ]
    assert answer.unread == 1
    assert answer.supplies == (
        Supply("PSU1", present=True, input_lost=False, failed=False, failure_predicted=False),
        Supply("PSU2", present=True, input_lost=True, failed=True, failure_predicted=False),
    )
    assert answer.redundant == {"PS Redundancy": False}
    found = list(samples(answer))
    assert find(found, "ipmi_temperature_state") == {"id=01h name=Exhaust Temp": 2}
    assert find(found, "ipmi_voltage_volts") == {}  # of a supply without mains
    assert find(found, "forewarn_bmc_readings_set_aside") == {"why=no reading": 1, "why=supply without input": 1}


def test_a_supply_whose_presence_is_not_detected_is_gone() -> None:
    [supply] = parse_sensors("PS3 Status       | 87h | ok  | 10.3 | Power Supply AC lost").supplies
    assert (supply.name, supply.present, supply.input_lost) == ("PSU3", False, True)


def test_a_reading_of_a_supply_stands_behind_the_supplys_name() -> None:
    found = list(samples(Answer((Reading("1", "Power Supply 2 V", Quantity.VOLTAGE, 12.0, None, "PSU2"),))))
    assert find(found, "ipmi_voltage_volts") == {"id=1 name=PSU2 Power Supply 2 V": 12}


@pytest.mark.parametrize(
    ("quantity", "value", "why"),
    [
        (Quantity.TEMPERATURE, 0.0, "zero"),
        (Quantity.TEMPERATURE, 255.0, "all ones"),
        (Quantity.VOLTAGE, 0.0, "zero"),
        (Quantity.VOLTAGE, 255.0, ""),
        (Quantity.FAN, 0.0, ""),  # a fan that stands still is news
        (Quantity.FAN, 65535.0, "all ones"),
        (Quantity.POWER, 0.0, ""),
        (Quantity.CURRENT, None, "no reading"),
        (Quantity.TEMPERATURE, -3.0, ""),
    ],
)
def test_placeholders_are_told_from_readings(quantity: Quantity, value: float | None, why: str) -> None:
    assert set_aside(Reading("1", "x", quantity, value), Answer()) == why


LOG = """\
1,01/05/2026,09:59:58 UTC,Power Supply PS2 Status,Failure detected,Asserted
2, Pre-Init ,0000016546,Temperature CPU1 Temp,Upper Critical going high,Asserted,Reading 96 > Threshold 95 degrees C
a, Pre-Init ,0000016547,Power Supply PS2 Status,Failure detected,Deasserted
SEL has no entries
"""


def test_the_log_is_read_with_its_times_where_the_bmc_knew_them() -> None:
    first, second, third = parse_log(LOG)
    assert (first.time, first.sensor, first.event, first.asserted) == (
        datetime(2026, 1, 5, 9, 59, 58, tzinfo=UTC), "Power Supply PS2 Status", "Failure detected", True,
    )  # fmt: skip
    assert second.time is None
    assert not third.asserted


def test_a_log_that_is_not_told_although_it_has_entries_is_asked_for_again(tmp_path: Path) -> None:
    program = tmp_path / "ipmitool"
    about = "Entries : 1\\nFree Space : 100 bytes\\nLast Add Time : 01/05/2026 09:59:58\\n"
    program.write_text(
        f"""#!/bin/sh
case "$*" in
*"sdr elist"*) printf "%s" "{SENSORS}" ;;
*"sel info"*) printf "{about}" ;;
*elist*) [ -e {tmp_path}/asked ] && printf "%s" "{LOG}"; touch {tmp_path}/asked ;;
esac
exit 0
"""
    )
    program.chmod(0o755)
    bmc = IpmiBmc(None, BmcSettings(local=True, command=str(program)))
    assert bmc.ask().log is None
    assert len(bmc.ask().log or ()) == 3
    assert bmc.ask().log is None  # nothing was added since


def test_a_bmc_that_could_not_be_asked_for_want_of_a_folder_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, password, program = SimulatedClock(NOW), tmp_path / "password", tmp_path / "ipmitool"
    password.write_text("secret")
    program.write_text(f'#!/bin/sh\ncase "$*" in *sdr*) printf "%s" "{SENSORS}" ;; esac\nexit 0\n')
    program.chmod(0o755)
    target = BmcTarget("bmc03", username="ann", password_file=password)
    poller = Poller(BmcSettings(targets=(target,), command=str(program), interval_s=10.0), tmp_path / "state", clock)

    def up() -> object:
        return find([each for told in poller.look(5.0).values() for each in told], "forewarn_telemetry_bmc_up")

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))  # where the password's copy would lie
    assert up() == {"bmc=bmc03": 0}
    monkeypatch.undo()
    clock.sleep(11.0)
    assert up() == {"bmc=bmc03": 1}
    poller.close()


def entry(key: str, sensor: str, event: str, time: datetime | None = NOW) -> Entry:
    return Entry(key, time, sensor, event, asserted=True)


@pytest.mark.parametrize(
    ("sensor", "event", "kind", "component"),
    [
        ("Power Supply PS2 Status", "Failure detected", Kind.POWER, "power:/PSU2"),
        ("Power Supply #0x86", "Failure detected", Kind.POWER, ""),
        ("Power Supply PS2 Status", "Predictive failure", None, ""),
        ("Power Supply PS2 Status", "Power Supply AC lost", None, ""),
        ("Memory DIMM A1", "Uncorrectable ECC", Kind.MEMORY, ""),
        ("Memory DIMM A1", "Correctable ECC", None, ""),
        ("Processor CPU1", "IERR", Kind.CPU, ""),
        ("Processor CPU1", "Thermal Trip", Kind.CPU, ""),
        ("Drive Slot / Bay HDD3", "Drive Fault", Kind.DISK, ""),
        ("Critical Interrupt", "Bus Fatal Error", Kind.HOST, ""),
        ("Temperature CPU1 Temp", "Upper Critical going high", None, ""),
    ],
)
def test_entries_of_the_log_that_tell_of_failures_become_events(
    sensor: str, event: str, kind: Kind | None, component: str
) -> None:
    past, _ = compare(Past(), Answer(log=()), NOW)
    _, told = compare(past, Answer(log=(entry("1", sensor, event),)), NOW + timedelta(minutes=1))
    found = [(each.kind, each.component, each.time) for each in told if isinstance(each, FailureEvent)]
    assert found == ([(kind, component, NOW)] if kind else [])


def test_a_supply_that_calls_its_lost_input_a_failure_has_not_failed_until_its_input_is_back() -> None:
    past, _ = compare(Past(), Answer(supplies=(Supply("PSU2", input_lost=False, failed=False),), log=()), NOW)
    pulled = Answer(supplies=(Supply("PSU2", input_lost=True, failed=True),))
    past, told = compare(past, pulled, NOW)
    assert [type(each) for each in told] == [ChangeEvent]
    log = (entry("1", "Power Supply PS2 Status", "Failure detected"),)
    _, told = compare(past, replace(pulled, log=log), NOW)
    assert told == []
    _, told = compare(past, Answer(supplies=(Supply("PSU2", input_lost=False, failed=True),)), NOW)
    assert [each.text for each in told if isinstance(each, FailureEvent)] == ["PSU2 reports a failure"]
    other = replace(pulled, log=(entry("2", "Power Supply PS1 Status", "Failure detected"),))
    assert [each.component for each in compare(past, other, NOW)[1]] == ["power:/PSU1"]


def test_of_a_log_that_wrapped_only_what_is_new_is_told() -> None:
    old = tuple(entry(str(n), "Processor CPU1", "IERR") for n in range(3))
    past, told = compare(Past(), Answer(log=old), NOW)
    assert told == []
    _, told = compare(past, Answer(log=(*old[1:], entry("3", "Processor CPU1", "IERR"))), NOW)
    assert len(told) == 1
    ancient = entry("9", "Processor CPU1", "IERR", NOW - timedelta(days=400))
    _, told = compare(past, Answer(log=(ancient,)), NOW)
    assert told == []  # a log that was restored tells of old times


def test_a_bmc_that_forgot_the_time_and_its_log_has_started_anew() -> None:
    past, _ = compare(Past(), Answer(log=(entry("1", "x", "y"),)), NOW)
    past, _ = compare(past, Answer(log=(entry("1", "x", "y", None),)), NOW)
    assert past.resets == 0  # the same entry, though by another clock
    past, _ = compare(past, Answer(log=(entry("2", "x", "y", None),)), NOW)
    assert past.resets == 1


def test_what_was_remembered_comes_back_and_what_got_damaged_is_as_if_never_seen() -> None:
    past, _ = compare(Past(), Answer(supplies=(Supply("PSU1", failed=False, serial="A"),), log=(), firmware="1"), NOW)
    assert Past.from_row(json.loads(past.to_json())) == past
    damages: tuple[object, ...] = (None, [], {}, {"supplies": []}, json.loads(past.to_json()) | {"looked_at": "never"})
    assert [Past.from_row(damage) for damage in damages] == [Past()] * len(damages)


def test_no_bmc_is_asked_unless_that_is_said(tmp_path: Path) -> None:
    collector = BmcCollector(BmcSettings(), tmp_path, SimulatedClock(NOW))
    assert find(collector.collect(), "forewarn_source_up") == {"collector=bmc source=bmc": 0}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"address": "bmc03", "protocol": Protocol.REDFISH}, "takes an address such as https"),
        ({"address": "https://bmc03"}, "takes HOST or HOST:PORT"),
        ({"address": "bmc03", "username": "ann"}, "no password_file or password_variable"),
        ({"address": "bmc03", "password_variable": "not a name"}, "no variable's name"),
    ],
)
def test_a_target_that_cannot_be_asked_is_refused(fields: dict[str, str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        BmcTarget(**fields)  # type: ignore[arg-type]  # fields by name


def test_a_password_file_that_is_absent_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceAbsent, match="absent cannot be read"):
        BmcTarget("bmc03", username="ann", password_file=tmp_path / "absent").password()
    assert BmcTarget("bmc03").password() == ""


def test_without_ipmitool_a_bmc_is_silent_and_says_why(tmp_path: Path) -> None:
    settings = BmcSettings(local=True, command=str(tmp_path / "no-ipmitool"))
    found = list(BmcCollector(settings, tmp_path, SimulatedClock(NOW)).collect())
    assert find(found, "forewarn_telemetry_bmc_up") == {"bmc=local": 0}
    assert "is not on PATH: install ipmitool" in str(find(found, "forewarn_telemetry_bmc_problem"))


def test_a_bmc_in_band_is_asked_through_the_kernel_and_one_that_hangs_is_given_up(tmp_path: Path) -> None:
    program = tmp_path / "ipmitool"
    program.write_text(f'#!/bin/sh\necho "$*" >>{tmp_path}/asked\n[ "$3" = sdr ] && printf "%s" "{SENSORS}"\nexit 0\n')
    program.chmod(0o755)
    settings = BmcSettings(local=True, command=str(program), timeout_s=0.3)
    found = list(BmcCollector(settings, tmp_path / "state", SimulatedClock(NOW)).collect())
    assert find(found, "forewarn_psu_present") == {"name=PSU1": 1, "name=PSU2": 1}
    assert (tmp_path / "asked").read_text().splitlines()[0] == "-I open sdr elist all"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    found = list(BmcCollector(settings, tmp_path / "other", SimulatedClock(NOW)).collect())
    assert find(found, "forewarn_telemetry_bmc_up") == {"bmc=local": 0}
