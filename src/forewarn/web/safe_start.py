"""How long a host takes to drain, and by when that must begin. Pure.

The *time to drain* is the sum of the predicted durations of its VMs' moves, divided by the number of moves that may
leave a host at once. Predictions come from moves that run, are planned or are proposed; a VM without one makes the time
a lower bound, and a host without any has an unknown time. VMs that cannot move are not waited for.

The *latest safe start* is the time by which draining must begin: the earliest horizon at which P(failure within it)
exceeds the threshold, counted from the forecast, minus the time to drain. A part that stays below its threshold up to
the policy's horizon has none; where the time to drain is unknown, so is the latest safe start.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from forewarn.domain.risk import HORIZONS, FailureForecast
from forewarn.domain.situation import Snapshot
from forewarn.web.words import ahead, count, moment, rough, span

_LIMIT = "moves_per_source"  # the budget that says how many moves may leave a host at once


@dataclass(frozen=True, slots=True)
class Drain:
    """What it takes to empty a host. `seconds` counts only the VMs whose moves have been predicted."""

    seconds: float = 0.0
    predicted: int = 0
    unpredicted: int = 0
    immovable: int = 0

    @property
    def vms(self) -> int:
        return self.predicted + self.unpredicted + self.immovable

    @property
    def unknown(self) -> bool:
        return not self.predicted and bool(self.unpredicted)

    @property
    def words(self) -> str:
        """The time to drain with all that it leaves out."""
        if not self.vms:
            return "no VM runs here"
        movable = self.predicted + self.unpredicted
        stuck = f"{count(self.immovable, 'VM')} cannot move" if self.immovable else ""
        if not movable:
            return stuck
        if self.unknown:
            said = f"unknown for {count(movable, 'VM')}: no move predicted yet"
        elif self.unpredicted:
            least = f"at least {rough(self.seconds)}; " if self.seconds >= 60 else ""
            said = f"{least}unknown for {self.unpredicted} of {movable} VMs"
        else:
            about = "" if self.seconds < 60 else "about "
            said = f"{about}{rough(self.seconds)} for {count(movable, 'VM')}"
        return f"{said}; {stuck}" if stuck else said


@dataclass(frozen=True, slots=True)
class SafeStart:
    """By when draining must begin. `crossing` is the horizon that is not safe any more, None if none is."""

    drain: Drain
    crossing: timedelta | None = None
    deadline: datetime | None = None  # the forecast's time plus `crossing`

    @property
    def latest(self) -> datetime | None:
        if self.deadline is None or self.drain.unknown or not self.drain.predicted:
            return None
        return self.deadline - timedelta(seconds=self.drain.seconds)

    @property
    def order(self) -> datetime | None:
        """What to sort by: the latest safe start, or the deadline alone while the time to drain is unknown."""
        return self.latest or self.deadline

    def words(self, now: datetime) -> str:
        """The latest safe start in words, empty where nothing has to start."""
        if self.crossing is None or not (self.drain.predicted or self.drain.unpredicted):
            return ""
        if self.latest is None:
            return f"unknown; the threshold is crossed within {span(self.crossing.total_seconds())}"
        if self.latest <= now:
            return f"passed {ahead(self.latest, now)}"
        bound = "before " if self.drain.unpredicted else ""  # the time to drain is then a lower bound
        return f"{bound}{moment(self.latest, now)}, {ahead(self.latest, now)}"


def drain_of(snapshot: Snapshot, host: str) -> Drain:
    """What it takes to empty `host` now."""
    durations = durations_of(snapshot)
    vms = snapshot.cluster.vms_by_host.get(host, ())
    movable = [vm for vm in vms if not vm.immovable_because]
    known = [durations[vm.id] for vm in movable if vm.id in durations]
    seconds = sum(known) / moves_at_once(snapshot)
    return Drain(seconds, len(known), len(movable) - len(known), len(vms) - len(movable))


def moves_at_once(snapshot: Snapshot) -> int:
    """How many moves may leave one host at once; one after another where no limit is told."""
    limits = (budget.limit for budget in snapshot.standing.budgets if budget.name == _LIMIT)
    return max(1, int(next(limits, 1)))


def durations_of(snapshot: Snapshot) -> Mapping[str, float]:
    """The predicted seconds that each VM's move still takes, by VM, where it was predicted."""
    planned = [*(proposal.move for proposal in snapshot.plan.proposals), *snapshot.plan.moves]
    found = {move.vm: move.duration_s for move in planned if move.duration_s > 0}
    for outcome in snapshot.moves:
        if not outcome.state.final and outcome.move.duration_s > 0:
            found[outcome.move.vm] = outcome.move.duration_s * (1.0 - min(1.0, max(0.0, outcome.progress)))
    return found


def safe_start(
    snapshot: Snapshot, forecast: FailureForecast | None, threshold: float | None, drain: Drain
) -> SafeStart:
    """By when the host of a part has to be drained for its sake."""
    if forecast is None or forecast.unknown or threshold is None:
        return SafeStart(drain)
    curve = zip(HORIZONS, forecast.probabilities, strict=True)
    until = timedelta(seconds=snapshot.horizon_s)
    crossing = next((horizon for horizon, p in curve if p > threshold and horizon <= until), None)
    return SafeStart(drain, crossing, forecast.time + crossing if crossing else None)
