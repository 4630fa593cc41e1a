"""Connections to libvirt hosts, and the only way to ask them anything: with a deadline, on a bounded thread.

    connections = Connections({"host1": "qemu+ssh://host1/system"}, writing=False)
    names = connections.call("host1", lambda c: [d.name() for d in c.listAllDomains()], "list its VMs")

Libvirt's calls cannot be interrupted. One that has not returned by its deadline is abandoned (see `threads`), and
its connection with it: the next call opens a new one. A connection is one socket with keep-alive on, opened when
first needed and again when lost. Whatever goes wrong is raised as one of our errors (see `explain`).
"""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlsplit

import libvirt

from forewarn.drivers.libvirt import explain
from forewarn.drivers.libvirt.settings import ConnectionSettings as ConnectionSettings  # what it is built with
from forewarn.drivers.libvirt.threads import Late, Threads
from forewarn.errors import ConfigurationError, DriverUnavailable, ForewarnError

logger = logging.getLogger(__name__)
T = TypeVar("T")
Connection = Any  # libvirt.virConnect, which publishes no types


class Connections:
    """One connection for each host of `uris` (name to URI). Where not `writing`, all are read-only.

    Safe to use from several threads. Raises ConfigurationError for what is no URI.
    """

    def __init__(
        self, uris: Mapping[str, str], settings: ConnectionSettings | None = None, *, writing: bool = False
    ) -> None:
        self.settings = settings or ConnectionSettings()
        self.writing = writing
        self._uris = {host: checked_uri(host, uri) for host, uri in uris.items()}
        self._threads = Threads(self.settings.calls_per_host)
        self._lock = threading.Lock()
        self._open: dict[str, Connection] = {}
        self._opening = {host: threading.Lock() for host in self._uris}
        self._opened: Counter[str] = Counter()
        start_events()

    @property
    def hosts(self) -> tuple[str, ...]:
        """The names of the hosts, as configured."""
        return tuple(self._uris)

    def uri(self, host: str) -> str:
        """Where `host` is reached from here. Raises DriverUnavailable for a host that is not configured."""
        if host not in self._uris:
            raise DriverUnavailable(f"no libvirt host {host!r} is configured; name it in libvirt.hosts")
        return self._uris[host]

    def call(
        self,
        host: str,
        ask: Callable[[Connection], T],
        what: str,
        *,
        vm: str = "",
        deadline_s: float | None = None,
        fresh: bool = False,
    ) -> T:
        """The answer of `ask`, called with the host's connection on another thread.

        `what` ends the sentence "libvirt cannot ...". `deadline_s` replaces the settings' `call_s`. `fresh` asks over a
        new connection, closed afterwards: one to rely on while others hang. `ask` must return plain values: a domain
        that outlives it calls libvirt without a deadline. Raises DriverUnavailable (no connection, no answer in time,
        the host's libvirt failed), VmGone (libvirt knows no such VM), MoveRefused (it cannot do that), and whatever
        of ours `ask` raises.
        """
        seconds = self.settings.call_s if deadline_s is None else deadline_s
        if fresh:
            return self._call_fresh(host, ask, what, vm, seconds)
        connection = self._connection(host)
        try:
            return self._threads.run(host, partial(ask, connection), seconds)
        except Late:
            self._drop(host, connection)
            raise DriverUnavailable(self._late(host, what, seconds)) from None
        except libvirt.libvirtError as error:
            if not _alive(connection):
                self._drop(host, connection)
            raise explain.calling(error, host, what, vm) from error

    def each(
        self, ask: Callable[[Connection], T], what: str, hosts: Iterable[str] | None = None
    ) -> dict[str, T | ForewarnError]:
        """For each host its answer, or its error as a value: one bad host hides no other. In the hosts' order."""
        asked = self.hosts if hosts is None else tuple(hosts)

        def answer(host: str) -> T | ForewarnError:
            try:
                return self.call(host, ask, what)
            except ForewarnError as error:
                return error

        if not asked:
            return {}
        with ThreadPoolExecutor(min(self.settings.hosts_at_once, len(asked)), "libvirt hosts") as pool:
            return dict(zip(asked, pool.map(answer, asked), strict=True))

    def open(self, host: str) -> Connection:
        """A connection of the caller's own, for a call that has its own thread. Raises DriverUnavailable.

        It is closed when nothing holds it any more.
        """
        return self._new(host)

    def metrics(self) -> Mapping[str, float]:
        """What is counted, by the samples' names with their labels."""
        with self._lock:
            opened = dict(self._opened)
        counted = {
            "forewarn_libvirt_connections_opened_total": opened,
            "forewarn_libvirt_calls_abandoned_total": self._threads.abandoned(),
            "forewarn_libvirt_calls_hanging": self._threads.hanging(),
        }
        return {
            f'{name}{{host="{host}"}}': float(by.get(host, 0)) for name, by in counted.items() for host in self.hosts
        }

    def close(self) -> None:
        """Let go of every connection; a later call opens a new one. What hangs is left behind."""
        with self._lock:
            hosts = tuple(self._open)
        for host in hosts:
            try:
                self._threads.run(host, partial(self._let_go, host), self.settings.call_s)
            except Late:
                continue

    def _connection(self, host: str) -> Connection:
        self.uri(host)
        with self._opening[host]:
            with self._lock:
                connection = self._open.get(host)
            if connection is not None and _alive(connection):
                return connection
            connection = self._new(host)
            with self._lock:
                self._open[host] = connection
            return connection

    def _new(self, host: str) -> Connection:
        try:
            return self._threads.run(host, partial(self._dial, host), self.settings.open_s)
        except Late:
            raise DriverUnavailable(self._late(host, f"connect at {self.uri(host)}", self.settings.open_s)) from None

    def _call_fresh(self, host: str, ask: Callable[[Connection], T], what: str, vm: str, seconds: float) -> T:
        """Dial, ask and close in one thread, which may be one more than the others."""
        self.uri(host)
        seconds += self.settings.open_s
        try:
            return self._threads.run(host, lambda: ask(self._dial(host)), seconds, urgent=True)
        except Late:
            raise DriverUnavailable(self._late(host, what, seconds)) from None
        except libvirt.libvirtError as error:
            raise explain.calling(error, host, what, vm) from error

    def _dial(self, host: str) -> Connection:
        """A new connection, without a deadline. Raises DriverUnavailable."""
        uri = self.uri(host)
        try:
            connection = libvirt.open(uri) if self.writing else libvirt.openReadOnly(uri)
        except libvirt.libvirtError as error:
            raise explain.opening(error, host, uri) from error
        try:
            connection.setKeepAlive(self.settings.keepalive_s, self.settings.keepalive_count)
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_NO_SUPPORT:  # what is in this very process needs none
                raise explain.opening(error, host, uri) from error
        with self._lock:
            self._opened[host] += 1
        return connection

    def _drop(self, host: str, connection: Connection) -> None:
        """Forget this connection; it closes when the last call that uses it lets it go."""
        with self._lock:
            if self._open.get(host) is connection:
                del self._open[host]

    def _let_go(self, host: str) -> None:
        with self._lock:
            connection = self._open.pop(host, None)
        del connection  # closed here, on a thread that may hang

    def _late(self, host: str, what: str, seconds: float) -> str:
        stuck = self._threads.hanging().get(host, 0)
        others = f" ({stuck} calls to it have not returned)" if stuck > 1 else ""
        return f"{host} did not {what} within {seconds:g} s{others}; see whether its libvirt daemon hangs"


def checked_uri(host: str, uri: str) -> str:
    """The URI, with nothing in it that would ask a person at a terminal. Raises ConfigurationError for what is none.

    >>> checked_uri("h", "qemu+ssh://root@h/system")
    'qemu+ssh://root@h/system?no_tty=1'
    """
    parts = urlsplit(uri)
    if not parts.scheme or ("://" not in uri and ":/" not in uri):
        raise ConfigurationError(f"libvirt.hosts.{host}: {uri!r} is no URI; one looks like qemu+ssh://{host}/system")
    if parts.scheme.endswith("+ssh") and "no_tty=" not in parts.query:
        return f"{uri}{'&' if parts.query else '?'}no_tty=1"
    return uri


def _alive(connection: Connection) -> bool:
    """Whether its socket is open, as far as known here: no question to the host."""
    try:
        return bool(connection.isAlive())
    except libvirt.libvirtError:
        return False


# --- events -----------------------------------------------------------------------------------------------

EVENTS_PAUSE_S = 1.0  # after an error of the event loop
_events = threading.Lock()
_events_thread: threading.Thread | None = None


def start_events() -> None:
    """Run libvirt's event loop on one thread of this process; it must run before any connection is opened.

    Keep-alive and the events of domains depend on it. Errors come as exceptions, so libvirt prints none.
    """
    global _events_thread  # noqa: PLW0603 - the loop belongs to the library, which is one for the process
    with _events:
        if _events_thread is not None:
            return
        libvirt.registerErrorHandler(_print_nothing, None)
        libvirt.virEventRegisterDefaultImpl()
        _events_thread = threading.Thread(target=_run_events, name="libvirt events", daemon=True)
        _events_thread.start()


def _run_events() -> None:
    """For as long as the process lives: without it no connection would answer the signs of life that hosts ask for."""
    pause = threading.Event()
    while True:
        try:
            libvirt.virEventRunDefaultImpl()
        except libvirt.libvirtError:
            logger.exception("libvirt's event loop failed; it goes on")
            pause.wait(EVENTS_PAUSE_S)


def _print_nothing(_context: object, _error: object) -> None:
    """Stands in for libvirt's own handler, which would write every error to the terminal."""
