"""How a site's database is asked over HTTP: credentials, limits, patience, and a sentence for what goes wrong."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import requests
from urllib3.exceptions import HTTPError

from forewarn.clock import Clock
from forewarn.errors import QueryTooLarge, StoreUnavailable

log = logging.getLogger(__name__)

_RETRIED = (429, 500, 502, 503, 504)
_SAID_CHARS = 300


@dataclass(frozen=True)
class HttpSettings:
    """Where a site's database is, and how it is asked."""

    url: str = ""
    """Address of the database, such as http://tsdb.example:9090; what comes before /api/v1 belongs to it."""
    username: str = ""
    """Name for basic authentication."""
    password_file: Path | None = None
    """File with the password; it is read before each request, so that a new one needs no restart."""
    bearer_token_file: Path | None = None
    """File with a token for bearer authentication (InfluxDB: its API token); it goes before a name and password."""
    ca_file: Path | None = None
    """Certificates (PEM) that vouch for the database; the system's, where none is named."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Further headers of each request, such as X-Scope-OrgID for a tenant; no place for secrets."""
    timeout_s: float = 60.0
    """How long one request may take to be answered, seconds."""
    retries_max: int = 3
    """How often a request is made again that the database could not answer: no connection, 429, 5xx."""
    backoff_s: float = 0.5
    """How long the first pause before another attempt is, seconds; each further one is twice as long."""
    answer_bytes_max: int = 256 << 20
    """The longest answer that is read; a longer one is asked for in parts."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a database said; `status` and `headers` are HTTP's."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def said(self) -> str:
        """Its words, for a sentence."""
        return " ".join(self.body[:_SAID_CHARS].decode("utf-8", "replace").split())


class Http:
    """Asks one database. Raises StoreUnavailable where there is no answer; no secret stands in its words."""

    def __init__(self, what: str, settings: HttpSettings, clock: Clock, scheme: str = "Bearer") -> None:
        self._scheme = scheme
        self.name = f"{what} at {_shown(settings.url)}"
        self._settings, self._clock = settings, clock
        self._session = requests.Session()
        self._session.headers["Accept-Encoding"] = "identity"  # packing costs a database more than the wire does

    @property
    def timeout_s(self) -> float:
        return self._settings.timeout_s

    def close(self) -> None:
        """Let go of connections."""
        self._session.close()

    def ask(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        data: bytes | Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        final: Callable[[Answer], bool] = lambda _: False,
    ) -> Answer:
        """One answer, whatever its status but for refused credentials and what is worth another attempt.

        Where `final`, an answer that tells of trouble is not worth one. Raises QueryTooLarge for an answer longer than
        the limit.
        """
        pause = self._settings.backoff_s
        for attempt in range(self._settings.retries_max + 1):
            last = attempt == self._settings.retries_max
            try:
                answer = self._once(method, path, params, data, headers)
            except (requests.RequestException, HTTPError, OSError) as error:
                if last or isinstance(error, requests.exceptions.InvalidURL | requests.exceptions.MissingSchema):
                    raise StoreUnavailable(f"{self.name} {_cause(error)}") from error
            else:
                if answer.status not in _RETRIED or last or final(answer):
                    return answer
            self._clock.sleep(pause)
            pause *= 2
        raise AssertionError("the last attempt returns or raises")

    def _once(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None,
        data: bytes | Mapping[str, str] | None,
        headers: Mapping[str, str] | None,
    ) -> Answer:
        settings = self._settings
        own, auth = self._credentials()
        with self._session.request(
            method,
            settings.url.rstrip("/") + path,
            params=params,
            data=data,
            headers={**settings.headers, **(headers or {}), **own},
            auth=auth,
            verify=str(settings.ca_file) if settings.ca_file else True,
            timeout=settings.timeout_s,
            allow_redirects=False,
            stream=True,
        ) as answer:
            body = self._body(answer)
        if answer.status_code in (401, 403):
            words = "name it in store.remote.bearer_token_file, or username and password_file"
            raise StoreUnavailable(f"{self.name} refuses the credentials ({answer.status_code}): {words}", 60.0)
        if 300 <= answer.status_code < 400:
            where = answer.headers.get("Location", "elsewhere")
            raise StoreUnavailable(
                f"{self.name} points to {_shown(where)}: write the right address in store.remote.url"
            )
        return Answer(answer.status_code, body, answer.headers)

    def _body(self, answer: requests.Response) -> bytes:
        pieces, size = [], 0
        for piece in answer.iter_content(1 << 20):
            pieces.append(piece)
            size += len(piece)
            if size > self._settings.answer_bytes_max:
                raise QueryTooLarge(f"an answer of {self.name} is longer than {self._settings.answer_bytes_max} bytes")
        return b"".join(pieces)

    def _credentials(self) -> tuple[dict[str, str], tuple[str, str] | None]:
        if self._settings.bearer_token_file is not None:
            return {"Authorization": f"{self._scheme} {_secret(self._settings.bearer_token_file)}"}, None
        if self._settings.username:
            file = self._settings.password_file
            return {}, (self._settings.username, _secret(file) if file else "")
        return {}, None


def _secret(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise StoreUnavailable(f"cannot read the secret in {path}: {type(error).__name__}", 60.0) from error


def _shown(url: str) -> str:
    """An address without what stands before an @: it may be a password."""
    scheme, slashes, rest = url.rpartition("://")
    return f"{scheme}{slashes}{rest.rpartition('@')[2]}".rstrip("/")


def _cause(error: Exception) -> str:
    """What went wrong, without the address: it may hold a password."""
    if isinstance(error, requests.Timeout):
        return "does not answer in time: is it overloaded? (store.remote.timeout_s)"
    if isinstance(error, requests.exceptions.SSLError):
        return "shows a certificate that is not trusted: name its authority in store.remote.ca_file"
    if isinstance(error, requests.exceptions.InvalidURL | requests.exceptions.MissingSchema):
        return "is no address: write one such as http://tsdb.example:9090 in store.remote.url"
    return f"cannot be reached ({type(error).__name__}): is it running, and is store.remote.url right?"
