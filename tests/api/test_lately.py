"""What changed in the last hours, in sentences."""

from dataclasses import replace
from datetime import timedelta

from forewarn.decide.narrate import ladder_lines
from forewarn.domain.plan import MoveState
from forewarn.domain.situation import LadderStep, LogLine, Rung, Severity
from forewarn.web.lately import lately
from tests.shown import NOW, snapshot_of

SINCE = NOW - timedelta(hours=12)
BUSY = snapshot_of()


def texts(*lines: LogLine) -> list[str]:
    return [change.text for change in lately(replace(BUSY, moves=(), log=lines), SINCE)]


def line(text: str, severity: Severity = Severity.NOTICE, minutes: int = 0) -> LogLine:
    return LogLine(NOW - timedelta(minutes=minutes), severity, text)


def test_moves_are_told_together_by_host_and_not_again_by_their_lines() -> None:
    found = lately(BUSY, SINCE)
    sources = [change.host for change in found if change.text.startswith(f"{change.host}: ")]
    assert len(sources) == len(set(sources)) > 2
    assert not [change for change in found if "Proactive Failure Avoidance" in change.text]


def test_a_move_is_told_by_what_became_of_it() -> None:
    first = BUSY.moves[0]
    host = first.move.source
    states = (MoveState.SUCCEEDED, MoveState.SUCCEEDED, MoveState.FAILED, MoveState.RUNNING, MoveState.REFUSED)
    moves = tuple(
        replace(first, move=replace(first.move, id=f"x{i}", target=f"t{i}"), state=state, text="no answer")
        for i, state in enumerate(states)
    )
    (change,) = lately(replace(BUSY, moves=moves, log=()), SINCE)
    critical = " (2 critical)" if first.move.criticality == "high" else ""
    assert change.text == (
        f"{host}: 2 VMs{critical} moved away to t0 and t1; 1 VM on the way; 1 move failed (no answer); "
        "1 move refused before the start"
    )
    assert change.severity is Severity.WARNING


def test_only_what_is_loud_and_late_is_told() -> None:
    assert texts(line("quiet", Severity.INFO), line("old", minutes=721), line("host03 failed", Severity.WARNING)) == [
        "host03 failed"
    ]


def test_a_text_that_came_often_is_told_once() -> None:
    assert texts(line("a cycle failed", minutes=1), line("a cycle failed"), line("other", minutes=2)) == [
        "a cycle failed (2 times)",
        "other",
    ]


def test_parts_that_came_to_be_watched_are_counted_in_one_sentence() -> None:
    risky = [f for f in BUSY.forecasts if not f.unknown][:6]
    after = [LadderStep(f.component, Rung.WATCH, NOW) for f in risky]
    lines = ladder_lines((), after, risky, timedelta(days=7), NOW)
    assert texts(*lines) == ["6 times a part came to be watched, on atlas"]
    assert texts(lines[0]) == [lines[0].text]
