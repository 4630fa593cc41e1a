"""Server-sent events: one broadcaster looks at the snapshot and tells all clients what changed.

This is the only asynchronous part of Forewarn. Every client has a short queue; one that does not keep up is dropped and
comes back by itself, asking for what it missed.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from math import inf

import anyio
from anyio.to_thread import run_sync
from fastapi import Response
from starlette.types import Receive, Scope, Send

from forewarn.errors import ForewarnError, TemporaryError
from forewarn.web.changes import Event, changes_between, version_of
from forewarn.web.fleet import Fleet
from forewarn.web.latest import Latest
from forewarn.web.settings import WebSettings

_LOG = logging.getLogger(__name__)
_KEEP_ALIVE = b": still here\n\n"
_RETRY = b"retry: 2000\n\n"


class TooManyClients(TemporaryError):
    """As many streams of events are open as the setting allows."""

    code = "too_many_clients"


class Client:
    """One open stream. `dropped` is set when it fell behind; an empty chunk in the queue ends it in order."""

    def __init__(self, queue_max: int, behind: list[bytes]) -> None:
        self._behind = behind
        self._queue: asyncio.Queue[bytes] = asyncio.Queue(queue_max)
        self.dropped = asyncio.Event()

    def offer(self, chunk: bytes) -> None:
        """Queue a chunk, or give the client up."""
        try:
            self._queue.put_nowait(chunk)
        except asyncio.QueueFull:
            self.dropped.set()

    async def next(self, keep_alive_s: float) -> bytes:
        """The next chunk to write; empty when the stream shall end."""
        if self._behind:
            return self._behind.pop(0)
        if not self._queue.empty():
            return self._queue.get_nowait()
        try:
            return await asyncio.wait_for(self._queue.get(), keep_alive_s)
        except TimeoutError:
            return _KEEP_ALIVE


class Broadcaster:
    """Hands every change to every client. All methods but `stop` belong to the server's event loop."""

    def __init__(self, latest: Latest, settings: WebSettings) -> None:
        self._latest = latest
        self._settings = settings
        self._clients: set[Client] = set()
        self._fleet: Fleet | None = None
        self._past: deque[tuple[str, tuple[bytes, ...]]] = deque(maxlen=settings.replay_max)
        self._end = asyncio.Event()
        self._looking = asyncio.Lock()  # two looks at once would tell the same change twice
        self._loop: asyncio.AbstractEventLoop | None = None
        self.dropped = 0
        self.refused = 0

    @property
    def clients(self) -> int:
        return len(self._clients)

    async def run(self) -> None:
        """Look at the snapshot again and again until `close`."""
        self._loop = asyncio.get_running_loop()
        while not self._end.is_set():
            await self.look()
            try:
                await asyncio.wait_for(self._end.wait(), self._settings.refresh_s)
            except TimeoutError:
                continue

    async def look(self) -> None:
        """Look once, and tell every client what is new."""
        async with self._looking:
            await self._look()

    async def _look(self) -> None:
        try:
            fleet = await run_sync(self._latest.fleet)
        except ForewarnError as error:
            _LOG.warning("The snapshot cannot be shown: %s", error)
            return
        if fleet is None or fleet is self._fleet:
            return
        events = await run_sync(changes_between, self._fleet, fleet)
        self._fleet = fleet
        self._send(version_of(fleet), events)

    def _send(self, version: str, events: tuple[Event, ...]) -> None:
        chunks = tuple(event.encoded() for event in events)
        self._past.append((version, chunks))
        whole = b"".join(chunks)
        for client in tuple(self._clients):
            client.offer(whole)
            if client.dropped.is_set():
                self.dropped += 1
                self._clients.discard(client)

    async def welcome(self, since: str) -> Client:
        """`join`, after a look: a page that shows a newer snapshot than the last look saw needs no new start."""
        await self.look()
        return self.join(since)

    def join(self, since: str) -> Client:
        """Open a stream for one client that knows the version `since`. Raises TooManyClients."""
        if len(self._clients) >= self._settings.clients_max:
            self.refused += 1
            raise TooManyClients(f"{self._settings.clients_max} streams of events are open, which is the limit")
        client = Client(self._settings.client_queue_max, [_RETRY, *self._missed(since)])
        self._clients.add(client)
        if self._end.is_set():
            client.offer(b"")
        return client

    def _missed(self, since: str) -> list[bytes]:
        """What a client has to hear first; `reset` says that it must load anew, since too much is missing."""
        if self._fleet is None or since == version_of(self._fleet):
            return []
        versions = [version for version, _ in self._past]
        if since in versions:
            behind = list(self._past)[versions.index(since) + 1 :]
            return [b"".join(chunks) for _, chunks in behind]
        return [Event("reset", {}, version_of(self._fleet)).encoded()]

    def leave(self, client: Client) -> None:
        """Forget a client whose stream has ended."""
        self._clients.discard(client)

    def close(self) -> None:
        """End the look-out and every stream."""
        self._end.set()
        for client in self._clients:
            client.offer(b"")

    def stop(self) -> None:
        """`close`, from any thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.close)


class EventStream(Response):
    """The answer that stays open: writes what its client's queue holds until the client goes or is dropped.

    After `most_s` seconds it ends in any case.
    """

    media_type = "text/event-stream"

    def __init__(self, broadcaster: Broadcaster, client: Client, keep_alive_s: float, most_s: float = inf) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._broadcaster = broadcaster
        self._client = client
        self._keep_alive_s = keep_alive_s
        self._most_s = most_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - the protocol's shape
        try:
            async with anyio.create_task_group() as group:

                async def first(work: Callable[[], Awaitable[object]]) -> None:
                    await work()
                    group.cancel_scope.cancel()

                group.start_soon(first, lambda: self._write(send))
                group.start_soon(first, lambda: _gone(receive))
                group.start_soon(first, self._client.dropped.wait)
        finally:
            self._broadcaster.leave(self._client)

    async def _write(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        end = anyio.current_time() + self._most_s
        while (chunk := await self._client.next(self._keep_alive_s)) and anyio.current_time() < end:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
