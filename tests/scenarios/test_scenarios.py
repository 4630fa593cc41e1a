"""Runs every scenario on the whole loop, and holds its log against the golden one.

FOREWARN_UPDATE_GOLDEN=1 writes the golden logs anew; look at the difference before you commit it.
"""

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from forewarn.assemble.site import Site, SiteSettings
from forewarn.clock import SimulatedClock
from forewarn.decide.authority import AuthoritySettings
from forewarn.domain.authority import Grant, Mode
from forewarn.domain.situation import LogLine
from forewarn.sim.play import Simulation, SimulationSettings, play
from forewarn.sim.report import Report
from forewarn.sim.scenario import ClusterSettings
from tests.scenarios.scenario import Scenario, read

START = datetime(2026, 3, 2, 10, tzinfo=UTC)
FOLDERS = sorted(path.parent for path in Path(__file__).parent.glob("*/scenario.toml"))
UPDATE = bool(os.environ.get("FOREWARN_UPDATE_GOLDEN"))


def run(scenario: Scenario, folder: Path) -> tuple[Report, tuple[LogLine, ...]]:
    clock = SimulatedClock(START)
    built = ClusterSettings(scenario.hosts_per_rack, scenario.utilization)
    settings = SimulationSettings(hosts=scenario.hosts, vms=scenario.vms, cluster=built)
    faults = [line.fault(START) for line in scenario.faults]
    happenings = [happening for line in scenario.events for happening in line.happenings(START)]
    simulation = Simulation(scenario.seed, clock, settings, faults, happenings)
    vms = {vm.name: vm.id for vm in simulation.driver.inventory().vms}
    for broken in scenario.moves_failing:
        simulation.driver.fail_next_move(vms[broken.vm], broken.text)
    authority = AuthoritySettings(mode_max=Mode.AUTOMATIC if scenario.moves else Mode.OBSERVE)
    control = replace(SiteSettings().control, interval_s=scenario.interval_s)
    site = Site(folder, clock, replace(SiteSettings(), control=control, authority=authority))
    if scenario.moves:
        until = None if scenario.mode_until_s is None else START + timedelta(seconds=scenario.mode_until_s)
        site.memory.orders.grants.give(Grant(Mode.AUTOMATIC, START, "the drill", "drill", until=until, overrides=True))
    try:
        for batch in simulation.world.history(scenario.history_days):
            site.store.append(batch)
        site.store.roll_up(START)
        until = START + timedelta(minutes=scenario.minutes)
        report = play(simulation, site.control(simulation.service).cycle, site.take, scenario.interval_s, until)
        return report, tuple(reversed(site.memory.log.recent(10_000)))
    finally:
        site.close()


def written(report: Report, lines: tuple[LogLine, ...]) -> str:
    """The log as the golden file holds it: seconds from the start, severity, sentence; then what it came to."""
    told = [f"{(line.time - START).total_seconds():6.0f} s  {line.severity:<8} {line.text}" for line in lines]
    return "\n".join([*told, *report.sentences()]) + "\n"


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: str(folder.name))
def test_the_log_of_the_scenario_is_the_golden_one(folder: Path, tmp_path: Path) -> None:
    golden = folder / "expect.log"
    found = written(*run(read(folder / "scenario.toml"), tmp_path))
    if UPDATE:
        golden.write_text(found, encoding="utf-8")
    assert found.splitlines() == golden.read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: str(folder.name))
def test_every_scenario_says_in_one_sentence_what_it_is_for(folder: Path) -> None:
    purpose = read(folder / "scenario.toml").purpose
    assert purpose.endswith(".")
    assert "\n" not in purpose


def test_with_moves_switched_off_as_many_vms_go_down_as_without_forewarn(tmp_path: Path) -> None:
    folder = next(folder for folder in FOLDERS if folder.name == "declining_disk")
    report, _ = run(replace(read(folder / "scenario.toml"), moves=False), tmp_path)
    assert report.vm_interruptions == report.vm_interruptions_without_forewarn > 0
    assert (report.moves_started, report.host_failures_warned) == (0, 1)
