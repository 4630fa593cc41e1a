"""One POST by the standard library, since the agent stays light: no redirects, no proxies, every wait bounded."""

import http.client
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import urlsplit

from forewarn.errors import ConfigurationError, ReceiverUnavailable

_ANSWER_BYTES_MAX = 4096
_TEXT_CHARS_MAX = 300


@dataclass(frozen=True)
class Answer:
    """What a server said to a request; `retry_after` is its header as it came."""

    status: int
    text: str = ""
    retry_after: str = ""


Post = Callable[[str, bytes, Mapping[str, str]], Answer]


class HttpPost:
    """Posts a body to an address. Raises ReceiverUnavailable where no whole answer comes in time."""

    def __init__(self, timeout_s: float, ca_file: Path | None = None) -> None:
        self._timeout_s = timeout_s
        try:
            self._tls = ssl.create_default_context(cafile=ca_file)
        except OSError as problem:
            raise ConfigurationError(f"push.ca_file {ca_file} cannot be used: {problem}") from problem

    def __call__(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        parts = urlsplit(url)
        target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        connection = self._connection(parts.scheme, parts.hostname or "", parts.port)
        try:
            connection.request("POST", target, body, dict(headers))
            response = connection.getresponse()
            text = response.read(_ANSWER_BYTES_MAX).decode("utf-8", "replace")
            said = " ".join(text.split())[:_TEXT_CHARS_MAX]
            return Answer(response.status, said, response.getheader("Retry-After", ""))
        except (OSError, http.client.HTTPException, UnicodeError) as problem:
            raise ReceiverUnavailable(
                f"{parts.netloc} does not answer: {str(problem) or type(problem).__name__}"
            ) from problem
        finally:
            connection.close()

    def _connection(self, scheme: str, host: str, port: int | None) -> http.client.HTTPConnection:
        if scheme == "https":
            return http.client.HTTPSConnection(host, port, timeout=self._timeout_s, context=self._tls)
        return http.client.HTTPConnection(host, port, timeout=self._timeout_s)


def wait_s(retry_after: str, now: datetime) -> float | None:
    """The seconds that a Retry-After header asks for, as a number or as a date; None where it asks for none.

    >>> wait_s("30", datetime(2026, 1, 1, tzinfo=UTC)), wait_s("soon", datetime(2026, 1, 1, tzinfo=UTC))
    (30.0, None)
    """
    if retry_after.isascii() and retry_after.isdigit():
        return float(retry_after[:9])
    try:
        date = parsedate_to_datetime(retry_after)
    except (ValueError, TypeError):
        return None
    return max(0.0, ((date if date.tzinfo else date.replace(tzinfo=UTC)) - now).total_seconds())
