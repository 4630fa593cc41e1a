"""Small servers on loopback that take what is sent to people: one for webhooks, one for mail."""

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TypeVar


class Webhooks(HTTPServer):
    """Keeps the body of every POST, shows `shown` to every GET, and answers with `status`."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Webhook)
        self.bodies: list[str] = []
        self.authorizations: list[str] = []
        self.status = 200
        self.shown = ""

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class _Webhook(BaseHTTPRequestHandler):
    server: Webhooks

    def do_POST(self) -> None:
        self.server.authorizations.append(self.headers.get("Authorization", ""))
        self.server.bodies.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        content = self.server.shown.encode()
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: object) -> None:
        """Says nothing: a test looks at what arrived."""


class Mails(socketserver.TCPServer):
    """Keeps every mail as it came: just enough of SMTP for one that is sent without a password."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Mail)
        self.mails: list[str] = []

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class _Mail(socketserver.StreamRequestHandler):
    server: Mails

    def handle(self) -> None:
        self.wfile.write(b"220 sink\r\n")
        for line in iter(self.rfile.readline, b""):
            verb = line[:4].upper().strip()
            if verb == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                self.server.mails.append(self._body())
            self.wfile.write(b"221 bye\r\n" if verb == b"QUIT" else b"250 ok\r\n")
            if verb == b"QUIT":
                return

    def _body(self) -> str:
        lines = iter(self.rfile.readline, b".\r\n")
        return b"".join(lines).decode()


S = TypeVar("S", bound=socketserver.BaseServer)


@contextmanager
def served(server: S) -> Iterator[S]:
    """The server, answering in a thread of its own until the test is over."""
    with server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
