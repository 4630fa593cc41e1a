"""BMCs that answer over the network: what they measure, what becomes an event, and what they do not know."""

import logging
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from forewarn.assemble.bmc import BmcWatch, check
from forewarn.assemble.site import Site, SiteSettings
from forewarn.clock import RealClock, SimulatedClock
from forewarn.collect.base import Collected
from forewarn.collect.bmc.collector import BmcCollector
from forewarn.collect.bmc.poller import FILE, Poller
from forewarn.collect.bmc.settings import BmcSettings, BmcTarget, Login, Protocol
from forewarn.domain.events import ChangeEvent, ChangeKind, FailureEvent
from forewarn.domain.inventory import Kind
from forewarn.errors import ConfigurationError
from forewarn.features.catalog import CATALOG
from tests import bmcs
from tests.bmcs import FAILED, INPUT_LOST, PREDICTED, PRESENT, IpmiSim, RedfishTree
from tests.frozen import find
from tests.support import eventually

NOW = datetime(2026, 1, 5, 10, tzinfo=UTC)
WAIT_S = 20.0
SUPPLY = f"{bmcs.CHASSIS}/PowerSubsystem/PowerSupplies/Bay1"


class Watch:
    """One BMC as it is watched, on a clock of its own."""

    def __init__(self, target: BmcTarget, folder: Path, **settings: float) -> None:
        self.folder, self.clock = folder, SimulatedClock(NOW)
        self._settings = BmcSettings(targets=(target,), **settings)  # type: ignore[arg-type]  # names of numbers
        self.poller = Poller(self._settings, folder, self.clock)

    def look(self) -> list[Collected]:
        """What is known once the BMC has been asked again."""
        self.clock.sleep(60.0)
        [(_, found)] = self.poller.look(WAIT_S).items()
        return list(found)

    def events(self) -> list[ChangeEvent | FailureEvent]:
        return [found for found in self.look() if isinstance(found, ChangeEvent | FailureEvent)]

    def started_anew(self) -> None:
        self.poller.close()
        self.poller = Poller(self._settings, self.folder, self.clock)


@pytest.fixture
def sim(tmp_path: Path) -> Iterator[IpmiSim]:
    with bmcs.ipmi_sim(tmp_path / "bmc") as bmc:
        yield bmc


@pytest.fixture
def watch(sim: IpmiSim, tmp_path: Path) -> Iterator[Watch]:
    (tmp_path / "password").write_text(f"{bmcs.PASSWORD}\n")
    target = BmcTarget(sim.address, username=bmcs.USER, password_file=tmp_path / "password")
    watching = Watch(target, tmp_path / "state")
    yield watching
    watching.poller.close()


def shows(sim: IpmiSim, *said: str) -> None:
    """Waits until the BMC itself shows all of this."""
    eventually(lambda: all(words in sim.ask("sdr", "elist", "all") for words in said), 10.0, 0.2)


def logs(sim: IpmiSim, said: str) -> None:
    eventually(lambda: said in sim.ask("sel", "elist"), 10.0, 0.2)


def test_a_bmc_tells_its_sensors_under_the_names_of_ipmi_exporter(watch: Watch) -> None:
    found = watch.look()
    assert find(found, "ipmi_voltage_volts") == pytest.approx(
        {
            "id=03h name=PSU1 Vin": 230,
            "id=04h name=PSU1 Vout": 12.0,
            "id=05h name=PSU2 Vin": 230,
            "id=06h name=PSU2 Vout": 12.06,
        }
    )
    assert find(found, "ipmi_temperature_celsius") == {"id=01h name=CPU1 Temp": 45, "id=02h name=Inlet Temp": 24}
    assert find(found, "ipmi_current_amperes") == {"id=07h name=PSU1 Iout": 18}
    assert find(found, "ipmi_power_watts") == {"id=08h name=PSU1 Pin": 240}
    assert find(found, "ipmi_fan_speed_rpm") == {"id=09h name=FAN1": 6200}
    assert set(find(found, "ipmi_voltage_state").values()) == {0.0}
    assert find(found, "forewarn_psu_present") == {"name=PSU1": 1, "name=PSU2": 1}
    assert (
        find(found, "forewarn_psu_input_lost") == find(found, "forewarn_psu_failed") == {"name=PSU1": 0, "name=PSU2": 0}
    )
    assert find(found, "forewarn_power_redundant") == {"name=PS Redundancy": 1}
    assert find(found, "ipmi_bmc_info") == {"firmware_revision=9.08 manufacturer_id=4753": 1}
    assert find(found, "ipmi_chassis_power_state") == {"": 0}
    assert find(found, "ipmi_sel_logs_count")[""] >= 2
    assert list(find(found, "forewarn_telemetry_bmc_up").values()) == [1.0]


def test_a_failing_supply_is_told_once_and_one_without_mains_is_no_failure(sim: IpmiSim, watch: Watch) -> None:
    assert watch.events() == []
    sim.set("PSU1 Status", PRESENT | INPUT_LOST)
    sim.set("PSU1 Vin", 0)
    sim.set("PSU1 Vout", 0)
    sim.set("PSU2 Status", PRESENT | FAILED)
    sim.set("PSU2 Vout", 187)
    sim.set("PS Redundancy", 2)
    logs(sim, "PSU2 Status | Failure detected")
    shows(sim, "AC lost", "11.22 Volts")
    found = watch.look()
    assert find(found, "forewarn_psu_input_lost") == {"name=PSU1": 1, "name=PSU2": 0}
    assert find(found, "forewarn_psu_failed") == {"name=PSU1": 0, "name=PSU2": 1}
    states = find(found, "ipmi_sensor_state")
    assert states == {
        "id=PSU1 name=PSU1 Status type=Power Supply": 0,
        "id=PSU2 name=PSU2 Status type=Power Supply": 2,
    }
    assert find(found, "ipmi_voltage_volts") == pytest.approx(
        {"id=05h name=PSU2 Vin": 230, "id=06h name=PSU2 Vout": 11.22}
    )
    assert find(found, "ipmi_voltage_state")["id=06h name=PSU2 Vout"] == 2
    assert find(found, "forewarn_bmc_readings_set_aside")[f"bmc={sim.address} why=supply without input"] == 4
    assert find(found, "forewarn_power_redundant") == {"name=PS Redundancy": 0}
    failures = [event for event in found if isinstance(event, FailureEvent)]
    assert [(event.kind, event.component, event.source) for event in failures] == [(Kind.POWER, "power:/PSU2", "SEL")]
    changes = [event for event in found if isinstance(event, ChangeEvent)]
    assert [(change.kind, change.component, change.after) for change in changes] == [
        (ChangeKind.POWER_INPUT, "power:/PSU1", "lost")
    ]
    watch.started_anew()
    assert watch.events() == []
    sim.set("PSU1 Status", PRESENT)
    eventually(lambda: "AC lost" not in sim.ask("sdr", "elist", "all"), 10.0, 0.2)
    [back] = watch.events()
    assert isinstance(back, ChangeEvent)
    assert (back.before, back.after) == ("lost", "present")


def test_old_entries_are_no_news_and_those_after_a_cleared_log_are(sim: IpmiSim, watch: Watch) -> None:
    sim.set("PSU2 Status", PRESENT | FAILED)
    logs(sim, "Failure detected")
    assert watch.events() == []
    sim.ask("sel", "clear")
    sim.set("PSU1 Status", PRESENT | FAILED)
    eventually(lambda: "Failure detected" in sim.ask("sel", "list"), 10.0, 0.2)
    [failure] = watch.events()
    assert isinstance(failure, FailureEvent)
    assert failure.time == watch.clock.now()  # the simulated BMC was never told the time
    assert watch.events() == []


def test_placeholders_are_no_readings_and_a_predicted_failure_is_a_warning(sim: IpmiSim, watch: Watch) -> None:
    sim.set("CPU1 Temp", 255)
    sim.set("Inlet Temp", 0)
    sim.set("PSU1 Status", PRESENT | PREDICTED)
    sim.set("PSU2 Status", 0)
    shows(sim, "255 degrees C", "0 degrees C", "Predictive failure")
    found = watch.look()
    assert find(found, "ipmi_temperature_celsius") == {}
    aside = find(found, "forewarn_bmc_readings_set_aside")
    assert aside == {
        f"bmc={sim.address} why=all ones": 1,
        f"bmc={sim.address} why=zero": 1,
        f"bmc={sim.address} why=supply without input": 2,
    }
    assert find(found, "forewarn_psu_failure_predicted")["name=PSU1"] == 1
    assert find(found, "forewarn_psu_present") == {"name=PSU1": 1, "name=PSU2": 0}
    assert find(found, "ipmi_sensor_state")["id=PSU1 name=PSU1 Status type=Power Supply"] == 1


def test_a_bmc_that_stops_answering_becomes_a_metric_and_its_readings_vanish(sim: IpmiSim, watch: Watch) -> None:
    up = f"bmc={sim.address}"
    assert find(watch.look(), "forewarn_telemetry_bmc_up") == {up: 1}
    sim.stop()
    found = watch.look()
    assert find(found, "forewarn_telemetry_bmc_up") == {up: 1}  # the last answer still stands
    assert find(found, "forewarn_telemetry_bmc_silent_seconds") == {up: 60}
    assert "ipmitool gets no answer" in next(iter(find(found, "forewarn_telemetry_bmc_problem")))
    watch.clock.sleep(180.0)
    found = watch.look()
    assert find(found, "forewarn_telemetry_bmc_up") == {up: 0}
    assert find(found, "ipmi_voltage_volts") == find(found, "forewarn_psu_present") == {}
    sim.start()
    assert find(watch.look(), "forewarn_telemetry_bmc_up") == {up: 1}


def test_readings_that_do_not_move_for_an_hour_are_stuck(sim: IpmiSim, watch: Watch) -> None:
    watch.look()
    watch.clock.sleep(3600.0)
    assert list(find(watch.look(), "forewarn_telemetry_bmc_stuck").values()) == [1.0]
    sim.set("CPU1 Temp", 46)
    shows(sim, "46 degrees C")
    assert list(find(watch.look(), "forewarn_telemetry_bmc_stuck").values()) == [0.0]


def test_a_wrong_password_is_a_problem_that_does_not_tell_it(
    sim: IpmiSim, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("BMC_WORD", "not-the-password")
    target = BmcTarget(sim.address, username=bmcs.USER, password_variable="BMC_WORD")  # noqa: S106 - the variable's name
    watch = Watch(target, tmp_path / "state")
    told = str(watch.look())
    assert "ipmitool gets no answer" in told
    monkeypatch.delenv("BMC_WORD")
    assert "the environment has no BMC_WORD" in str(watch.look())
    monkeypatch.setenv("BMC_WORD", bmcs.PASSWORD)
    found = watch.look()
    assert list(find(found, "forewarn_telemetry_bmc_up").values()) == [1.0]
    for secret in ("not-the-password", bmcs.PASSWORD):
        assert secret not in told + str(found) + caplog.text + (tmp_path / "state" / FILE).read_text()
    watch.poller.close()


# --- Redfish ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[RedfishTree]:
    with bmcs.redfish_service(tmp_path) as service:
        yield service


def redfish(tree: RedfishTree, tmp_path: Path, **settings: float) -> Watch:
    return Watch(BmcTarget(tree.address, protocol=Protocol.REDFISH), tmp_path / "state", **settings)


def values(found: list[Collected], name: str) -> dict[str, float]:
    """The values by the sensor's name."""
    return {key.partition("name=")[2]: value for key, value in find(found, name).items()}


def test_supplies_and_sensors_are_read_from_the_newer_documents_once_each(tree: RedfishTree, tmp_path: Path) -> None:
    found = redfish(tree, tmp_path).look()
    assert values(found, "ipmi_voltage_volts") == {
        "PSU1 Input Voltage": 230,
        "PSU1 Output Voltage": 12.1,
        "PSU2 Input Voltage": 230,
        "PSU2 Output Voltage": 12.1,
    }
    assert values(found, "ipmi_temperature_celsius") == {
        "Inlet Temp": 24, "PSU1 Temperature": 35, "PSU2 Temperature": 35,
    }  # fmt: skip
    assert values(found, "ipmi_fan_speed_rpm") == {"FAN1": 6200, "PSU1 Fan Speed": 4000, "PSU2 Fan Speed": 4000}
    assert find(found, "forewarn_psu_info") == {
        f"firmware=1.0 model=PWR-800 name=PSU{number} serial=CN000{number}": 1 for number in (1, 2)
    }
    assert find(found, "forewarn_power_redundant") == {"name=Supplies": 1}
    assert find(found, "ipmi_chassis_power_state") == {"": 1}
    assert find(found, "forewarn_telemetry_bmc_problem") == {}


def test_a_supply_that_fails_is_swapped_or_loses_its_mains_is_told_for_what_it_is(
    tree: RedfishTree, tmp_path: Path
) -> None:
    watch = redfish(tree, tmp_path)
    assert watch.events() == []
    tree.set(SUPPLY, "LineInputStatus", "LossOfInput")
    tree.set(SUPPLY, "Status.Health", "Critical")  # as boards say of a supply whose cable was pulled
    found = watch.look()
    assert find(found, "forewarn_psu_input_lost") == {"name=PSU1": 1, "name=PSU2": 0}
    assert find(found, "forewarn_psu_failed")["name=PSU1"] == 0
    assert [event.kind for event in found if isinstance(event, ChangeEvent)] == [ChangeKind.POWER_INPUT]
    assert [event for event in found if isinstance(event, FailureEvent)] == []
    tree.set(SUPPLY, "LineInputStatus", "Normal")
    kinds = [type(event) for event in watch.events()]
    assert kinds == [FailureEvent, ChangeEvent]  # with its mains back, the health is its own
    tree.set(SUPPLY, "Status.Health", "OK")
    tree.set(SUPPLY, "SerialNumber", "CN0009")
    tree.set("Managers/bmc", "FirmwareVersion", "2.11.0")
    tree.set("Managers/bmc", "LastResetTime", "2026-01-05T09:00:00Z")
    found = watch.look()
    changes = [event for event in found if isinstance(event, ChangeEvent)]
    assert [(change.kind, change.component, change.before, change.after) for change in changes] == [
        (ChangeKind.PART, "power:/PSU1", "CN0001", "CN0009"),
        (ChangeKind.FIRMWARE, "bmc", "2.10.0", "2.11.0"),
    ]
    assert list(find(found, "forewarn_telemetry_bmc_resets_total").values()) == [1.0]


def test_the_older_documents_are_read_where_there_are_no_newer(tmp_path: Path) -> None:
    with bmcs.redfish_service(tmp_path, older=True) as tree:
        watch = redfish(tree, tmp_path)
        found = watch.look()
        assert values(found, "ipmi_voltage_volts") == {
            "PSU1 Input Voltage": 230, "PSU1 Output 12V": 12, "PSU2 Input Voltage": 230,
        }  # fmt: skip
        assert values(found, "ipmi_fan_speed_rpm") == {"FAN1": 6200}
        assert find(found, "forewarn_psu_failure_predicted") == {"name=PSU1": 0, "name=PSU2": 0}
        tree.set(f"{bmcs.CHASSIS}/Power", "PowerSupplies.0.FailurePredicted", True)
        tree.set(f"{bmcs.CHASSIS}/Power", "PowerSupplies.1.LineInputVoltage", 0)
        found = watch.look()
        assert find(found, "forewarn_psu_failure_predicted")["name=PSU1"] == 1
        assert find(found, "forewarn_psu_input_lost") == {"name=PSU1": 0, "name=PSU2": 1}
        assert "PSU2 Input Power" not in values(found, "ipmi_power_watts")


def test_a_damaged_document_hides_no_other_and_reading_ends_at_a_limit(tree: RedfishTree, tmp_path: Path) -> None:
    (tree.folder / SUPPLY / "index.json").write_text("{ no json")
    tree.write(f"{bmcs.CHASSIS}/Sensors/Inlet", ReadingType="Temperature", Reading="warm", Name="Inlet Temp")
    watch = redfish(tree, tmp_path)
    found = watch.look()
    assert find(found, "forewarn_psu_present") == {"name=PSU2": 1}
    assert values(found, "ipmi_fan_speed_rpm")["FAN1"] == 6200
    assert "Inlet Temp" not in values(found, "ipmi_temperature_celsius")
    assert len(find(found, "forewarn_telemetry_bmc_problem")) == 1
    few = redfish(tree, tmp_path, documents_max=6)
    assert "too many documents" in str(find(few.look(), "forewarn_telemetry_bmc_problem"))


def test_a_service_that_is_none_or_gone_is_a_problem(tree: RedfishTree, tmp_path: Path) -> None:
    (tree.folder / "index.json").write_text("[]")
    assert "bmc_up" in str(redfish(tree, tmp_path).look())
    gone = Watch(BmcTarget("http://127.0.0.1:9", protocol=Protocol.REDFISH), tmp_path / "state")
    found = gone.look()
    assert list(find(found, "forewarn_telemetry_bmc_up").values()) == [0.0]
    assert "no answer by Redfish" in str(find(found, "forewarn_telemetry_bmc_problem"))


def test_a_bmc_that_hangs_holds_up_no_other_and_no_round(tree: RedfishTree, tmp_path: Path) -> None:
    """The first connects and is never answered; the agent's round goes on without it."""
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        targets = (
            BmcTarget(f"http://127.0.0.1:{deaf.getsockname()[1]}", protocol=Protocol.REDFISH),
            BmcTarget(tree.address, protocol=Protocol.REDFISH),
        )
        collector = BmcCollector(BmcSettings(targets=targets, timeout_s=3.0), tmp_path / "state", SimulatedClock(NOW))
        found = list(collector.collect())
    assert sorted(find(found, "forewarn_telemetry_bmc_up").values()) == [0.0, 1.0]
    assert find(found, "forewarn_psu_present") == {"name=PSU1": 1, "name=PSU2": 1}


def guarded(service: bmcs.Guarded, tmp_path: Path, password: str = bmcs.PASSWORD, **told: object) -> Watch:
    (tmp_path / "password").write_text(f"{password}\n")
    fields = {"username": bmcs.USER, "password_file": tmp_path / "password", "ca_file": service.certificate, **told}
    target = BmcTarget(service.address, protocol=Protocol.REDFISH, **fields)  # type: ignore[arg-type]  # by name
    return Watch(target, tmp_path / "state")


def problem(watch: Watch) -> str:
    found = watch.look()
    assert list(find(found, "forewarn_telemetry_bmc_up").values()) == [0.0]
    [told] = find(found, "forewarn_telemetry_bmc_problem")
    return told.partition("why=")[2]


@pytest.mark.parametrize("login", list(Login))
def test_a_bmc_behind_https_and_a_login_is_read_and_no_session_is_left(
    login: Login, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with bmcs.guarded_redfish(tmp_path, str(login)) as service:
        found = guarded(service, tmp_path, login=login).look()
        assert find(found, "forewarn_psu_present") == {"name=PSU1": 1, "name=PSU2": 1}
        assert find(found, "forewarn_telemetry_bmc_problem") == {}
        assert service.sessions == set()
    assert bmcs.PASSWORD not in caplog.text
    assert bmcs.TOKEN not in caplog.text


@pytest.mark.parametrize("login", list(Login))
def test_a_wrong_password_is_told_in_one_sentence_without_it(login: Login, tmp_path: Path) -> None:
    with bmcs.guarded_redfish(tmp_path, "basic", "session") as service:
        told = problem(guarded(service, tmp_path, "Wr0ng-Word", login=login))
    assert told == "no answer by Redfish: it refuses the account: wrong username or password"


def test_a_bmc_that_takes_sessions_alone_refuses_the_other_login(tmp_path: Path) -> None:
    with bmcs.guarded_redfish(tmp_path, "session") as service:
        assert "refuses the account" in problem(guarded(service, tmp_path))


def test_a_certificate_that_nobody_vouches_for_is_refused_unless_that_is_said(tmp_path: Path) -> None:
    with bmcs.guarded_redfish(tmp_path, "basic") as service:
        told = problem(guarded(service, tmp_path, ca_file=None))
        assert told.startswith("no answer by Redfish: its certificate is not trusted (self-signed certificate")
        assert told.endswith("name who vouches for it in ca_file, or set insecure")
        elsewhere = BmcTarget(
            service.address.replace("127.0.0.1", "localhost"), protocol=Protocol.REDFISH, ca_file=service.certificate
        )
        assert "is not trusted (Hostname mismatch)" in problem(Watch(elsewhere, tmp_path / "state"))
        assert "ca_file" in problem(guarded(service, tmp_path, ca_file=tmp_path / "absent"))
        found = guarded(service, tmp_path, ca_file=None, insecure=True).look()
        assert list(find(found, "forewarn_telemetry_bmc_up").values()) == [1.0]


def test_https_where_there_is_none_and_a_service_that_is_gone_are_told_apart(tree: RedfishTree, tmp_path: Path) -> None:
    plain = BmcTarget(tree.address.replace("http:", "https:"), protocol=Protocol.REDFISH)
    assert "it speaks no TLS at this address" in problem(Watch(plain, tmp_path / "state"))
    gone = BmcTarget("http://127.0.0.1:9", protocol=Protocol.REDFISH)
    assert "the connection is refused or lost" in problem(Watch(gone, tmp_path / "state"))
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        silent = BmcTarget(f"http://127.0.0.1:{deaf.getsockname()[1]}", protocol=Protocol.REDFISH)
        assert "nothing within 1 s" in problem(Watch(silent, tmp_path / "state", timeout_s=1.0))


# --- A server that asks -----------------------------------------------------------------------------------------------


def test_a_server_asks_the_bmcs_of_its_hosts_and_keeps_what_they_say_as_theirs(
    tree: RedfishTree, tmp_path: Path
) -> None:
    clock = RealClock()
    site = Site(tmp_path / "site", clock, SiteSettings())
    target = BmcTarget(tree.address, "host03", Protocol.REDFISH)
    settings = BmcSettings(targets=(target,), interval_s=0.5, stale_s=2.0)
    watch = BmcWatch(settings, site, tmp_path / "bmc", clock)
    end = watch.start()
    try:
        eventually(lambda: "power:host03/PSU1" in site.store.devices()["component"].to_pylist(), 20.0)
        assert watch.metrics()[f'forewarn_telemetry_bmc_up{{bmc="{tree.address}"}}'] == 1.0
        tree.set(SUPPLY, "Status.Health", "Critical")

        def failures() -> tuple[FailureEvent, ...]:
            return site.memory.failures.between(NOW, clock.now() + timedelta(seconds=1))

        [failure] = eventually(failures, 20.0)
        assert (failure.host, failure.component, failure.source) == ("host03", "power:host03/PSU1", "BMC")

        def shown() -> bool:
            series = site.store.series("power:host03/PSU1", "psu_failed", NOW, clock.now() + timedelta(seconds=1))
            return bool(series.column("value").to_pylist()[-1] == 1.0)

        eventually(shown, 20.0)
        tree.stop()

        def silent() -> bool:
            stored = site.store.features(CATALOG, Kind.POWER, [clock.now()])
            rows = stored.select(["component", "bmc_up_last", "bmc_silent_last"]).to_pylist()
            [row] = [row for row in rows if row["component"] == "power:host03/PSU1"]
            return bool(row["bmc_up_last"] == 0.0 and row["bmc_silent_last"] > 2.0)

        eventually(silent, 30.0)
    finally:
        end()
        site.close()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (BmcSettings(local=True), "bmc.local is an agent's"),
        (BmcSettings(targets=(BmcTarget("bmc03"),)), "bmc03 names no host"),
    ],
)
def test_a_server_refuses_a_bmc_whose_host_it_does_not_know(settings: BmcSettings, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        check(settings)
