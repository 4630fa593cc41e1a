"""The cycle: look, forecast, decide, act, remember; one sentence each time.

Nothing here is clever. What is computed stands in `features`, `predict` and `decide`; what is done, in `act`. A cycle
that fails is logged, and the next one starts afresh: the state it needs is in the database, not in this object.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa

from forewarn.act.cordons import Cordons
from forewarn.act.executor import Executor
from forewarn.act.journal import Journal
from forewarn.act.orders import Orders
from forewarn.clock import Clock
from forewarn.decide import narrate, noticed, told
from forewarn.decide.authority import AuthoritySettings, furthest
from forewarn.decide.decision import Decision
from forewarn.decide.policy import PolicySettings
from forewarn.decide.windows import PlannedWindow, announced
from forewarn.domain.authority import WindowKind
from forewarn.domain.events import FailureEvent
from forewarn.domain.feature import Catalog
from forewarn.domain.inventory import COMPONENT_KINDS, Cluster, HostState, Kind
from forewarn.domain.plan import Outcome, Plan
from forewarn.domain.risk import FailureForecast
from forewarn.domain.situation import LadderStep, LogLine, Severity, Situation, Snapshot, Standing
from forewarn.drivers.base import Inventory
from forewarn.errors import NotLeading, StoreUnavailable
from forewarn.features import frame
from forewarn.ledger import Ledger
from forewarn.predict.base import Forecaster
from forewarn.predict.fresh import fresh, last_heard
from forewarn.predict.rules import usual
from forewarn.state.changes import ChangeEvents
from forewarn.state.decisions import DecisionLog
from forewarn.state.events import FailureEvents
from forewarn.state.ladder import Ladder
from forewarn.state.log import LogLines
from forewarn.state.snapshot import SnapshotFile, write_whole
from forewarn.store.base import TelemetryStore

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ControlSettings:
    """How the control loop runs."""

    interval_s: float = 60.0
    """Seconds from the end of one cycle to the start of the next."""

    recent_s: float = 86_400.0
    """How far back, in seconds, ended moves are shown to the planner, so that it does not repeat itself."""

    silent_s: float = 300.0
    """Seconds without any sample of a host after which its parts are unknown: what it showed before counts no more."""

    log_lines: int = 200
    """Number of the newest log lines that a snapshot carries."""

    moves_shown: int = 500
    """Number of moves at most that a snapshot carries, running ones first."""


@dataclass(frozen=True)
class Rules:
    """What the operator wishes."""

    policy: PolicySettings
    authority: AuthoritySettings
    windows: tuple[PlannedWindow, ...] = ()


@dataclass(frozen=True)
class Memory:
    """What the loop remembers across cycles and restarts."""

    journal: Journal
    ladder: Ladder
    failures: FailureEvents
    changes: ChangeEvents
    orders: Orders
    ledger: Ledger
    log: LogLines
    snapshot: SnapshotFile
    decisions: DecisionLog
    decision: Path  # where each cycle leaves the whole input of its decision


@dataclass(frozen=True)
class Hands:
    """What writes to the placement service. A loop that may only observe is given none."""

    executor: Executor
    cordons: Cordons


class Control:
    """The control loop. Without hands it can propose, and nothing else."""

    def __init__(
        self,
        driver: Inventory,
        store: TelemetryStore,
        catalog: Catalog,
        forecaster: Forecaster,
        rules: Rules,
        memory: Memory,
        hands: Hands | None,
        clock: Clock,
        settings: ControlSettings,
        tell: Callable[[Snapshot], None] = lambda _snapshot: None,
    ) -> None:
        self._driver, self._store, self._catalog = driver, store, catalog
        self._forecaster, self._rules, self._memory = forecaster, rules, memory
        self._hands, self._clock, self._settings = hands, clock, settings
        self._tell = tell
        self._cycles = 0
        self._last: Cluster | None = None
        self._told = told.Told()
        self._began = clock.now()
        self._coming: tuple[Forecaster, PolicySettings] | None = None
        self._blind = ""  # why the last cycle could not read telemetry
        self._worked_on: dict[str, bool] = {}  # by host, as the last cycle saw it

    def adopt(self, forecaster: Forecaster, policy: PolicySettings) -> None:
        """Forecast with others, by their thresholds, from the next cycle on. Safe to call from another thread."""
        self._coming = forecaster, policy

    def cycle(self) -> Snapshot:
        """Look once, decide once, act once, and leave a snapshot whose sentence says what happened."""
        now = self._clock.now()
        coming, self._coming = self._coming, None
        if coming is not None:
            self._forecaster, self._rules = coming[0], replace(self._rules, policy=coming[1])
        cluster = self._driver.inventory()
        leader, followed = self._lead()
        obeyed = () if leader else followed + self._obey(cluster, now)
        frames, blind = self._frames(now)
        heard = last_heard(self._store.devices())
        forecasts = self._forecast(cluster, frames, heard, blind, now)
        decision = Decision(self._situation(cluster, forecasts, now), self._rules.policy, now, self._rules.authority)
        plan, ladder = decision.plan()
        if not leader:
            marks = self._mark(decision, plan)
            outcomes = obeyed + self._act(plan, cluster)
            self._notice(decision.situation, heard if not blind else {}, now)
            self._remember(decision, plan, ladder, self._lines(decision, plan, ladder, marks, outcomes))
        snapshot = self._leave_snapshot(decision, plan, ladder, leader, max(heard.values(), default=None))
        if not leader:
            self._tell_others(snapshot)
        return snapshot

    def run(self, stopped: Callable[[], bool]) -> None:
        """Cycle until `stopped`. No failure of one cycle ends the loop: it is logged, and the next cycle comes."""
        while not stopped():
            self.attempt()
            self._clock.sleep(self._settings.interval_s)

    def attempt(self) -> Snapshot | None:
        """One cycle whose failure is logged instead of raised; None if it failed."""
        try:
            snapshot = self.cycle()
        except Exception as error:
            logger.exception("a cycle failed")
            text = f"a cycle failed and nothing was decided: {error}"
            self._memory.log.append([LogLine(self._clock.now(), Severity.WARNING, text)])
            return None
        logger.info("%s", snapshot.sentence)
        return snapshot

    def _tell_others(self, snapshot: Snapshot) -> None:
        """Hand the snapshot to whoever raises alerts; if that fails, what was decided and done stands."""
        try:
            self._tell(snapshot)
        except Exception:
            logger.exception("the alerts of a cycle could not be told")

    def _lead(self) -> tuple[str, tuple[Outcome, ...]]:
        """Who leads in this one's stead, or nobody and what a new leader found; whoever only observes needs no lead."""
        try:
            return "", self._hands.executor.lead() if self._hands else ()
        except NotLeading as waiting:
            return str(waiting), ()

    def _obey(self, cluster: Cluster, now: datetime) -> tuple[Outcome, ...]:
        """Do what people asked for since the last cycle; what concerns moves needs hands, but a pause is remembered."""
        memory = self._memory
        requests = memory.orders.requests.take()
        evidence = memory.ledger.evidence() if requests else ()
        lines = memory.orders.carry_out(requests, evidence, cluster, now)
        expired = memory.orders.grants.drop_expired(now)
        memory.log.append((*lines, *(narrate.expired_line(grant, now) for grant in expired)))
        return self._hands.executor.obey(requests) if self._hands else ()

    def _mark(self, decision: Decision, plan: Plan) -> tuple[LogLine, ...]:
        """Cordon the hosts that the plan names, and no others; while everything is stopped, leave them as they are.

        After a release none is cordoned; what could not be lifted is tried again in each cycle.
        """
        if self._hands is None:
            return ()
        released = self._memory.orders.requests.released()
        stopped = bool(decision.breaker.tripped or decision.situation.paused) and not released
        cluster, cordons = decision.situation.cluster, self._hands.cordons
        changes = cordons.withdraw() if released else cordons.settle(plan.cordons, cluster, stopped=stopped)
        return tuple(LogLine(decision.now, Severity.NOTICE, text, host) for host, text in changes)

    def _act(self, plan: Plan, cluster: Cluster) -> tuple[Outcome, ...]:
        return self._hands.executor.run(plan, cluster) if self._hands else ()

    def _frames(self, now: datetime) -> tuple[dict[Kind, pa.Table], str]:
        """What telemetry says of every kind; nothing and the reason where the store cannot be asked now."""
        try:
            frames = {
                kind: frame.build(self._store.features(self._catalog, kind, [now]), self._catalog, kind)
                for kind in COMPONENT_KINDS
            }
        except StoreUnavailable as error:
            return {}, str(error)
        return frames, ""

    def _forecast(
        self,
        cluster: Cluster,
        frames: Mapping[Kind, pa.Table],
        heard: Mapping[str, datetime],
        blind: str,
        now: datetime,
    ) -> tuple[FailureForecast, ...]:
        if blind != self._blind:
            text = f"telemetry cannot be read, every part is unknown: {blind}" if blind else "telemetry is read again"
            self._memory.log.append([LogLine(now, Severity.WARNING if blind else Severity.NOTICE, text)])
            self._blind = blind
        made = fresh(self._forecaster.forecast(frames), heard, self._settings.silent_s, now)
        return complete(cluster, made, now, f"telemetry cannot be read: {blind}" if blind else "no telemetry arrives")

    def _situation(self, cluster: Cluster, forecasts: tuple[FailureForecast, ...], now: datetime) -> Situation:
        memory, orders = self._memory, self._memory.orders
        return Situation(
            cluster=cluster,
            forecasts=forecasts,
            workloads=self._driver.workloads(),
            ladder=memory.ladder.load(),
            in_flight=memory.journal.in_flight(),
            recent=memory.journal.recent(now - timedelta(seconds=self._settings.recent_s)),
            paused=orders.requests.paused(),
            grants=orders.grants.load(),
            evidence=memory.ledger.evidence(),
            approvals=orders.approvals(now),
            windows=announced(self._rules.windows, now) + orders.windows.load(now),
            breaker=orders.breaker.load(),
        )

    def _lines(
        self,
        decision: Decision,
        plan: Plan,
        ladder: Sequence[LadderStep],
        marks: Sequence[LogLine],
        outcomes: Sequence[Outcome],
    ) -> list[LogLine]:
        situation, now, horizon = decision.situation, decision.now, self._rules.policy.horizon
        ended = (*outcomes, *situation.recent)
        lines = [*narrate.host_lines(self._last, situation.cluster, ended)]
        lines += narrate.remark_lines(self._last, situation.cluster)
        down = {host.name for host in situation.cluster.hosts if host.state is HostState.DOWN}
        running = [forecast for forecast in situation.forecasts if forecast.host not in down]
        lines += narrate.ladder_lines(situation.ladder, ladder, running, horizon, now)
        if decision.breaker != situation.breaker:
            lines.append(LogLine(now, Severity.WARNING, f"the breaker trips, nothing moves: {decision.breaker.text}"))
        news, self._told = told.tell(self._told, situation, plan, ladder)
        lines += (*news, *marks)
        states = {outcome.move.id: outcome.state for outcome in situation.in_flight}  # progress alone is no news
        lines += (narrate.outcome_line(o) for o in outcomes if states.get(o.move.id) != o.state)
        return lines

    def _notice(self, situation: Situation, heard: Mapping[str, datetime], now: datetime) -> None:
        """Write down which hosts went down or fell silent, and on which work began or ended."""
        silent = noticed.silences(situation, heard, self._settings.silent_s, self._began, now)
        self._memory.failures.record([*failures(self._last, situation), *silent])
        self._worked_on, changes = noticed.maintenance(self._worked_on, situation, now)
        self._memory.changes.record(changes)

    def _remember(self, decision: Decision, plan: Plan, ladder: Sequence[LadderStep], lines: Sequence[LogLine]) -> None:
        memory, situation, policy = self._memory, decision.situation, self._rules.policy
        memory.ladder.save(ladder)
        if decision.breaker != situation.breaker:
            memory.orders.breaker.trip(decision.breaker.text)
        memory.ledger.record(situation.forecasts, ladder, policy.threshold, policy.horizon)
        if since := memory.ledger.open_since():
            events = memory.failures.between(since, decision.now + timedelta(seconds=1))
            memory.ledger.judge(events, situation.forecasts, decision.now)
        memory.log.append(lines)
        written = decision.to_json()
        write_whole(memory.decision, written)
        memory.decisions.append(decision.now, written, plan, replace(situation, breaker=decision.breaker))
        self._last = situation.cluster
        self._cycles += 1

    def _leave_snapshot(
        self,
        decision: Decision,
        plan: Plan,
        ladder: tuple[LadderStep, ...],
        leader: str,
        telemetry_at: datetime | None,
    ) -> Snapshot:
        situation, now, policy = decision.situation, decision.now, self._rules.policy
        running = self._hands.executor.running() if self._hands else self._memory.journal.in_flight()
        ended = self._memory.journal.recent(now - timedelta(seconds=self._settings.recent_s))
        thresholds = {kind.value: policy.threshold(kind) for kind in COMPONENT_KINDS}
        held = self._hands.executor.held if self._hands else ()
        sentence = narrate.cycle_sentence(situation, plan, running, thresholds, policy.horizon)
        snapshot = Snapshot(
            time=now,
            cycle=self._cycles,
            sentence=f"waiting: {leader}" if leader else sentence,
            cluster=situation.cluster,
            forecasts=situation.forecasts,
            ladder=ladder,
            plan=replace(plan, verdicts=plan.verdicts + held),
            moves=(*running, *ended)[: self._settings.moves_shown],
            thresholds=thresholds,
            horizon_s=policy.horizon_s,
            usual={kind.value: usual(kind, policy.horizon) for kind in COMPONENT_KINDS},
            mode=furthest(situation.grants, self._rules.authority, now),
            paused=situation.paused,
            simulated=any(host.simulated for host in situation.cluster.hosts),
            log=self._memory.log.recent(self._settings.log_lines),
            standing=self._standing(decision, leader, telemetry_at),
        )
        self._memory.snapshot.write(snapshot)
        return snapshot

    def _standing(self, decision: Decision, leader: str, telemetry_at: datetime | None) -> Standing:
        situation = decision.situation
        cordons = self._hands.cordons.budget(situation.cluster) if self._hands else ()
        return Standing(
            mode=self._rules.authority.mode,
            mode_max=self._rules.authority.mode_max,
            grants=tuple(grant for grant in situation.grants if grant.in_force(decision.now)),
            evidence=situation.evidence,
            windows=situation.windows,
            breaker=decision.breaker.text,
            leader=leader,
            budgets=(*self._hands.executor.budgets(situation.cluster), *cordons) if self._hands else (),
            telemetry_at=telemetry_at,
        )


def complete(
    cluster: Cluster, forecasts: Sequence[FailureForecast], now: datetime, because: str = "no telemetry arrives"
) -> tuple[FailureForecast, ...]:
    """One forecast per component of the inventory, in its order: unknown, and why, where no telemetry led to one.

    A part that telemetry remembers and the inventory no longer has (pulled, moved elsewhere) is left out.
    """
    made = {forecast.component: forecast for forecast in forecasts}
    return tuple(
        made.get(part.id) or FailureForecast(part.id, part.kind, part.host, part.device, now, unknown_because=because)
        for part in cluster.components
    )


def failures(before: Cluster | None, situation: Situation) -> list[FailureEvent]:
    """An event for each host that the driver saw go down since `before`; one that is worked on did not fail."""
    after, hosts = situation.cluster, before.host_by_name if before else {}
    excused = (HostState.DOWN, HostState.MAINTENANCE)
    return [
        FailureEvent(after.time, host.name, Kind.HOST, "", "driver", "the placement service reports the host down")
        for host in after.hosts
        if host.state == HostState.DOWN
        and host.name in hosts
        and hosts[host.name].state not in excused
        and not any(
            window.kind is WindowKind.MAINTENANCE and window.covers(host.name, after.time)
            for window in situation.windows
        )
    ]
