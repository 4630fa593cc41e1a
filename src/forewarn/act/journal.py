"""The journal of moves: an intent is written before the placement service is called, and each later step after it.

What the journal holds in flight is all that a restarted controller has to ask the placement service about. At most
one move of a VM is ever in flight: the database itself refuses a second. Each controller that takes over raises the
epoch, and one that was overtaken can write nothing more.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timedelta

from sqlalchemy import Connection, Row, Select, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from forewarn.domain.inventory import Criticality, Kind
from forewarn.domain.plan import Move, MoveState, Outcome, Plan
from forewarn.errors import StateError
from forewarn.state.database import Database
from forewarn.state.leadership import Leadership
from forewarn.state.schema import IN_FLIGHT, MOVES, STEPS

MOVE_FIELDS = tuple(field.name for field in fields(Move))
ENDED = MOVES.c.state.not_in([state for state in MoveState if not state.final])


@dataclass(frozen=True, slots=True)
class JournalSettings:
    """How long the journal keeps what is over."""

    kept_days: float = 400.0
    """Days for which ended moves are kept: a year, and a month to compare it in."""
    refusals_kept_days: float = 7.0
    """Days for which refused moves are kept; each cycle may refuse the same ones anew."""
    recent_max: int = 1000
    """Number of ended moves that one question returns."""


@dataclass(frozen=True, slots=True)
class Flight:
    """A move that is not over, with what only the executor needs to know."""

    outcome: Outcome
    intended_at: datetime
    cancel_asked: str = ""  # why its end was asked for; empty: it was not


@dataclass(frozen=True, slots=True)
class Step:
    """One line of a move's history."""

    time: datetime
    state: MoveState
    text: str


class Journal:
    """The moves of this site. Nothing but `lead` can be written before `lead` was called."""

    def __init__(
        self, database: Database, settings: JournalSettings | None = None, leadership: Leadership | None = None
    ) -> None:
        self._database = database
        self._settings = settings or JournalSettings()
        self.leadership = leadership or Leadership(database)
        self._pruned_at: datetime | None = None

    def lead(self) -> int:
        """Take the lead or renew it, and return the epoch; once a day, drop what is past its time.

        Raises NotLeading while another controller leads.
        """
        epoch, now = self.leadership.acquire(), self._database.clock.now()
        if self._pruned_at is None or now - self._pruned_at >= timedelta(days=1):
            old = MOVES.c.changed_at < now - timedelta(days=self._settings.kept_days)
            with self._write() as connection:
                connection.execute(delete(MOVES).where(old, ENDED))
            self._pruned_at = now
        return epoch

    def intend(self, plan: Plan, move: Move) -> Flight:
        """Write down that `move` is about to start. Raises StateError if a move of its VM is in flight."""
        now = self._database.clock.now()
        outcome = Outcome(move, MoveState.INTENDED, now)
        try:
            self._insert(plan, outcome)
        except IntegrityError as error:
            raise StateError(f"{move.vm_name} is being moved already, or move {move.id} was run before") from error
        return Flight(outcome, now)

    def refuse(self, plan: Plan, move: Move, text: str) -> Outcome:
        """Write down that `move` was not started, and why."""
        now = self._database.clock.now()
        outcome = Outcome(move, MoveState.REFUSED, now, text=text)
        self._insert(plan, outcome)
        old = MOVES.c.changed_at < now - timedelta(days=self._settings.refusals_kept_days)
        with self._write() as connection:
            connection.execute(delete(MOVES).where(MOVES.c.state == MoveState.REFUSED, old))
        return outcome

    def record(self, outcome: Outcome) -> None:
        """Write down how an intended move stands; a step is kept where its state or text changes."""
        same = MOVES.c.id == outcome.move.id
        with self._write() as connection:
            before = connection.execute(select(MOVES.c.state, MOVES.c.text).where(same)).one()
            connection.execute(update(MOVES).where(same).values(**_columns(outcome)))
            if (outcome.state, outcome.text) != (before.state, before.text):
                self._add_step(connection, outcome)

    def ask_cancel(self, flight: Flight, why: str) -> None:
        """Write down that a move shall end, before anybody is asked to end it."""
        with self._write() as connection:
            same = MOVES.c.id == flight.outcome.move.id
            connection.execute(update(MOVES).where(same).values(cancel_asked=why))
            values = {
                "move": flight.outcome.move.id,
                "epoch": self.leadership.epoch,
                "time": self._database.clock.now(),
            }
            words = {"state": flight.outcome.state, "text": f"asked to cancel: {why}"}
            connection.execute(insert(STEPS).values(**values, **words))

    def flights(self) -> tuple[Flight, ...]:
        """What is in flight, in the order in which it was intended."""
        with self._database.read() as connection:
            rows = connection.execute(select(MOVES).where(IN_FLIGHT).order_by(MOVES.c.intended_at, MOVES.c.id))
            return tuple(Flight(_outcome(row), row.intended_at, row.cancel_asked) for row in rows)

    def in_flight(self) -> tuple[Outcome, ...]:
        """The outcomes so far of what is in flight."""
        return tuple(flight.outcome for flight in self.flights())

    def recent(self, since: datetime) -> tuple[Outcome, ...]:
        """The moves that ended since then, the newest first."""
        ended = select(MOVES).where(MOVES.c.changed_at >= since, ENDED)
        newest_first = ended.order_by(MOVES.c.changed_at.desc(), MOVES.c.id).limit(self._settings.recent_max)
        with self._database.read() as connection:
            return tuple(_outcome(row) for row in connection.execute(newest_first))

    def known(self, move_ids: Iterable[str]) -> dict[str, MoveState]:
        """Those of the named moves that stand in the journal, and how they stand."""
        found: Select[tuple[str, str]] = select(MOVES.c.id, MOVES.c.state).where(MOVES.c.id.in_(list(move_ids)))
        with self._database.read() as connection:
            return {row.id: MoveState(row.state) for row in connection.execute(found)}

    def intended_since(self, time: datetime) -> int:
        """The number of moves that were to start after `time`, refused ones left out."""
        counted = select(func.count()).where(MOVES.c.intended_at > time, MOVES.c.state != MoveState.REFUSED)
        with self._database.read() as connection:
            return connection.execute(counted).scalar_one()

    def steps(self, move_id: str) -> tuple[Step, ...]:
        """The history of one move, the oldest step first."""
        with self._database.read() as connection:
            rows = connection.execute(select(STEPS).where(STEPS.c.move == move_id).order_by(STEPS.c.id))
            return tuple(Step(row.time, MoveState(row.state), row.text) for row in rows)

    def _insert(self, plan: Plan, outcome: Outcome) -> None:
        move = outcome.move
        keys = {"id": move.id, "plan": plan.id, "epoch": self.leadership.epoch, "vm": move.vm}
        places = {"source": move.source, "target": move.target, "move": json.dumps(asdict(move))}
        with self._write() as connection:
            connection.execute(
                insert(MOVES).values(**keys, **places, **_columns(outcome), intended_at=outcome.time, cancel_asked="")
            )
            self._add_step(connection, outcome)

    def _add_step(self, connection: Connection, outcome: Outcome) -> None:
        values = {"move": outcome.move.id, "epoch": self.leadership.epoch, "time": outcome.time}
        connection.execute(insert(STEPS).values(**values, state=outcome.state, text=outcome.text))

    @contextmanager
    def _write(self) -> Iterator[Connection]:
        """A writing transaction of the controller that leads; no other gets one."""
        with self._database.write() as connection:
            self.leadership.check(connection)
            yield connection


def _columns(outcome: Outcome) -> dict[str, object]:
    return {
        "state": outcome.state,
        "started_at": outcome.started,
        "changed_at": outcome.time,
        "text": outcome.text,
        "progress": outcome.progress,
        "duration_s": outcome.duration_s,
        "downtime_ms": outcome.downtime_ms,
    }


def _outcome(row: Row[tuple[object, ...]]) -> Outcome:
    told = json.loads(row.move)
    known = {name: told[name] for name in MOVE_FIELDS if name in told}  # a later version may have written more
    move = Move(**{**known, "criticality": Criticality(told["criticality"]), "kind": Kind(told["kind"])})
    return Outcome(
        move=move,
        state=MoveState(row.state),
        time=row.changed_at,
        started=row.started_at,
        text=row.text,
        progress=row.progress,
        duration_s=row.duration_s,
        downtime_ms=row.downtime_ms,
    )
