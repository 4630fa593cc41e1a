"""What is odd about a host's telemetry becomes a feature of the part: from the agent's rounds to the store's frame."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from forewarn.clock import SimulatedClock
from forewarn.collect.agent import Agent, AgentSettings
from forewarn.collect.base import Collected, Collector, Round
from forewarn.domain.inventory import Kind
from forewarn.domain.telemetry import Sample
from forewarn.features import frame
from forewarn.features.catalog import CATALOG
from forewarn.store.duckdb import DuckDBSettings, DuckDBStore
from forewarn.store.mapping import Mapper

START = datetime(2026, 1, 5, 8, tzinfo=UTC)
DAY_S = 86_400.0
DRIVE = {"device": "sda", "serial_number": "Z1", "model_name": "M"}
DIMM = {"controller": "0", "csrow": "0", "channel": "0", "dimm_label": "DIMM_A1"}
ODDITIES = {Kind.CPU: "cpu", Kind.MEMORY: "dimm", Kind.DISK: "disk", Kind.NETWORK: "nic", Kind.POWER: "psu"}


class Source(Collector):
    """A source that shows what the test says."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.shown: tuple[Sample, ...] = ()

    def collect(self) -> Iterable[Collected]:
        return self.shown


class Host:
    """An agent over sources that a test plays, and a store that takes what it collects."""

    def __init__(self, folder: Path) -> None:
        self.clock = SimulatedClock(START)
        self.sources = {name: Source(name) for name in ("cpu", "smart", "memory", "network", "power", "bmc")}
        self._agent = Agent(list(self.sources.values()), _nowhere, self.clock, AgentSettings())
        self._mapper = Mapper()
        self.store = DuckDBStore(folder / "telemetry.duckdb", DuckDBSettings())

    def round(self, after_s: float = 15.0, /, **shown: tuple[Sample, ...]) -> None:
        """A round in which these sources show this, and the others what they showed before."""
        self.clock.sleep(after_s)
        for name, samples in shown.items():
            self.sources[name].shown = samples
        now = self.clock.now()
        self.store.append(self._mapper.map("host01", self._agent.round().samples, now))

    def feature(self, kind: Kind, component: str, name: str) -> float | None:
        stored = self.store.features(CATALOG, kind, [self.clock.now()])
        built = frame.build(stored, CATALOG, kind)
        rows = dict(zip(built["component"].to_pylist(), built[name].to_pylist(), strict=True))
        value: float | None = rows[component]
        return value


def _nowhere(_: Round) -> None:
    """The test takes each round itself."""


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    found = Host(tmp_path)
    yield found
    found.store.close()


def drive(celsius: float, reads: float) -> tuple[Sample, ...]:
    return (
        Sample("smartctl_device", DRIVE, 1.0),
        Sample("smartctl_device_temperature", {"device": "sda", "temperature_type": "current"}, celsius),
        Sample("smartctl_device_power_on_seconds", {"device": "sda"}, reads),
    )


def packets(received: float) -> tuple[Sample, ...]:
    return (Sample("node_network_receive_errs_total", {"device": "eth0"}, received),)


def errors(corrected: float) -> tuple[Sample, ...]:
    return (Sample("node_edac_channel_correctable_errors_total", DIMM, corrected),)


def bmc(up: float, *, silent_s: float = 0.0, stuck: float = 0.0, resets: float = 0.0) -> tuple[Sample, ...]:
    labels = {"bmc": "local"}
    return (
        Sample("forewarn_telemetry_bmc_up", labels, up),
        Sample("forewarn_telemetry_bmc_silent_seconds", labels, silent_s),
        Sample("forewarn_telemetry_bmc_stuck", labels, stuck),
        Sample("forewarn_telemetry_bmc_resets_total", labels, resets),
    )


SUPPLY = (Sample("forewarn_psu_present", {"name": "PSU1"}, 1.0),)


@pytest.mark.parametrize(("kind", "key"), ODDITIES.items())
def test_every_kind_has_a_feature_of_each_oddity(kind: Kind, key: str) -> None:
    wanted = {f"{key}_vanished_last", f"{key}_stuck_last", f"{key}_backwards_increase_1h"}
    assert wanted <= set(CATALOG.names(kind))


def test_a_part_that_vanishes_is_a_feature_of_the_part_under_its_serial_number(host: Host) -> None:
    host.round(smart=drive(30, 7), network=packets(1), memory=errors(0), bmc=(*bmc(1), *SUPPLY))
    host.round(smart=(), network=(), memory=(), bmc=bmc(1))
    host.round(60.0)
    for kind, part, key in (
        (Kind.DISK, "disk:Z1", "disk"),
        (Kind.NETWORK, "network:host01/eth0", "nic"),
        (Kind.MEMORY, "memory:host01/DIMM_A1", "dimm"),
        (Kind.POWER, "power:host01/PSU1", "psu"),
    ):
        assert host.feature(kind, part, f"{key}_vanished_last") == 75.0
    host.round(smart=drive(30, 8))
    host.round(301.0)
    assert host.feature(Kind.DISK, "disk:Z1", "disk_vanished_last") is None  # it is back


def test_a_counter_that_runs_backwards_is_a_feature_of_the_part(host: Host) -> None:
    busy = Sample("node_cpu_core_throttles_total", {"core": "0", "package": "0", "cpu": "0"}, 9.0)
    host.round(network=packets(9), memory=errors(9), cpu=(busy,))
    host.round(network=packets(9), memory=errors(9), cpu=(Sample(busy.name, busy.labels, 1.0),))
    host.round(network=packets(3), memory=errors(3))
    host.round(network=packets(1), memory=errors(1))
    assert host.feature(Kind.NETWORK, "network:host01/eth0", "nic_backwards_increase_1h") == 1.0
    assert host.feature(Kind.MEMORY, "memory:host01/DIMM_A1", "dimm_backwards_increase_1h") == 1.0


def test_a_sensor_that_sticks_is_a_feature_of_the_part(host: Host) -> None:
    heat = Sample("node_hwmon_temp_celsius", {"chip": "platform_coretemp_0", "sensor": "temp1"}, 41.0)
    board = Sample("node_hwmon_temp_celsius", {"chip": "platform_nct6775_656", "sensor": "temp1"}, 30.0)
    warm = Sample("ipmi_temperature_celsius", {"id": "4", "name": "PSU1 Temp"}, 35.0)
    host.round(smart=drive(30, 7), power=(heat, board), bmc=(*bmc(1), *SUPPLY, warm))
    host.round(DAY_S)
    assert host.feature(Kind.DISK, "disk:Z1", "disk_stuck_last") == 1.0
    assert host.feature(Kind.CPU, "cpu:host01/cpu", "cpu_stuck_last") == 1.0
    assert host.feature(Kind.POWER, "power:host01/PSU1", "psu_stuck_last") == 1.0
    moved = Sample(heat.name, heat.labels, 42.0)
    host.round(power=(moved, board))
    host.round(301.0)
    assert host.feature(Kind.CPU, "cpu:host01/cpu", "cpu_stuck_last") is None  # the board's sensor is no CPU's


def test_a_bmc_that_falls_silent_sticks_or_starts_anew_is_a_feature_of_its_host_s_supplies(host: Host) -> None:
    def features() -> list[float | None]:
        names = ("bmc_up_last", "bmc_silent_last", "bmc_stuck_last", "bmc_resets_increase_1d")
        return [host.feature(Kind.POWER, "power:host01/PSU1", name) for name in names]

    host.round(bmc=(*bmc(1), *SUPPLY))
    assert features() == [1.0, 0.0, 0.0, None]
    host.round(bmc=(*bmc(1, stuck=1, resets=1), *SUPPLY))
    host.round(bmc=bmc(0, silent_s=240, stuck=1, resets=1))
    assert features()[:3] == [0.0, 240.0, 1.0]
    host.round(3600.0, bmc=(*bmc(1, resets=1), *SUPPLY))
    assert features() == [1.0, 0.0, 0.0, 1.0]  # windows of a day end at the last full hour
