"""People, by whatever channel Apprise knows: one message per host for all that is new there, one when all is over.

Nothing here prints an address: it holds secrets. A receiver is named by its place in the settings and its kind.
"""

import logging
import re
from collections import deque
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol
from urllib.parse import unquote

from forewarn.alerts.alert import Alert
from forewarn.alerts.alertmanager import page_of
from forewarn.alerts.hold import Held
from forewarn.alerts.settings import NotifySettings
from forewarn.alerts.tally import Tally
from forewarn.errors import ConfigurationError, ReceiverUnavailable

_SECRET_CHARS = 3  # a shorter piece of an address is no secret, and would be found in every word
_SITE = "the site"


class Receiver(Protocol):
    """One way to people. `send` raises ReceiverUnavailable if the message was not taken."""

    name: str

    def send(self, title: str, body: str, good: bool) -> None: ...


class AppriseReceiver:
    """One address of Apprise. Raises ConfigurationError for an address that Apprise does not know."""

    def __init__(self, url: str, number: int) -> None:
        import apprise  # here, because it takes a while to load and nobody else needs it

        schema = re.match(r"[\w+.-]{1,30}(?=://)", url)
        self.name = f"{schema.group().lower() if schema else 'notify'} {number}"
        self._url = url
        _keep_addresses_out_of_the_log()
        self._apprise = apprise.Apprise()
        if not self._apprise.add(url):
            raise ConfigurationError(f"alerts.notify.urls: number {number} is no address that Apprise knows")

    def send(self, title: str, body: str, good: bool) -> None:
        import apprise

        kind = apprise.NotifyType.SUCCESS if good else apprise.NotifyType.WARNING
        capture = apprise.LogCapture(level=logging.WARNING, fmt="%(message)s")  # type: ignore[no-untyped-call]
        with capture as said:
            taken = self._apprise.notify(body, title=title, notify_type=kind, body_format=apprise.NotifyFormat.TEXT)
            lines = said.getvalue().strip().splitlines()
        if not taken:
            raise ReceiverUnavailable(scrubbed(lines[-1] if lines else "the message was not taken", self._url))


def _keep_addresses_out_of_the_log() -> None:
    """Apprise names addresses in its own log; what it says is caught, cleaned and told by us."""
    log = logging.getLogger("apprise")
    log.propagate = False
    if not log.handlers:
        log.addHandler(logging.NullHandler())


def scrubbed(text: str, url: str) -> str:
    """`text` without any piece of `url` that may be a secret.

    >>> scrubbed("POST json://bob:hunter2@example.org/T0KEN failed", "json://bob:hunter2@example.org/T0KEN?to=x")
    'POST json://***:***@***/*** failed'
    """
    rest = url.partition("://")[2]
    pieces = {piece for piece in re.split(r"[/:@?&=,;#]+", rest) if len(piece) >= _SECRET_CHARS}
    pieces |= {unquote(piece) for piece in pieces}
    for piece in sorted(pieces, key=len, reverse=True):
        text = text.replace(piece, "***")
    return text


class Message:
    """What is said about one host, or in a summary about several."""

    def __init__(self, title: str, body: str, good: bool = False, keys: Sequence[str] = ()) -> None:
        self.title, self.body, self.good, self.keys = title, body, good, tuple(keys)


class Notifier:
    """Tells people what is new and what is over. Used by one thread only."""

    def __init__(
        self, receivers: Sequence[Receiver], settings: NotifySettings, dashboard_url: str, tally: Tally
    ) -> None:
        self._receivers, self._settings = tuple(receivers), settings
        self._dashboard_url, self._tally = dashboard_url, tally
        self._sent: deque[datetime] = deque()
        self._told: dict[str, str] = {}  # by key the severity; the memory on disk may lag behind by a cycle
        self._over: dict[str, list[Alert]] = {}  # told and ended, by host, until that is told too

    def tell(self, on: Sequence[Held], ended: Sequence[Held], now: datetime) -> tuple[str, ...]:
        """Send what is to be said now; returns the keys of alerts that people have been told of."""
        loud = [held for held in on if held.alert.severity.rank >= self._settings.minimum_severity.rank]
        self._note_ended(ended)
        new = [held for held in loud if self._is_new(held)]
        busy = {held.alert.host for held in loud}
        over = {host: alerts for host, alerts in self._over.items() if host not in busy}
        messages = [*_new_messages(new, self._dashboard_url), *_over_messages(over)]
        told: list[str] = []
        for message in self._within_limit(messages, now):
            if self._send(message, now):
                told += [key for key in message.keys if not message.good]
                for host in message.keys if message.good else ():
                    self._over.pop(host, None)
        severities = {held.alert.key: str(held.alert.severity) for held in loud}
        self._told.update({key: severities[key] for key in told if key in severities})
        return tuple(key for key in told if key in severities)

    def _is_new(self, held: Held) -> bool:
        return held.told_at is None and self._told.get(held.alert.key) != held.alert.severity

    def _note_ended(self, ended: Sequence[Held]) -> None:
        for held in ended:
            if held.told_at is not None or held.alert.key in self._told:
                self._over.setdefault(held.alert.host, []).append(held.alert)
            self._told.pop(held.alert.key, None)

    def _within_limit(self, messages: list[Message], now: datetime) -> list[Message]:
        """The messages that may be sent now: all, or the first ones and a summary of the rest, or none yet."""
        while self._sent and now - self._sent[0] >= timedelta(hours=1):
            self._sent.popleft()
        room = self._settings.per_hour_max - len(self._sent)
        if len(messages) <= room:
            return messages
        if room <= 0:
            return []
        rest = messages[room - 1 :]
        bad = [message for message in rest if not message.good]
        if not bad:
            return messages[:room]  # an all-clear waits for its turn
        self._tally.dropped("people", len(bad))
        return [*messages[: room - 1], _summary(bad, self._settings.hosts_named_max)]

    def _send(self, message: Message, now: datetime) -> bool:
        """Whether one receiver at least took it: the others are not worth telling everybody twice."""
        taken = False
        for receiver in self._receivers:
            try:
                receiver.send(message.title, message.body, message.good)
            except ReceiverUnavailable as error:
                self._tally.failed(receiver.name, str(error))
            else:
                self._tally.sent(receiver.name)
                taken = True
        if taken:
            self._sent.append(now)
        return taken


def _new_messages(new: Sequence[Held], dashboard_url: str) -> list[Message]:
    by_host: dict[str, list[Alert]] = {}
    for held in sorted(new, key=lambda held: (-held.alert.severity.rank, held.alert.key)):
        by_host.setdefault(held.alert.host, []).append(held.alert)
    return [_new_message(host, alerts, dashboard_url) for host, alerts in by_host.items()]


def _new_message(host: str, alerts: Sequence[Alert], dashboard_url: str) -> Message:
    number = "1 alert" if len(alerts) == 1 else f"{len(alerts)} alerts"
    lines = [line for alert in alerts for line in (f"{alert.severity}: {alert.summary}", alert.description, "")]
    if dashboard_url:
        lines.append(page_of(dashboard_url, host))
    return Message(f"Forewarn: {number} for {_named(host, alerts)}", "\n".join(lines).strip(), False,
                   [alert.key for alert in alerts])  # fmt: skip


def _named(host: str, alerts: Sequence[Alert]) -> str:
    return (host or _SITE) + (" (simulated)" if any(alert.simulated for alert in alerts) else "")


def _over_messages(over: dict[str, list[Alert]]) -> list[Message]:
    return [
        Message(
            f"Forewarn: all alerts for {_named(host, alerts)} are over",
            "\n".join(f"No longer so: {alert.summary}" for alert in alerts),
            True,
            [host],
        )
        for host, alerts in over.items()
    ]


def _summary(bad: Sequence[Message], named_max: int) -> Message:
    titles = [message.title.removeprefix("Forewarn: ") for message in bad[:named_max]]
    if len(bad) > named_max:
        titles.append(f"and {len(bad) - named_max} hosts more")
    body = "\n".join(
        [*titles, "", "These come in one message, because the limit of messages within an hour is reached."]
    )
    return Message(f"Forewarn: alerts for {len(bad)} hosts", body, False, [key for m in bad for key in m.keys])
