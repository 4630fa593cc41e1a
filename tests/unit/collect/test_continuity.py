"""A part that vanishes, a counter that falls, a sensor that sticks: told once for all sources, and only then."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given as having
from hypothesis import settings
from hypothesis import strategies as st

from forewarn.clock import SimulatedClock
from forewarn.collect.agent import Agent, AgentSettings
from forewarn.collect.base import Collected, Collector, Round
from forewarn.collect.continuity import Continuity, ContinuitySettings, Given, Remembered, compare, watch
from forewarn.domain.telemetry import Sample
from forewarn.errors import ConfigurationError, SourceAbsent
from tests.frozen import find

BEAT_S = 15.0
VANISHED, LOSSES = "forewarn_telemetry_vanished_seconds", "forewarn_telemetry_vanished_total"
FALLEN, STUCK = "forewarn_telemetry_backwards_total", "forewarn_telemetry_stuck"


class Scripted(Collector):
    """A source that shows what the test says, or raises it."""

    name = "disk"

    def __init__(self) -> None:
        self.shown: list[Sample] | Exception = []

    def collect(self) -> Iterable[Collected]:
        if isinstance(self.shown, Exception):
            raise self.shown
        return self.shown


class Host:
    """An agent over one scripted source."""

    def __init__(self, settings: ContinuitySettings | None = None) -> None:
        self.clock = SimulatedClock(datetime(2026, 1, 5, tzinfo=UTC))
        self.source = Scripted()
        settings = settings or ContinuitySettings()
        self._agent = Agent([self.source], _nowhere, self.clock, AgentSettings(continuity=settings))

    def round(self, *shown: Sample, after_s: float = BEAT_S) -> list[Sample]:
        self.clock.sleep(after_s)
        self.source.shown = list(shown)
        return self.again(0)

    def again(self, after_s: float = BEAT_S) -> list[Sample]:
        self.clock.sleep(after_s)
        return [sample for sample in self._agent.round().samples if "_telemetry_" in sample.name]


def _nowhere(_: Round) -> None:
    """Nobody is told: the test looks at each round itself."""


def reads(device: str, value: float) -> Sample:
    return Sample("node_disk_reads_completed_total", {"device": device}, value)


def heat(value: float, sensor: str = "temp1") -> Sample:
    return Sample("node_hwmon_temp_celsius", {"chip": "platform_coretemp_0", "sensor": sensor}, value)


def test_a_steady_host_has_nothing_odd_to_tell() -> None:
    host = Host()
    for number in range(5):
        assert host.round(reads("sda", 7.0 + number), heat(40.0 + number % 2)) == []


def test_a_device_that_vanishes_is_told_for_a_day_and_counted_for_good() -> None:
    host = Host()
    host.round(reads("sda", 7), reads("sdb", 7))
    gone = host.round(reads("sda", 8))
    assert find(gone, VANISHED) == {"collector=disk device=sdb": BEAT_S}
    assert find(gone, LOSSES) == {"collector=disk": 1}
    still = host.round(reads("sda", 9))
    assert find(still, VANISHED) == {"collector=disk device=sdb": 2 * BEAT_S}
    assert find(still, LOSSES) == {"collector=disk": 1}
    back = host.round(reads("sda", 9), reads("sdb", 9))
    assert (find(back, VANISHED), find(back, LOSSES)) == ({}, {"collector=disk": 1})
    host.round(reads("sda", 9))
    later = host.round(reads("sda", 9), after_s=86400.0)
    assert (find(later, VANISHED), find(later, LOSSES)) == ({}, {"collector=disk": 2})


def test_the_last_device_of_a_source_vanishes_with_the_source() -> None:
    host = Host()
    host.round(reads("sda", 7))
    host.source.shown = SourceAbsent("no drives")
    assert find(host.again(), VANISHED) == {"collector=disk device=sda": BEAT_S}


def test_of_a_source_that_fails_nothing_is_concluded() -> None:
    host = Host()
    host.round(reads("sda", 7))
    host.source.shown = OSError("input/output error")
    assert [host.again() for _ in range(2)] == [[], []]
    assert find(host.round(reads("sdb", 1)), VANISHED) == {"collector=disk device=sda": 3 * BEAT_S}


def test_a_counter_that_fell_while_its_source_failed_is_found() -> None:
    host = Host()
    host.round(reads("sda", 7))
    host.source.shown = OSError("input/output error")
    host.again()
    assert find(host.round(reads("sda", 1)), FALLEN) == {"collector=disk device=sda": 1}


def test_a_counter_that_runs_backwards_is_counted_for_its_part() -> None:
    host = Host()
    host.round(reads("sda", 7), reads("sdb", 7))
    assert find(host.round(reads("sda", 3), reads("sdb", 7)), FALLEN) == {"collector=disk device=sda": 1}
    assert find(host.round(reads("sda", 2), reads("sdb", 8)), FALLEN) == {"collector=disk device=sda": 2}


def supply(name: str) -> Sample:
    return Sample("forewarn_psu_present", {"name": name}, 1.0)


def answers(up: float) -> Sample:
    return Sample("forewarn_telemetry_bmc_up", {"bmc": "local"}, up)


def test_a_supply_of_which_its_bmc_no_longer_tells_has_vanished_and_one_whose_bmc_is_silent_has_not() -> None:
    host = Host()
    volts = Sample("ipmi_voltage_volts", {"id": "4", "name": "PSU1 Vout"}, 12.0)  # set aside without input
    host.round(answers(1), supply("PSU1"), supply("PSU2"), volts)
    assert find(host.round(answers(0)), VANISHED) == find(host.again(), VANISHED) == {}
    gone = host.round(answers(1), supply("PSU1"))
    assert find(gone, VANISHED) == {"collector=disk device=PSU2": 3 * BEAT_S}
    assert find(gone, LOSSES) == {"collector=disk": 1}


def test_a_silent_bmc_at_the_first_look_is_no_loss_later() -> None:
    host = Host()
    host.round(answers(0))
    assert find(host.round(answers(1), supply("PSU1")), LOSSES) == {}
    assert find(host.round(answers(1)), LOSSES) == {"collector=disk": 1}


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("node_disk_io_now", 9, 2),  # no counter
        ("smartctl_device_available_spare", 100, 98),  # a share that falls
        ("node_cpu_seconds_total", 100.0, 99.5),  # within what the kernel allows itself
    ],
)
def test_what_may_fall_is_not_odd(name: str, before: float, after: float) -> None:
    host = Host()
    host.round(Sample(name, {"device": "sda"}, before))
    assert host.round(Sample(name, {"device": "sda"}, after)) == []


def test_a_sensor_that_sticks_for_a_day_is_named_until_it_moves() -> None:
    host = Host()
    host.round(heat(41), heat(0, "temp2"), heat(40, "temp3"))
    assert host.round(heat(41), heat(0, "temp2"), heat(39, "temp3"), after_s=86000.0) == []
    odd = host.round(heat(41), heat(0, "temp2"), heat(39, "temp3"), after_s=500.0)
    series = "node_hwmon_temp_celsius{chip=platform_coretemp_0,sensor=temp1}"
    assert find(odd, STUCK) == {f"collector=disk device=platform_coretemp_0 series={series}": 1}
    assert find(odd, "forewarn_telemetry_stuck_sensors") == {"collector=disk": 1}
    assert find(host.round(heat(42), heat(0, "temp2"), heat(39, "temp3")), STUCK) == {}


def test_which_sensors_are_watched_and_how_many_series_is_a_setting() -> None:
    host = Host(ContinuitySettings(sensors="node_disk_io_now", stuck_after_s=10.0, series_max=2))
    deep = Sample("node_disk_io_now", {"device": "sda"}, 3.0)
    host.round(deep, heat(41), reads("sda", 1), reads("sdb", 1))
    odd = host.round(deep, heat(41), reads("sda", 0), reads("sdb", 0))
    assert find(odd, STUCK) == {"collector=disk device=sda series=node_disk_io_now{device=sda}": 1}
    assert find(odd, FALLEN) == {"collector=disk device=sda": 1}
    assert find(odd, "forewarn_telemetry_not_compared") == {"collector=disk": 1}


ROUNDS = st.lists(st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 3), max_size=6), min_size=1, max_size=12)


@settings(max_examples=100)
@having(ROUNDS)
def test_losses_and_falls_are_those_of_each_pair_of_rounds(rounds: list[dict[str, int]]) -> None:
    remembered: Remembered = Remembered()
    told: tuple[Sample, ...] = ()
    limits = replace(ContinuitySettings(), gone_for_s=1e9)
    for number, shown in enumerate(rounds):
        samples = [reads(device, value) for device, value in shown.items()]
        given = {"disk": Given(samples, watch(samples, limits))}
        remembered, told = compare(remembered, given, number * BEAT_S, limits)
    pairs = list(pairwise(rounds))
    losses = sum(len(before.keys() - after.keys()) for before, after in pairs)
    falls = sum(after[d] < before[d] for before, after in pairs for d in before.keys() & after.keys())
    assert sum(find(told, LOSSES).values()) == losses
    assert sum(find(told, FALLEN).values()) == falls
    ever = set().union(*rounds)
    assert set(find(told, VANISHED)) == {f"collector=disk device={device}" for device in ever - rounds[-1].keys()}


def test_a_setting_that_is_no_regular_expression_is_refused_before_the_first_round() -> None:
    with pytest.raises(ConfigurationError, match=r"agent\.continuity\.sensors is no regular expression"):
        Continuity(ContinuitySettings(sensors="("))
