"""Alertmanager's API, version 2: alerts are posted, again and again while they are on, and silences are read.

Source: https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests
from urllib3.exceptions import HTTPError

from forewarn.alerts.alert import Alert
from forewarn.alerts.hold import Held
from forewarn.alerts.settings import AlertmanagerSettings
from forewarn.errors import ReceiverUnavailable

_LIFETIMES = 4.0  # how many times an alert may fail to be renewed before it ends by itself
_REFUSAL_BYTES = 300


class Alertmanager:
    """One Alertmanager. Raises ReceiverUnavailable from every call, and names no secret in it."""

    def __init__(self, url: str, settings: AlertmanagerSettings) -> None:
        self._url, self._settings = url.rstrip("/"), settings

    def post(self, alerts: Sequence[Mapping[str, Any]]) -> None:
        """Send alerts, in as many calls as the limit on a body asks for."""
        for body in bodies(alerts, self._settings.body_bytes_max):
            self._ask("POST", "/api/v2/alerts", body)

    def silences(self) -> list[dict[str, Any]]:
        """The silences as Alertmanager tells them, expired ones included."""
        answer = self._ask("GET", "/api/v2/silences")
        try:
            found = json.loads(answer)
        except ValueError as error:
            raise ReceiverUnavailable("its answer is not JSON: is this Alertmanager's address?") from error
        if not isinstance(found, list):
            raise ReceiverUnavailable("its answer is not a list of silences: is this Alertmanager's address?")
        return found

    def _ask(self, method: str, path: str, body: bytes | None = None) -> bytes:
        headers, auth = self._credentials()
        try:
            with requests.request(
                method,
                self._url + path,
                data=body,
                headers={"Content-Type": "application/json", **headers},
                auth=auth,
                verify=str(self._settings.ca_file) if self._settings.ca_file else True,
                timeout=self._settings.timeout_s,
                allow_redirects=False,
                stream=True,
            ) as answer:
                return self._read(answer)
        except (requests.RequestException, HTTPError, OSError) as error:
            raise ReceiverUnavailable(_cause(error)) from error

    def _read(self, answer: requests.Response) -> bytes:
        if answer.status_code != requests.codes.ok:
            said = answer.raw.read(_REFUSAL_BYTES, decode_content=True).decode("utf-8", "replace").strip()
            raise ReceiverUnavailable(f"it answers {answer.status_code}: {said or answer.reason}")
        content = b""
        for piece in answer.iter_content(65_536):
            content += piece
            if len(content) > self._settings.answer_bytes_max:
                raise ReceiverUnavailable(f"its answer is longer than {self._settings.answer_bytes_max} bytes")
        return content

    def _credentials(self) -> tuple[dict[str, str], tuple[str, str] | None]:
        if self._settings.bearer_token_file is not None:
            return {"Authorization": f"Bearer {_secret(self._settings.bearer_token_file)}"}, None
        if self._settings.username:
            file = self._settings.password_file
            return {}, (self._settings.username, _secret(file) if file else "")
        return {}, None


def _secret(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ReceiverUnavailable(f"cannot read the secret in {path}: {type(error).__name__}") from error


def _cause(error: Exception) -> str:
    """What went wrong, without the address: it may hold a password."""
    if isinstance(error, requests.Timeout):
        return "it does not answer in time"
    if isinstance(error, requests.exceptions.SSLError):
        return "its certificate is not trusted"
    return f"it cannot be reached ({type(error).__name__})"


def bodies(alerts: Iterable[Mapping[str, Any]], bytes_max: int) -> Iterator[bytes]:
    """JSON lists of alerts, each of at most `bytes_max` bytes where one alert alone is not longer.

    >>> list(bodies([{"a": 1}, {"b": 2}], 10))
    [b'[{"a": 1}]', b'[{"b": 2}]']
    """
    waiting: list[bytes] = []
    size = 2
    for alert in alerts:
        text = json.dumps(alert).encode()
        if waiting and size + len(text) + 1 > bytes_max:
            yield b"[" + b",".join(waiting) + b"]"
            waiting, size = [], 2
        waiting.append(text)
        size += len(text) + 1
    if waiting:
        yield b"[" + b",".join(waiting) + b"]"


class Wording:
    """How an alert is written for Alertmanager. `lifetime_s` is how long it lives without being sent again."""

    def __init__(self, settings: AlertmanagerSettings, interval_s: float, dashboard_url: str, runbook_url: str) -> None:
        self.lifetime_s = _LIFETIMES * max(settings.resend_s, interval_s)
        self._dashboard_url, self._runbook_url = dashboard_url.rstrip("/"), runbook_url

    def on(self, held: Held, now: datetime) -> dict[str, Any]:
        """An alert that is on: it ends by itself unless it is renewed."""
        return self._written(held.alert, held.since, now + timedelta(seconds=self.lifetime_s))

    def ended(self, held: Held, now: datetime) -> dict[str, Any]:
        """An alert that is over."""
        return self._written(held.alert, held.since, now)

    def _written(self, alert: Alert, since: datetime, ends_at: datetime) -> dict[str, Any]:
        annotations = {
            "summary": alert.summary,
            "description": alert.description,
            "runbook_url": self._runbook_url,
        }
        written: dict[str, Any] = {
            "labels": dict(alert.labels),
            "annotations": {name: text for name, text in annotations.items() if text},
            "startsAt": min(since, ends_at).isoformat(),
            "endsAt": ends_at.isoformat(),
        }
        if self._dashboard_url:
            written["generatorURL"] = page_of(self._dashboard_url, alert.host)
        return written


def page_of(dashboard_url: str, host: str) -> str:
    """The dashboard's page of a host, or its first page for what concerns the whole site."""
    return f"{dashboard_url.rstrip('/')}/hosts/{quote(host, safe='')}" if host else dashboard_url
