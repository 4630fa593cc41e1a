"""What a feature is: an aggregate of a metric over a window, or something computed from other features of the frame.

Here are the types only. The list of features stands in `features/catalog.py`; each telemetry store compiles it into its
own query language, so a new feature is one line there and works on every store.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from enum import StrEnum
from functools import cached_property

from forewarn.domain.inventory import Kind
from forewarn.domain.telemetry import Metric


class Aggregate(StrEnum):
    """How the samples of a window become one number.

    Windows are left-open, (t - window, t]. Windows under one day, and `last`, end at the asked time; windows from
    one day to under seven days end at the last full hour; longer ones at the last full UTC day. The value at a
    window's start is the last sample before it, within the metric's hold limit.
    """

    LAST = "last"  # the newest value, if not older than the metric's hold limit
    FIRST = "first"  # the value at the window's start, else the first one inside
    AVG = "avg"
    MIN = "min"
    MAX = "max"
    STDDEV = "stddev"  # of the population
    INCREASE = "increase"  # the sum of positive steps
    DELTA = "delta"  # the newest value of the window less `first`
    SLOPE = "slope"  # least squares over hourly means, per day
    COUNT = "count"
    CHANGES = "changes"  # how often the value changed
    AGE = "age"  # seconds since the value last changed inside the window, else the window's length


class Formula(StrEnum):
    """How a derived column is computed from others of the same frame, in `features/frame.py`."""

    DIFFERENCE = "difference"  # first input less the second: change against the device's own past
    RATIO = "ratio"  # first input over the second; missing where the second is 0
    SHARE = "share"  # first input over the sum of both; missing where that is 0
    HIGHEST = "highest"  # the highest of the inputs that are known
    AGED = "aged"  # first input, in hours, plus the second, in seconds: a clock read some time ago, as of now
    PEER_RANK = "peer_rank"  # share of the same model's devices at that time with a lower value, ties half
    PEER_SHARE = "peer_share"  # share of the same model's devices at that time above 0; missing where peers are few


@dataclass(frozen=True, slots=True)
class Feature:
    """A number computed inside the telemetry store. `text` puts it into words, with `{value}` and `{window}`."""

    name: str
    kind: Kind
    metric: str
    aggregate: Aggregate
    window: timedelta = timedelta(0)  # not looked at by `last`
    text: str = ""


@dataclass(frozen=True, slots=True)
class DerivedFeature:
    """A number computed on the frame from other columns, named by `inputs`."""

    name: str
    kind: Kind
    formula: Formula
    inputs: tuple[str, ...]
    text: str = ""


@dataclass(frozen=True)
class Catalog:
    """The metrics and features that a store, a frame and a model agree on."""

    metrics: tuple[Metric, ...]
    features: tuple[Feature, ...]
    derived: tuple[DerivedFeature, ...] = ()

    @cached_property
    def metric_by_key(self) -> Mapping[str, Metric]:
        return {metric.key: metric for metric in self.metrics}

    def stored(self, kind: Kind) -> tuple[Feature, ...]:
        """The features of `kind` that a store computes, in the catalogue's order."""
        return tuple(feature for feature in self.features if feature.kind == kind)

    def computed(self, kind: Kind) -> tuple[DerivedFeature, ...]:
        """The features of `kind` that are computed on the frame, in an order in which inputs come first."""
        return tuple(feature for feature in self.derived if feature.kind == kind)

    def names(self, kind: Kind) -> tuple[str, ...]:
        """The frame's feature columns of `kind`, in order: a model's columns are exactly these."""
        return tuple(f.name for f in self.stored(kind)) + tuple(f.name for f in self.computed(kind))

    def narrowed(self, kind: Kind, names: Iterable[str]) -> "Catalog":
        """The same catalogue with only these features of `kind` and what they are computed from.

        Raises KeyError with the name of a feature that is not there.
        """
        derived = {feature.name: feature for feature in self.computed(kind)}
        known = {feature.name for feature in self.stored(kind)} | derived.keys()
        wanted: set[str] = set()
        waiting = list(names)
        while waiting:
            if (name := waiting.pop()) not in known:
                raise KeyError(name)
            if name not in wanted:
                wanted.add(name)
                waiting += derived[name].inputs if name in derived else ()
        return Catalog(
            self.metrics,
            tuple(feature for feature in self.stored(kind) if feature.name in wanted),
            tuple(feature for feature in self.computed(kind) if feature.name in wanted),
        )

    def digest(self, kind: Kind) -> str:
        """A hash of all that decides the frame of `kind`: a model made for another digest is refused."""
        used = {feature.metric for feature in self.stored(kind)}
        parts = (
            [asdict(metric) for metric in self.metrics if metric.key in used],
            [asdict(feature) for feature in self.stored(kind)],
            [asdict(feature) for feature in self.computed(kind)],
        )
        for group in parts:
            for part in group:
                for words in ("text", "help"):
                    part.pop(words, None)
        text = json.dumps(parts, default=str, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]
