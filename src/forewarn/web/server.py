"""The server: the application on a thread of its own, on loopback, with an end that open streams do not hold up."""

import socket
from ipaddress import ip_address
from threading import Thread

import uvicorn
from anyio.lowlevel import checkpoint
from fastapi import FastAPI

from forewarn.errors import ConfigurationError
from forewarn.web.context import Context
from forewarn.web.settings import WebSettings

_TICKS = 5  # turns of the event loop in which it lets go of a connection that has been cut off


class _Uvicorn(uvicorn.Server):
    """Leaves no connection behind: one whose client does not read would outlive the event loop."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        for connection in tuple(self.server_state.connections):
            connection.transport.abort()
        for _ in range(_TICKS):
            await checkpoint()


class Server:
    """A running server. `address` is where it listens, with the port that it was given."""

    def __init__(self, app: FastAPI, listener: socket.socket, stop_s: float) -> None:
        host, port = listener.getsockname()[:2]
        self.address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        self._context: Context = app.state.context
        self._listener = listener
        self._stop_s = stop_s
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            ws="none",
            timeout_graceful_shutdown=max(1, round(stop_s)),
        )
        self._server = _Uvicorn(config)
        self._thread = Thread(target=self._server.run, args=([listener],), name="web", daemon=True)

    def start(self) -> None:
        """Begin to answer; whoever connects before is kept waiting, not refused."""
        self._thread.start()

    def stop(self) -> None:
        """End every stream, answer what has begun, and return when the thread has ended."""
        self._context.broadcaster.stop()
        self._server.should_exit = True
        self._thread.join(self._stop_s + 5.0)
        self._listener.close()

    @property
    def running(self) -> bool:
        return self._thread.is_alive()


def serve(app: FastAPI, settings: WebSettings) -> Server:
    """Start serving `app`. Raises ConfigurationError for an address that is not loopback, or not free."""
    server = Server(app, _listen(settings), settings.stop_s)
    server.start()
    return server


def _listen(settings: WebSettings) -> socket.socket:
    if not _is_loopback(settings.host):
        raise ConfigurationError(
            f"web.host is {settings.host!r}, but the pages are served on loopback only: use 127.0.0.1 or ::1"
        )
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family)
    except OSError as error:
        raise ConfigurationError(
            f"cannot listen on {settings.host} port {settings.port}: {error}; choose another web.port"
        ) from error


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
