"""The loop over the simulated world: it only looks when told to, and no failing cycle ends it."""

from datetime import timedelta
from pathlib import Path

import pytest

from forewarn.alerts.settings import AlertSettings, NotifySettings
from forewarn.assemble.demo import START, DemoSettings, run_once
from forewarn.assemble.site import Site, SiteSettings
from forewarn.clock import SimulatedClock
from forewarn.sim.play import Simulation, SimulationSettings
from tests.sinks import Webhooks, served

pytestmark = pytest.mark.integration


def test_with_moves_switched_off_as_many_vms_go_down_as_without_forewarn(tmp_path: Path) -> None:
    settings = DemoSettings(moves=False, once_hours=0.4, once_interval_s=120.0, history_days=2)
    report = run_once(tmp_path, settings, SiteSettings())
    assert report.moves_started == 0
    assert report.vms_lost == 0
    assert report.vm_interruptions == report.vm_interruptions_without_forewarn > 0


def test_a_cycle_that_fails_is_logged_and_the_next_one_comes(tmp_path: Path) -> None:
    clock = SimulatedClock(START)
    simulation = Simulation(1, clock, SimulationSettings(hosts=2, vms=4))
    site = Site(tmp_path, clock, SiteSettings())
    try:
        control = site.control(simulation.driver)
        simulation.driver.be_unreachable("the service is away")
        assert control.attempt() is None
        (line,) = site.memory.log.recent(1)
        assert line.text == "a cycle failed and nothing was decided: the service is away"
        simulation.driver.be_reachable()
        rounds = iter([False, False, True])
        control.run(lambda: next(rounds))
        snapshot = site.memory.snapshot.read()
    finally:
        site.close()
    assert snapshot is not None
    assert snapshot.cycle == 2
    assert all(forecast.unknown for forecast in snapshot.forecasts)
    assert snapshot.standing.telemetry_at is None


def test_a_snapshot_says_how_old_its_telemetry_is_what_is_usual_and_which_mode_rules(tmp_path: Path) -> None:
    clock = SimulatedClock(START)
    simulation = Simulation(1, clock, SimulationSettings(hosts=2, vms=4))
    site = Site(tmp_path, clock, SiteSettings())
    try:
        for batch in simulation.world.history(1):
            site.store.append(batch)
        snapshot = site.control(simulation.driver).cycle()
    finally:
        site.close()
    heard = snapshot.standing.telemetry_at
    assert heard is not None
    assert START - timedelta(hours=1) <= heard <= START
    assert set(snapshot.usual) == set(snapshot.thresholds)
    assert all(0 < snapshot.usual[kind] < snapshot.thresholds[kind] for kind in snapshot.usual)
    assert snapshot.standing.mode == "observe"


def test_alerts_that_cannot_be_told_break_no_cycle(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clock = SimulatedClock(START)
    simulation = Simulation(1, clock, SimulationSettings(hosts=2, vms=4))
    with served(Webhooks()) as web:
        alerts = AlertSettings(notify=NotifySettings(urls=(f"json://127.0.0.1:{web.port}",)))
        site = Site(tmp_path, clock, SiteSettings(alerts=alerts))
        try:
            control = site.control(simulation.driver)
            with site.database.write() as connection:
                connection.exec_driver_sql("ALTER TABLE alerts RENAME TO elsewhere")
            snapshot = control.attempt()
            with site.database.write() as connection:
                connection.exec_driver_sql("ALTER TABLE elsewhere RENAME TO alerts")
            assert snapshot is not None
            assert "the alerts of a cycle could not be told" in caplog.text
            caplog.clear()
            assert control.attempt() is not None
            assert "could not be told" not in caplog.text
        finally:
            site.close()
