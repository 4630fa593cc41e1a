"""Carries out plans: starts what may start, follows what runs, and picks up after a crash.

The journal row comes first, the call second, and no call happens within a transaction. A move whose call was not
answered is neither failed nor repeated: it stays in the journal and its placement service is asked how it stands.
Nothing here chooses: what does not fit any more is refused in a sentence, what finds no slot is left to the next
cycle's plan.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from forewarn.act.guards import HOUR, Guard, Guards, Slots, not_started
from forewarn.act.journal import Flight, Journal
from forewarn.clock import Clock
from forewarn.domain.inventory import Cluster, Host, HostState, VmState
from forewarn.domain.plan import Move, MoveState, Outcome, Plan, Refusal, Verdict
from forewarn.domain.situation import Budget
from forewarn.drivers.base import MoveProgress, Mover
from forewarn.errors import MoveRefused, TemporaryError
from forewarn.state.requests import Request, RequestKind, pause_reason

ABORT = "abort"  # the argument `running` of a pause that also ends what runs


class Executor:
    """The only caller of a `Mover`. One thread at a time may use it.

    After `run`, `held` says what was planned and not begun, and why. `guards.hits` counts it.
    """

    def __init__(self, mover: Mover, journal: Journal, guards: Guards, clock: Clock) -> None:
        self.guards = guards
        self.held: tuple[Verdict, ...] = ()
        self._mover = mover
        self._journal = journal
        self._clock = clock
        self._epoch = 0
        self._copying: dict[str, str] = {}  # by move, how its copy stood when last asked

    def lead(self) -> tuple[Outcome, ...]:
        """Take the lead or renew it. A new leader compares what the journal holds in flight with the placement service.

        Nothing is started again: a move that never began ends as FAILED, with `started` None and its VM where it was.
        Raises NotLeading while another controller leads.
        """
        epoch = self._journal.lead()
        if epoch == self._epoch:
            return ()
        self._epoch = epoch
        return self._follow_all()

    def reconcile(self) -> tuple[Outcome, ...]:
        """Lead, and compare what the journal holds in flight with what the placement service says."""
        before = self._epoch
        ended = self.lead()
        return self._follow_all() if self._epoch == before else ended

    def run(self, plan: Plan, cluster: Cluster) -> tuple[Outcome, ...]:
        """Follow what is in flight, then start what of `plan` may start; returns what changed.

        `cluster` is the newest picture: what does not fit it is refused. A plan that was run before starts nothing.
        """
        followed = self.reconcile()
        self.held = ()
        return followed + self._start_all(plan, cluster)

    def cancel(self, move_id: str, why: str) -> Outcome | None:
        """Ask for the end of a move in flight; its outcome if it is known at once, else it comes with a later `run`."""
        self.lead()
        flight = next((f for f in self._journal.flights() if f.outcome.move.id == move_id), None)
        return None if flight is None else self._cancel(flight, why)

    def cancel_all(self, why: str) -> tuple[Outcome, ...]:
        """Ask for the end of everything in flight; returns what ended at once."""
        self.lead()
        ended = [self._cancel(flight, why) for flight in self._journal.flights()]
        return tuple(outcome for outcome in ended if outcome is not None)

    def obey(self, requests: Iterable[Request]) -> tuple[Outcome, ...]:
        """Do what people asked for, in their order; returns what changed."""
        taken_over = self.lead()
        return taken_over + tuple(outcome for request in requests for outcome in self._obey(request))

    def running(self) -> tuple[Outcome, ...]:
        """What is in flight, and how its copy stands where that is told; it is shown, not journaled."""
        flights = self._journal.in_flight()
        self._copying = {flight.move.id: self._copying.get(flight.move.id, "") for flight in flights}
        return tuple(replace(flight, text=flight.text or self._copying[flight.move.id]) for flight in flights)

    def budgets(self, cluster: Cluster) -> tuple[Budget, ...]:
        """Each limit on moves: how much of it is used now, and how often it has held something back."""
        now = self._clock.now()
        begun = self._journal.intended_since(now - HOUR)
        slots = Slots(self.guards.settings, self._journal.in_flight(), begun, cluster)
        used = {**slots.used(), **self.guards.used(cluster, now)}
        return tuple(
            Budget(str(guard), found, limit, self.guards.hits[guard]) for guard, (found, limit) in used.items()
        )

    # --- requests -----------------------------------------------------------------------------------

    def _obey(self, request: Request) -> tuple[Outcome, ...]:
        if request.kind is RequestKind.RESUME:
            self.guards.resume()
            return ()
        if request.kind is RequestKind.ABORT_MOVE:
            ended = self.cancel(request.args.get("move", ""), pause_reason(request))
            return () if ended is None else (ended,)
        if request.kind not in (RequestKind.PAUSE, RequestKind.RELEASE):
            return ()
        self.guards.pause(pause_reason(request))
        return self.cancel_all(pause_reason(request)) if request.args.get("running") == ABORT else ()

    def _cancel(self, flight: Flight, why: str) -> Outcome | None:
        self._journal.ask_cancel(flight, why)
        return self._follow(replace(flight, cancel_asked=why))

    # --- following ----------------------------------------------------------------------------------

    def _follow_all(self) -> tuple[Outcome, ...]:
        followed = [self._follow(flight) for flight in self._journal.flights()]
        return tuple(outcome for outcome in followed if outcome is not None)

    def _follow(self, flight: Flight) -> Outcome | None:
        """Ask how a move stands and write it down; None if nothing changed or nobody answered."""
        move = flight.outcome.move
        try:
            if flight.cancel_asked:
                self._mover.cancel(move)
            progress = self._mover.poll(move)
        except TemporaryError:
            return None
        self._copying[move.id] = str(progress.copying or "")
        outcome = _after(flight, progress, self._clock.now())
        if replace(outcome, time=flight.outcome.time) == flight.outcome:
            return None
        self._journal.record(outcome)
        return outcome

    # --- starting -----------------------------------------------------------------------------------

    def _start_all(self, plan: Plan, cluster: Cluster) -> tuple[Outcome, ...]:
        closed = self.guards.closed_because(plan, cluster, self._clock.now())
        if closed is not None:
            self.held = tuple(self._held(move, *closed) for move in plan.moves)
            return ()
        run = self._journal.known(move.id for move in plan.moves)
        in_flight = self._journal.in_flight()
        begun = self._journal.intended_since(self._clock.now() - HOUR)
        slots = Slots(self.guards.settings, in_flight, begun, cluster)
        moving = {outcome.move.vm for outcome in in_flight}
        results: list[Outcome | Verdict] = []
        for move in plan.moves:
            result = _repeated(move, run, moving) or self._start_fitting(plan, move, cluster, slots)
            if isinstance(result, Outcome) and not result.state.final:
                moving.add(move.vm)
            results.append(result)
        self.held = tuple(result for result in results if isinstance(result, Verdict))
        return tuple(result for result in results if isinstance(result, Outcome))

    def _start_fitting(self, plan: Plan, move: Move, cluster: Cluster, slots: Slots) -> Outcome | Verdict:
        """Start `move` if it still fits the cluster, a slot is free and the placement service would take it."""
        stale = stale_because(move, cluster)
        if stale:
            return self._journal.refuse(plan, move, stale)
        full = slots.full_because(move)
        if full is not None:
            return self._held(move, *full)
        try:
            self._mover.check(move)
        except MoveRefused as refused:
            return self._journal.refuse(plan, move, str(refused))
        except TemporaryError as error:
            return not_started(move, Refusal.DRIVER_UNAVAILABLE, str(error))
        slots.take(move)
        return self._start(self._journal.intend(plan, move))

    def _held(self, move: Move, guard: Guard, text: str) -> Verdict:
        """A move that a guard holds back; its driver may use the time."""
        self._mover.expect(move)
        return self.guards.held(move, guard, text)

    def _start(self, intended: Flight) -> Outcome:
        """Call the placement service for an intent that is journaled."""
        move, now = intended.outcome.move, self._clock.now()
        try:
            self._mover.start(move)
            outcome = Outcome(move, MoveState.RUNNING, now, started=now)
        except MoveRefused as refused:
            outcome = Outcome(move, MoveState.REFUSED, now, text=str(refused))
        except TemporaryError as error:
            outcome = replace(intended.outcome, text=f"no answer yet, it will be asked again: {error}")
        self._journal.record(outcome)
        return outcome


def stale_because(move: Move, cluster: Cluster) -> str:
    """Why `move` does not fit the cluster any more; empty while it does."""
    vm = cluster.vm_by_id.get(move.vm)
    if vm is None:
        return f"{move.vm_name} is not in the inventory any more"
    if vm.host == move.target:
        return f"{vm.name} is on {move.target} already"
    if vm.host != move.source:
        return f"{vm.name} was moved by somebody else from {move.source} to {vm.host}"
    if vm.state is not VmState.RUNNING:
        return f"{vm.name} is {vm.state}"
    return _closed_because(move.target, cluster.host_by_name.get(move.target))


def _closed_because(name: str, target: Host | None) -> str:
    if target is None:
        return f"{name} is not in the inventory any more"
    if target.state is not HostState.UP:
        return f"{name} is {target.state.words}"
    return f"{name} takes no VMs" if target.cordoned or not target.can_receive else ""


def _repeated(move: Move, run: dict[str, MoveState], moving: set[str]) -> Verdict | None:
    """Why this move would be done twice, if it would."""
    if move.vm in moving:
        return not_started(move, Refusal.ALREADY_MOVING, f"{move.vm_name} is being moved already")
    if move.id in run:
        return not_started(move, Refusal.ALREADY_MOVING, f"move {move.id} was run before, it {run[move.id]}")
    return None


def _after(flight: Flight, progress: MoveProgress, now: datetime) -> Outcome:
    """How a move stands after the placement service has answered."""
    before = flight.outcome
    began = before.started or flight.intended_at
    if not progress.state.final:
        return Outcome(before.move, MoveState.RUNNING, now, began, progress=progress.progress)
    if before.started is None and progress.state is MoveState.FAILED and progress.duration_s <= 0:
        return _never_began(flight, progress.text, now)
    return Outcome(
        move=before.move,
        state=progress.state,
        time=now,
        started=began,
        text=_ending(before.move, progress, flight.cancel_asked),
        progress=progress.progress,
        duration_s=progress.duration_s or max(0.0, (now - began).total_seconds()),
        downtime_ms=progress.downtime_ms,
    )


def _never_began(flight: Flight, text: str, now: datetime) -> Outcome:
    move = flight.outcome.move
    state = MoveState.CANCELLED if flight.cancel_asked else MoveState.FAILED
    because = flight.cancel_asked or text
    return Outcome(move, state, now, text=f"{move.vm_name} stays on {move.source}, the move never began: {because}")


def _ending(move: Move, progress: MoveProgress, cancel_asked: str) -> str:
    if progress.state is MoveState.SUCCEEDED:
        late = f" before it could be cancelled ({cancel_asked})" if cancel_asked else ""
        note = f"; {progress.left_behind}" if progress.left_behind else ""
        return f"{move.vm_name} arrived on {move.target}{late}{note}"
    cancelled = progress.state is MoveState.CANCELLED and cancel_asked
    return f"{move.vm_name} stays on {move.source}: {cancelled or progress.text}"
