"""Recording rules that spare a Prometheus most of what Forewarn asks of it, made from the metric catalogue.

A host shows a thousand series of its cores and one number counts. Each rule sums up, every minute, what makes one value
of the catalogue of many series of a host. Where a database has these series, the newest hours of the many are not read.
They have the time of their evaluation, up to a minute after that of the scrape: the one honest difference.
"""

from collections.abc import Sequence

from forewarn.domain.inventory import Kind
from forewarn.domain.metrics import METRICS, SENSOR_LABEL
from forewarn.domain.telemetry import Metric
from forewarn.store.presets import Rename

INTERVAL = "1m"
_FOREIGN = ("label",)  # no label of the series: its sensor's, which another series tells


def recorded_metrics(metrics: Sequence[Metric] = METRICS) -> tuple[Metric, ...]:
    """The metrics that are made of many series of a host, and that PromQL can make of them."""
    return tuple(
        metric
        for metric in metrics
        if not metric.device_label
        and metric.kind is not Kind.HOST
        and not metric.name.startswith("forewarn_")
        and metric.name != SENSOR_LABEL
        and not any(label in _FOREIGN for label, _ in metric.where)
    )


def record(metric: Metric) -> str:
    """The name under which a rule keeps a metric.

    >>> record(recorded_metrics()[0])
    'forewarn:cpu_temperature:max'
    """
    return f"forewarn:{metric.key}:{metric.combine}"


def rules_file() -> str:
    """The file of rules, as Prometheus and vmalert read it."""
    lines = [
        "# Written by `make docs` from the metric catalogue: change the code, not this file.",
        "groups:",
        "- name: forewarn",
        f"  interval: {INTERVAL}",
        "  rules:",
    ]
    for metric in recorded_metrics():
        where = ",".join(f"{label}=~{_quoted(pattern)}" for label, pattern in metric.where)
        lines += [
            f"  - record: {record(metric)}",
            f"    expr: '{metric.combine} by (instance, job) ({metric.name}{{{where}}})'",
        ]
    return "\n".join(lines) + "\n"


def _quoted(pattern: str) -> str:
    """A pattern as a string of PromQL inside single quotes of YAML."""
    escaped = pattern.replace("\\", "\\\\").replace('"', '\\"').replace("'", "''")
    return f'"{escaped}"'


def _like(pattern: str) -> str:
    """A text that a pattern of the catalogue matches: its first alternative."""
    return pattern.partition("|")[0].replace(".*", "0")


def renames() -> tuple[Rename, ...]:
    """What recorded series mean: one series of the catalogue that stands for all it was made of."""
    return tuple(
        Rename(record(metric), metric.name, labels={label: _like(pattern) for label, pattern in metric.where})
        for metric in recorded_metrics()
    )


def spared() -> frozenset[str]:
    """The names of which nothing need be read where recorded series are."""
    recorded = {metric.key for metric in recorded_metrics()}
    names = {metric.name for metric in METRICS if metric.key in recorded}
    return frozenset(name for name in names if all(one.key in recorded for one in METRICS if one.name == name))


NAMES = frozenset(map(record, recorded_metrics()))
