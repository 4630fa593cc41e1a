"""The settings of alerts, each with its unit and its reason."""

from dataclasses import dataclass, field
from pathlib import Path

from forewarn.alerts.alert import AlertSeverity

SILENCE_KINDS = ("maintenance", "freeze")


@dataclass(frozen=True)
class AlertmanagerSettings:
    """Where Alertmanager is and how it is asked."""

    urls: tuple[str, ...] = ()
    """Addresses of Alertmanager, such as `http://alerts:9093`; all members of a highly available pair: each is sent
    everything, and they agree among themselves."""
    resend_s: float = 60.0
    """Seconds after which an alert that is still on is sent again. One that is not renewed for four times this long
    (or four times the control loop's interval, if that is longer) ends by itself in Alertmanager, so that nothing stays
    on when Forewarn is gone."""
    timeout_s: float = 10.0
    """Seconds that one call may take, so that an address which swallows everything holds up the others only briefly."""
    body_bytes_max: int = 262_144
    """Bytes of one call's body; more alerts go in further calls, so that no proxy refuses a bad day."""
    answer_bytes_max: int = 8_388_608
    """Bytes of an answer that are read; a longer one is refused, so that no foreign server fills the memory."""
    bearer_token_file: Path | None = None
    """File that holds a bearer token; read at each call, so that a renewed token needs no restart."""
    username: str = ""
    """Name for basic authentication; empty for none."""
    password_file: Path | None = None
    """File that holds the password for basic authentication."""
    ca_file: Path | None = None
    """File of the authorities that are trusted for https, in place of the usual ones."""
    silences_as: str = "maintenance"
    """What a silence of hosts means that carries no matcher `forewarn`: `maintenance`, `freeze`, or empty for
    nothing. A silence that names an alert besides its hosts only silences that alert."""
    silences_max: int = 1000
    """Silences that are read at once; the rest is left out and told."""

    def __post_init__(self) -> None:
        if wrong := [url for url in self.urls if not url.startswith(("http://", "https://"))]:
            raise ValueError(f"urls holds {wrong[0]!r}; an address begins with http:// or https://")
        if self.silences_as not in ("", *SILENCE_KINDS):
            raise ValueError(f"silences_as is {self.silences_as!r}; known are {', '.join(SILENCE_KINDS)}, and empty")
        if self.resend_s <= 0 or self.timeout_s <= 0:
            raise ValueError("resend_s and timeout_s must be above 0")


@dataclass(frozen=True)
class NotifySettings:
    """Who among people is told, by Apprise."""

    urls: tuple[str, ...] = ()
    """Addresses of Apprise, such as `mailto://user:password@example.org` or `slack://...`; they hold secrets, so keep
    the file unreadable for others."""
    minimum_severity: AlertSeverity = AlertSeverity.WARNING
    """The least severe alert that people are told."""
    per_hour_max: int = 30
    """Messages to people within an hour; what exceeds it is joined to one summary, for nobody reads a flood."""
    hosts_named_max: int = 20
    """Hosts that a summary names; the others are counted."""

    def __post_init__(self) -> None:
        if self.per_hour_max < 1:
            raise ValueError(f"per_hour_max is {self.per_hour_max}; to tell people nothing, leave urls empty")


@dataclass(frozen=True)
class AlertSettings:
    """What raises an alert, and for how long."""

    alertmanager: AlertmanagerSettings = field(default_factory=AlertmanagerSettings)
    notify: NotifySettings = field(default_factory=NotifySettings)
    cluster: str = ""
    """Name of this site, the label `cluster` of every alert; empty for no such label."""
    dashboard_url: str = ""
    """Address under which people reach the dashboard; empty for the one that it listens on."""
    runbook_url: str = ""
    """Address of what to do about an alert, as its annotation `runbook_url`; empty for none."""
    risk_for_s: float = 120.0
    """Seconds for which a risk must stay above its threshold before that is told, so that one odd reading is not."""
    keep_s: float = 300.0
    """Seconds for which an alert's cause must be away before the alert ends, so that a flapping one is told once."""
    critical_times: float = 4.0
    """How many times its threshold a risk must be to be critical; an alert on may rise to it, and keeps it."""
    unknown_after_s: float = 900.0
    """Seconds without a forecast after which a part that had one before counts as lost."""
    forget_s: float = 604_800.0
    """Seconds after which a lost part is taken to be gone for good, so that a drive pulled on purpose alarms no
    longer."""
    failed_move_s: float = 3600.0
    """Seconds for which a failed move stays an alert, unless its VM was moved meanwhile."""
    active_max: int = 2000
    """Alerts that may be on at once; further ones are left out and counted."""
    text_max: int = 2000
    """Characters of a summary or a description; longer ones are cut."""
    close_s: float = 5.0
    """Seconds that sending may still take when Forewarn ends."""

    @property
    def receivers(self) -> int:
        """How many are told; with none, nothing is computed."""
        return len(self.alertmanager.urls) + len(self.notify.urls)
