"""What changes from one snapshot to the next, as events."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

from forewarn.domain.inventory import Kind
from forewarn.domain.plan import MoveState
from forewarn.domain.risk import FailureForecast
from forewarn.domain.situation import LogLine, Severity, Snapshot
from forewarn.web.changes import Event, changes_between, new_lines, version_of
from forewarn.web.fleet import fleet_of
from tests.shown import NOW, forecast_of, snapshot_of


def told(before: Snapshot | None, after: Snapshot) -> dict[str, Any]:
    events = changes_between(fleet_of(before) if before else None, fleet_of(after))
    return {event.name: event.body for event in events}


def next_cycle(snapshot: Snapshot, **changes: Any) -> Snapshot:
    return replace(snapshot, cycle=snapshot.cycle + 1, time=snapshot.time + timedelta(seconds=2), **changes)


def with_risk(snapshot: Snapshot, number: int, risk: float) -> tuple[FailureForecast, ...]:
    changed = forecast_of(snapshot.cluster.components[number], risk)
    return tuple(changed if i == number else f for i, f in enumerate(snapshot.forecasts))


def test_a_quiet_cycle_tells_only_that_it_was() -> None:
    busy = snapshot_of()
    assert set(told(busy, next_cycle(busy))) == {"cycle"}


def test_only_changed_cells_are_told() -> None:
    busy = snapshot_of()
    number = next(i for i, c in enumerate(busy.cluster.components) if c.kind == Kind.CPU and c.host == "host03")
    body = told(busy, next_cycle(busy, forecasts=with_risk(busy, number, 0.5)))
    assert [cell["label"][:16] for cell in body["cells"]] == ["host03, CPU cpu0"]
    assert [host["name"] for host in body["hosts"]] == ["host03"]
    assert body["cells"][0]["level"] == "l4"


def test_a_part_that_comes_or_goes_asks_for_the_whole_grid() -> None:
    busy = snapshot_of()
    fewer = replace(busy.cluster, components=busy.cluster.components[1:])
    body = told(busy, next_cycle(busy, cluster=fewer, forecasts=busy.forecasts[1:]))
    assert "layout" in body
    assert "cells" not in body


def test_new_lines_of_the_log_come_oldest_first_and_once() -> None:
    lines = [LogLine(NOW + timedelta(seconds=i), Severity.INFO, f"line {i}") for i in range(4)]
    told_lines = new_lines([lines[1], lines[0]], [lines[3], lines[2], lines[1], lines[0]])
    assert [line["text"] for line in told_lines] == ["line 2", "line 3"]
    assert new_lines(lines, lines) == []


def test_a_move_that_goes_on_is_told_with_its_progress() -> None:
    busy = snapshot_of()
    on = replace(busy.moves[0], progress=0.9)
    body = told(busy, next_cycle(busy, moves=(on, *busy.moves[1:])))
    (move,) = body["moves"]
    assert (move["percent"], move["state"]) == (90, MoveState.RUNNING)


def test_the_first_snapshot_tells_everything() -> None:
    body = told(None, snapshot_of())
    assert {"cycle", "layout", "log", "moves"} <= set(body)
    assert body["cycle"]["counts"]["hosts"] == 25


def test_versions_differ_between_two_runs_of_the_controller() -> None:
    busy = snapshot_of()
    again = replace(busy, time=busy.time + timedelta(days=1))
    assert version_of(fleet_of(busy)) != version_of(fleet_of(again))
    assert version_of(None) == "none"


def test_no_text_can_forge_a_second_event() -> None:
    sent = Event("log", {"text": "a\n\nevent: cycle\ndata: {}\r\n\u2028"}, "1-2").encoded()
    assert sent.count(b"\n\n") == 1
    assert sent.endswith(b"\n\n")
    assert sent.count(b"\n") == 4
    assert json.loads(sent.split(b"data: ", 1)[1])["text"].startswith("a\n\nevent")
