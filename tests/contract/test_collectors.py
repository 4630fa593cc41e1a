"""Every collector keeps the contract on every frozen machine, and the check finds those that do not."""

import inspect
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import cast, get_type_hints

import pytest

from forewarn.clock import SimulatedClock
from forewarn.collect.agent import TABLE, AgentSettings, build_collectors
from forewarn.collect.base import Collected, Collector
from forewarn.collect.bmc.settings import BmcSettings
from forewarn.collect.smart import SmartSettings
from forewarn.domain.telemetry import Sample
from forewarn.errors import SourceAbsent
from forewarn.testing import check_collector
from tests.conftest import ROOT
from tests.frozen import find
from tests.moves import NOW

MACHINES = sorted(path for path in (ROOT / "tests/fixtures/machines").iterdir() if path.is_dir())
DRIVES = SmartSettings(recorded=ROOT / "tests/fixtures/smartctl")


@pytest.mark.parametrize("name", TABLE)
@pytest.mark.parametrize("machine", MACHINES, ids=[path.name for path in MACHINES])
def test_a_collector_keeps_the_contract_on_a_frozen_machine(name: str, machine: Path) -> None:
    settings = AgentSettings(collectors=(name,), root=machine, smart=DRIVES)
    [collector] = build_collectors(settings, SimulatedClock(NOW))
    assert check_collector(collector) == check_collector(collector)


# Where each source is frozen. VMs are told by libvirt's own test driver, in tests/unit/collect/test_vms.py.
FROZEN = {
    **dict.fromkeys(("cpu", "memory", "rasdaemon", "disk", "smart", "network"), "two-socket-server"),
    **dict.fromkeys(("power", "bmc", "kernel_log", "changes"), "two-socket-server"),
    "redundancy": "storage-node",
}
# Told of the source itself, not of the machine.
ABOUT = ("forewarn_source_", "forewarn_collector_")
PRIVILEGE = re.compile(r"(?i)privilege|readable by any user|CAP_")
# Files of the kernel have no time limit but the agent's, `collector_timeout_s`; what else is asked has its own.
FILES_ALONE = ("cpu", "memory", "power", "disk")
LIMIT = re.compile(r"\w*(timeout|deadline)_s")


@pytest.mark.parametrize("name", FROZEN)
def test_every_source_is_frozen_on_some_machine_and_tells_of_it(name: str, tmp_path: Path) -> None:
    asked = BmcSettings(local=True, command=str(ROOT / "tests/fixtures/bmc/ipmitool"))
    root = ROOT / "tests/fixtures/machines" / FROZEN[name]
    settings = AgentSettings(collectors=(name,), root=root, smart=DRIVES, bmc=asked, folder=tmp_path)
    [collector] = build_collectors(settings, SimulatedClock(NOW))
    found = [each for each in check_collector(collector) if isinstance(each, Sample)]
    told = [sample for sample in found if not sample.name.startswith(ABOUT)]
    looked_at = [sample for sample in found if sample.name == "forewarn_source_up" and sample.value == 1]
    assert told or (name == "changes" and looked_at)  # the first look at a host finds no change


def test_a_frozen_bmc_with_a_lost_feed_is_read_whole(tmp_path: Path) -> None:
    asked = BmcSettings(local=True, command=str(ROOT / "tests/fixtures/bmc/ipmitool"))
    [collector] = build_collectors(AgentSettings(collectors=("bmc",), bmc=asked, folder=tmp_path), SimulatedClock(NOW))
    found = check_collector(collector)
    assert [each for each in found if not isinstance(each, Sample)] == []  # its old log is no news
    samples = [each for each in found if isinstance(each, Sample)]
    assert find(samples, "forewarn_psu_input_lost") == {"name=PSU1": 0, "name=PSU2": 1}
    assert find(samples, "forewarn_psu_failed") == {"name=PSU1": 0, "name=PSU2": 0}
    assert find(samples, "ipmi_voltage_volts") == {"id=41h name=12V Standby": 11.97, "id=6Ch name=PS1 Voltage": 230}
    aside = find(samples, "forewarn_bmc_readings_set_aside")
    assert aside == {"bmc=local why=no reading": 1, "bmc=local why=supply without input": 2}


@pytest.mark.parametrize("name", TABLE)
def test_every_source_has_settings_a_time_limit_and_says_what_privilege_it_asks(name: str) -> None:
    settings = get_type_hints(AgentSettings)[name]
    assert is_dataclass(settings)
    module = inspect.getsource(sys.modules[settings.__module__])
    assert PRIVILEGE.search(module), f"{name}: its module does not say what privilege it asks"
    limits = [field.name for field in fields(settings) if LIMIT.fullmatch(field.name)]
    assert bool(limits) != (name in FILES_ALONE)
    assert 0 < AgentSettings().collector_timeout_s <= 60


class Given(Collector):
    """A collector that yields what it was given."""

    def __init__(self, *collected: Collected, name: str = "given") -> None:
        self.name = name
        self._collected = collected

    def collect(self) -> Iterable[Collected]:
        return self._collected


class Absent(Collector):
    """A collector whose sources are not there."""

    name = "absent"

    def __init__(self, text: str) -> None:
        self._text = text

    def collect(self) -> Iterable[Collected]:
        raise SourceAbsent(self._text)


HEAT = Sample("node_heat_celsius", {"chip": "a"}, 40.0)


def test_what_a_good_collector_yields_is_handed_back() -> None:
    again = replace(HEAT, labels={"chip": "b"})
    assert check_collector(Given(HEAT, again)) == (HEAT, again)
    assert check_collector(Absent("no sensors here")) == ()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (Given(name="two words"), "'two words' cannot be a label's value everywhere"),
        (Given(replace(HEAT, name="heat in °C")), "'heat in °C' is no metric name"),
        (Given(replace(HEAT, labels={"chip-name": "a"})), "has a label 'chip-name', which is no label name"),
        (
            Given(replace(HEAT, labels=cast(Mapping[str, str], {"chip": 7}))),
            "the label chip of node_heat_celsius is 7, no text",
        ),
        (Given(replace(HEAT, value=float("nan"))), "node_heat_celsius is not a number"),
        (Given(replace(HEAT, time=datetime(2026, 1, 5))), "the time of node_heat_celsius has no zone"),  # noqa: DTZ001
        (Given(HEAT, replace(HEAT, value=41.0)), "given yields the same series twice: node_heat_celsius"),
        (Absent(""), "absent is absent without a word"),
    ],
)
def test_the_check_finds_a_collector_that_breaks_the_contract(wrong: Collector, words: str) -> None:
    with pytest.raises(AssertionError) as found:
        check_collector(wrong)
    assert words in str(found.value)
