"""What is measured: a sample as an exporter exposes it, and the metrics that Forewarn understands.

A `Sample` carries the ecosystem's own name and labels (node_exporter, smartctl_exporter, ipmi_exporter). A `Metric`
says which samples are meant, of which component kind they are, and which label names the device.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from forewarn.domain.inventory import Kind


@dataclass(frozen=True, slots=True)
class Sample:
    """One measured value. `time` is None for "when it was collected", which whoever collects fills in."""

    name: str
    labels: Mapping[str, str]
    value: float
    time: datetime | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """What an exporter names a series, and the host of which it speaks.

    Whoever remembers series hands out the same object each time, so that they may be told apart by what they are, and
    says the host; a series that is made for one sample says none.
    """

    name: str
    labels: Mapping[str, str]
    host: str = ""


class Shown(Iterable[Sample]):
    """Samples as columns: of each its series, its time and its value.

    >>> up = Series("up", {"instance": "host03"})
    >>> shown = Shown([up, up], [None, None], [1.0, 0.0])
    >>> [sample.value for sample in shown], shown.taken([1]).values
    ([1.0, 0.0], [0.0])
    """

    def __init__(self, series: Sequence[Series], times: Sequence[datetime | None], values: Sequence[float]) -> None:
        self.series, self.times, self.values = series, times, values

    def __len__(self) -> int:
        return len(self.series)

    def __iter__(self) -> Iterator[Sample]:
        return map(self.sample, range(len(self)))

    def sample(self, row: int) -> Sample:
        """One of the samples."""
        series = self.series[row]
        return Sample(series.name, series.labels, self.values[row], self.times[row])

    def taken(self, rows: Sequence[int]) -> "Shown":
        """Some rows, in the order in which they are named."""
        series, times, values = self.series, self.times, self.values
        return Shown([series[row] for row in rows], [times[row] for row in rows], [values[row] for row in rows])


class Combine(StrEnum):
    """What one device's value is where several of its series fit a metric (eight cores, four fans)."""

    SUM = "sum"
    MAX = "max"
    MIN = "min"
    AVG = "avg"


@dataclass(frozen=True, slots=True)
class Metric:
    r"""A named quantity of one component, and the series in which it is found.

    `where` holds label names and regular expressions that must match whole values. `device_label` names the label that
    tells devices of one host apart; empty means one device per host, called as its kind. `device_pattern`, where set,
    must match the label's start, and its first group is the device (`(PSU\d+)` finds PSU1 in `PSU1 Vout`). A hwmon
    series also has the label `label`, as `node_hwmon_sensor_label` gives it for the sensor.
    """

    key: str
    kind: Kind
    name: str
    help: str
    unit: str = ""
    where: tuple[tuple[str, str], ...] = ()
    device_label: str = ""
    device_pattern: str = ""
    counter: bool = False
    combine: Combine = Combine.MAX
    hold_s: float = 3600.0  # how long a value is taken to stand when no newer sample comes
    low_bits: int = 0  # of a packed raw value, the low bits that are meant; 0 for all
