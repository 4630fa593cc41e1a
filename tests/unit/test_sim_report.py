from dataclasses import replace
from datetime import UTC, datetime

import pytest

from forewarn.domain.events import FailureEvent
from forewarn.domain.inventory import Cluster, Criticality, Kind
from forewarn.domain.plan import Move, MoveState, Outcome, Plan
from forewarn.domain.risk import FailureForecast
from forewarn.domain.situation import LadderStep, Rung, Snapshot
from forewarn.sim.report import Report, Tally
from forewarn.sim.world import Failure

NOW = datetime(2026, 3, 2, tzinfo=UTC)
REPORT = Report(
    cycles=240,
    forecasts=86400,
    moves_started=52,
    moves_succeeded=50,
    moves_failed=2,
    host_failures=18,
    host_failures_warned=10,
    vm_interruptions=80,
    vm_interruptions_without_forewarn=100,
    vms_lost=0,
    seed=7,
)


def _outcome(number: int, state: MoveState) -> Outcome:
    move = Move(f"m{number}", "v", "v", Criticality.HIGH, "a", "b", "disk:A", Kind.DISK, 0.5, 0.1, "drill", "a drill")
    return Outcome(move, state, NOW)


def _snapshot(*outcomes: Outcome, rungs: dict[str, Rung] | None = None, forecasts: int = 0) -> Snapshot:
    made = tuple(FailureForecast(f"disk:{n}", Kind.DISK, "a", "sda", NOW) for n in range(forecasts))
    ladder = tuple(LadderStep(component, rung, NOW) for component, rung in (rungs or {}).items())
    return Snapshot(NOW, 1, "", Cluster(NOW), made, ladder, Plan("p", NOW, 0), outcomes)


def _failure(component: str, *, host_failed: bool = True, interrupted: tuple[str, ...] = ()) -> Failure:
    event = FailureEvent(NOW, "a", Kind.DISK, component, "simulator", "disk failed")
    return Failure(event, host_failed, signs=True, interrupted=interrupted)


def test_a_move_is_counted_once_however_often_it_is_shown() -> None:
    tally = Tally()
    tally.note(_snapshot(_outcome(1, MoveState.RUNNING), _outcome(2, MoveState.INTENDED)))
    tally.note(_snapshot(_outcome(1, MoveState.SUCCEEDED), _outcome(2, MoveState.REFUSED)))
    tally.note(
        _snapshot(_outcome(3, MoveState.FAILED), _outcome(4, MoveState.CANCELLED), _outcome(5, MoveState.RUNNING))
    )
    assert tally.moves() == {"moves_started": 4, "moves_succeeded": 1, "moves_failed": 2}


def test_cycles_and_forecasts_add_up_also_over_a_failed_cycle() -> None:
    tally = Tally()
    for snapshot in (_snapshot(forecasts=3), None, _snapshot(forecasts=2)):
        tally.note(snapshot)
    report = tally.report(7, (), (), 0)
    assert (report.cycles, report.forecasts, report.seed) == (3, 5, 7)


def test_a_host_failure_is_warned_only_if_its_part_was_on_the_rung_move_in_the_last_cycle() -> None:
    tally = Tally()
    tally.note(_snapshot(rungs={"disk:A": Rung.MOVE, "disk:B": Rung.WATCH, "disk:C": Rung.MOVE}))
    tally.note(None)
    spared = _failure("disk:C", host_failed=False)
    failures = (_failure("disk:A"), _failure("disk:B"), spared)
    for failure in failures:
        tally.judge(failure)
    report = tally.report(1, failures, failures, 0)
    assert (report.host_failures, report.host_failures_warned) == (2, 1)


def test_interruptions_are_counted_in_both_runs() -> None:
    here, there = _failure("disk:A", interrupted=("v1",)), _failure("disk:A", interrupted=("v1", "v2", "v3"))
    report = Tally().report(1, (here,), (there, there), 0)
    assert (report.vm_interruptions, report.vm_interruptions_without_forewarn) == (1, 6)


def test_the_numbers_bear_the_published_names() -> None:
    assert list(REPORT.numbers()) == [
        "cycles",
        "forecasts",
        "moves_started",
        "moves_succeeded",
        "moves_failed",
        "host_failures",
        "host_failures_warned",
        "vm_interruptions",
        "vm_interruptions_without_forewarn",
        "vms_lost",
        "seed",
    ]


def test_the_sentences_tell_what_was_avoided_and_what_was_not() -> None:
    assert REPORT.sentences() == (
        "Simulated, seed 7: 18 host failures in 240 cycles.",
        "Avoided: 20 VM interruptions of 100 (20%), by warning of 10 of 18 host failures and moving VMs in time.",
        "Not avoided: 80 VM interruptions; 8 hosts failed without a warning.",
        "Moves: 52 started, 50 succeeded, 2 failed; no VM was lost.",
    )


@pytest.mark.parametrize(
    ("report", "part"),
    [
        (replace(REPORT, vm_interruptions=100), "Avoided: nothing; as many VMs went down as without Forewarn."),
        (replace(REPORT, vm_interruptions=101), "Avoided: nothing; moves cost 1 VM interruption more"),
        (replace(REPORT, vms_lost=2), "2 VMs were lost."),
        (
            replace(
                REPORT, host_failures=0, host_failures_warned=0, vm_interruptions=0, vm_interruptions_without_forewarn=0
            ),
            "Avoided: nothing, since no VM would have gone down. Not avoided: nothing.",
        ),
    ],
)
def test_the_sentences_claim_no_more_than_happened(report: Report, part: str) -> None:
    assert part in " ".join(report.sentences())
