"""The address at which a Prometheus scrapes this agent: `/metrics`, and nothing else.

Each scrape is a round of its own; SMART answers stand at their own interval. It listens on the loopback unless told
otherwise, because what it shows names the hardware of the host.
"""

from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer

from forewarn.collect.exposition import CONTENT_TYPE
from forewarn.errors import ConfigurationError


@dataclass(frozen=True)
class ListenSettings:
    """Where the agent may be scraped."""

    host: str = "127.0.0.1"
    """Address to listen on; the loopback, so that nothing is shown to a network that nobody meant."""

    port: int = 9778
    """TCP port to listen on; 0 takes a free one."""

    timeout_s: float = 10.0
    """Seconds that a client may take over its request; one that dawdles must not keep the others out."""


def server(exposition: Callable[[], str], settings: ListenSettings) -> HTTPServer:
    """A bound server that answers each scrape with what `exposition` returns; one at a time, so rounds never overlap.

    Call `serve_forever`, and `shutdown` from another thread. Raises ConfigurationError where the address cannot be had.
    """

    class Scrape(BaseHTTPRequestHandler):
        timeout = settings.timeout_s

        def do_GET(self) -> None:
            if self.path.partition("?")[0] != "/metrics":
                self.send_error(HTTPStatus.NOT_FOUND, "only /metrics is here")
                return
            body = exposition().encode("utf-8", "replace")
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", CONTENT_TYPE)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the standard library's name
            """A scrape every few seconds is not worth a line."""

    try:
        return HTTPServer((settings.host, settings.port), Scrape)
    except (OSError, OverflowError) as problem:
        place = f"{settings.host}:{settings.port}"
        raise ConfigurationError(f"the agent cannot listen on {place}: {problem}") from problem
