"""A controller that is killed at any point, and started again, neither repeats nor forgets a move.

The story below is run once for every point at which something leaves the process: before and after each call of the
placement service, before and after each commit. There the controller dies. A new one takes over on the same database
and the same cluster, and the story must end well.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import Connection

from forewarn.act.executor import Executor
from forewarn.act.guards import Guards, GuardSettings
from forewarn.act.journal import Journal
from forewarn.clock import SimulatedClock
from forewarn.domain.plan import Move, MoveState, Outcome
from forewarn.drivers.base import MoveProgress
from forewarn.drivers.simulated import SimulatedDriver
from forewarn.state.database import Database
from tests.moves import NOW, move, plan_of, small_cluster, vm

GUARDS = GuardSettings(moves_per_source=2, moves_per_target=2)
VMS = ("arrives", "breaks", "is_cancelled", "waits")


class Killed(BaseException):
    """The end of the process; nothing may catch it."""


class Fuse:
    """Counts the points at which a controller may die, and burns at one of them."""

    def __init__(self, dies_at: int) -> None:
        self.dies_at = dies_at
        self.passed = 0

    def point(self) -> None:
        self.passed += 1
        if self.passed == self.dies_at:
            raise Killed


class FusedDatabase(Database):
    """A database that may be the last thing a controller touches."""

    fuse = Fuse(0)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        with super().write() as connection:
            yield connection
            self.fuse.point()
        self.fuse.point()


class FusedMover:
    """The calls of a controller that may die on the way to its placement service or back."""

    def __init__(self, driver: SimulatedDriver, fuse: Fuse) -> None:
        self._driver, self._fuse = driver, fuse
        self.started: list[str] = []

    def check(self, move: Move) -> None:
        self._driver.check(move)

    def expect(self, move: Move) -> None:
        self._driver.expect(move)

    def start(self, move: Move) -> None:
        self._fuse.point()
        self.started.append(move.id)
        self._driver.start(move)
        self._fuse.point()

    def poll(self, move: Move) -> MoveProgress:
        self._fuse.point()
        return self._driver.poll(move)

    def cancel(self, move: Move) -> None:
        self._fuse.point()
        self._driver.cancel(move)
        self._fuse.point()


class Story:
    """A cluster that outlives its controllers."""

    def __init__(self, dies_at: int) -> None:
        self.clock = SimulatedClock(NOW)
        self.driver = SimulatedDriver(small_cluster(*(vm(name, "a") for name in VMS)), (), self.clock)
        self.driver.fail_next_move("breaks")
        self.fuse = Fuse(dies_at)
        self.mover = FusedMover(self.driver, self.fuse)
        self.database = FusedDatabase("sqlite://", self.clock)
        self.database.fuse = self.fuse
        self.executor = self.controller()

    def controller(self) -> Executor:
        """A new process: it has nothing but the database and the cluster."""
        self.executor = Executor(self.mover, Journal(self.database), Guards(GUARDS), self.clock)
        return self.executor

    def cycle(self, number: int) -> None:
        """One turn of the loop: what is still on `a` shall leave it; one move is called off."""
        cluster = self.driver.inventory()
        moves = [move(found.id, "a", "b", f"{found.id}-{number}") for found in cluster.vms_by_host["a"]]
        self.executor.run(plan_of(*moves, at=self.clock.now(), generation=cluster.generation), cluster)
        for outcome in Journal(self.database).in_flight():
            if outcome.move.vm == "is_cancelled":
                self.executor.cancel(outcome.move.id, "not this one")
        self.clock.sleep(10)

    def told(self) -> bool:
        """Run the story; whether a controller died on the way."""
        died = False
        for number in range(5):
            try:
                self.cycle(number)
            except Killed:
                died = True
                self.controller()
        self.clock.sleep(60)
        try:
            self.finish()
        except Killed:
            died = True
            self.controller()
            self.finish()
        return died

    def finish(self) -> None:
        """A last turn without a plan, that finds what became of everything."""
        self.executor.run(plan_of(at=self.clock.now()), self.driver.inventory())

    def journaled(self) -> tuple[Outcome, ...]:
        return Journal(self.database).recent(NOW)


def check_ending(story: Story) -> None:
    cluster, journal = story.driver.inventory(), Journal(story.database)
    journaled = {outcome.move.id: outcome for outcome in journal.recent(NOW)}
    assert story.driver.audit() == ()
    assert journal.in_flight() == ()
    assert len(story.mover.started) == len(set(story.mover.started)), "a move was started twice"
    assert set(story.mover.started) <= set(journaled), "a move was started without an intent"
    for name in story.mover.started:
        state = story.driver.poll(move(name=name)).state
        assert journaled[name].state is state, f"{name} is {state}, and the journal says {journaled[name]}"
    for name, outcome in journaled.items():
        if any(step.text.startswith("asked to cancel") for step in journal.steps(name)):
            assert "not this one" in outcome.text, f"the wish to cancel {name} was forgotten"
    assert all(cluster.vm_by_id[name].host == "b" for name in ("arrives", "breaks", "waits"))


@pytest.mark.slow
def test_a_controller_killed_at_any_point_neither_repeats_nor_forgets_a_move() -> None:
    whole = Story(dies_at=0)
    assert not whole.told()
    check_ending(whole)
    assert whole.fuse.passed > 40
    for dies_at in range(1, whole.fuse.passed + 1):
        story = Story(dies_at)
        assert story.told(), f"nobody died at point {dies_at} of {whole.fuse.passed}"
        check_ending(story)
        story.database.close()


def test_an_intent_whose_call_never_came_ends_without_having_started() -> None:
    story = Story(dies_at=7)  # taking over is four points, an intent two: the seventh is the call
    assert story.told()
    [never] = [outcome for outcome in story.journaled() if outcome.move.id == "arrives-0"]
    assert (never.state, never.started) == (MoveState.FAILED, None)
    assert "arrives-0" not in story.mover.started


def test_a_move_that_ran_while_nobody_led_is_found_where_it_arrived() -> None:
    story = Story(dies_at=8)  # the call was made, its answer never written down
    assert story.told()
    [arrived] = [outcome for outcome in story.journaled() if outcome.move.id == "arrives-0"]
    assert (arrived.state, arrived.started) == (MoveState.SUCCEEDED, NOW)
