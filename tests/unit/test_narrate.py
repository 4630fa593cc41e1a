"""The log speaks in sentences that a tired operator understands."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from forewarn.decide.narrate import (
    cycle_sentence,
    horizon_name,
    host_lines,
    in_words,
    ladder_lines,
    moved_away,
    outcome_line,
    remark_lines,
)
from forewarn.domain.inventory import Cluster, Criticality, Host, HostState, Kind, Remark, VirtualMachine
from forewarn.domain.plan import PROACTIVE_FAILURE_AVOIDANCE, Move, MoveState, Outcome, Plan
from forewarn.domain.risk import FailureForecast, Reason
from forewarn.domain.situation import LadderStep, Rung, Severity, Situation

NOW = datetime(2026, 1, 5, tzinfo=UTC)
WEEK = timedelta(days=7)
FORECAST = FailureForecast(
    "disk:ZA1", Kind.DISK, "host03", "sda", NOW,
    probabilities=(0.01, 0.02, 0.1, 0.2, 0.41, 0.6),
    reasons=(Reason("age", "young drive", -0.2), Reason("smart_197_last", "96 pending sectors", 2.0)),
)  # fmt: skip
MOVE = Move(
    "m1", "vm1", "web-01", Criticality.HIGH, "host03", "host09", "disk:ZA1", Kind.DISK, 0.41, 0.2,
    PROACTIVE_FAILURE_AVOIDANCE, "p=0.41, above 0.20",
)  # fmt: skip
VM = VirtualMachine("vm2", "db-01", "host03", 2, 2**30, Criticality.HIGH)
CLUSTER = Cluster(NOW, hosts=(Host("host03"), Host("host09")), vms=(VM,))


def with_state(state: HostState) -> Cluster:
    return replace(CLUSTER, hosts=(Host("host03", state), Host("host09")))


def test_a_remark_of_the_driver_is_told_when_it_comes_and_when_it_goes_and_not_between() -> None:
    quiet, loud = CLUSTER, replace(CLUSTER, remarks=(Remark("host09", "host09 does not answer"),))
    (came,) = remark_lines(quiet, loud)
    assert (came.text, came.host, came.severity) == ("host09 does not answer", "host09", Severity.WARNING)
    assert [line.text for line in remark_lines(None, loud)] == ["host09 does not answer"]
    assert remark_lines(loud, loud) == ()
    (went,) = remark_lines(loud, quiet)
    assert (went.text, went.host, went.severity) == ("no more: host09 does not answer", "host09", Severity.INFO)


def test_a_flood_of_remarks_is_told_by_its_first_few_and_their_number() -> None:
    flood = replace(CLUSTER, remarks=tuple(Remark(f"h{n}", f"h{n} refuses the password") for n in range(40)))
    lines = remark_lines(CLUSTER, flood)
    assert lines[0].text == "h0 refuses the password"
    assert lines[-1].text == "and 28 remarks more of the placement service"
    assert len(lines) == 13


def test_a_rung_that_changed_is_said_with_the_forecast_behind_it() -> None:
    after = (LadderStep("disk:ZA1", Rung.MOVE, NOW),)
    (line,) = ladder_lines((LadderStep("disk:ZA1", Rung.WATCH, NOW),), after, [FORECAST], WEEK, NOW)
    assert line.text == ("host03: from 'watch' to 'move': disk ZA1 fails within 7 d with p=0.41 (96 pending sectors)")
    assert (line.severity, line.host) == (Severity.WARNING, "host03")


def test_a_rung_that_stays_is_not_said_again() -> None:
    steps = (LadderStep("disk:ZA1", Rung.MOVE, NOW),)
    assert ladder_lines(steps, steps, [FORECAST], WEEK, NOW) == ()


def test_a_part_without_a_forecast_says_nothing() -> None:
    assert ladder_lines((), (LadderStep("disk:gone", Rung.WATCH, NOW),), [FORECAST], WEEK, NOW) == ()


def test_a_forecast_without_a_raising_reason_has_no_bracket() -> None:
    faint = replace(FORECAST, reasons=(), probabilities=(1e-6,) * 6)
    assert in_words(faint, WEEK) == "disk ZA1 fails within 7 d with p<0.0005"
    sure = replace(FORECAST, reasons=(), probabilities=(0.996,) * 6)
    assert in_words(sure, WEEK) == "disk ZA1 fails within 7 d with p>0.99"
    assert in_words(replace(FORECAST, reasons=()), WEEK) == "disk ZA1 fails within 7 d with p=0.41"


def test_an_unknown_forecast_says_what_is_missing() -> None:
    blind = replace(FORECAST, probabilities=(), unknown_because="no SMART attributes for 3 h")
    assert in_words(blind, WEEK) == "disk ZA1 is unknown: no SMART attributes for 3 h"


@pytest.mark.parametrize(
    ("horizon", "name"), [(WEEK, "7 d"), (timedelta(hours=6), "6 h"), (timedelta(hours=36), "36 h")]
)
def test_a_horizon_is_named_with_its_unit(horizon: timedelta, name: str) -> None:
    assert horizon_name(horizon) == name


def test_a_failed_host_is_said_with_whom_it_hit_and_who_had_left() -> None:
    moved = Outcome(MOVE, MoveState.SUCCEEDED, NOW)
    (line,) = host_lines(CLUSTER, with_state(HostState.DOWN), [moved])
    assert line.text == (
        "host03 failed: 1 VM on it interrupted, 1 of them critical; 1 VM had been moved away before (web-01)"
    )


def test_only_moves_that_succeeded_count_as_moved_away() -> None:
    failed = Outcome(MOVE, MoveState.FAILED, NOW)
    empty = replace(CLUSTER, vms=())
    (line,) = host_lines(empty, with_state(HostState.DOWN), [failed])
    assert line.text == "host03 failed: no VM was on it; nothing had been moved away"


def test_a_vm_that_came_back_and_one_that_moved_twice_are_counted_by_their_last_move() -> None:
    back = replace(MOVE, source=MOVE.target, target=MOVE.source)
    later = NOW + timedelta(minutes=5)
    moved = Outcome(MOVE, MoveState.SUCCEEDED, NOW)
    for outcomes in (
        [moved, Outcome(back, MoveState.SUCCEEDED, later)],
        [Outcome(back, MoveState.SUCCEEDED, later), moved],
    ):
        assert moved_away(MOVE.source, outcomes) == ()
    assert moved_away(MOVE.source, [moved, Outcome(MOVE, MoveState.SUCCEEDED, later)]) == (MOVE,)


def test_more_than_five_names_are_cut() -> None:
    moved = [Outcome(replace(MOVE, vm=f"v{n}", vm_name=f"web-{n}"), MoveState.SUCCEEDED, NOW) for n in range(6)]
    (line,) = host_lines(CLUSTER, with_state(HostState.DOWN), moved)
    assert line.text.endswith("6 VMs had been moved away before (web-0, web-1, web-2, web-3, web-4, ...)")


def test_a_host_that_returns_is_said_and_one_in_maintenance_is_not_a_failure() -> None:
    (line,) = host_lines(with_state(HostState.DOWN), CLUSTER, [])
    assert line.text == "host03 is back"
    (line,) = host_lines(CLUSTER, with_state(HostState.MAINTENANCE), [])
    assert (line.severity, line.text) == (Severity.INFO, "host03 is in maintenance")


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        (HostState.MAINTENANCE, HostState.UP, "host03 is back from maintenance"),
        (HostState.MAINTENANCE, HostState.DOWN, "host03 is down for its maintenance"),
        (HostState.UP, HostState.UNKNOWN, "host03 is in an unknown state"),
    ],
)
def test_a_change_that_is_no_failure_is_told_without_alarm(before: HostState, after: HostState, text: str) -> None:
    (line,) = host_lines(with_state(before), with_state(after), [])
    assert (line.severity, line.text) == (Severity.INFO, text)


def climbed(rung: Rung, *forecasts: FailureForecast) -> list[str]:
    before = [LadderStep(each.component, Rung.WATCH if rung is Rung.CLEAR else Rung.CLEAR, NOW) for each in forecasts]
    after = [LadderStep(each.component, rung, NOW) for each in forecasts]
    return [line.text for line in ladder_lines(before, after, forecasts, WEEK, NOW)]


def some(count: int, **changes: object) -> list[FailureForecast]:
    return [replace(FORECAST, component=f"disk:ZA{number}", **changes) for number in range(count)]  # type: ignore[arg-type]


def test_many_parts_of_a_host_that_fall_silent_together_share_a_line() -> None:
    silent = some(3, probabilities=(), unknown_because="no telemetry for 6 min")
    assert climbed(Rung.WATCH, *silent) == [
        "host03: from 'clear' to 'watch': 3 parts: each is unknown: no telemetry for 6 min"
    ]
    assert climbed(Rung.WATCH, *silent[:2]) == [
        "host03: from 'clear' to 'watch': disk ZA0 is unknown: no telemetry for 6 min",
        "host03: from 'clear' to 'watch': disk ZA1 is unknown: no telemetry for 6 min",
    ]


def test_many_parts_that_are_well_again_share_a_line_with_the_worst_of_them() -> None:
    healthy, worst = (
        some(3, probabilities=(1e-6,) * 6),
        replace(FORECAST, probabilities=(0.0, 0.0, 0.0, 0.0, 0.002, 0.1)),
    )
    assert climbed(Rung.CLEAR, *healthy) == [
        "host03: from 'watch' to 'clear': 3 parts: each fails within 7 d with p<0.0005"
    ]
    (line,) = climbed(Rung.CLEAR, *healthy[1:], replace(worst, component="disk:ZA9"))
    assert line == "host03: from 'watch' to 'clear': 3 parts: each fails within 7 d with p=0.002, at the most"


def test_every_part_for_which_vms_move_has_a_line_of_its_own() -> None:
    assert len(climbed(Rung.MOVE, *some(4))) == 4


def test_a_first_look_and_a_new_host_are_no_change() -> None:
    assert host_lines(None, CLUSTER, []) == ()
    assert host_lines(replace(CLUSTER, hosts=()), CLUSTER, []) == ()


@pytest.mark.parametrize(
    ("state", "text", "severity"),
    [
        (MoveState.INTENDED, "will move web-01 from host03 to host09: Proactive Failure Avoidance", Severity.NOTICE),
        (
            MoveState.RUNNING,
            "Proactive Failure Avoidance: moving web-01 from host03 to host09: p=0.41, above 0.20",
            Severity.NOTICE,
        ),
        (MoveState.SUCCEEDED, "moved web-01 from host03 to host09 in 3.2 s, downtime 120 ms", Severity.NOTICE),
        (MoveState.FAILED, "could not move web-01 from host03 to host09: link lost", Severity.WARNING),
        (MoveState.CANCELLED, "cancelled the move of web-01 from host03 to host09: link lost", Severity.NOTICE),
        (MoveState.REFUSED, "did not move web-01 from host03 to host09: link lost", Severity.WARNING),
    ],
)
def test_every_outcome_has_its_sentence(state: MoveState, text: str, severity: Severity) -> None:
    line = outcome_line(Outcome(MOVE, state, NOW, text="link lost", duration_s=3.2, downtime_ms=120.0))
    assert (line.text, line.severity) == (text, severity)


def test_a_cycle_says_in_one_sentence_what_is_wrong_and_what_is_done() -> None:
    blind = FailureForecast("cpu:h", Kind.CPU, "host09", "cpu", NOW, unknown_because="no temperature")
    situation = Situation(CLUSTER, (FORECAST, blind))
    running = Outcome(MOVE, MoveState.RUNNING, NOW)
    plan = Plan("p", NOW, 0, (MOVE,))
    calm, thresholds = {"disk": 0.9}, {"disk": 0.2}
    assert cycle_sentence(situation, Plan("p", NOW, 0), (), calm, WEEK) == (
        "2 hosts, 2 parts, 1 unknown: nothing above its threshold"
    )
    assert cycle_sentence(situation, plan, (running,), thresholds, WEEK) == (
        "2 hosts, 2 parts, 1 unknown, 1 above threshold: host03, "
        "disk ZA1 fails within 7 d with p=0.41 (96 pending sectors); 1 move running"
    )
    assert cycle_sentence(situation, plan, (), thresholds, WEEK).endswith("; 1 move proposed")


@pytest.mark.parametrize(("hosts", "words"), [(20, "20 hosts"), (1, "1 host")])
def test_a_flood_of_changes_is_cut_and_the_rest_is_counted(hosts: int, words: str) -> None:
    parts = [
        replace(FORECAST, component=f"disk:Z{n}", host=f"h{n % hosts}", reasons=(Reason("x", f"sign {n}", 1.0),))
        for n in range(20)
    ]
    after = [LadderStep(part.component, Rung.MOVE, NOW) for part in parts]
    *told, rest = ladder_lines((), after, parts, WEEK, NOW)
    assert rest.text == f"and {20 - len(told)} more such changes, {words} in all"
    assert (rest.severity, rest.host) == (Severity.WARNING, "")
