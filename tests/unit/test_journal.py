"""The journal keeps each step, at most one move of a VM in flight, and only one writer."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from forewarn.act.journal import Flight, Journal, JournalSettings, Step
from forewarn.clock import SimulatedClock
from forewarn.domain.plan import MoveState, Outcome
from forewarn.errors import NotLeading, StateError
from forewarn.state.database import Database
from forewarn.state.schema import MOVES
from tests.moves import NOW, move, plan_of

DAY_S = 86400.0
PLAN = plan_of()


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock(NOW)


@pytest.fixture
def database(clock: SimulatedClock) -> Iterator[Database]:
    opened = Database("sqlite://", clock)
    yield opened
    opened.close()


@pytest.fixture
def journal(database: Database) -> Journal:
    made = Journal(database)
    made.lead()
    return made


def ended(flight: Flight, state: MoveState = MoveState.SUCCEEDED, after_s: float = 10.0) -> Outcome:
    time = flight.intended_at + timedelta(seconds=after_s)
    return replace(flight.outcome, state=state, time=time, started=flight.intended_at, text="over")


def test_an_intent_comes_back_as_it_was_written(journal: Journal) -> None:
    intended = journal.intend(PLAN, move())
    assert intended == Flight(Outcome(move(), MoveState.INTENDED, NOW), NOW)
    assert journal.flights() == (intended,)
    assert journal.in_flight() == (intended.outcome,)


def test_what_another_version_wrote_of_a_move_is_read_as_far_as_it_is_known(
    journal: Journal, database: Database
) -> None:
    intended = journal.intend(PLAN, replace(move(), device="sda"))
    with database.write() as connection:
        text = connection.execute(select(MOVES.c.move)).scalar_one()
        later = {name: value for name, value in json.loads(text).items() if name != "device"} | {"colour": "red"}
        connection.execute(update(MOVES).values(move=json.dumps(later)))
    assert journal.flights() == (replace(intended, outcome=replace(intended.outcome, move=move())),)


def test_every_field_of_an_outcome_survives(journal: Journal) -> None:
    flight = journal.intend(PLAN, replace(move(), benefit=1.5, cost=0.25, duration_s=9.0, downtime_ms=120.0))
    full = replace(ended(flight), progress=1.0, duration_s=8.5, downtime_ms=99.5)
    journal.record(full)
    assert journal.recent(NOW) == (full,)
    assert journal.in_flight() == ()


def test_a_second_move_of_a_vm_in_flight_is_refused_by_the_database(journal: Journal) -> None:
    journal.intend(PLAN, move())
    with pytest.raises(StateError, match="web-name is being moved already"):
        journal.intend(PLAN, move(target="c"))
    assert [outcome.move for outcome in journal.in_flight()] == [move()]


def test_a_vm_may_move_again_once_its_move_is_over(journal: Journal) -> None:
    journal.record(ended(journal.intend(PLAN, move())))
    again = journal.intend(PLAN, move(source="b", target="a"))
    assert journal.flights() == (again,)


def test_the_same_move_is_never_intended_twice(journal: Journal) -> None:
    journal.record(ended(journal.intend(PLAN, move())))
    with pytest.raises(StateError, match="was run before"):
        journal.intend(PLAN, move())


def test_steps_are_kept_where_state_or_text_changes_and_progress_alone_is_none(journal: Journal) -> None:
    flight = journal.intend(PLAN, move())
    running = replace(flight.outcome, state=MoveState.RUNNING)
    for progress in (0.0, 0.3, 0.6):
        journal.record(replace(running, progress=progress))
    journal.ask_cancel(flight, "too slow")
    journal.record(ended(flight, MoveState.CANCELLED))
    assert [(step.state, step.text) for step in journal.steps(flight.outcome.move.id)] == [
        (MoveState.INTENDED, ""),
        (MoveState.RUNNING, ""),
        (MoveState.INTENDED, "asked to cancel: too slow"),
        (MoveState.CANCELLED, "over"),
    ]
    assert journal.steps("unknown") == ()


def test_a_wish_to_cancel_outlives_the_journal_s_reader(journal: Journal, database: Database) -> None:
    journal.ask_cancel(journal.intend(PLAN, move()), "too slow")
    assert [flight.cancel_asked for flight in Journal(database).flights()] == ["too slow"]


def test_refused_moves_are_over_and_told_with_their_reason(journal: Journal) -> None:
    refused = journal.refuse(PLAN, move(), "b is down")
    assert (refused.state, refused.started) == (MoveState.REFUSED, None)
    assert journal.recent(NOW) == (refused,)
    assert journal.steps(move().id) == (Step(NOW, MoveState.REFUSED, "b is down"),)


def test_recent_moves_come_the_newest_first_since_a_time_up_to_a_limit(
    database: Database, clock: SimulatedClock
) -> None:
    journal = Journal(database, JournalSettings(recent_max=2))
    journal.lead()
    for number in range(4):
        journal.refuse(PLAN, move(name=f"m{number}"), "b is down")
        clock.sleep(60)
    assert [outcome.move.id for outcome in journal.recent(NOW)] == ["m3", "m2"]
    assert [outcome.move.id for outcome in journal.recent(NOW + timedelta(seconds=180))] == ["m3"]
    assert journal.recent(NOW + timedelta(seconds=181)) == ()


def test_known_moves_are_told_with_their_state(journal: Journal) -> None:
    journal.intend(PLAN, move(name="m1"))
    journal.refuse(PLAN, move("db", name="m2"), "b is down")
    assert journal.known(["m1", "m2", "m3"]) == {"m1": MoveState.INTENDED, "m2": MoveState.REFUSED}
    assert journal.known([]) == {}


def test_intents_are_counted_from_a_time_on_and_refusals_are_none(journal: Journal, clock: SimulatedClock) -> None:
    journal.intend(PLAN, move("web"))
    clock.sleep(10)
    journal.intend(PLAN, move("db"))
    journal.refuse(PLAN, move("mail"), "b is down")
    assert journal.intended_since(NOW - timedelta(seconds=1)) == 2
    assert journal.intended_since(NOW) == 1


def test_a_controller_that_was_overtaken_writes_nothing_more(journal: Journal, database: Database) -> None:
    flight = journal.intend(PLAN, move())
    successor = Journal(database)
    assert successor.lead() == 2
    for write in (
        lambda: journal.intend(PLAN, move("db")),
        lambda: journal.refuse(PLAN, move("db"), "b is down"),
        lambda: journal.record(ended(flight)),
        lambda: journal.ask_cancel(flight, "slow"),
    ):
        with pytest.raises(NotLeading, match="another controller has taken over"):
            write()
    assert successor.flights() == (flight,)
    successor.record(ended(flight))
    assert successor.in_flight() == ()


def test_nobody_writes_who_never_led(database: Database) -> None:
    with pytest.raises(NotLeading, match="does not lead"):
        Journal(database).intend(PLAN, move())


def test_what_is_past_its_time_is_dropped_with_its_steps_and_what_is_in_flight_is_not(
    database: Database, clock: SimulatedClock
) -> None:
    journal = Journal(database, JournalSettings(kept_days=30, refusals_kept_days=1))
    journal.lead()
    over = journal.intend(PLAN, move("web"))
    journal.record(ended(over))
    stuck = journal.intend(PLAN, move("db"))
    journal.refuse(PLAN, move("mail", name="m1"), "b is down")
    clock.sleep(2 * DAY_S)
    journal.refuse(PLAN, move("mail", name="m2"), "b is down")
    assert set(journal.known(["m1", "m2", over.outcome.move.id])) == {"m2", over.outcome.move.id}
    clock.sleep(31 * DAY_S)
    journal.lead()
    assert journal.recent(NOW) == ()
    assert (journal.steps("m1"), journal.steps(over.outcome.move.id)) == ((), ())
    assert journal.flights() == (stuck,)
