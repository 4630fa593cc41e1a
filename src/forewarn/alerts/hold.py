"""When an alert starts and when it ends: a step from what was on, and what is wrong now, to what is on next. Pure.

A cause must last before it is told, and must be away for a while before its alert ends.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from forewarn.alerts.alert import Alert
from forewarn.alerts.rules import hold_s
from forewarn.alerts.settings import AlertSettings


@dataclass(frozen=True)
class Held:
    """One alert as it is remembered, from the first time that its cause was seen."""

    alert: Alert
    since: datetime
    on: bool = False  # False while the cause has not lasted long enough
    gone_at: datetime | None = None  # since when the cause is away
    told_at: datetime | None = None  # when people were told


@dataclass(frozen=True)
class Step:
    """What one cycle changed."""

    held: Mapping[str, Held]  # all that is remembered next, by key
    ended: tuple[Held, ...] = ()  # were on and are no longer
    raised: tuple[Held, ...] = ()  # as they were before they became more severe: their old labels end
    left_out: int = 0  # over the limit

    @property
    def on(self) -> tuple[Held, ...]:
        """What is told now."""
        return tuple(held for held in self.held.values() if held.on)


def step(
    before: Mapping[str, Held],
    alerts: Collection[Alert],
    settings: AlertSettings,
    now: datetime,
    undecided: Collection[str] = (),
) -> Step:
    """Go on by one cycle. `undecided` are keys of which nobody can say whether their cause is away."""
    wrong = {alert.key: alert for alert in alerts}
    after: dict[str, Held] = {}
    ended, raised = [], []
    for key, held in before.items():
        alert = wrong.pop(key, None)
        going = _goes_on(held, alert, settings, now) if alert or key not in undecided else held
        if going is not None:
            after[key] = going
        elif held.on:
            ended.append(held)
        if going is not None and held.on and going.alert.severity != held.alert.severity:
            raised.append(held)
    room = max(0, settings.active_max - len(after))
    for alert in list(wrong.values())[:room]:
        after[alert.key] = _lasting(Held(alert, now), settings, now)
    return Step(after, tuple(ended), tuple(raised), max(0, len(wrong) - room))


def _goes_on(held: Held, alert: Alert | None, settings: AlertSettings, now: datetime) -> Held | None:
    """What becomes of `held`; None once it is over. A cause away before it was told is forgotten at once."""
    if alert is not None:
        return _lasting(_renewed(held, alert), settings, now)
    if not held.on:
        return None
    gone_at = held.gone_at or now
    return None if now - gone_at >= timedelta(seconds=settings.keep_s) else replace(held, gone_at=gone_at)


def _renewed(held: Held, alert: Alert) -> Held:
    """With today's texts. What is on never becomes less severe, and when it becomes more so people are told anew."""
    if held.on and alert.severity.rank < held.alert.severity.rank:
        severity = held.alert.severity
        alert = replace(alert, severity=severity, labels={**alert.labels, "severity": str(severity)})
    told_at = held.told_at if alert.severity == held.alert.severity else None
    return replace(held, alert=alert, gone_at=None, told_at=told_at)


def _lasting(held: Held, settings: AlertSettings, now: datetime) -> Held:
    lasted = (now - held.since).total_seconds() >= hold_s(held.alert, settings)
    return replace(held, on=held.on or lasted)
