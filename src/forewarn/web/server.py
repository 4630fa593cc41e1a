"""The server: the application on a thread of its own, with an end that open streams do not hold up."""

import socket
from threading import Thread

import uvicorn
from anyio.lowlevel import checkpoint
from fastapi import FastAPI

from forewarn.errors import ConfigurationError
from forewarn.web.auth import Gate, is_loopback
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

    def __init__(self, app: FastAPI, listener: socket.socket, settings: WebSettings) -> None:
        host, port = listener.getsockname()[:2]
        scheme = "https" if settings.tls_cert else "http"
        self.address = f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
        self._context: Context = app.state.context
        self._listener = listener
        self._stop_s = settings.stop_s
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            ws="none",
            timeout_graceful_shutdown=max(1, round(settings.stop_s)),
            ssl_certfile=settings.tls_cert,
            ssl_keyfile=settings.tls_key,
        )
        try:
            config.load()  # here, because on its own thread nobody would hear of a certificate that is none
        except OSError as error:
            raise ConfigurationError(f"web.tls_cert and web.tls_key cannot be used: {error}") from error
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
    """Start serving `app`. Raises ConfigurationError for a bad certificate, or an address that is taken or not safe.

    One that other machines reach is safe once somebody but an agent has a token.
    """
    listener = _listen(settings, app.state.gate)
    try:
        server = Server(app, listener, settings)
    except ConfigurationError:
        listener.close()
        raise
    server.start()
    return server


def _listen(settings: WebSettings, gate: Gate) -> socket.socket:
    if not is_loopback(settings.host) and not gate.anybody_known:
        raise ConfigurationError(
            f"web.host is {settings.host!r}, which other machines reach, but nobody has a token to sign in with: make "
            "one with `forewarn token add NAME --role admin --reason WHY`, or listen on loopback only (127.0.0.1, ::1)"
        )
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family)
    except OSError as error:
        raise ConfigurationError(
            f"cannot listen on {settings.host} port {settings.port}: {error}; choose another web.port"
        ) from error
