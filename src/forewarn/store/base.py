"""What a telemetry store does, and the Arrow schemas in which samples, devices and questions cross its border."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import pyarrow as pa

from forewarn.domain.feature import Catalog
from forewarn.domain.inventory import Kind

TIME: pa.DataType = pa.timestamp("us", tz="UTC")
WEIGHT: pa.DataType = pa.int32()
TAKEN_BACK = -1

# One row per value. `component` is a component's id, `metric` a key of the metric catalogue. A NaN ends a series' last
# value (Prometheus calls it a stale marker): nothing holds past it until the next sample.
SAMPLES = pa.schema(
    [
        ("time", TIME),
        ("component", pa.string()),
        ("metric", pa.string()),
        ("value", pa.float64()),
    ]
)

# One row per part and place. `first_seen` and `last_seen` bound the time in which that part sat there.
DEVICES = pa.schema(
    [
        ("component", pa.string()),
        ("kind", pa.string()),
        ("host", pa.string()),
        ("device", pa.string()),
        ("model", pa.string()),
        ("first_seen", TIME),
        ("last_seen", TIME),
    ]
)

# A question for features of chosen parts at chosen times (training); live questions pass times alone.
ROWS = pa.schema([("time", TIME), ("component", pa.string())])

# The first columns of every frame; the catalogue's feature columns (float64, null = missing) follow in its order.
FRAME_KEYS = pa.schema(
    [
        ("time", TIME),
        ("component", pa.string()),
        ("host", pa.string()),
        ("device", pa.string()),
        ("model", pa.string()),
    ]
)


@dataclass(frozen=True)
class Batch:
    """Samples together with the devices that they come from, ready to be appended.

    `until_marked` is for change points (recordings): their values stand until the next sample or marker of the series,
    however long that takes, instead of for the metric's hold limit.

    `weights` says for each sample of how many series its value was made, TAKEN_BACK for a marker that takes back what
    was stored of its series and time. Without it values weigh one, and markers nothing.
    """

    samples: pa.Table  # SAMPLES
    devices: pa.Table  # DEVICES
    until_marked: bool = False
    weights: "pa.ChunkedArray[Any] | None" = None  # WEIGHT


class TelemetryStore(Protocol):
    """A time-series store that computes features itself."""

    def append(self, batch: Batch) -> int:
        """Store a batch at once or not at all and return the number of samples taken.

        Of several samples of one component, metric and time one stands: the one of the greatest weight, of equals the
        one that was appended last. A marker weighs nothing, so that any value stands before it, unless it takes back:
        then it stands before all that was appended until then, and weighs nothing from then on. So a batch may come
        twice, a part of a value never stands before more of it, and later parts of a scrape mend its values.

        Raises TelemetryError for a batch of another shape, StoreUnavailable if the store cannot take it now.
        """
        ...

    def features(self, catalog: Catalog, kind: Kind, at: Sequence[datetime] | pa.Table) -> pa.Table:
        """The stored features of `kind`: FRAME_KEYS and one float64 column per `catalog.stored(kind)`.

        `at` is either times, and then a row comes for every component of that kind known at each time, or a ROWS table,
        and then exactly its rows come, in its order. Metrics of kind `host` are joined by the component's host.
        Derived columns are not computed here but by `features.frame`.
        """
        ...

    def series(self, component: str, metric: str, start: datetime, end: datetime) -> pa.Table:
        """The raw samples of one series in (start, end], as columns time and value, in time order."""
        ...

    def devices(self, kind: Kind | None = None) -> pa.Table:
        """Every known device, as DEVICES."""
        ...

    def roll_up(self, now: datetime) -> None:
        """Bring hourly and daily roll-ups up to `now` and drop what is past its retention."""
        ...

    def close(self) -> None:
        """Flush and release the store."""
        ...
