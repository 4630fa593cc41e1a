"""The breaker: when many hosts turn risky together, the cause is one firmware, one rack or one bad metric, not chance.

Then nothing is moved, and the common factor is named. It latches: only a person clears it, and what had turned risky
before that does not trip it again.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from forewarn.domain.inventory import Cluster
from forewarn.domain.risk import FailureForecast
from forewarn.domain.situation import LadderStep, Rung, Situation

SMALL_CLUSTER = 5  # below this number of hosts, shares of them say nothing


@dataclass(frozen=True, slots=True)
class BreakerSettings:
    """When too many hosts turn risky at once."""

    window_s: float = 600.0
    """Seconds within which hosts turn risky together. Parts that fail on their own do not keep step to ten minutes."""

    share: float = 0.1
    """Share (0..1) of all hosts that must not turn risky together."""

    hosts_min: int = 4
    """Number of hosts below which the breaker never trips, whatever their share: a few coincide by chance."""

    hosts_max: int = 30
    """Number of hosts from which it trips in a cluster of any size."""

    hosts_small: int = 2
    """The number in a cluster of fewer than five hosts, where shares say nothing."""

    common_share: float = 0.8
    """Share (0..1) of the risky parts that must have something in common for it to be named as the factor."""

    def __post_init__(self) -> None:
        for name in ("share", "common_share"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name):g}; it lies above 0 and at most at 1")
        if self.hosts_small < 1:
            raise ValueError(f"hosts_small is {self.hosts_small}; it is at least 1")
        if not 1 <= self.hosts_min <= self.hosts_max:
            raise ValueError(f"hosts_min is {self.hosts_min} and hosts_max {self.hosts_max}; the first is not above")

    def limit(self, hosts: int) -> int:
        """The number of hosts, turned risky together, at which the breaker trips."""
        if hosts < SMALL_CLUSTER:
            return self.hosts_small
        return min(self.hosts_max, max(self.hosts_min, round(self.share * hosts)))


def risky_together(
    situation: Situation, ladder: Sequence[LadderStep], settings: BreakerSettings, now: datetime
) -> tuple[FailureForecast, ...]:
    """The forecasts of the parts that turned risky within the window, and since the breaker was last cleared."""
    since = now - timedelta(seconds=settings.window_s)
    if situation.breaker.cleared_at is not None:
        since = max(since, situation.breaker.cleared_at)
    turned = {step.component for step in ladder if step.rung is Rung.MOVE and step.since > since}
    return tuple(forecast for forecast in situation.forecasts if forecast.component in turned)


def trip(situation: Situation, ladder: Sequence[LadderStep], settings: BreakerSettings, now: datetime) -> str:
    """Why the breaker trips now; empty where it does not, or is tripped already."""
    if situation.breaker.tripped:
        return ""
    risky = risky_together(situation, ladder, settings, now)
    hosts = {forecast.host for forecast in risky}
    limit = settings.limit(len(situation.cluster.hosts))
    if len(hosts) < limit:
        return ""
    factor = common_factor(risky, situation.cluster, ladder, settings)
    minutes = settings.window_s / 60
    return (
        f"{len(hosts)} of {len(situation.cluster.hosts)} hosts turned risky within {minutes:g} min, the limit is "
        f"{limit}; {factor or 'they have no rack, model, reading or minute in common'}"
    )


def common_factor(
    risky: tuple[FailureForecast, ...], cluster: Cluster, ladder: Sequence[LadderStep], settings: BreakerSettings
) -> str:
    """What the parts at risk have in common and the rest of the cluster has not; empty where nothing stands out."""
    named = []
    for what, values in _attributes(risky, cluster, ladder):
        value, count = Counter(values).most_common(1)[0]
        if value and count >= settings.common_share * len(risky):
            named.append(f"{what} {value}")
    return f"in common: {', '.join(named)}" if named else ""


def _attributes(
    risky: tuple[FailureForecast, ...], cluster: Cluster, ladder: Sequence[LadderStep]
) -> Iterator[tuple[str, list[str]]]:
    """What may be the common cause, each with its value for every part at risk."""
    parts = [cluster.component_by_id.get(forecast.component) for forecast in risky]
    hosts = [cluster.host_by_name.get(forecast.host) for forecast in risky]
    if len({host.rack for host in cluster.hosts}) > 1:  # one rack holds everything and tells nothing
        yield "rack", [host.rack if host else "" for host in hosts]
    kinds = {forecast.kind for forecast in risky}
    if len({part.model for part in cluster.components if part.kind in kinds}) > 1:  # likewise
        yield "model", [part.model if part else "" for part in parts]
    yield "reading", [leading_feature(forecast) for forecast in risky]
    since = {step.component: f"{step.since.astimezone(UTC):%H:%M} UTC" for step in ladder}
    yield "minute", [since[forecast.component] for forecast in risky]


def leading_feature(forecast: FailureForecast) -> str:
    """The feature that raises a risk most."""
    raising = [reason for reason in forecast.reasons if reason.contribution > 0]
    return max(raising, key=lambda reason: reason.contribution).feature if raising else ""
