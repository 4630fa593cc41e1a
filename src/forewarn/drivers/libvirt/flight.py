"""One migration on its way: the call on a thread of its own, and who watches it.

Libvirt's call blocks until the migration is over, and sometimes for longer. It has connections of its own, so that it
takes nobody's slot. The watcher reads the job over the shared connection and ends what may not go on: past its
deadline, or past the ceiling of throttling. It ends it by `abortJob` from a fresh connection, and never otherwise.
"""

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import libvirt

from forewarn.clock import Clock
from forewarn.domain.plan import Move
from forewarn.drivers.libvirt import explain, mark
from forewarn.drivers.libvirt.connections import Connection, Connections
from forewarn.drivers.libvirt.mark import Mark
from forewarn.drivers.libvirt.move_settings import MoveSettings
from forewarn.drivers.libvirt.sight import Job, job_leaving
from forewarn.drivers.libvirt.terms import Terms
from forewarn.errors import DriverUnavailable, ForewarnError, MoveRefused

logger = logging.getLogger(__name__)

# What libvirt answers where the source's daemon cannot reach the target's, before anything has been sent.
UNREACHED = frozenset(
    {
        libvirt.VIR_ERR_OPERATION_FAILED,
        libvirt.VIR_ERR_SYSTEM_ERROR,
        libvirt.VIR_ERR_RPC,
        libvirt.VIR_ERR_NO_CONNECT,
        libvirt.VIR_ERR_AUTH_FAILED,
        libvirt.VIR_ERR_AUTH_UNAVAILABLE,
    }
)


@dataclass(frozen=True, slots=True)
class Order:
    """What a flight needs to know of its move; `terms` is None for one that a former process started."""

    move: Move
    deadline_s: float
    throttle_max: int  # per cent
    terms: Terms | None = None
    autostart: bool = False  # to be carried over


class Flight:
    """A move under way. `over` is set once libvirt's call has returned, or was left behind.

    `quiet` returns once nothing watches the VM any more; libvirt is not called before that.
    """

    def __init__(
        self,
        order: Order,
        connections: Connections,
        clock: Clock,
        settings: MoveSettings,
        quiet: Callable[[str], None] = lambda _vm: None,
    ) -> None:
        self.order = order
        self.over = threading.Event()
        self.job: Job | None = None  # as last seen; None again once it has ended
        self.progress = 0.0  # 0..1 of the first copy, as far as it was seen
        self.why_aborted = ""
        self.cancelled = False
        self.told_gone = False  # the source told by an event that the VM has left
        self.error = ""
        self.took_s = 0.0  # from the call to its return
        self._connections, self._clock, self._settings, self._quiet = connections, clock, settings, quiet
        self._began_s = clock.monotonic()
        self._aborted_s: float | None = None
        self._seen_job = self._in_post_copy = False
        self._heard_s = self._began_s  # when the target last answered
        self._ended = threading.Event()

    def start(self) -> None:
        """Call libvirt where there are terms, and watch; both on daemon threads."""
        name = f"move {self.order.move.id}"
        if self.order.terms is not None:
            threading.Thread(target=self._call, args=(self.order.terms,), name=name, daemon=True).start()
        else:
            self._seen_job = True
            self.over.set()  # no call of this process is waited for
        threading.Thread(target=self._watch, name=f"{name} watch", daemon=True).start()

    def elapsed_s(self) -> float:
        """Seconds since this process started or found it."""
        return self._clock.monotonic() - self._began_s

    def cancel(self) -> None:
        """Ask libvirt to abort; nothing happens where no migration leaves. Raises DriverUnavailable."""
        self.cancelled = True
        self._abort("it was cancelled")

    def end(self) -> None:
        """No more watching: the outcome is known."""
        self._ended.set()
        self.over.set()

    # --- the call -----------------------------------------------------------------------------------

    def _call(self, terms: Terms) -> None:
        try:
            self._quiet(self.order.move.vm)
            self._migrate(terms)
        except libvirt.libvirtError as error:
            self.error = explain.said(error)
        except ForewarnError as error:
            self.error = str(error)
        finally:
            self.took_s = self.elapsed_s()
            self.over.set()

    def _migrate(self, terms: Terms) -> None:
        move = self.order.move
        source = self._connections.open(move.source)
        domain = source.lookupByUUIDString(move.vm)
        calls = self._calls(domain, terms)
        listening = source.domainEventRegisterAny(domain, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, self._hear, None)
        try:
            mark.write(domain, Mark(move.target, self.order.autostart))
            for number, call in enumerate(calls, 1):
                if self.cancelled or self.why_aborted:
                    return None
                try:
                    return call()
                except libvirt.libvirtError as error:
                    if number == len(calls) or self._seen_job or error.get_error_code() not in UNREACHED:
                        raise
                    logger.warning("%s leads the move of %s no longer itself: %s", move.source, move.vm_name, error)
        finally:
            with suppress(libvirt.libvirtError):  # of a connection that is lost; what went wrong before it counts
                if source.isAlive():
                    source.domainEventDeregisterAny(listening)

    def _calls(self, domain: Any, terms: Terms) -> list[Callable[[], None]]:
        """The ways to try, in their order."""
        parameters = dict(terms.parameters)

        def peer_to_peer() -> None:
            domain.migrateToURI3(terms.peer_uri, parameters, terms.flags | libvirt.VIR_MIGRATE_PEER2PEER)

        def managed() -> None:
            domain.migrate3(self._connections.open(self.order.move.target), parameters, terms.flags)

        return [peer_to_peer] * bool(terms.peer_uri) + [managed] * terms.managed

    def _hear(self, _connection: Connection, _domain: Any, event: int, detail: int, _context: object) -> None:
        if event == libvirt.VIR_DOMAIN_EVENT_STOPPED and detail == libvirt.VIR_DOMAIN_EVENT_STOPPED_MIGRATED:
            self.told_gone = True

    # --- watching -----------------------------------------------------------------------------------

    def _watch(self) -> None:
        """Until the move is over and no job is left, or until its outcome is known."""
        while not self._ended.wait(self._settings.watch_s):
            over = self.over.is_set()
            try:
                self._look()
            except ForewarnError as error:
                logger.info("cannot look after the move of %s: %s", self.order.move.vm_name, error)
            if over and self.job is None:
                return

    def _look(self) -> None:
        self._leave_behind()
        move = self.order.move
        self.job = self._read_job(move)
        if self.job is not None:
            self._seen_job, self.progress = True, max(self.progress, self.job.progress)
        why = self._target_is_silent() or self._not_on()
        if why:
            self.why_aborted = self.why_aborted or why
            self._abort(why)
        elif self.job is not None and self._ends_by_post_copy(self.job):
            self._connections.call(move.source, _post_copy(move.vm), "start post-copy", vm=move.vm_name)
            self._in_post_copy = True

    def _read_job(self, move: Move) -> Job | None:
        """The job as it is now; as it was last where the host does not answer, which must keep no deadline waiting."""
        try:
            return self._connections.call(move.source, _job(move.vm), "read its migration job", vm=move.vm_name)
        except MoveRefused:  # the VM has left or stopped
            return None
        except DriverUnavailable as error:
            logger.info("cannot read how the move of %s stands: %s", move.vm_name, error)
            return self.job

    def _not_on(self) -> str:
        """Why the move may not go on; empty while it may."""
        if self.why_aborted:
            return self.why_aborted
        elapsed = max(self.elapsed_s(), self.job.elapsed_s if self.job else 0.0)
        if elapsed > self.order.deadline_s:
            return f"it had not ended after {self.order.deadline_s:.0f} s"
        most, throttle = self.order.throttle_max, self.job.copying.throttle_percent if self.job else 0
        if throttle > most:
            rank = self.order.move.criticality
            return f"it would have to be slowed down by {throttle} %, more than the {most} % of class {rank}"
        return ""

    def _target_is_silent(self) -> str:
        """Why a move to a host that does not answer may not go on; empty while it does, or did a moment ago."""
        target, patience_s = self.order.move.target, self._settings.target_silent_s
        now_s = self._clock.monotonic()
        if now_s - self._heard_s < patience_s / 3:
            return ""
        try:
            self._connections.call(target, lambda connection: connection.getLibVersion(), "tell its version")
        except DriverUnavailable:
            silent_s = self._clock.monotonic() - self._heard_s
            return f"{target} has not answered for {silent_s:.0f} s" if silent_s > patience_s else ""
        self._heard_s = now_s
        return ""

    def _leave_behind(self) -> None:
        """Give up waiting for a call that does not return although it was aborted."""
        aborted = self._aborted_s
        if aborted is not None and self._clock.monotonic() - aborted > self._settings.abort_s:
            self.over.set()

    def _abort(self, why: str) -> None:
        move = self.order.move
        if self._aborted_s is None and not self.over.is_set():
            self._aborted_s = self._clock.monotonic()
        self._connections.call(move.source, _abort(move.vm), f"abort the move: {why}", vm=move.vm_name, fresh=True)

    def _ends_by_post_copy(self, job: Job) -> bool:
        terms = self.order.terms
        allowed = terms is not None and terms.post_copy and not self._in_post_copy
        return allowed and job.copying.rounds > self._settings.post_copy_after_rounds


def _job(uuid: str) -> Callable[[Connection], Job | None]:
    def ask(connection: Connection) -> Job | None:
        return job_leaving(connection.lookupByUUIDString(uuid))

    return ask


def _abort(uuid: str) -> Callable[[Connection], None]:
    def ask(connection: Connection) -> None:
        """Abort a migration that leaves, and no other job."""
        try:
            domain = connection.lookupByUUIDString(uuid)
            if job_leaving(domain) is not None:
                domain.abortJob()
        except libvirt.libvirtError as error:
            if error.get_error_code() not in (libvirt.VIR_ERR_OPERATION_INVALID, libvirt.VIR_ERR_NO_DOMAIN):
                raise

    return ask


def _post_copy(uuid: str) -> Callable[[Connection], None]:
    def ask(connection: Connection) -> None:
        connection.lookupByUUIDString(uuid).migrateStartPostCopy()

    return ask
