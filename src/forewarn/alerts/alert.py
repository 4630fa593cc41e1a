"""The words of this package: an alert, how severe it is, and a silence. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class AlertSeverity(StrEnum):
    """How soon somebody should look."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """Greater is worse."""
        return tuple(AlertSeverity).index(self)


@dataclass(frozen=True)
class Alert:
    """One thing that is wrong now. `key` names it across cycles and restarts; the texts may change while it is on.

    `labels` are those of Alertmanager, all of them, and make up the alert's identity there. `host` is empty for what
    concerns the whole site.
    """

    key: str
    name: str  # in Prometheus' style, such as ForewarnRiskAboveThreshold
    severity: AlertSeverity
    host: str
    component: str
    kind: str
    summary: str
    description: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def simulated(self) -> bool:
        return self.labels.get("simulated") == "true"


@dataclass(frozen=True)
class Silence:
    """A time for which Alertmanager is told to keep silent about hosts, read as a window of work on them."""

    key: str  # Alertmanager's own id
    kind: str  # `maintenance` or `freeze`
    hosts: tuple[str, ...]  # patterns of fnmatch; a plain name matches itself
    starts_at: datetime
    ends_at: datetime
    who: str
    why: str
