"""What is measured: a sample as an exporter exposes it, and the metrics that Forewarn understands.

A `Sample` carries the ecosystem's own name and labels (node_exporter, smartctl_exporter, ipmi_exporter). A `Metric`
says which samples are meant, of which component kind they are, and which label names the device.
"""

from collections.abc import Mapping
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
