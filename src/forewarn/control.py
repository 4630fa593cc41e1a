"""The cycle: look, forecast, decide, act, remember; one sentence each time.

Nothing here is clever. What is computed stands in `features`, `predict` and `decide`; what is done, in `act`. A cycle
that fails is logged, and the next one starts afresh: the state it needs is in the database, not in this object.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path

from forewarn.act.executor import Executor
from forewarn.act.journal import Journal
from forewarn.clock import Clock
from forewarn.decide import narrate
from forewarn.decide.decision import Decision
from forewarn.decide.policy import PolicySettings
from forewarn.domain.events import FailureEvent
from forewarn.domain.feature import Catalog
from forewarn.domain.inventory import COMPONENT_KINDS, Cluster, HostState, Kind
from forewarn.domain.plan import Outcome, Plan
from forewarn.domain.risk import FailureForecast
from forewarn.domain.situation import LadderStep, LogLine, Severity, Situation, Snapshot
from forewarn.drivers.base import Inventory
from forewarn.features import frame
from forewarn.predict.base import Forecaster
from forewarn.state.events import FailureEvents
from forewarn.state.ladder import Ladder
from forewarn.state.log import LogLines
from forewarn.state.requests import Requests
from forewarn.state.snapshot import SnapshotFile, write_whole
from forewarn.store.base import TelemetryStore

logger = logging.getLogger(__name__)


class Mode(StrEnum):
    """How far Forewarn may go by itself. In `observe` it holds nothing that could move a VM."""

    OBSERVE = "observe"
    AUTOMATIC = "automatic"


@dataclass(frozen=True)
class ControlSettings:
    """How the control loop runs."""

    mode: Mode = Mode.OBSERVE
    """Whether moves are only proposed, or made."""

    interval_s: float = 60.0
    """Seconds from the end of one cycle to the start of the next."""

    recent_s: float = 86_400.0
    """How far back, in seconds, ended moves are shown to the planner, so that it does not repeat itself."""

    log_lines: int = 200
    """Number of the newest log lines that a snapshot carries."""

    moves_shown: int = 500
    """Number of moves at most that a snapshot carries, running ones first."""


@dataclass(frozen=True)
class Memory:
    """What the loop remembers across cycles and restarts."""

    journal: Journal
    ladder: Ladder
    failures: FailureEvents
    requests: Requests
    log: LogLines
    snapshot: SnapshotFile
    decision: Path  # where each cycle leaves the whole input of its decision


class Control:
    """The control loop. Without an executor (mode `observe`) it can propose, and nothing else."""

    def __init__(
        self,
        driver: Inventory,
        store: TelemetryStore,
        catalog: Catalog,
        forecaster: Forecaster,
        policy: PolicySettings,
        memory: Memory,
        executor: Executor | None,
        clock: Clock,
        settings: ControlSettings,
        tell: Callable[[Snapshot], None] = lambda _snapshot: None,
    ) -> None:
        self._driver, self._store, self._catalog = driver, store, catalog
        self._forecaster, self._policy, self._memory = forecaster, policy, memory
        self._executor, self._clock, self._settings = executor, clock, settings
        self._tell = tell
        self._cycles = 0
        self._last: Cluster | None = None

    def cycle(self) -> Snapshot:
        """Look once, decide once, act once, and leave a snapshot whose sentence says what happened."""
        now = self._clock.now()
        obeyed = self._obey(now)
        cluster = self._driver.inventory()
        forecasts = self._forecast(cluster, now)
        decision = Decision(self._situation(cluster, forecasts, now), self._policy, now)
        plan, ladder = decision.plan()
        outcomes = obeyed + self._act(plan, cluster)
        self._remember(decision, ladder, self._lines(decision.situation, ladder, outcomes, now))
        snapshot = self._leave_snapshot(decision.situation, plan, ladder, now)
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

    def _obey(self, now: datetime) -> tuple[Outcome, ...]:
        """Do what people asked for since the last cycle; without an executor a pause is remembered, and no more."""
        requests = self._memory.requests.take()
        texts = (f"{r.who} asked: {r.kind.replace('_', ' ')}: {r.why}" for r in requests)
        self._memory.log.append(LogLine(now, Severity.NOTICE, text) for text in texts)
        return self._executor.obey(requests) if self._executor else ()

    def _act(self, plan: Plan, cluster: Cluster) -> tuple[Outcome, ...]:
        return self._executor.run(plan, cluster) if self._executor else ()

    def _forecast(self, cluster: Cluster, now: datetime) -> tuple[FailureForecast, ...]:
        frames = {
            kind: frame.build(self._store.features(self._catalog, kind, [now]), self._catalog, kind)
            for kind in COMPONENT_KINDS
        }
        return complete(cluster, self._forecaster.forecast(frames), now)

    def _situation(self, cluster: Cluster, forecasts: tuple[FailureForecast, ...], now: datetime) -> Situation:
        journal = self._memory.journal
        return Situation(
            cluster,
            forecasts,
            self._driver.workloads(),
            self._memory.ladder.load(),
            journal.in_flight(),
            journal.recent(now - timedelta(seconds=self._settings.recent_s)),
            self._memory.requests.paused(),
        )

    def _lines(
        self, situation: Situation, ladder: Sequence[LadderStep], outcomes: Sequence[Outcome], now: datetime
    ) -> list[LogLine]:
        horizon = self._policy.horizon
        ended = (*outcomes, *situation.recent)
        lines = [*narrate.host_lines(self._last, situation.cluster, ended)]
        lines += narrate.ladder_lines(situation.ladder, ladder, situation.forecasts, horizon, now)
        states = {outcome.move.id: outcome.state for outcome in situation.in_flight}  # progress alone is no news
        lines += (narrate.outcome_line(o) for o in outcomes if states.get(o.move.id) != o.state)
        return lines

    def _remember(self, decision: Decision, ladder: Sequence[LadderStep], lines: Sequence[LogLine]) -> None:
        cluster = decision.situation.cluster
        self._memory.failures.record(failures(self._last, cluster))
        self._memory.ladder.save(ladder)
        self._memory.log.append(lines)
        write_whole(self._memory.decision, decision.to_json())
        self._last = cluster
        self._cycles += 1

    def _leave_snapshot(
        self, situation: Situation, plan: Plan, ladder: tuple[LadderStep, ...], now: datetime
    ) -> Snapshot:
        running = self._memory.journal.in_flight()
        ended = self._memory.journal.recent(now - timedelta(seconds=self._settings.recent_s))
        thresholds = {kind.value: self._policy.threshold(kind) for kind in COMPONENT_KINDS}
        held = self._executor.held if self._executor else ()
        snapshot = Snapshot(
            time=now,
            cycle=self._cycles,
            sentence=narrate.cycle_sentence(situation, plan, running, thresholds, self._policy.horizon),
            cluster=situation.cluster,
            forecasts=situation.forecasts,
            ladder=ladder,
            plan=replace(plan, verdicts=plan.verdicts + held),
            moves=(*running, *ended)[: self._settings.moves_shown],
            thresholds=thresholds,
            horizon_s=self._policy.horizon_s,
            mode=self._settings.mode,
            paused=situation.paused,
            simulated=any(host.simulated for host in situation.cluster.hosts),
            log=self._memory.log.recent(self._settings.log_lines),
        )
        self._memory.snapshot.write(snapshot)
        return snapshot


def complete(cluster: Cluster, forecasts: Sequence[FailureForecast], now: datetime) -> tuple[FailureForecast, ...]:
    """One forecast per component of the inventory, in its order: unknown where no telemetry led to one.

    A part that telemetry remembers and the inventory no longer has (pulled, moved elsewhere) is left out.
    """
    made = {forecast.component: forecast for forecast in forecasts}
    return tuple(
        made.get(part.id)
        or FailureForecast(part.id, part.kind, part.host, part.device, now, unknown_because="no telemetry arrives")
        for part in cluster.components
    )


def failures(before: Cluster | None, after: Cluster) -> list[FailureEvent]:
    """An event for each host that the driver saw go down since `before`."""
    hosts = before.host_by_name if before else {}
    return [
        FailureEvent(after.time, host.name, Kind.HOST, "", "driver", "the placement service reports the host down")
        for host in after.hosts
        if host.state == HostState.DOWN and host.name in hosts and hosts[host.name].state != HostState.DOWN
    ]
