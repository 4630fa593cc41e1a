"""What keeps a VM where it is, whatever it stands to lose, and what keeps a host from receiving one.

Windows of maintenance and freezes, a VM that others moved back, one that has moved lately, a forecast that is too old:
each is a reason to leave things alone, told in a sentence.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from forewarn.decide.breaker import leading_feature
from forewarn.domain.authority import Window, WindowKind
from forewarn.domain.inventory import Cluster, Kind, VirtualMachine
from forewarn.domain.plan import MoveState, Outcome, Refusal
from forewarn.domain.risk import FailureForecast
from forewarn.domain.situation import LadderStep, Rung, Situation

_DOUBLINGS_MAX = 64  # beyond it no rest would be over in a lifetime, whatever the first one lasts
_REFUSALS = {WindowKind.MAINTENANCE: Refusal.MAINTENANCE, WindowKind.FREEZE: Refusal.FREEZE}


@dataclass(frozen=True, slots=True)
class RestraintSettings:
    """When to leave things alone."""

    cool_down_s: float = 300.0
    """Seconds for which a VM rests after a move; twice as long after each further move of the same day."""

    cool_down_s_max: float = 86_400.0
    """Seconds that such a rest lasts at most."""

    contested_s: float = 86_400.0
    """Seconds for which a VM is left alone that somebody else moved back to where Forewarn had moved it from."""

    forecast_age_s_max: float = 900.0
    """Seconds after which a forecast is too old to act on."""

    suspect_hosts_min: int = 3
    """Number of hosts of a rack, or with the same model of part, that show the same sign before the others of that
    rack, or with that sign, count as suspect and receive nothing."""


def window_of(windows: tuple[Window, ...], host: str, now: datetime) -> tuple[Refusal, str] | None:
    """The window that is open for a host, as a reason to leave it alone."""
    found = next((window for window in windows if window.covers(host, now)), None)
    return (_REFUSALS[found.kind], f"{host} is in a window: {found}") if found else None


def resting(vm: VirtualMachine, moved: list[Outcome], settings: RestraintSettings, now: datetime) -> str:
    """Why a VM rests after its moves of the last day (`moved`, any order); empty where it may move again."""
    if not moved:
        return ""
    last = max(outcome.time for outcome in moved)
    rest_s = min(settings.cool_down_s_max, settings.cool_down_s * 2.0 ** min(len(moved) - 1, _DOUBLINGS_MAX))
    left_s = rest_s - (now - last).total_seconds()
    times = "once" if len(moved) == 1 else f"{len(moved)} times"
    return f"{vm.name} has moved {times} within a day and rests for {left_s:.0f} s more" if left_s > 0 else ""


def contested(
    vm: VirtualMachine, moved: list[Outcome], settings: RestraintSettings, seen_at: datetime, now: datetime
) -> str:
    """Why a VM, as it was seen at `seen_at`, is left to whoever moved it back; empty where nobody did."""
    last = max(moved, key=lambda outcome: outcome.time, default=None)
    if last is None or vm.host != last.move.source or now - last.time >= timedelta(seconds=settings.contested_s):
        return ""
    if seen_at < last.time:  # the picture is older than the arrival
        return ""
    return f"somebody else moved it back from {last.move.target}, and Forewarn does not fight"


def successes(recent: tuple[Outcome, ...]) -> Mapping[str, list[Outcome]]:
    """The moves of the last day that succeeded, by VM."""
    found: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in recent:
        if outcome.state is MoveState.SUCCEEDED:
            found[outcome.move.vm].append(outcome)
    return found


def suspects(situation: Situation, ladder: tuple[LadderStep, ...], settings: RestraintSettings) -> Mapping[str, str]:
    """The hosts that share a suspected cause, each with that cause.

    A cause is a rack in which several hosts show the same sign (heat, power), or a model of part that shows the same
    sign in several hosts (a batch, a firmware).
    """
    climbed = {step.component for step in ladder if step.rung is not Rung.CLEAR}
    raised = [f for f in situation.forecasts if f.component in climbed and not f.unknown]
    found: dict[str, str] = {}
    for cause, forecasts in _by_cause(raised, situation.cluster).items():
        hosts = {forecast.host for forecast in forecasts}
        if len(hosts) >= settings.suspect_hosts_min:
            for host in _sharing(cause, hosts, situation.cluster):
                found.setdefault(host, f"it shares a suspected cause: {cause.words(len(hosts))}")
    return found


@dataclass(frozen=True, slots=True)
class _Cause:
    """A sign that parts of one kind show in one rack, or in one model."""

    kind: Kind
    sign: str
    rack: str = ""
    model: str = ""

    def words(self, hosts: int) -> str:
        where = f"in rack {self.rack.removeprefix('rack')}" if self.rack else f"with a {self.model}"
        return f"{self.kind} shows {self.sign} on {hosts} hosts {where}"


def _by_cause(raised: list[FailureForecast], cluster: Cluster) -> Mapping[_Cause, list[FailureForecast]]:
    found: dict[_Cause, list[FailureForecast]] = defaultdict(list)
    for forecast in raised:
        for cause in _causes(forecast, cluster):
            found[cause].append(forecast)
    return found


def _causes(forecast: FailureForecast, cluster: Cluster) -> Iterator[_Cause]:
    sign = leading_feature(forecast)
    host, part = cluster.host_by_name.get(forecast.host), cluster.component_by_id.get(forecast.component)
    if sign and host is not None and host.rack:
        yield _Cause(forecast.kind, sign, rack=host.rack)
    if sign and part is not None and part.model:
        yield _Cause(forecast.kind, sign, model=part.model)


def _sharing(cause: _Cause, hosts: set[str], cluster: Cluster) -> Iterator[str]:
    """Every host of a suspected rack; of a suspected model only those that show the sign, for others may be sound."""
    if not cause.rack:
        yield from sorted(hosts)
        return
    yield from (host.name for host in cluster.hosts if host.rack == cause.rack)
