"""Builds the alerter of a site from its settings, and sends a test to each of its receivers."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

from forewarn.alerts.alert import Alert, AlertSeverity
from forewarn.alerts.alerter import Alerter, Receivers
from forewarn.alerts.alertmanager import Alertmanager, Wording
from forewarn.alerts.hold import Held
from forewarn.alerts.memory import AlertMemory
from forewarn.alerts.notify import AppriseReceiver, Notifier
from forewarn.alerts.settings import AlertSettings
from forewarn.alerts.tally import Tally
from forewarn.clock import Clock
from forewarn.errors import ConfigurationError, ReceiverUnavailable
from forewarn.state.database import Database
from forewarn.web.settings import WebSettings

AlerterBuilder = Callable[[Database], Alerter]
_TEST_SPAN = timedelta(minutes=1)


def prepare(settings: AlertSettings, interval_s: float, web: WebSettings, clock: Clock) -> AlerterBuilder | None:
    """What makes the alerter once there is a state database; None where nobody is to be told.

    Raises ConfigurationError for a receiver's address that cannot be right. `interval_s` is the control loop's.
    """
    if not settings.receivers:
        return None
    dashboard_url = _dashboard(settings, web)
    tally = Tally()
    people = _people(settings)
    notifier = Notifier(people, settings.notify, dashboard_url, tally) if people else None
    wording = Wording(settings.alertmanager, interval_s, dashboard_url, settings.runbook_url)
    receivers = Receivers(_alertmanagers(settings), wording, notifier)
    return lambda database: Alerter(AlertMemory(database), receivers, settings, clock, tally)


def try_receivers(settings: AlertSettings, web: WebSettings, now: datetime) -> Iterator[tuple[str, str]]:
    """Send a test to each receiver; for each its name, and why it did not take the test, or nothing.

    Raises ConfigurationError if there is no receiver, or one whose address cannot be right.
    """
    if not settings.receivers:
        raise ConfigurationError("nobody is to be told: set alerts.alertmanager.urls or alerts.notify.urls")
    test = _test(settings, now)
    wording = Wording(settings.alertmanager, 0.0, _dashboard(settings, web), settings.runbook_url)
    for name, alertmanager in _alertmanagers(settings):
        written = {**wording.on(test, now), "endsAt": (now + _TEST_SPAN).isoformat()}
        yield name, _tried(alertmanager.post, [written])
    for receiver in _people(settings):
        yield receiver.name, _tried(receiver.send, "Forewarn: a test", test.alert.summary, True)


def _tried(send: Callable[..., None], *arguments: object) -> str:
    try:
        send(*arguments)
    except ReceiverUnavailable as error:
        return str(error)
    return ""


def _test(settings: AlertSettings, now: datetime) -> Held:
    severity = AlertSeverity.INFO
    labels = {"alertname": "ForewarnTest", "severity": str(severity), "cluster": settings.cluster}
    said = "This is a test of Forewarn's alerts; nothing is wrong, and it ends by itself"
    shown = {name: value for name, value in labels.items() if value}
    return Held(Alert("ForewarnTest", "ForewarnTest", severity, "", "", "", said, labels=shown), now, on=True)


def _alertmanagers(settings: AlertSettings) -> tuple[tuple[str, Alertmanager], ...]:
    """Each with a name that holds no part of its address: a password may stand in it."""
    urls = enumerate(settings.alertmanager.urls, 1)
    return tuple((f"alertmanager {number}", Alertmanager(url, settings.alertmanager)) for number, url in urls)


def _people(settings: AlertSettings) -> tuple[AppriseReceiver, ...]:
    return tuple(AppriseReceiver(url, number) for number, url in enumerate(settings.notify.urls, 1))


def _dashboard(settings: AlertSettings, web: WebSettings) -> str:
    """Where people reach the dashboard; empty if that cannot be known before it listens."""
    if settings.dashboard_url or not web.port:
        return settings.dashboard_url
    host = f"[{web.host}]" if ":" in web.host else web.host
    return f"http://{host}:{web.port}"
