"""What is worth an alert, when it starts, when it ends, and what a restart remembers."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from forewarn.alerts import hold, rules, seen
from forewarn.alerts.alert import Alert, AlertSeverity
from forewarn.alerts.hold import Held
from forewarn.alerts.memory import AlertMemory
from forewarn.alerts.settings import AlertSettings
from forewarn.domain.inventory import HostState
from forewarn.domain.plan import MoveState
from forewarn.state.database import Database
from tests.clusters import NOW, outcome
from tests.watched import CPU, DISK, OTHER, snapshot

SETTINGS = AlertSettings(cluster="lab")
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


def named(alerts: tuple[Alert, ...]) -> list[str]:
    return [alert.key for alert in alerts]


def test_a_risk_above_its_threshold_is_told_with_horizon_threshold_and_reason() -> None:
    (alert,) = rules.alerts_of(snapshot({DISK.id: 0.02}), SETTINGS, NOW)
    said = "h1: disk sda fails within 7 d with p=0.02 (24 pending sectors (SMART 197)); the threshold is 0.01"
    assert alert.summary == said
    assert alert.labels == {
        "alertname": "ForewarnRiskAboveThreshold",
        "severity": "warning",
        "host": "h1",
        "component": "disk:h1/sda",
        "kind": "disk",
        "cluster": "lab",
    }


def test_a_risk_at_its_threshold_and_one_without_threshold_are_no_alert() -> None:
    assert rules.alerts_of(snapshot({DISK.id: 0.01}), SETTINGS, NOW) == ()
    assert rules.alerts_of(replace(snapshot({DISK.id: 0.9}), thresholds={}), SETTINGS, NOW) == ()


def test_a_risk_far_above_its_threshold_is_critical_and_comes_first() -> None:
    alerts = rules.alerts_of(snapshot({DISK.id: 0.5, CPU.id: 0.03}), SETTINGS, NOW)
    assert [alert.severity for alert in alerts] == [AlertSeverity.CRITICAL, AlertSeverity.WARNING]


def test_simulated_hosts_are_labelled_so() -> None:
    (alert,) = rules.alerts_of(snapshot({DISK.id: 0.5}, simulated=True), SETTINGS, NOW)
    assert alert.labels["simulated"] == "true"


def test_a_part_that_never_had_a_forecast_never_alarms() -> None:
    blind = snapshot({DISK.id: None})
    parts = seen.look({}, blind, SETTINGS.forget_s)
    assert rules.alerts_of(blind, SETTINGS, NOW + timedelta(days=3), parts) == ()


def test_a_lost_forecast_is_one_alert_per_host_after_its_time() -> None:
    parts = seen.look({}, snapshot(), SETTINGS.forget_s)
    lost = snapshot({DISK.id: None, CPU.id: None}, NOW + MINUTE)
    parts = seen.look(parts, lost, SETTINGS.forget_s)
    assert rules.alerts_of(lost, SETTINGS, NOW + 15 * MINUTE, parts) == ()
    (alert,) = rules.alerts_of(lost, SETTINGS, NOW + 16 * MINUTE, parts)
    assert alert.key == "ForewarnTelemetryUnknown/h1/"
    assert alert.summary == (
        "h1 has gone silent: the risk within 7 d of all its 2 known parts is unknown since 2026-01-05 12:01 UTC"
    )
    assert "no telemetry" in alert.description


def test_a_host_and_a_part_that_leave_the_inventory_are_lost_too() -> None:
    parts = seen.look({}, snapshot(), SETTINGS.forget_s)
    later = snapshot(at=NOW + MINUTE, without=(DISK.id, "h2"))
    parts = seen.look(parts, later, SETTINGS.forget_s)
    disk, host = rules.alerts_of(later, SETTINGS, NOW + 30 * MINUTE, parts)
    assert "h1: the risk within 7 d of disk sda is unknown" in disk.summary
    assert "it is no longer in the inventory" in disk.description
    assert "its host is no longer in the inventory" in host.description


def test_a_part_lost_for_good_is_forgotten_and_one_that_returns_is_no_longer_lost() -> None:
    parts = seen.look({}, snapshot(), SETTINGS.forget_s)
    parts = seen.look(parts, snapshot({DISK.id: None}, NOW + MINUTE), SETTINGS.forget_s)
    assert parts["h1", DISK.id].lost_at == NOW + MINUTE
    assert seen.look(parts, snapshot(), SETTINGS.forget_s)["h1", DISK.id].lost_at is None
    after = seen.look(parts, snapshot({DISK.id: None}, NOW + timedelta(days=8)), SETTINGS.forget_s)
    assert ("h1", DISK.id) not in after
    assert ("h2", OTHER.id) in after


def test_a_failed_move_is_an_alert_for_its_time_or_until_the_vm_has_moved() -> None:
    failed = outcome("web", "h1", "h2", MoveState.FAILED)
    (alert,) = rules.alerts_of(snapshot(moves=(failed,)), SETTINGS, NOW + MINUTE)
    assert (alert.name, alert.host, alert.labels["vm"]) == ("ForewarnMoveFailed", "h1", "web")
    assert rules.alerts_of(snapshot(moves=(failed,)), SETTINGS, NOW + 60 * MINUTE) == ()
    moved = outcome("web", "h1", "h2", MoveState.SUCCEEDED, NOW + MINUTE)
    assert rules.alerts_of(snapshot(moves=(moved, failed)), SETTINGS, NOW + MINUTE) == ()


def test_a_tripped_breaker_is_critical_and_names_no_host() -> None:
    (alert,) = rules.alerts_of(snapshot(breaker="12 hosts share firmware SC60"), SETTINGS, NOW)
    assert (alert.severity, alert.host) == (AlertSeverity.CRITICAL, "")
    assert "12 hosts share firmware SC60" in alert.summary


def test_a_cause_must_last_before_it_is_told_and_be_away_before_it_ends() -> None:
    held: dict[str, Held] = {}
    on = []
    for minute in range(12):
        now = NOW + minute * MINUTE
        risky = minute < 4 or minute == 5
        step = hold.step(
            held, rules.alerts_of(snapshot({DISK.id: 0.02} if risky else {}), SETTINGS, now), SETTINGS, now
        )
        held = dict(step.held)
        on.append(len(step.on))
    assert on == [0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0]


def test_a_cause_that_goes_before_it_was_told_leaves_nothing() -> None:
    first = hold.step({}, rules.alerts_of(snapshot({DISK.id: 0.02}), SETTINGS, NOW), SETTINGS, NOW)
    second = hold.step(first.held, (), SETTINGS, NOW + MINUTE)
    assert (second.held, second.ended) == ({}, ())


def test_a_risky_part_that_falls_silent_stays_an_alert_until_its_silence_is_one() -> None:
    parts = seen.look({}, snapshot({DISK.id: 0.02}), SETTINGS.forget_s)
    alerts = rules.alerts_of(snapshot({DISK.id: 0.02}), SETTINGS, NOW)
    held = {a.key: Held(a, NOW, on=True) for a in alerts}
    on = []
    for minute in range(1, 30):
        now = NOW + minute * MINUTE
        silent = snapshot({DISK.id: None}, now)
        parts = seen.look(parts, silent, SETTINGS.forget_s)
        alerts = rules.alerts_of(silent, SETTINGS, now, parts)
        step = hold.step(held, alerts, SETTINGS, now, rules.undecided(alerts, parts))
        held = dict(step.held)
        on.append({each.alert.name for each in step.on})
    assert all(on)
    assert on[0] == {rules.RISK}
    assert on[-1] == {rules.UNKNOWN}


def test_an_alert_on_rises_in_severity_and_never_falls() -> None:
    def at(risk: float, before: dict[str, Held], minute: int) -> hold.Step:
        now = NOW + minute * MINUTE
        return hold.step(before, rules.alerts_of(snapshot({DISK.id: risk}), SETTINGS, now), SETTINGS, now)

    first = at(0.02, {}, 0)
    second = at(0.02, dict(first.held), 2)
    told = {key: replace(held, told_at=NOW) for key, held in second.held.items()}
    third = at(0.5, told, 3)
    assert [held.alert.severity for held in third.raised] == [AlertSeverity.WARNING]
    assert [held.told_at for held in third.on] == [None]
    fourth = at(0.02, dict(third.held), 4)
    assert [held.alert.labels["severity"] for held in fourth.on] == ["critical"]


def test_no_more_alerts_are_on_than_the_limit_says_and_old_ones_stay() -> None:
    few = replace(SETTINGS, active_max=1, risk_for_s=0.0)
    old = rules.alerts_of(snapshot({CPU.id: 0.03}), few, NOW)
    first = hold.step({}, old, few, NOW)
    both = rules.alerts_of(snapshot({CPU.id: 0.03, DISK.id: 0.5}), few, NOW)
    step = hold.step(first.held, both, few, NOW)
    assert (named(tuple(held.alert for held in step.on)), step.left_out) == (named(old), 1)


def test_a_restart_neither_forgets_an_alert_nor_when_people_were_told(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'state.sqlite'}"
    first = Database(url)
    memory = AlertMemory(first)
    (alert,) = rules.alerts_of(snapshot({DISK.id: 0.02}), SETTINGS, NOW)
    held = {alert.key: Held(alert, NOW, on=True)}
    memory.keep_held({}, held)
    memory.told([alert.key], NOW + MINUTE)
    memory.keep_held(held, {alert.key: replace(held[alert.key], gone_at=NOW)})  # a cycle that did not know it yet
    parts = seen.look({}, snapshot({OTHER.id: None}), SETTINGS.forget_s)
    memory.keep_seen({}, parts, NOW)
    first.close()
    second = Database(url)
    again = AlertMemory(second)
    assert again.held() == {alert.key: Held(alert, NOW, True, NOW, NOW + MINUTE)}
    assert again.seen() == parts
    again.keep_held(again.held(), {})
    assert again.held() == {}
    assert again.seen() == parts
    second.close()


def test_people_are_told_anew_of_what_became_worse(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'state.sqlite'}")
    memory = AlertMemory(database)
    (alert,) = rules.alerts_of(snapshot({DISK.id: 0.02}), SETTINGS, NOW)
    memory.keep_held({}, {alert.key: Held(alert, NOW, on=True)})
    memory.told([alert.key], NOW)
    before = memory.held()
    memory.keep_held(before, {alert.key: replace(before[alert.key], told_at=None)})
    assert [held.told_at for held in memory.held().values()] == [None]
    database.close()


def test_a_drive_carried_to_another_host_is_lost_on_neither() -> None:
    parts = seen.look({}, snapshot(), SETTINGS.forget_s)
    moved = snapshot(at=NOW + MINUTE, without=[DISK.id])
    there = replace(snapshot().forecasts[0], host="h2")
    after = seen.look(parts, replace(moved, forecasts=(*moved.forecasts, there)), SETTINGS.forget_s)
    assert {place for place in after if DISK.id in place} == {("h2", DISK.id)}
    assert [part for part in after.values() if part.lost_at] == []


def test_a_silent_host_that_is_down_is_said_to_be_down() -> None:
    parts = seen.look({}, snapshot(), SETTINGS.forget_s)
    silent = snapshot({OTHER.id: None}, NOW + MINUTE)
    hosts = tuple(replace(host, state=HostState.DOWN) for host in silent.cluster.hosts)
    silent = replace(silent, cluster=replace(silent.cluster, hosts=hosts))
    parts = seen.look(parts, silent, SETTINGS.forget_s)
    (alert,) = rules.alerts_of(silent, SETTINGS, NOW + HOUR, parts)
    assert alert.description.endswith("The placement service reports the host down.")
