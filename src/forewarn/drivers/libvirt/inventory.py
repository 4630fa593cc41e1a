"""The cluster as its libvirt hosts show it. The reading half of the driver: a read-only connection is enough.

Hosts are looked at in parallel, each with its deadline. A host that does not answer keeps its last known state, marked
as such; whoever waits for the round waits for no such host longer than `round_s`, and its answer, should it come, is
in the next picture.
"""

import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from datetime import datetime

from forewarn.clock import Clock
from forewarn.domain.hypervisor import Hypervisor
from forewarn.domain.inventory import Cluster, Host, HostState, Remark, VirtualMachine
from forewarn.domain.situation import Workload
from forewarn.drivers.libvirt import stats, words
from forewarn.drivers.libvirt.connections import Connections
from forewarn.drivers.libvirt.dirty import DirtyRates
from forewarn.drivers.libvirt.gather import Claim, Judge, gather, machine_of
from forewarn.drivers.libvirt.looks import Look, count
from forewarn.drivers.libvirt.picture import Picture, Seen, Stats, hypervisor_of
from forewarn.drivers.libvirt.settings import LibvirtSettings
from forewarn.errors import DriverUnavailable, ForewarnError

NEEDS_MAX = 10_000  # different sets of needs that are remembered


@dataclass(frozen=True, slots=True)
class _Answer:
    """What a look found, and when: by the clock on the wall, and in seconds of a steady one."""

    picture: Picture
    time: datetime
    at_s: float


@dataclass
class _Kept:
    """What is known of one host from look to look."""

    picture: Picture | None = None
    seen_at: datetime | None = None
    facts_at_s: float = 0.0
    problem: str = ""
    retry_at_s: float = 0.0
    tries: int = 0
    offered: frozenset[str] = frozenset()
    hypervisor: Hypervisor | None = None
    counters: Mapping[str, stats.Counters] = field(default_factory=dict)
    counters_before: Mapping[str, stats.Counters] = field(default_factory=dict)
    machines: dict[str, tuple[Seen, VirtualMachine]] = field(default_factory=dict)  # made of what was seen
    running: Future[_Answer] | None = None


class LibvirtInventory:
    """The hosts of `settings`, reached by `connections`. `judge` says how critical a VM is, from name and metadata."""

    name = "libvirt"

    def __init__(self, settings: LibvirtSettings, connections: Connections, clock: Clock, judge: Judge) -> None:
        self._settings, self._connections, self._clock, self._judge = settings, connections, clock, judge
        self._kept = {name: _Kept() for name in settings.hosts}
        self._pool = ThreadPoolExecutor(connections.settings.hosts_at_once, "libvirt look")
        self._looking = threading.Lock()
        self._needs: dict[frozenset[str], frozenset[str]] = {}  # one object for VMs that need the same
        self._last = Cluster(clock.now())
        self.dirty = DirtyRates(settings, connections, clock)

    def inventory(self) -> Cluster:
        """The cluster now. Raises DriverUnavailable where no host has ever answered."""
        with self._looking:
            self._look()
            now = self._clock.now()
            if all(kept.picture is None for kept in self._kept.values()):
                problems = "; ".join(dict.fromkeys(kept.problem for kept in self._kept.values() if kept.problem))
                raise DriverUnavailable(f"no libvirt host answers: {problems or 'none is configured in libvirt.hosts'}")
            vms, found = gather(self._claims(), self._offers())
            hosts = tuple(self._host(name, kept) for name, kept in self._kept.items())
            remarks = (*self._remarks(), *found)
            before = self._last
            changed = (hosts, vms) != (before.hosts, before.vms)
            self._last = Cluster(now, before.generation + changed, hosts, (), vms, remarks)
            return self._last

    def workloads(self) -> tuple[Workload, ...]:
        """What the VMs did between the last two looks at their hosts."""
        with self._looking:
            here, dirty = {vm.id: vm.host for vm in self._last.vms}, self.dirty.known()
            return tuple(
                load
                for name, kept in self._kept.items()
                for load in stats.workloads(kept.counters_before, kept.counters, dirty)
                if not kept.problem and here.get(load.vm) == name
            )

    def seen(self, vm: str) -> Seen | None:
        """What libvirt told of a VM where it was last seen; None for one that the last inventory does not hold."""
        host = next((found.host for found in self._last.vms if found.id == vm), "")
        kept = self._kept.get(host)
        return kept.picture.guests.get(vm) if kept and kept.picture else None

    def pictures(self) -> Mapping[str, tuple[Picture | None, str]]:
        """By host what its last look found, and why the last try found nothing."""
        return {name: (kept.picture, kept.problem) for name, kept in self._kept.items()}

    def close(self) -> None:
        """Look no more."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    # --- looking ------------------------------------------------------------------------------------------

    def _look(self) -> None:
        """Ask every host that is due, and wait for the answers as long as a round may take.

        Nobody waits for a host that did not answer the last time: its answer is taken in when it has come.
        """
        at_s = self._clock.monotonic()
        for name, kept in self._kept.items():
            if kept.running is None and at_s >= kept.retry_at_s:
                kept.running = self._pool.submit(self._ask, name, kept.picture, self._facts_are_old(kept, at_s))
        awaited = [kept.running for kept in self._kept.values() if kept.running and not kept.tries]
        wait(awaited, self._settings.round_s)
        for name, kept in self._kept.items():
            self._take(name, kept)

    def _facts_are_old(self, kept: _Kept, at_s: float) -> bool:
        return kept.picture is None or at_s - kept.facts_at_s >= self._settings.facts_s

    def _ask(self, name: str, before: Picture | None, whole: bool) -> _Answer:
        deadline_s = self._settings.hosts[name].deadline_s or self._settings.look_s
        told = self._count(name, deadline_s / 2, again=before is not None)
        look = Look(name, self._settings, before or Picture(), told, whole=whole)
        picture = self._connections.call(name, look, "tell its VMs", deadline_s=deadline_s)
        return _Answer(picture, self._clock.now(), self._clock.monotonic())

    def _count(self, name: str, deadline_s: float, *, again: bool) -> Mapping[str, Stats]:
        """What the host's VMs count. One QEMU that does not answer blocks the first such question, not the second."""
        what = "count what its VMs do"
        try:
            return self._connections.call(name, count, what, deadline_s=deadline_s)
        except DriverUnavailable:
            if not again:
                raise
            return self._connections.call(name, count, what, deadline_s=deadline_s)

    def _take(self, name: str, kept: _Kept) -> None:
        """Take in what a host answered, if it has."""
        if kept.running is None:
            return
        if not kept.running.done():
            late = f"{name} has not told its VMs within {self._settings.round_s:g} s; it is still being asked"
            kept.problem = kept.problem or late
            return
        ended, kept.running = kept.running, None
        try:
            answer = ended.result()
        except ForewarnError as error:
            self._failed(kept, str(error))
            return
        self._answered(name, kept, answer)

    def _failed(self, kept: _Kept, problem: str) -> None:
        wait_s = min(self._settings.retry_s * 2**kept.tries, self._settings.retry_s_max)
        kept.problem, kept.tries = problem, kept.tries + 1
        kept.retry_at_s = self._clock.monotonic() + wait_s

    def _answered(self, name: str, kept: _Kept, answer: _Answer) -> None:
        picture, at_s = answer.picture, answer.at_s
        if kept.picture is None or picture.facts is not kept.picture.facts:
            kept.facts_at_s = at_s
            if kept.picture is None or picture.facts != kept.picture.facts:
                kept.offered = words.offers(picture.facts, self._settings.hosts[name])
                kept.machines.clear()
            kept.hypervisor = hypervisor_of(picture)
        kept.counters_before = kept.counters
        kept.counters = {vm: stats.counters(told, at_s) for vm, told in picture.stats.items()}
        kept.picture, kept.seen_at = picture, answer.time
        kept.problem, kept.tries, kept.retry_at_s = "", 0, 0.0

    # --- what is made of it ---------------------------------------------------------------------------------

    def _offers(self) -> Mapping[str, frozenset[str]] | None:
        """By host what it offers; None while a host has never told."""
        known = {name: kept.offered for name, kept in self._kept.items() if kept.picture is not None}
        return known if len(known) == len(self._kept) else None

    def _claims(self) -> Iterator[Claim]:
        if len(self._needs) > NEEDS_MAX:
            self._needs.clear()
        for name, kept in self._kept.items():
            guests = kept.picture.guests if kept.picture else {}
            for gone in kept.machines.keys() - guests.keys():
                del kept.machines[gone]
            for vm, seen in guests.items():
                if seen.running or seen.autostart or self._settings.stopped:
                    yield Claim(self._machine(name, kept, vm, seen), seen, fresh=not kept.problem)

    def _machine(self, name: str, kept: _Kept, vm: str, seen: Seen) -> VirtualMachine:
        """The VM as the domain knows it, made once for what has not changed."""
        made = kept.machines.get(vm)
        if made is None or made[0] is not seen:
            picture = kept.picture or Picture()
            machine = machine_of(name, seen, picture.facts, kept.offered, self._judge)
            machine = replace(machine, needs=self._needs.setdefault(machine.needs, machine.needs))
            made = kept.machines[vm] = (seen, machine)
        return made[1]

    def _host(self, name: str, kept: _Kept) -> Host:
        settings, own = self._settings, self._settings.hosts[name]
        host = Host(
            name,
            HostState.UNKNOWN if kept.problem else HostState.UP,
            rack=own.rack,
            driver=self.name,
            aggregates=own.aggregates,
            seen_at=kept.seen_at if kept.problem else None,
            unheard_because=kept.problem,
            hypervisor=kept.hypervisor,
        )
        if kept.picture is None:
            return replace(host, link_bytes_per_s=own.link_bytes_per_s or settings.link_bytes_per_s)
        able = kept.picture.facts.capabilities
        memory = max(0, able.memory_bytes - settings.memory_kept_bytes)
        return replace(
            host,
            cpus=len(able.cpus) * settings.cpu_over_commit,
            memory_bytes=int(memory * settings.memory_over_commit),
            link_bytes_per_s=own.link_bytes_per_s or settings.link_bytes_per_s or kept.picture.link_bytes_per_s,
            offers=kept.offered,
        )

    def _remarks(self) -> Iterator[Remark]:
        for name, kept in self._kept.items():
            if kept.problem:
                yield Remark(name, kept.problem)
            elif kept.picture:
                yield from kept.picture.remarks
