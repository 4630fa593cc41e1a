"""Pages of metrics as exporters show them: read, and served over HTTP."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from forewarn.domain.telemetry import Sample


def parsed(text: str) -> list[Sample]:
    """The samples of a page."""
    line = re.compile(r"([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)")
    label = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
    found = (line.fullmatch(each) for each in text.splitlines() if not each.startswith("#"))
    return [Sample(m[1], dict(label.findall(m[2] or "")), float(m[3])) for m in found if m]


@contextmanager
def exporter(page: Callable[[], str]) -> Iterator[str]:
    """An exporter on loopback that shows what `page` gives; yields its address without a scheme."""

    class Shows(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = page().encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Shows) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
