"""The operator's wishes in numbers, and the ladder that keeps one bad reading from moving anything.

A part climbs clear → watch → move while its risk points up for enough cycles, and steps back only once its risk has
been clearly lower for enough cycles. `watch` is no action. An unknown risk raises `watch` and nothing more.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from operator import attrgetter

from forewarn.decide.breaker import BreakerSettings
from forewarn.decide.migration_cost import MigrationSettings
from forewarn.decide.restraint import RestraintSettings
from forewarn.decide.stopping import StoppingSettings
from forewarn.domain.inventory import Criticality, Kind
from forewarn.domain.risk import HORIZONS, FailureForecast
from forewarn.domain.situation import LadderStep, Rung, Situation

THRESHOLD, COST_BENEFIT = "threshold", "cost_benefit"
POLICIES = (THRESHOLD, COST_BENEFIT)


def _weights() -> Mapping[str, float]:
    return {Criticality.HIGH.value: 10.0, Criticality.NORMAL.value: 1.0, Criticality.LOW.value: 0.2}


@dataclass(frozen=True, slots=True)
class PolicySettings:
    """What decides whether a VM moves, and where to. The unit of benefit and cost is the weighted minute of outage."""

    policy: str = COST_BENEFIT
    """Name of the policy. `threshold`: HIGH VMs leave once a part's risk exceeds its threshold; others if it pays.
    `cost_benefit`: the same of HIGH VMs where the part lies in their path and nothing stands in for it, as long as the
    move can still be done in time; whatever else moves has to pay, and to pay more now than in an hour."""

    horizon_s: float = 604_800.0
    """Time ahead in seconds within which a failure counts, at most 30 days; a week leaves time to act and to repair."""

    thresholds: Mapping[str, float] = field(default_factory=dict)
    """Risk (0..1) per component kind above which VMs leave; a kind not named takes its evaluated model's threshold."""

    threshold_fallback: float = 0.05
    """Threshold (0..1) of a kind that neither the operator nor a model names."""

    watch_share: float = 0.5
    """Share (0..1) of the threshold above which a part is watched."""

    hysteresis: float = 0.2
    """Share (0..1) by which a risk must fall below the mark that it passed before its part may step back."""

    hold_up_cycles: int = 1
    """Cycles in a row above the threshold before VMs move. One is enough: features look at an hour or more."""

    hold_down_cycles: int = 3
    """Cycles in a row of lower risk before a part steps back, so that a flapping part does not draw VMs back."""

    utilization_ceiling: float = 0.9
    """Highest projected utilization (0..1) of a target for VMs that are not HIGH; the rest is left for peaks."""

    utilization_ceiling_high: float = 1.0
    """The same for HIGH VMs: a crowded target beats a failing one."""

    margin_minutes: float = 0.1
    """Weighted minutes of outage by which benefit must exceed cost before a VM that is not HIGH moves."""

    weights: Mapping[str, float] = field(default_factory=_weights)
    """How much a minute of outage weighs, per criticality (high, normal, low)."""

    outage_minutes: float = 30.0
    """Minutes a VM is out when its host fails: detection, restart elsewhere, warm-up."""

    slowdown: float = 0.1
    """Share (0..1) of a VM's performance that is lost while it moves."""

    network_minutes_per_gib: float = 0.001
    """What a GiB of migration traffic costs, in weighted minutes."""

    move_failure_probability: float = 0.02
    """Share (0..1) of live migrations that fail; the VM then runs on where it was."""

    move_failure_minutes: float = 1.0
    """What a failed move costs, in minutes of outage before weighting."""

    churn_minutes: float = 1.0
    """What moving a VM again within a day costs per earlier move, in minutes of outage before weighting."""

    back_off_s: float = 600.0
    """Seconds for which a VM is left alone after its move failed or was cancelled."""

    unknown_may_receive: tuple[str, ...] = ()
    """Component kinds whose unknown risk does not keep a host from receiving, where a platform never tells it."""

    silent_may_receive: bool = False
    """Whether a host without any forecast may receive: silence is not health."""

    moves_per_plan: int = 1000
    """Moves in one plan at most; the next cycle plans on."""

    targets_weighed: int = 16
    """Suitable hosts that are compared for each VM, those with the most headroom; `threshold` takes the first one."""

    indifference: float = 0.01
    """Share (0..1) of the greatest gain by which a host may gain less and still be taken for its headroom."""

    exchanges_per_plan: int = 2000
    """Exchanges of planned moves that are tried at most to make room for VMs that found none (`cost_benefit`)."""

    verdicts_per_vm: int = 5
    """Rejected targets that a plan names one by one for each VM; the rest is summed up in one verdict."""

    unknowns_per_plan: int = 100
    """Parts of unknown risk that a plan names one by one; the rest is summed up in one verdict."""

    migration: MigrationSettings = field(default_factory=MigrationSettings)
    """What is assumed about live migrations."""

    stopping: StoppingSettings = field(default_factory=StoppingSettings)
    """When a move is made now rather than later (`cost_benefit`)."""

    restraint: RestraintSettings = field(default_factory=RestraintSettings)
    """When to leave things alone."""

    breaker: BreakerSettings = field(default_factory=BreakerSettings)
    """When too many hosts turn risky at once."""

    def __post_init__(self) -> None:
        if self.policy not in POLICIES:
            raise ValueError(f"policy is {self.policy!r}; known are: {', '.join(POLICIES)}")
        if not 0 < self.horizon_s <= HORIZONS[-1].total_seconds():
            raise ValueError(f"horizon_s is {self.horizon_s:g}; it lies above 0 and at most at 30 days")
        if unknown := sorted(set(self.thresholds) - set(Kind)):
            raise ValueError(f"thresholds names {unknown[0]}; known are: {', '.join(Kind)}")
        for kind, value in self.thresholds.items():
            if not 0 < value <= 1:
                raise ValueError(f"thresholds.{kind} is {value:g}; it lies above 0 and at most at 1")
        if missing := sorted(set(Criticality) - set(self.weights)):
            raise ValueError(f"weights lacks {missing[0]}")
        for name in ("hold_up_cycles", "hold_down_cycles", "moves_per_plan", "targets_weighed"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it is at least 1")

    @property
    def horizon(self) -> timedelta:
        return timedelta(seconds=self.horizon_s)

    def threshold(self, kind: Kind) -> float:
        return self.thresholds.get(kind, self.threshold_fallback)

    def weight(self, criticality: Criticality) -> float:
        return self.weights[criticality]


def with_default_thresholds(settings: PolicySettings, defaults: Mapping[Kind, float]) -> PolicySettings:
    """The settings with the models' thresholds for every kind that the operator did not name."""
    return replace(settings, thresholds={**{k.value: v for k, v in defaults.items()}, **settings.thresholds})


def climb(step: LadderStep | None, forecast: FailureForecast, settings: PolicySettings, now: datetime) -> LadderStep:
    """Where a part stands on the ladder after this cycle's forecast; `step` is where it stood, if it ever did."""
    step = step or LadderStep(forecast.component, Rung.CLEAR, now)
    probability = forecast.within(settings.horizon)
    if probability is None:
        return _onto(step, Rung.WATCH, now, 0, 0) if step.rung is Rung.CLEAR else _onto(step, step.rung, now, 0, 0)
    threshold = settings.threshold(forecast.kind)
    above = min(step.cycles_above + 1, settings.hold_up_cycles) if probability > threshold else 0
    if above >= settings.hold_up_cycles:
        return _onto(step, Rung.MOVE, now, above, 0)
    if step.rung is Rung.CLEAR:
        watched = probability > settings.watch_share * threshold
        return _onto(step, Rung.WATCH if watched else Rung.CLEAR, now, above, 0)
    return _descend(step, probability, threshold, above, settings, now)


def _rests(step: LadderStep, probability: float | None, watch_mark: float) -> bool:
    """Whether a part that is clear stays so, as nearly all of a fleet do: `climb` would return the step that it got."""
    if step.rung is not Rung.CLEAR or step.cycles_above or step.cycles_below or probability is None:
        return False
    return probability <= watch_mark


def _climbed(
    step: LadderStep | None, forecast: FailureForecast, situation: Situation, settings: PolicySettings, now: datetime
) -> LadderStep:
    """One step of the ladder; what was learned from simulated faults never goes past watch on a host that is real."""
    after = climb(step, forecast, settings, now)
    host = situation.cluster.host_by_name.get(forecast.host)
    if not forecast.only_watch or after.rung in (Rung.CLEAR, Rung.WATCH) or (host and host.simulated):
        return after
    return _onto(after, Rung.WATCH, now, after.cycles_above, after.cycles_below)


def _descend(
    step: LadderStep, probability: float, threshold: float, above: int, settings: PolicySettings, now: datetime
) -> LadderStep:
    watch_mark = settings.watch_share * threshold
    mark = threshold if step.rung is Rung.MOVE else watch_mark
    below = step.cycles_below + 1 if probability <= (1.0 - settings.hysteresis) * mark else 0
    if below < settings.hold_down_cycles:
        return _onto(step, step.rung, now, above, below)
    lower = Rung.WATCH if probability > watch_mark else Rung.CLEAR
    return _onto(step, lower, now, above, 0)


def _onto(step: LadderStep, rung: Rung, now: datetime, above: int, below: int) -> LadderStep:
    if (rung, above, below) == (step.rung, step.cycles_above, step.cycles_below):
        return step
    since = step.since if rung is step.rung else now
    return LadderStep(step.component, rung, since, above, below)


def next_ladder(situation: Situation, settings: PolicySettings, now: datetime) -> tuple[LadderStep, ...]:
    """Every part's step after this cycle, by component id.

    A part without a forecast keeps its step while the inventory has it, and leaves the ladder with the inventory.
    """
    before = {step.component: step for step in situation.ladder}
    horizon, marks = settings.horizon, {kind: settings.watch_share * settings.threshold(kind) for kind in Kind}
    after: dict[str, LadderStep] = {}
    for forecast in situation.forecasts:
        step = before.get(forecast.component)
        if step is None or not _rests(step, forecast.within(horizon), marks[forecast.kind]):
            step = _climbed(step, forecast, situation, settings, now)
        after[forecast.component] = step
    present = situation.cluster.component_by_id
    kept = (step for name, step in before.items() if name not in after and name in present)
    return tuple(sorted((*after.values(), *kept), key=attrgetter("component")))
