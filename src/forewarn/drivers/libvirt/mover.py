"""Live migration between libvirt hosts: the acting half of the driver.

A move is checked before anything starts, started on a thread of its own (`flight`), and judged by where its VM is seen
to run (`sight`): neither what libvirt's call returned nor what an event told ends a move. So a controller that starts
anew, or one whose call hangs, finds out all the same how its moves ended. Nothing here ever stops a guest; what is
undone is only the definition that a moved VM has left behind.
"""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import libvirt

from forewarn.clock import Clock
from forewarn.domain.plan import Move, MoveState
from forewarn.drivers.base import MoveProgress
from forewarn.drivers.libvirt import fitness, mark, sight, words
from forewarn.drivers.libvirt.connections import Connection, Connections
from forewarn.drivers.libvirt.documents import attribute, root
from forewarn.drivers.libvirt.fitness import Passenger
from forewarn.drivers.libvirt.flight import Flight, Order
from forewarn.drivers.libvirt.guests import Guest, parse_guest
from forewarn.drivers.libvirt.pages import Pages, parse_pages
from forewarn.drivers.libvirt.settings import LibvirtSettings
from forewarn.drivers.libvirt.sight import Sight, Standing
from forewarn.drivers.libvirt.terms import Standing as AtSource
from forewarn.drivers.libvirt.terms import terms
from forewarn.drivers.libvirt.words import Facts
from forewarn.errors import DriverUnavailable, InventoryError, MoveRefused, VmGone

logger = logging.getLogger(__name__)

KIB = 1024
COMPLETED = libvirt.VIR_DOMAIN_JOB_STATS_COMPLETED | libvirt.VIR_DOMAIN_JOB_STATS_KEEP_COMPLETED
KEEP_FILES = libvirt.VIR_DOMAIN_UNDEFINE_KEEP_NVRAM | libvirt.VIR_DOMAIN_UNDEFINE_KEEP_TPM


@dataclass(frozen=True, slots=True)
class _Found:
    """A VM on its source, before its move."""

    guest: Guest
    pages: tuple[Pages, ...]
    cpu: str
    at_source: AtSource


class LibvirtMover:
    """Moves VMs between the hosts of `connections`. One thread at a time may use it, as the executor does.

    `facts` tells what is known of a host that seldom changes, None for one that never answered; `closed` whether a host
    takes no VM; `quiet` returns once nothing watches a VM that is to be sent.
    """

    def __init__(
        self,
        settings: LibvirtSettings,
        connections: Connections,
        clock: Clock,
        facts: Callable[[str], Facts | None],
        closed: Callable[[str], bool] = lambda _host: False,
        quiet: Callable[[str], None] = lambda _vm: None,
    ) -> None:
        self._connections, self._clock = connections, clock
        self._libvirt, self._settings = settings, settings.moves
        self._facts, self._closed, self._quiet = facts, closed, quiet
        self._flights: dict[str, Flight] = {}
        self._ended: OrderedDict[str, MoveProgress] = OrderedDict()
        self._lock = threading.Lock()

    def check(self, move: Move) -> None:
        """Raise MoveRefused, with the reason, if this move could not start now. Raises DriverUnavailable."""
        self._order(move)

    def start(self, move: Move) -> None:
        """Start a live migration and return at once; how it ends comes by `poll`."""
        flight = Flight(self._order(move), self._connections, self._clock, self._settings, self._quiet)
        with self._lock:
            self._flights[move.id] = flight
        flight.start()

    def poll(self, move: Move) -> MoveProgress:
        """How the move stands, by where the VM is. Raises DriverUnavailable while a host that decides is mute."""
        with self._lock:
            ended, flight = self._ended.get(move.id), self._flights.get(move.id)
        if ended is not None:
            return ended
        if flight is not None and not flight.over.is_set():
            return _running(flight.job)
        if move.source not in self._connections.hosts or move.target not in self._connections.hosts:
            return MoveProgress(MoveState.FAILED, text=f"{move.source} or {move.target} is no host of libvirt.hosts")
        try:
            return self._judged(move, flight)
        except MoveRefused as error:  # the VM went on while it was asked: the next look tells
            raise DriverUnavailable(str(error), retry_after_s=1.0) from error

    def cancel(self, move: Move) -> None:
        """Ask libvirt to abort the migration, if one leaves. Raises DriverUnavailable."""
        with self._lock:
            if move.id in self._ended:
                return
            flight = self._flights.get(move.id)
        if flight is None and (move.source not in self._connections.hosts or self._look(move.source, move) is None):
            return
        if flight is None:
            flight = self._adopt(move)
        flight.cancel()

    def moving(self) -> tuple[str, ...]:
        """The VMs whose moves this process follows."""
        with self._lock:
            return tuple(flight.order.move.vm for flight in self._flights.values())

    # --- before a move --------------------------------------------------------------------------------

    def _order(self, move: Move) -> Order:
        """The checked move. Raises MoveRefused or DriverUnavailable."""
        self._check_places(move)
        try:
            return self._checked(move)
        except InventoryError as error:
            raise MoveRefused(f"{move.vm_name} cannot be told from its document: {error}") from error

    def _checked(self, move: Move) -> Order:
        found = self._connections.call(move.source, _found(move), "describe the VM", vm=move.vm_name)
        here, there = self._known(move.source), self._known(move.target)
        self._check_offers(move, found.guest, here, there)
        target_uri = self._connections.uri(move.target)
        agreed = terms(move, found.guest, here.storage, found.at_source, target_uri, self._settings)
        sizes = {target: found.at_source.disk_bytes.get(target, 0) for target in agreed.copied}
        vm = Passenger(found.guest, found.pages, found.cpu, sizes)
        source = self._connections.call(move.source, fitness.read(vm), "say what it offers", vm=move.vm_name)
        target = self._connections.call(move.target, fitness.read(vm), "say what it offers", vm=move.vm_name)
        unfit = fitness.unfit_because(vm, source, target, move.target, self._libvirt.memory_kept_bytes)
        if unfit:
            raise MoveRefused(unfit)
        return Order(move, agreed.deadline_s, agreed.throttle_max, agreed, found.at_source.autostart)

    def _known(self, host: str) -> Facts:
        facts = self._facts(host)
        if facts is None:
            raise DriverUnavailable(f"{host} has not yet told what it is")
        return facts

    def _check_offers(self, move: Move, guest: Guest, here: Facts, there: Facts) -> None:
        """What a target must have: machine types, networks, pools, groups of hosts."""
        offered = words.offers(here, self._libvirt.hosts[move.source])
        lacks = words.needs(guest, here, offered) - words.offers(there, self._libvirt.hosts[move.target])
        if lacks:
            raise MoveRefused(f"{move.target} lacks what {move.vm_name} needs: {', '.join(sorted(lacks))}")

    def _check_places(self, move: Move) -> None:
        """What needs no question to a host."""
        if move.source == move.target:
            raise MoveRefused(f"{move.vm_name} is on {move.target} already")
        for host in (move.source, move.target):
            if host not in self._connections.hosts:
                raise MoveRefused(f"{host} is no host of libvirt.hosts")
        if self._closed(move.target):
            raise MoveRefused(f"{move.target} is cordoned and takes no VM")
        if move.vm in self.moving():
            raise MoveRefused(f"{move.vm_name} is being moved already")

    # --- how a move stands ----------------------------------------------------------------------------

    def _judged(self, move: Move, flight: Flight | None) -> MoveProgress:
        """Looks at both hosts; `flight` is over, or was begun by a former process."""
        source, target = self._look(move.source, move), self._look(move.target, move)
        told_gone = flight is not None and flight.told_gone
        standing = sight.judge(source, target, told_gone=told_gone)
        if standing is Standing.UNSEEN:
            mute = move.source if source is None else move.target
            raise DriverUnavailable(f"{mute} does not say whether {move.vm_name} runs there")
        if standing is Standing.UNDER_WAY:
            if flight is None:
                self._adopt(move)
            return _running(source.job if source is not None else None)
        if standing is Standing.ASLEEP:
            return self._wake(move, move.target, target)
        if standing is Standing.STRANDED:
            return self._wake(move, move.source, source)
        if standing is Standing.ARRIVED:
            return self._end(move, self._arrived(move, source, flight))
        return self._end(move, self._not_moved(move, flight, standing))

    def _look(self, host: str, move: Move) -> Sight | None:
        try:
            return self._connections.call(host, sight.look(move.vm), "say where the VM runs", vm=move.vm_name)
        except DriverUnavailable as error:
            logger.info("%s", error)
            return None

    def _adopt(self, move: Move) -> Flight:
        """Follow a move that a former process started: it has its deadline, and can be cancelled."""

        def sent(connection: Connection) -> int:
            return int(connection.lookupByUUIDString(move.vm).maxMemory()) * KIB

        try:
            size = self._connections.call(move.source, sent, "describe the VM", vm=move.vm_name)
        except VmGone:
            size = 0
        order = Order(move, self._settings.deadline_s(size), self._settings.throttle.ceiling(move.criticality))
        flight = Flight(order, self._connections, self._clock, self._settings)
        with self._lock:
            self._flights[move.id] = flight
        flight.start()
        return flight

    def _wake(self, move: Move, host: str, seen: Sight | None) -> MoveProgress:
        """Let a VM go on that this move left stopped; it is nowhere else. Raises DriverUnavailable.

        One without this move's mark was stopped by a migration of somebody else, who may have it running elsewhere.
        """
        if seen is None or seen.bound_for != move.target:
            text = f"{move.vm_name} stands still on {host}, stopped by a migration that is none of Forewarn's"
            advice = "see that it runs nowhere else before you resume it"
            return self._end(move, MoveProgress(MoveState.FAILED, text=f"{text}; {advice}"))

        def ask(connection: Connection) -> None:
            connection.lookupByUUIDString(move.vm).resume()

        logger.warning("a broken migration left %s stopped on %s; it is let go on", move.vm_name, host)
        self._connections.call(host, ask, "let the VM go on", vm=move.vm_name)
        raise DriverUnavailable(f"{move.vm_name} was let go on at {host}", retry_after_s=1.0)

    def _end(self, move: Move, progress: MoveProgress) -> MoveProgress:
        with self._lock:
            flight = self._flights.pop(move.id, None)
            self._ended[move.id] = progress
            while len(self._ended) > self._settings.moves_remembered:
                self._ended.popitem(last=False)
        if flight is not None:
            flight.end()
        return progress

    def _arrived(self, move: Move, source: Sight | None, flight: Flight | None) -> MoveProgress:
        """Tidy up behind the VM, and read what libvirt has measured. What cannot be tidied up is told."""
        left, stats = [*_left_behind(move, source, flight)], dict[str, int]()
        try:
            stats = self._connections.call(move.target, _settle(move), "take the VM over", vm=move.vm_name)
        except VmGone:
            raise  # it went on from there
        except MoveRefused as error:
            left.append(str(error))
        if source is not None and source.defined and not source.active:
            left += self._undefine(move)
        return MoveProgress(
            MoveState.SUCCEEDED,
            progress=1.0,
            downtime_ms=float(stats.get(libvirt.VIR_DOMAIN_JOB_DOWNTIME, 0)),
            left_behind="; ".join(left),
            duration_s=(flight.took_s if flight else 0.0) or stats.get(libvirt.VIR_DOMAIN_JOB_TIME_ELAPSED, 0) / 1000.0,
        )

    def _undefine(self, move: Move) -> tuple[str, ...]:
        """Take away the definition of a VM that runs at its target, so that a reboot starts no second one.

        Returns why it is still there, if it is.
        """
        try:
            self._connections.call(move.source, _undefine(move), "undefine the VM that has left", vm=move.vm_name)
        except VmGone:
            logger.debug("libvirt has undefined %s on %s itself", move.vm_name, move.source)
        except MoveRefused as error:
            return (f"its definition is still on {move.source}, where it must not be started: {error}",)
        return ()

    def _not_moved(self, move: Move, flight: Flight | None, standing: Standing) -> MoveProgress:
        progress = 0.0 if flight is None else flight.progress
        took = 0.0 if flight is None else flight.elapsed_s()
        if standing is Standing.NOWHERE:
            text = f"{move.vm_name} runs neither on {move.source} nor on {move.target}: somebody has stopped it"
            return MoveProgress(MoveState.FAILED, progress, text=text, duration_s=took)
        self._unmark(move)
        if flight is None:
            text = f"no migration of {move.vm_name} leaves {move.source}"
            return MoveProgress(MoveState.FAILED, text=text)
        state = MoveState.CANCELLED if flight.cancelled and not flight.why_aborted else MoveState.FAILED
        text = flight.why_aborted or flight.error or "libvirt ended the migration without a word"
        return MoveProgress(state, progress, text=text, duration_s=took)

    def _unmark(self, move: Move) -> None:
        """Take away what a move has written into the VM's definition; nobody waits for it."""
        try:
            self._connections.call(move.source, _without_mark(move), "take the mark away", vm=move.vm_name)
        except (DriverUnavailable, MoveRefused) as error:
            logger.info("%s", error)


def _left_behind(move: Move, source: Sight | None, flight: Flight | None) -> Iterator[str]:
    """What a VM that has arrived leaves at its source, and people have to know of."""
    if source is None:
        yield f"{move.source} does not answer: whether it still has a definition of the VM is not known"
    elif source.active:
        yield f"a stopped remainder of it is on {move.source}, which must never be resumed there"
    if flight is not None and flight.order.terms is not None and flight.order.terms.copied:
        yield f"the image of its copied disk {', '.join(flight.order.terms.copied)} is still on {move.source}"


def _running(job: sight.Job | None) -> MoveProgress:
    if job is None:
        return MoveProgress(MoveState.RUNNING)
    return MoveProgress(MoveState.RUNNING, job.progress, text=str(job.copying), copying=job.copying)


# --- questions to one host --------------------------------------------------------------------------------


def _found(move: Move) -> Callable[[Connection], _Found]:
    def ask(connection: Connection) -> _Found:
        domain = _domain(connection, move)
        if domain.state()[0] != libvirt.VIR_DOMAIN_RUNNING:
            raise MoveRefused(f"{move.vm_name} does not run on {move.source}")
        if domain.jobStats().get("type", 0) != libvirt.VIR_DOMAIN_JOB_NONE:
            raise MoveRefused(f"{move.vm_name} is being moved, saved or backed up on {move.source} already")
        text = domain.XMLDesc(0)
        guest, persistent = parse_guest(text), bool(domain.isPersistent())
        sizes = {disk.target: domain.blockInfo(disk.target)[0] for disk in guest.disks if disk.chain}
        autostart = persistent and bool(domain.autostart())
        at_source = AtSource(persistent, autostart, connection.getVersion(), sizes)
        return _Found(guest, parse_pages(text), _cpu(domain), at_source)

    return ask


def _cpu(domain: Any) -> str:
    """The CPU that libvirt would ask of a target; empty for the machine's default."""
    text = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_MIGRATABLE | libvirt.VIR_DOMAIN_XML_UPDATE_CPU)
    cpu = root(text, "domain", "a domain").find("cpu")
    return ElementTree.tostring(cpu, encoding="unicode") if cpu is not None and attribute(cpu, "mode") else ""


def _domain(connection: Connection, move: Move) -> Any:
    """The VM on this host. Raises VmGone."""
    try:
        return connection.lookupByUUIDString(move.vm)
    except libvirt.libvirtError as error:
        if error.get_error_code() in (libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_ERR_INVALID_ARG):
            raise VmGone(f"{move.vm_name} is not on {move.source}") from error
        raise


def _settle(move: Move) -> Callable[[Connection], dict[str, int]]:
    """On the target: autostart as it was at the source, no mark of ours, and the measures of the migration."""

    def ask(connection: Connection) -> dict[str, int]:
        domain = connection.lookupByUUIDString(move.vm)
        if found := mark.read(domain):
            if found.autostart:
                domain.setAutostart(1)
            mark.take_away(domain)
        return dict(domain.jobStats(COMPLETED))

    return ask


def _undefine(move: Move) -> Callable[[Connection], None]:
    """On the source; whatever runs there is left alone."""

    def ask(connection: Connection) -> None:
        domain = connection.lookupByUUIDString(move.vm)
        if domain.isPersistent() and not domain.isActive():
            domain.undefineFlags(KEEP_FILES)

    return ask


def _without_mark(move: Move) -> Callable[[Connection], None]:
    def ask(connection: Connection) -> None:
        domain = connection.lookupByUUIDString(move.vm)
        if mark.read(domain):
            mark.take_away(domain)

    return ask
