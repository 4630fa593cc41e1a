"""What may fail, and when: a forecast as a curve over six horizons, its reasons, and the risk read off it."""

import bisect
import math
from dataclasses import dataclass
from datetime import datetime, timedelta

from forewarn.domain.inventory import Kind

HORIZONS: tuple[timedelta, ...] = (
    timedelta(hours=1),
    timedelta(hours=6),
    timedelta(hours=24),
    timedelta(days=3),
    timedelta(days=7),
    timedelta(days=30),
)
HORIZON_NAMES: tuple[str, ...] = ("1h", "6h", "24h", "3d", "7d", "30d")
_PLACES = {horizon: place for place, horizon in enumerate(HORIZONS)}


@dataclass(frozen=True, slots=True)
class Reason:
    """One cause of a forecast. `contribution` is in log-odds of failure: above 0 raises the risk, below lowers it."""

    feature: str
    text: str
    contribution: float


@dataclass(frozen=True, slots=True)
class FailureForecast:
    """P(failure within each of `HORIZONS`) of one component, with an 80 % interval; or unknown, with the cause.

    Unknown means that the three tuples are empty and `unknown_because` says what is missing. The curve never falls.
    """

    component: str
    kind: Kind
    host: str
    device: str
    time: datetime
    probabilities: tuple[float, ...] = ()
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    reasons: tuple[Reason, ...] = ()
    model: str = ""  # name and version of what forecast this, "rules" included
    learned_from: str = ""  # "public drives 2013-15", "rules", ...
    unknown_because: str = ""
    only_watch: bool = False  # learned from simulated faults: by itself it moves nothing off a host that is real
    look_at: str = ""  # what a person should see to though the part is sound: "the feed of PSU2 is lost: ..."

    @property
    def unknown(self) -> bool:
        return not self.probabilities

    def within(self, horizon: timedelta) -> float | None:
        """P(failure within `horizon`), or None if unknown.

        Between the six horizons, and before the first, the hazard is constant; past the last the last value holds.

        >>> from datetime import UTC, datetime
        >>> f = FailureForecast("disk:A", Kind.DISK, "h1", "sda", datetime(2026, 1, 1, tzinfo=UTC),
        ...                     probabilities=(0.01, 0.02, 0.05, 0.1, 0.2, 0.4))
        >>> f.within(timedelta(days=7))
        0.2
        """
        if not self.probabilities:
            return None
        place = _PLACES.get(horizon)
        if place is not None:
            return self.probabilities[place]
        if horizon >= HORIZONS[-1]:
            return self.probabilities[-1]
        return 1.0 - math.exp(-self._cumulative_hazard(horizon))

    def _cumulative_hazard(self, horizon: timedelta) -> float:
        """-ln P(survival) at a horizon before the last one, linear between the six."""
        edges_s = (0.0, *(edge.total_seconds() for edge in HORIZONS))
        hazards = (0.0, *(-math.log(max(1e-12, 1.0 - probability)) for probability in self.probabilities))
        after = bisect.bisect_right(edges_s, horizon.total_seconds())
        share = (horizon.total_seconds() - edges_s[after - 1]) / (edges_s[after] - edges_s[after - 1])
        return hazards[after - 1] + share * (hazards[after] - hazards[after - 1])


@dataclass(frozen=True, slots=True)
class Risk:
    """What a policy reads off a forecast: P(failure within its horizon) beside the threshold of the kind."""

    component: str
    kind: Kind
    host: str
    probability: float
    horizon: timedelta
    threshold: float

    @property
    def exceeds(self) -> bool:
        return self.probability > self.threshold
