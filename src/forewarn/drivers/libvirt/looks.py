"""One look at a host: everything that is asked of its libvirt in one go, over one connection, in one thread.

Both `count` and `Look` must be called by `Connections.call`, which sets the deadline. What goes wrong with one guest is
a remark about that guest; what a host cannot tell (its bridges, its networks) is one about the host; neither hides the
rest.

A guest whose QEMU is busy (it arrives) or hangs would block whoever asks libvirt about it. Counting without waiting
tells such a guest by what it leaves out, and nothing more is asked about it then.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, TypeVar

import libvirt

from forewarn.domain.inventory import Remark
from forewarn.drivers.libvirt import explain
from forewarn.drivers.libvirt.capabilities import (
    Capabilities,
    DomainCapabilities,
    Network,
    completed,
    parse_bridges,
    parse_capabilities,
    parse_domain_capabilities,
    parse_links,
    parse_network,
)
from forewarn.drivers.libvirt.guests import Guest, parse_guest
from forewarn.drivers.libvirt.picture import Picture, Seen, Stats
from forewarn.drivers.libvirt.settings import LibvirtSettings
from forewarn.drivers.libvirt.storage import Pool, Storage, parse_pool
from forewarn.drivers.libvirt.words import Facts
from forewarn.errors import ForewarnError, InventoryError, VmGone

T = TypeVar("T")
Connection = Any  # libvirt.virConnect, which publishes no types
Domain = Any  # libvirt.virDomain

UNTOLD = frozenset(
    {libvirt.VIR_ERR_NO_SUPPORT, libvirt.VIR_ERR_OPERATION_UNSUPPORTED, libvirt.VIR_ERR_OPERATION_DENIED}
)
VANISHED = frozenset(
    {
        libvirt.VIR_ERR_NO_STORAGE_POOL,
        libvirt.VIR_ERR_NO_NETWORK,
        libvirt.VIR_ERR_NO_INTERFACE,
        libvirt.VIR_ERR_NO_NODE_DEVICE,
    }
)
GUESTS_OWN = ("net_vnet", "net_tap", "net_veth", "net_lo_")  # network devices that no other host needs to have
STATS = (
    libvirt.VIR_DOMAIN_STATS_STATE
    | libvirt.VIR_DOMAIN_STATS_CPU_TOTAL
    | libvirt.VIR_DOMAIN_STATS_BALLOON
    | libvirt.VIR_DOMAIN_STATS_BLOCK
    | libvirt.VIR_DOMAIN_STATS_INTERFACE
)
WITHOUT_WAITING = libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT  # for a guest whose QEMU is busy or hangs
JOBS = {
    libvirt.VIR_DOMAIN_JOB_OPERATION_START: "it is being started",
    libvirt.VIR_DOMAIN_JOB_OPERATION_SAVE: "it is being saved",
    libvirt.VIR_DOMAIN_JOB_OPERATION_RESTORE: "it is being restored",
    libvirt.VIR_DOMAIN_JOB_OPERATION_SNAPSHOT: "a snapshot of it is being taken",
    libvirt.VIR_DOMAIN_JOB_OPERATION_SNAPSHOT_REVERT: "it is being reverted to a snapshot",
    libvirt.VIR_DOMAIN_JOB_OPERATION_DUMP: "its memory is being dumped",
    libvirt.VIR_DOMAIN_JOB_OPERATION_BACKUP: "a backup of it is running",
}
BY_MIGRATION = (libvirt.VIR_DOMAIN_PAUSED_MIGRATION, libvirt.VIR_DOMAIN_PAUSED_STARTING_UP)
BLOCK_JOBS = {
    libvirt.VIR_DOMAIN_BLOCK_JOB_TYPE_PULL: "pull",
    libvirt.VIR_DOMAIN_BLOCK_JOB_TYPE_COPY: "copy",
    libvirt.VIR_DOMAIN_BLOCK_JOB_TYPE_COMMIT: "commit",
    libvirt.VIR_DOMAIN_BLOCK_JOB_TYPE_ACTIVE_COMMIT: "active-commit",
    libvirt.VIR_DOMAIN_BLOCK_JOB_TYPE_BACKUP: "backup",
}


class Look:
    """One look at `host`. `before` is what is known of it; its facts are asked anew where `whole`.

    `stats` is what `count` has just told.
    """

    def __init__(
        self, host: str, settings: LibvirtSettings, before: Picture, stats: Mapping[str, Stats], *, whole: bool
    ) -> None:
        self._host, self._settings, self._before, self._whole = host, settings, before, whole
        self._stats = stats
        self._remarks: list[Remark] = []
        self._untold: list[str] = []

    def __call__(self, connection: Connection) -> Picture:
        """Ask. Raises libvirtError where the host as a whole does not answer, InventoryError for its capabilities."""
        base = self._facts(connection) if self._whole else self._before
        self._remarks = list(base.lasting)
        guests = {}
        for domain, running in _domains(connection):
            uuid = domain.UUIDString()
            if found := self._guest(domain, uuid, self._stats.get(uuid, {}), running=running):
                guests[uuid] = found
        return Picture(
            base.host_name,
            base.libvirt_version,
            base.qemu_version,
            base.facts,
            base.link_bytes_per_s,
            guests,
            self._stats,
            tuple(self._remarks),
            base.lasting,
        )

    # --- the host -----------------------------------------------------------------------------------------

    def _facts(self, connection: Connection) -> Picture:
        links = self._told("network devices", _links, connection)
        bridges = self._told("bridges", _bridges, connection)
        networks = self._told("networks", _networks, connection)
        pools = self._told("storage pools", _pools, connection)
        facts = Facts(
            capabilities=_capabilities(connection),
            domain_capabilities=self._processor(connection),
            networks=networks,
            bridges=None if bridges is None else bridges | frozenset(links or ()),  # Open vSwitch's are links alone
            links=frozenset(links or ()),
            storage=Storage(pools or (), self._settings),
        )
        self._tell_untold()
        speeds = [speed for speed in (links or {}).values() if speed]
        return Picture(
            connection.getHostname(),
            connection.getLibVersion(),
            connection.getVersion(),
            facts,
            min(speeds, default=0.0),
            lasting=tuple(self._remarks),
        )

    def _told(self, what: str, ask: Callable[[Connection], T], connection: Connection) -> T | None:
        """The answer; None where libvirt there has no driver that could list `what`, or something in it is unread."""
        try:
            return ask(connection)
        except libvirt.libvirtError as error:
            if error.get_error_code() not in UNTOLD:
                raise
        except InventoryError as error:
            self._remarks.append(Remark(self._host, f"{self._host}: {error}"))
        self._untold.append(what)
        return None

    def _tell_untold(self) -> None:
        if self._untold:
            text = (
                f"libvirt on {self._host} lists no {' and no '.join(self._untold)}, so what VMs need of them is left to"
            )
            remedy = f"the check before a move; install its drivers, or name them in libvirt.hosts.{self._host}.offers"
            self._remarks.append(Remark(self._host, f"{text} {remedy}"))

    def _processor(self, connection: Connection) -> DomainCapabilities:
        """What only a connection that may write is told; nothing, and no remark, to one that may not."""
        try:
            return parse_domain_capabilities(connection.getDomainCapabilities())
        except libvirt.libvirtError as error:
            if error.get_error_code() in UNTOLD:
                return DomainCapabilities()
            raise

    # --- a guest ------------------------------------------------------------------------------------------

    def _guest(self, domain: Domain, uuid: str, stats: Stats, *, running: bool) -> Seen | None:
        """The guest, or None with a remark where it has gone meanwhile."""
        known = self._before.guests.get(uuid)
        if running and _is_busy(stats):
            return self._busy(domain.name(), uuid, stats, known)
        try:
            return self._ask(domain, stats, known, running=running)
        except (libvirt.libvirtError, ForewarnError) as error:
            if isinstance(error, libvirt.libvirtError) and error.get_error_domain() == libvirt.VIR_FROM_RPC:
                raise  # the connection is lost, or is told to give up
            problem = self._problem(error, domain.name())
        if isinstance(problem, VmGone):
            self._remarks.append(Remark(self._host, f"VM {domain.name()} left {self._host} while it was asked", uuid))
            return None
        self._remarks.append(Remark(self._host, f"VM {domain.name()} on {self._host}: {problem}", uuid))
        last = known.guest if known else Guest(uuid, domain.name(), memory_max_bytes=_room(stats))
        return Seen(last, int(stats.get("state.state", 0)), running, unread=str(problem))

    def _busy(self, name: str, uuid: str, stats: Stats, known: Seen | None) -> Seen:
        """A guest of which nothing can be asked now: it arrives, it has just left, or its QEMU does not answer."""
        state = int(stats.get("state.state", libvirt.VIR_DOMAIN_NOSTATE))
        guest = known.guest if known else Guest(uuid, name, memory_max_bytes=_room(stats))
        if state == libvirt.VIR_DOMAIN_PAUSED and stats.get("state.reason") in BY_MIGRATION:
            leaving = known is not None and not known.arriving
            return Seen(guest, state, running=True, leaving=leaving, arriving=not leaving)
        if known is None:
            return Seen(guest, state, running=True, busy=True, unread="its QEMU is busy or does not answer")
        if known.busy:
            text = f"VM {name} on {self._host}: its QEMU is busy or does not answer; it is shown as last seen"
            self._remarks.append(Remark(self._host, text, uuid))
        return replace(known, state=state, busy=True)

    def _problem(self, error: libvirt.libvirtError | ForewarnError, name: str) -> ForewarnError:
        if isinstance(error, libvirt.libvirtError):
            return explain.calling(error, self._host, "describe it", name)
        return error

    def _ask(self, domain: Domain, stats: Stats, known: Seen | None, *, running: bool) -> Seen:
        text = domain.XMLDesc(0)
        digest = hashlib.blake2b(text.encode(), digest_size=16).digest()
        guest = known.guest if known and known.digest == digest else parse_guest(text)
        operation = _operation(domain) if running else libvirt.VIR_DOMAIN_JOB_OPERATION_UNKNOWN
        autostart = known.autostart if known and not self._whole else _autostart(domain)
        found = Seen(
            guest,
            int(stats["state.state"]) if "state.state" in stats else int(domain.state()[0]),
            running,
            autostart,
            leaving=operation == libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT,
            jobs=tuple(_jobs(domain, guest, operation)) if running else (),
            digest=digest,
        )
        return known if found == known else found  # one object for what has not changed


def count(connection: Connection) -> dict[str, Stats]:
    """By UUID what the running guests count, without waiting for one whose QEMU is busy.

    It waits all the same for a QEMU that stops to answer while it is asked; asked again, it leaves that one out.
    """
    flags = libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE | WITHOUT_WAITING
    try:
        return {domain.UUIDString(): stats for domain, stats in connection.getAllDomainStats(STATS, flags)}
    except libvirt.libvirtError as error:
        if error.get_error_code() in UNTOLD:
            return {}
        raise


def _is_busy(stats: Stats) -> bool:
    """Whether libvirt left out what it would have had to ask the guest's QEMU for."""
    return "balloon.maximum" in stats and "balloon.rss" not in stats


def _domains(connection: Connection) -> Iterator[tuple[Domain, bool]]:
    """Every domain, and whether it was active when all were listed: it has a number then."""
    yield from ((domain, domain.ID() >= 0) for domain in connection.listAllDomains())


def _room(stats: Stats) -> int:
    """What a guest whose document is not known may take, in bytes."""
    return int(stats.get("balloon.maximum", 0)) * 1024


def _operation(domain: Domain) -> int:
    """The kind of job that runs on it, 0 for none."""
    try:
        job = domain.jobStats()
    except libvirt.libvirtError as error:
        if error.get_error_code() in (*UNTOLD, libvirt.VIR_ERR_OPERATION_INVALID):  # the latter once it has stopped
            return 0
        raise
    return int(job.get("operation", 0)) if job.get("type", 0) != libvirt.VIR_DOMAIN_JOB_NONE else 0


def _jobs(domain: Domain, guest: Guest, operation: int) -> Iterator[str]:
    if operation in JOBS:
        yield JOBS[operation]
    if operation:
        return  # libvirt makes whoever asks about disks wait for the end of most jobs
    for disk in guest.disks:
        if disk.chain and not disk.readonly and not disk.job and (kind := _block_job(domain, disk.target)):
            yield f"a block job ({kind}) runs on disk {disk.target}"


def _block_job(domain: Domain, target: str) -> str:
    try:
        job = domain.blockJobInfo(target, 0)
    except libvirt.libvirtError as error:
        if error.get_error_code() in UNTOLD:
            return ""
        raise
    return BLOCK_JOBS.get(job.get("type", 0), "of unknown kind") if job else ""


def _autostart(domain: Domain) -> bool:
    """Whether its host starts it at boot. A transient domain, which ends with its QEMU, cannot."""
    return bool(domain.isPersistent()) and bool(domain.autostart())


def _capabilities(connection: Connection) -> Capabilities:
    _, memory_mib, cpus, *_ = connection.getInfo()
    return completed(parse_capabilities(connection.getCapabilities()), int(cpus), int(memory_mib) * 2**20)


def _documents(objects: Iterable[Any]) -> Iterator[str]:
    """Their documents; one that vanished since they were listed is left out."""
    for one in objects:
        try:
            yield one.XMLDesc(0)
        except libvirt.libvirtError as error:
            if error.get_error_code() not in VANISHED:
                raise


def _pools(connection: Connection) -> tuple[Pool, ...]:
    pools = connection.listAllStoragePools(libvirt.VIR_CONNECT_LIST_STORAGE_POOLS_ACTIVE)
    return tuple(parse_pool(text) for text in _documents(pools))


def _networks(connection: Connection) -> tuple[Network, ...]:
    networks = connection.listAllNetworks(libvirt.VIR_CONNECT_LIST_NETWORKS_ACTIVE)
    return tuple(parse_network(text) for text in _documents(networks))


def _bridges(connection: Connection) -> frozenset[str]:
    return parse_bridges(_documents(connection.listAllInterfaces(libvirt.VIR_CONNECT_LIST_INTERFACES_ACTIVE)))


def _links(connection: Connection) -> dict[str, float]:
    devices = connection.listAllDevices(libvirt.VIR_CONNECT_LIST_NODE_DEVICES_CAP_NET)
    return parse_links(_documents(device for device in devices if not device.name().startswith(GUESTS_OWN)))
