"""What the executor must survive: each test is a bug that some other mover of VMs had."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

import pytest

from forewarn.act.executor import Executor
from forewarn.act.guards import Guard, Guards, GuardSettings
from forewarn.act.journal import Journal
from forewarn.clock import SimulatedClock
from forewarn.domain.inventory import Cluster
from forewarn.domain.plan import Move, MoveState, Outcome, Plan, Refusal
from forewarn.domain.situation import Budget, Workload
from forewarn.drivers.base import Copying, MoveProgress
from forewarn.drivers.simulated import SimulatedDriver, SimulatedSettings
from forewarn.errors import DriverUnavailable, MoveRefused, NotLeading
from forewarn.state.database import Database
from forewarn.state.requests import Request, RequestKind, Requests
from tests.moves import GIB, NOW, move, plan_of, small_cluster, vm

MINUTE_S = 60.0
GENEROUS = GuardSettings(moves_per_source=10, moves_per_target=10, moves_at_once=50, moves_per_hour=500)


class OneWriter(Database):
    """A database that knows whether a transaction is open."""

    busy = False

    @contextmanager
    def _transaction(self, write: bool) -> Iterator[object]:  # type: ignore[override]
        with super()._transaction(write) as connection:
            self.busy = True
            try:
                yield connection
            finally:
                self.busy = False


class Watchful(SimulatedDriver):
    """A simulated driver that notes what it is asked, and minds an open transaction."""

    database: OneWriter
    journaled: list[MoveState | None]  # how the move stood in the journal at each call
    calls: list[tuple[str, str]]
    answer_to_start: Exception | None = None
    measures = True
    expected: list[str]  # the VMs whose moves wait
    copying: Copying | None = None
    left_behind = ""

    def note(self, name: str, of: Move) -> None:
        assert not self.database.busy, f"{name} was called within a transaction"
        self.calls.append((name, of.id))
        self.journaled.append(Journal(self.database).known([of.id]).get(of.id))

    def start(self, move: Move) -> None:
        self.note("start", move)
        if self.answer_to_start is not None:
            raise self.answer_to_start
        super().start(move)

    def expect(self, move: Move) -> None:
        assert not self.database.busy, "expect was called within a transaction"
        self.expected.append(move.vm)

    def poll(self, move: Move) -> MoveProgress:
        self.note("poll", move)
        measured = replace(super().poll(move), copying=self.copying, left_behind=self.left_behind)
        return measured if self.measures else replace(measured, duration_s=0.0)

    def cancel(self, move: Move) -> None:
        self.note("cancel", move)
        super().cancel(move)


class Site:
    """An executor over a simulated cluster, and the loop's way of driving it."""

    def __init__(
        self,
        cluster: Cluster | None = None,
        *loads: Workload,
        guards: GuardSettings = GENEROUS,
        patience: float = 800.0,
    ) -> None:
        self.clock = SimulatedClock(NOW)
        self.database = OneWriter("sqlite://", self.clock)
        settings = SimulatedSettings()
        settings = replace(settings, copy=replace(settings.copy, give_up_s_per_gib=patience))
        self.driver = Watchful(cluster or small_cluster(), loads, self.clock, settings)
        self.driver.database, self.driver.calls, self.driver.journaled = self.database, [], []
        self.driver.expected = []
        self.guards = Guards(guards)
        self.executor = self.restarted()

    @property
    def journal(self) -> Journal:
        return Journal(self.database)

    def restarted(self) -> Executor:
        """A new controller, as after a crash: nothing survives but the database and the cluster."""
        self.executor = Executor(self.driver, self.journal, self.guards, self.clock)
        return self.executor

    def plan(self, *moves: Move) -> Plan:
        generation = self.driver.inventory().generation
        return plan_of(*moves, at=self.clock.now(), generation=generation)

    def run(self, *moves: Move) -> tuple[Outcome, ...]:
        return self.executor.run(self.plan(*moves), self.driver.inventory())

    def states(self, *moves: Move) -> list[MoveState]:
        return [outcome.state for outcome in self.run(*moves)]

    def after(self, seconds: float) -> tuple[Outcome, ...]:
        """What a cycle without a new plan finds later."""
        self.clock.sleep(seconds)
        return self.run()

    def host_of(self, name: str = "web") -> str:
        return self.driver.inventory().vm_by_id[name].host

    def held(self) -> list[tuple[Refusal, str]]:
        return [(verdict.refusal, verdict.text) for verdict in self.executor.held]

    def started(self) -> list[str]:
        return [of for name, of in self.driver.calls if name == "start"]


def many(count: int, on: str = "a", memory_gib: int = 4) -> Cluster:
    return small_cluster(*(vm(f"vm{number}", on, memory_gib, vcpus=1) for number in range(count)), hosts="abcdef")


# --- the plain way --------------------------------------------------------------------------------------------


def test_a_move_is_intended_then_started_followed_and_ended() -> None:
    site = Site()
    [running] = site.run(move())
    assert (running.state, running.started, running.time) == (MoveState.RUNNING, NOW, NOW)
    [halfway] = site.after(2)
    assert 0.4 < halfway.progress < 0.6
    [arrived] = site.after(MINUTE_S)
    assert (arrived.state, arrived.text, arrived.progress) == (MoveState.SUCCEEDED, "web-name arrived on b", 1.0)
    assert 4 < arrived.duration_s < 5
    assert arrived.downtime_ms == pytest.approx(20)
    assert [step.state for step in site.journal.steps(move().id)] == [
        MoveState.INTENDED,
        MoveState.RUNNING,
        MoveState.SUCCEEDED,
    ]
    assert site.after(MINUTE_S) == ()


def test_nothing_is_said_of_a_move_that_has_not_changed() -> None:
    site = Site()
    site.run(move())
    site.driver.stall_move("web")
    assert site.after(1) == ()


def test_the_intent_is_in_the_journal_when_the_placement_service_is_called() -> None:
    site = Site()
    site.run(move())
    assert (site.driver.calls, site.driver.journaled) == ([("start", move().id)], [MoveState.INTENDED])


def test_no_call_of_the_placement_service_happens_within_a_transaction() -> None:
    site = Site(many(3))
    site.run(*(move(f"vm{number}") for number in range(3)))
    site.executor.cancel(move("vm0").id, "for the test")
    site.after(MINUTE_S)
    assert {name for name, _ in site.driver.calls} == {"start", "poll", "cancel"}
    assert not site.database.busy


def test_a_service_that_measures_no_time_has_it_measured_by_the_journal() -> None:
    site = Site()
    site.run(move())
    site.clock.sleep(90)
    site.driver.measures = False
    assert [outcome.duration_s for outcome in site.run()] == [90.0]


# --- what FIELD tells of peers --------------------------------------------------------------------------------


def test_destination_disabled_or_in_maintenance_between_plan_and_act_is_refused() -> None:
    site = Site(many(3))
    plan = site.plan(move("vm0", target="b"), move("vm1", target="c"), move("vm2", target="d"))
    site.driver.cordon_by_hand("b")
    site.driver.maintain("c")
    site.driver.fail_host("d")
    outcomes = site.executor.run(plan, site.driver.inventory())
    assert [outcome.state for outcome in outcomes] == [MoveState.REFUSED] * 3
    assert [outcome.text for outcome in outcomes] == ["b takes no VMs", "c is in maintenance", "d is down"]
    assert site.started() == []


def test_destination_disabled_after_the_last_look_is_refused_by_the_placement_service() -> None:
    site = Site()
    plan, seen = site.plan(move()), site.driver.inventory()
    site.driver.maintain("b")
    [outcome] = site.executor.run(plan, seen)
    assert (outcome.state, outcome.text) == (MoveState.REFUSED, "b is in maintenance")
    assert site.started() == []


def test_destination_gone_or_only_watched_is_refused() -> None:
    site = Site(many(2))
    seen = site.driver.inventory()
    without = replace(seen, hosts=tuple(host for host in seen.hosts if host.name != "b"))
    watched = tuple(replace(host, can_receive=host.name != "c") for host in without.hosts)
    outcomes = site.executor.run(
        site.plan(move("vm0", target="b"), move("vm1", target="c")), replace(without, hosts=watched)
    )
    assert [outcome.text for outcome in outcomes] == ["b is not in the inventory any more", "c takes no VMs"]


def test_a_vm_moved_by_somebody_else_before_the_start_is_refused() -> None:
    site = Site(many(2))
    plan = site.plan(move("vm0"), move("vm1"))
    site.driver.move_elsewhere("vm0", "c")
    site.driver.move_elsewhere("vm1", "b")
    outcomes = site.executor.run(plan, site.driver.inventory())
    assert [(outcome.state, outcome.text) for outcome in outcomes] == [
        (MoveState.REFUSED, "vm0-name was moved by somebody else from a to c"),
        (MoveState.REFUSED, "vm1-name is on b already"),
    ]


def test_a_vm_stopped_or_deleted_by_somebody_else_before_the_start_is_refused() -> None:
    site = Site(many(2))
    plan = site.plan(move("vm0"), move("vm1"))
    site.driver.stop_vm("vm0")
    site.driver.remove_vm("vm1")
    outcomes = site.executor.run(plan, site.driver.inventory())
    assert [(outcome.state, outcome.text) for outcome in outcomes] == [
        (MoveState.REFUSED, "vm0-name is stopped"),
        (MoveState.REFUSED, "vm1-name is not in the inventory any more"),
    ]


def test_a_vm_moved_stopped_or_deleted_during_its_move_ends_it_as_failed() -> None:
    site = Site(many(3))
    site.run(*(move(f"vm{number}") for number in range(3)))
    site.driver.move_elsewhere("vm0", "c")
    site.driver.stop_vm("vm1")
    site.driver.remove_vm("vm2")
    outcomes = site.after(1)
    assert [outcome.state for outcome in outcomes] == [MoveState.FAILED] * 3
    assert "somebody else moved the VM" in outcomes[0].text
    assert site.driver.audit() == ()


def test_a_job_that_was_accepted_and_got_lost_is_failed_and_the_vm_can_move_again() -> None:
    site = Site()
    site.driver.lose_next_move("web")
    assert site.states(move()) == [MoveState.RUNNING]
    [lost] = site.after(5)
    assert (lost.state, site.host_of()) == (MoveState.FAILED, "a")
    assert "never heard of" in lost.text
    assert site.states(move(name="again")) == [MoveState.RUNNING]


def test_a_time_out_while_the_migration_still_runs_is_not_a_failure() -> None:
    site = Site()
    site.driver.time_out_next_start("web")
    [outcome] = site.run(move())
    assert outcome.state is MoveState.INTENDED
    assert "no answer yet, it will be asked again" in outcome.text
    [running] = site.after(1)
    assert (running.state, running.text, running.started) == (MoveState.RUNNING, "", NOW)
    assert [outcome.state for outcome in site.after(MINUTE_S)] == [MoveState.SUCCEEDED]
    assert site.started() == [move().id]


def test_a_migration_that_takes_hours_is_running_not_failed() -> None:
    site = Site(patience=1e6)
    site.run(move())
    site.driver.stall_move("web")
    assert site.after(24 * 3600) == ()
    assert [outcome.state for outcome in site.journal.in_flight()] == [MoveState.RUNNING]


def test_a_start_that_was_never_taken_ends_without_having_started_and_is_not_repeated() -> None:
    site = Site()
    site.driver.answer_to_start = DriverUnavailable("no route to the service")
    [intended] = site.run(move())
    assert intended.state is MoveState.INTENDED
    [outcome] = site.after(1)
    assert (outcome.state, outcome.started, outcome.duration_s) == (MoveState.FAILED, None, 0.0)
    assert outcome.text.startswith("web-name stays on a, the move never began: ")
    assert site.started() == [move().id]


def test_a_placement_service_that_is_away_before_the_start_leaves_no_trace() -> None:
    site = Site()
    plan, seen = site.plan(move()), site.driver.inventory()
    site.driver.be_unreachable("maintenance of the API")
    assert site.executor.run(plan, seen) == ()
    assert site.held() == [(Refusal.DRIVER_UNAVAILABLE, "web-name was not moved to b yet: maintenance of the API")]
    assert site.journal.known([move().id]) == {}
    site.driver.be_reachable()
    assert site.states(move()) == [MoveState.RUNNING]


def test_a_placement_service_that_is_away_leaves_running_moves_running() -> None:
    site = Site()
    site.run(move())
    site.driver.be_unreachable()
    site.clock.sleep(MINUTE_S)
    seen = replace(small_cluster(), time=site.clock.now())
    assert site.executor.run(plan_of(at=site.clock.now()), seen) == ()
    assert [outcome.state for outcome in site.journal.in_flight()] == [MoveState.RUNNING]
    site.driver.be_reachable()
    assert [outcome.state for outcome in site.run()] == [MoveState.SUCCEEDED]


def test_a_failed_migration_leaves_the_vm_where_it_was() -> None:
    site = Site()
    site.driver.fail_next_move("web", "qemu lost the socket")
    site.run(move())
    [outcome] = site.after(MINUTE_S)
    assert (outcome.state, outcome.text) == (MoveState.FAILED, "web-name stays on a: qemu lost the socket")
    assert site.host_of() == "a"


def test_a_start_that_is_refused_after_the_check_is_refused_not_failed() -> None:
    site = Site()
    site.driver.answer_to_start = MoveRefused("somebody was faster")
    [outcome] = site.run(move())
    assert (outcome.state, outcome.text) == (MoveState.REFUSED, "somebody was faster")
    assert site.journal.in_flight() == ()


def test_two_plans_for_one_vm_start_one_move() -> None:
    site = Site()
    site.run(move())
    assert site.run(move(target="c")) == ()
    assert site.held() == [(Refusal.ALREADY_MOVING, "web-name was not moved to c yet: web-name is being moved already")]
    assert site.started() == [move().id]


def test_one_plan_with_two_moves_of_one_vm_starts_the_first() -> None:
    site = Site()
    assert [outcome.move.target for outcome in site.run(move(target="c"), move(target="b"))] == ["c"]
    assert [refusal for refusal, _ in site.held()] == [Refusal.ALREADY_MOVING]


def test_a_plan_that_was_run_before_starts_nothing() -> None:
    site = Site()
    plan = site.plan(move())
    site.executor.run(plan, site.driver.inventory())
    site.after(MINUTE_S)
    site.driver.move_elsewhere("web", "a")
    assert site.executor.run(plan, replace(site.driver.inventory(), time=site.clock.now())) == ()
    assert [text for _, text in site.held()] == [
        f"web-name was not moved to b yet: move {move().id} was run before, it succeeded"
    ]


def test_one_host_never_fills_the_queue() -> None:
    site = Site(
        small_cluster(*(vm(f"vm{number}", "a") for number in range(5)), vm("db", "b"), hosts="abcdef"),
        guards=replace(GENEROUS, moves_per_source=2, hosts_share=0.5),
    )
    moves = [move(f"vm{number}", "a", "cdefc"[number]) for number in range(5)]
    outcomes = site.run(*moves, move("db", "b", "f"))
    assert [outcome.move.vm for outcome in outcomes] == ["vm0", "vm1", "db"]
    assert [refusal for refusal, _ in site.held()] == [Refusal.LIMIT] * 3
    assert site.guards.hits == {Guard.PER_SOURCE: 3}
    assert site.driver.expected == ["vm2", "vm3", "vm4"]  # their driver is told, and may measure them meanwhile


def test_a_slow_move_holds_up_no_other() -> None:
    site = Site(many(3), guards=replace(GENEROUS, moves_at_once=2))
    site.run(move("vm0"), move("vm1"))
    site.driver.stall_move("vm0")
    site.clock.sleep(MINUTE_S)
    outcomes = site.run(move("vm2"))
    assert [(outcome.move.vm, outcome.state) for outcome in outcomes] == [
        ("vm1", MoveState.SUCCEEDED),
        ("vm2", MoveState.RUNNING),
    ]


def test_a_plan_made_before_a_pause_is_stale_when_it_ends() -> None:
    site = Site()
    stale = site.plan(move())
    site.guards.pause("storm")
    assert site.executor.run(stale, site.driver.inventory()) == ()
    site.clock.sleep(3600)
    site.guards.resume()
    assert site.executor.run(stale, site.driver.inventory()) == ()
    assert [text for _, text in site.held()] == [
        "web-name was not moved to b yet: the plan is 3600 s old, and at most 300 s are allowed"
    ]
    assert site.guards.hits == {Guard.PAUSED: 1, Guard.PLAN_AGE: 1}


def test_a_condition_that_never_clears_moves_no_vm_that_is_gone_from_its_host() -> None:
    site = Site()
    for number in range(5):
        site.run(move(name=f"m{number}"))
        site.clock.sleep(MINUTE_S)
    assert site.started() == ["m0"]
    ended = {outcome.move.id: outcome.text for outcome in site.journal.recent(NOW)}
    assert ended.pop("m0") == "web-name arrived on b"
    assert ended == dict.fromkeys(("m1", "m2", "m3", "m4"), "web-name is on b already")


def test_a_destination_is_not_overloaded_by_moves_planned_together() -> None:
    site = Site(
        small_cluster(*(vm(f"vm{number}", "a", memory_gib=20, vcpus=1) for number in range(3)), vm("x", "b", 10))
    )
    outcomes = site.run(*(move(f"vm{number}") for number in range(3)))
    assert [outcome.state for outcome in outcomes] == [MoveState.RUNNING, MoveState.RUNNING, MoveState.REFUSED]
    assert outcomes[-1].text == "b has not enough memory left for vm2-name"


def test_moves_into_one_host_are_limited_before_it_is_full() -> None:
    site = Site(many(3), guards=replace(GENEROUS, moves_per_target=1))
    assert len(site.run(move("vm0", target="b"), move("vm1", target="b"), move("vm2", target="c"))) == 2
    assert site.guards.hits == {Guard.PER_TARGET: 1}


@pytest.mark.parametrize("skew_s", [-3600, 3600])
def test_clock_skew_starts_nothing_and_ends_nothing(skew_s: float) -> None:
    site = Site(many(2))
    site.run(move("vm0"))
    skewed = replace(site.plan(move("vm1")), time=NOW + timedelta(seconds=skew_s))
    assert site.executor.run(skewed, site.driver.inventory()) == ()
    assert site.guards.hits == {Guard.PLAN_AGE: 1}
    assert [outcome.move.vm for outcome in site.journal.in_flight()] == ["vm0"]


def test_a_clock_that_was_set_back_gives_no_negative_duration_and_keeps_the_hourly_limit() -> None:
    site = Site(many(2), guards=replace(GENEROUS, moves_per_hour=1))
    site.run(move("vm0"))
    site.clock.sleep(MINUTE_S)
    earlier = SimulatedClock(NOW - timedelta(hours=5))
    site.driver.measures = False
    executor = Executor(site.driver, site.journal, site.guards, earlier)
    plan = plan_of(move("vm1"), at=earlier.now())
    [outcome] = executor.run(plan, replace(site.driver.inventory(), time=earlier.now()))
    assert (outcome.state, outcome.duration_s) == (MoveState.SUCCEEDED, 0.0)
    assert site.guards.hits == {Guard.PER_HOUR: 1}


def test_a_host_that_flaps_fails_the_move_and_loses_no_vm() -> None:
    site = Site()
    for number in range(4):
        site.run(move(name=f"m{number}"))
        site.clock.sleep(1)
        site.driver.fail_host("ab"[number % 2])
        [outcome] = site.run()
        assert (outcome.state, site.host_of()) == (MoveState.FAILED, "a")
        site.driver.repair_host("ab"[number % 2])
    assert site.driver.audit() == ()


def test_an_inventory_that_is_late_starts_nothing() -> None:
    site = Site()
    late = site.driver.inventory()
    site.clock.sleep(3600)
    assert site.executor.run(site.plan(move()), late) == ()
    assert site.guards.hits == {Guard.INVENTORY_AGE: 1}


def test_an_inventory_from_before_the_plan_starts_nothing() -> None:
    site = Site()
    before = site.driver.inventory()
    site.driver.cordon_by_hand("c")
    assert site.executor.run(site.plan(move()), before) == ()
    assert [text for _, text in site.held()] == [
        "web-name was not moved to b yet: the inventory is older than the plan"
    ]


def test_an_inventory_that_is_partial_refuses_and_ends_nothing_that_runs() -> None:
    site = Site(many(2))
    site.run(move("vm0"))
    partial = replace(site.driver.inventory(), vms=())
    [refused] = site.executor.run(site.plan(move("vm1")), partial)
    assert refused.text == "vm1-name is not in the inventory any more"
    assert [outcome.state for outcome in site.journal.in_flight()] == [MoveState.RUNNING]


def test_many_hosts_risky_at_once_move_no_more_than_the_hour_allows() -> None:
    cluster = small_cluster(*(vm(f"vm{number}", "abcdef"[number % 6], 1, 1) for number in range(48)), hosts="abcdef")
    site = Site(cluster, guards=replace(GENEROUS, moves_per_hour=10))
    started = 0
    for _ in range(6):
        found = site.driver.inventory()
        moves = [
            move(one.id, one.host, "bcdefa"["abcdef".index(one.host)], f"{one.id}-{site.clock.now():%H%M}")
            for one in found.vms
        ]
        started += sum(outcome.state is MoveState.RUNNING for outcome in site.run(*moves))
        site.after(5 * MINUTE_S)
    assert started == 10
    assert site.guards.hits[Guard.PER_HOUR] > 0
    site.clock.sleep(3600)
    assert len(site.run(move("vm0", site.host_of("vm0"), "b" if site.host_of("vm0") != "b" else "c", "later"))) == 1


# --- cancelling and pausing -----------------------------------------------------------------------------------


def test_a_cancelled_move_ends_at_once_with_its_reason() -> None:
    site = Site()
    site.run(move())
    outcome = site.executor.cancel(move().id, "the alarm was false")
    assert outcome is not None
    assert (outcome.state, outcome.text) == (
        MoveState.CANCELLED,
        "web-name stays on a: the alarm was false",
    )
    assert site.host_of() == "a"


def test_a_move_that_the_service_cancelled_by_itself_says_so() -> None:
    site = Site()
    site.run(move())
    site.driver.cancel(move())
    assert [outcome.text for outcome in site.run()] == ["web-name stays on a: cancelled; it stays where it was"]


def test_how_a_copy_stands_is_shown_and_not_journaled() -> None:
    site = Site()
    site.driver.copying = Copying(total_bytes=100 * 2**20, left_bytes=30 * 2**20, dirty_bytes_per_s=2**20, rounds=2)
    site.run(move())
    site.after(1)
    assert [outcome.text for outcome in site.executor.running()] == [
        "round 2, 30 of 100 MiB left, dirtying 1.0 MiB/s",
    ]
    assert [outcome.text for outcome in site.journal.in_flight()] == [""]
    site.after(MINUTE_S)
    assert site.executor.running() == ()


def test_what_an_arrived_vm_leaves_behind_is_told() -> None:
    site = Site()
    site.driver.left_behind = "the image of its copied disk vda is still on a"
    site.run(move())
    [arrived] = site.after(MINUTE_S)
    assert arrived.text == "web-name arrived on b; the image of its copied disk vda is still on a"


def test_what_is_not_in_flight_cannot_be_cancelled() -> None:
    site = Site()
    assert site.executor.cancel("unknown", "for the test") is None


def test_a_cancel_that_comes_too_late_tells_of_the_arrival() -> None:
    site = Site()
    site.run(move())
    site.clock.sleep(MINUTE_S)
    outcome = site.executor.cancel(move().id, "the alarm was false")
    assert outcome is not None
    assert outcome.state is MoveState.SUCCEEDED
    assert outcome.text == "web-name arrived on b before it could be cancelled (the alarm was false)"


def test_a_cancel_that_nobody_answered_is_asked_again_also_after_a_restart() -> None:
    site = Site()
    site.run(move())
    site.driver.be_unreachable()
    assert site.executor.cancel(move().id, "the alarm was false") is None
    site.driver.be_reachable()
    [outcome] = site.restarted().reconcile()
    assert (outcome.state, outcome.text) == (MoveState.CANCELLED, "web-name stays on a: the alarm was false")


def test_cancelling_an_intent_that_never_began_ends_it_as_cancelled() -> None:
    site = Site()
    site.executor.reconcile()
    journal = site.journal
    journal.lead()
    journal.intend(site.plan(move()), move())
    executor = site.restarted()
    executor.reconcile()
    assert site.journal.in_flight() == ()
    journal = site.journal
    journal.lead()
    flight = journal.intend(site.plan(move(name="m2")), move(name="m2"))
    journal.ask_cancel(flight, "not wanted")
    [outcome] = site.restarted().reconcile()
    assert (outcome.state, outcome.started) == (MoveState.CANCELLED, None)
    assert outcome.text == "web-name stays on a, the move never began: not wanted"


def test_cancelling_a_plan_ends_its_running_moves_and_starts_none_of_its_waiting_ones() -> None:
    site = Site(many(4), guards=replace(GENEROUS, moves_at_once=2))
    site.run(*(move(f"vm{number}") for number in range(4)))
    ended = site.executor.cancel_all("called off")
    assert [outcome.state for outcome in ended] == [MoveState.CANCELLED] * 2
    assert (site.after(MINUTE_S), site.journal.in_flight(), len(site.started())) == ((), (), 2)
    assert {site.host_of(f"vm{number}") for number in range(4)} == {"a"}


def request(kind: RequestKind, **args: str) -> Request:
    return Request(1, kind, "ann", "storm", NOW, NOW, args)


def test_a_pause_stops_starting_and_lets_what_runs_arrive() -> None:
    site = Site(many(2))
    site.run(move("vm0"))
    assert site.executor.obey([request(RequestKind.PAUSE)]) == ()
    site.clock.sleep(MINUTE_S)
    assert [outcome.state for outcome in site.run(move("vm1"))] == [MoveState.SUCCEEDED]
    assert site.held() == [(Refusal.PAUSED, "vm1-name was not moved to b yet: moves are paused: storm (ann)")]
    assert site.driver.expected == ["vm1"]
    site.executor.obey([request(RequestKind.RESUME)])
    assert site.states(move("vm1")) == [MoveState.RUNNING]


def test_a_pause_with_abort_also_cancels_what_runs() -> None:
    site = Site(many(2))
    site.run(move("vm0"), move("vm1"))
    ended = site.executor.obey([request(RequestKind.PAUSE, running="abort")])
    assert [outcome.text for outcome in ended] == [f"vm{n}-name stays on a: storm (ann)" for n in range(2)]
    assert site.guards.paused == "storm (ann)"


def test_a_pause_with_abort_leaves_to_a_later_cycle_what_nobody_answered() -> None:
    site = Site()
    site.run(move())
    site.driver.be_unreachable()
    assert site.executor.obey([request(RequestKind.PAUSE, running="abort")]) == ()
    site.driver.be_reachable()
    assert [outcome.state for outcome in site.after(1)] == [MoveState.CANCELLED]


def test_a_request_aborts_the_move_that_it_names() -> None:
    site = Site(many(2))
    site.run(move("vm0"), move("vm1"))
    [outcome] = site.executor.obey([request(RequestKind.ABORT_MOVE, move=move("vm1").id)])
    assert (outcome.move.vm, outcome.state) == ("vm1", MoveState.CANCELLED)
    assert site.executor.obey([request(RequestKind.ABORT_MOVE, move="unknown"), request(RequestKind.ABORT_MOVE)]) == ()


def test_a_request_that_waited_for_a_restarted_controller_is_obeyed() -> None:
    site = Site(many(2))
    site.run(move("vm0"), move("vm1"))
    site.clock.sleep(1)
    ended = site.restarted().obey([request(RequestKind.PAUSE, running="abort")])
    assert [outcome.state for outcome in ended if outcome.state.final] == [MoveState.CANCELLED] * 2
    assert site.restarted().cancel_all("again") == ()
    assert site.restarted().cancel(move("vm0").id, "again") is None


def test_requests_taken_once_pause_once_and_the_pause_outlives_a_restart() -> None:
    site = Site()
    requests = Requests(site.database)
    requests.make(RequestKind.PAUSE, "ann", "storm")
    site.executor.obey(requests.take())
    assert requests.take() == ()
    site.guards = Guards(GENEROUS, requests.paused())
    site.restarted()
    assert site.run(move()) == ()
    assert site.guards.hits == {Guard.PAUSED: 1}


@pytest.mark.parametrize("kind", [RequestKind.APPROVE, RequestKind.MODE, RequestKind.OPEN_WINDOW])
def test_a_request_that_concerns_no_moves_changes_none(kind: RequestKind) -> None:
    site = Site()
    site.run(move())
    assert site.executor.obey([request(kind)]) == ()
    assert site.guards.paused == ""


# --- two controllers ------------------------------------------------------------------------------------------


def test_a_controller_that_was_overtaken_starts_nothing_more() -> None:
    site = Site(many(2))
    first = site.executor
    site.run(move("vm0"))
    site.restarted().reconcile()
    with pytest.raises(NotLeading, match="another controller leads"):
        first.run(site.plan(move("vm1")), site.driver.inventory())
    assert site.started() == [move("vm0").id]


def test_busy_and_idle_guests_alike_arrive_with_little_downtime() -> None:
    loads = [Workload(f"vm{number}", 1.0, number * 5e7, GIB) for number in range(6)]
    site = Site(many(6), *loads, guards=replace(GENEROUS, moves_per_source=2))
    for _ in range(6):
        waiting = [found.id for found in site.driver.inventory().vms_by_host["a"]]
        site.run(*(move(name, "a", "bcd"[int(name[-1]) % 3], f"{name}-{site.clock.now():%M%S}") for name in waiting))
        site.clock.sleep(30)
    site.run()
    ended = site.journal.recent(NOW)
    assert [outcome.state for outcome in ended if outcome.state is not MoveState.REFUSED] == [MoveState.SUCCEEDED] * 6
    assert all(outcome.downtime_ms <= 320 for outcome in ended)


def test_a_driver_that_answers_nothing_at_all_never_lets_a_move_start() -> None:
    site = Site()
    seen, plan = site.driver.inventory(), site.plan(move())
    site.driver.be_unreachable()
    site.executor.run(plan, seen)
    with pytest.raises(DriverUnavailable):
        site.driver.inventory()
    assert site.journal.in_flight() == ()


def test_the_limits_that_are_told_are_those_of_every_guard_with_what_each_held_back() -> None:
    site = Site()
    site.guards.pause("storm (ann)")
    site.run(move("vm0"))
    budgets = {budget.name: budget for budget in site.executor.budgets(site.driver.inventory())}
    assert budgets.keys() == {str(guard) for guard in Guard}
    assert budgets["paused"] == Budget("paused", 1.0, 1.0, 1)
    assert (budgets["plan_age"].held, budgets["plan_age"].limit) == (0, GENEROUS.plan_age_s_max)
