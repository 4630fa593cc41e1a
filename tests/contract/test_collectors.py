"""Every collector keeps the contract on every frozen machine, and the check finds those that do not."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import cast

import pytest

from forewarn.clock import SimulatedClock
from forewarn.collect.agent import TABLE, AgentSettings, build_collectors
from forewarn.collect.base import Collected, Collector
from forewarn.collect.smart import SmartSettings
from forewarn.domain.telemetry import Sample
from forewarn.errors import SourceAbsent
from forewarn.testing import check_collector
from tests.conftest import ROOT
from tests.moves import NOW

MACHINES = sorted(path for path in (ROOT / "tests/fixtures/machines").iterdir() if path.is_dir())
DRIVES = SmartSettings(recorded=ROOT / "tests/fixtures/smartctl")


@pytest.mark.parametrize("name", TABLE)
@pytest.mark.parametrize("machine", MACHINES, ids=[path.name for path in MACHINES])
def test_a_collector_keeps_the_contract_on_a_frozen_machine(name: str, machine: Path) -> None:
    settings = AgentSettings(collectors=(name,), root=machine, smart=DRIVES)
    [collector] = build_collectors(settings, SimulatedClock(NOW))
    assert check_collector(collector) == check_collector(collector)


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
