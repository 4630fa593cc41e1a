"""Where a VM can go: hosts from the most to the least headroom, and why each one before the first fit was passed over.

Loads are projected: a host carries what runs on it, what is moving to it, and what this plan has already sent to it.
A host that a VM is leaving carries it until the move is done, so that a failed move finds its place still free.
"""

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from operator import attrgetter

from forewarn.decide.migration_cost import MigrationEstimate, estimate, link_rate
from forewarn.decide.policy import PolicySettings
from forewarn.domain.inventory import Cluster, Host, HostState, VirtualMachine, listing
from forewarn.domain.plan import Refusal, Verdict
from forewarn.domain.situation import Workload

GIB = 1024.0**3


@dataclass(slots=True)
class _Load:
    vcpus: float = 0.0
    cores: float = 0.0  # used
    memory_bytes: int = 0

    def plus(self, vm: VirtualMachine, cores: float) -> "_Load":
        return _Load(self.vcpus + vm.vcpus, self.cores + cores, self.memory_bytes + vm.memory_bytes)

    def add(self, vm: VirtualMachine, cores: float) -> None:
        self.vcpus += vm.vcpus
        self.cores += cores
        self.memory_bytes += vm.memory_bytes

    def take(self, vm: VirtualMachine, cores: float) -> None:
        self.vcpus -= vm.vcpus
        self.cores -= cores
        self.memory_bytes -= vm.memory_bytes


def _share(used: float, capacity: float) -> float:
    return used / capacity if capacity > 0 else 1.0


def _utilization(host: Host, load: _Load) -> float:
    """How busy a host is: its cores at work, or its memory promised, whichever is more."""
    return max(_share(load.cores, host.cpus), _share(load.memory_bytes, host.memory_bytes))


class Projection:
    """What every host will carry, kept up to date while a plan grows; and the hosts in order of headroom."""

    def __init__(
        self, cluster: Cluster, workloads: Mapping[str, Workload], arriving: Iterable[tuple[str, str]] = ()
    ) -> None:
        self._hosts = cluster.host_by_name
        self._workloads = workloads
        self._loads = {name: _Load() for name in self._hosts}
        self._apart: dict[str, Counter[str]] = {name: Counter() for name in self._hosts}
        for vm in sorted(cluster.vms, key=attrgetter("id")):  # sums of floats depend on their order
            self._carry(vm, vm.host)
        for vm_id, target in arriving:
            arriving_vm = cluster.vm_by_id.get(vm_id)
            if arriving_vm and arriving_vm.host != target:
                self._carry(arriving_vm, target)
        self._order = sorted(self._key(name) for name in self._hosts)

    def host(self, name: str) -> Host:
        return self._hosts[name]

    def ranked(self) -> Iterator[Host]:
        """Hosts from the most headroom to the least; equals by name."""
        return (self._hosts[name] for _, name in self._order)

    def place(self, vm: VirtualMachine, target: str) -> None:
        """Let `target` carry this VM too, from now on."""
        del self._order[bisect_left(self._order, self._key(target))]
        self._carry(vm, target)
        insort(self._order, self._key(target))

    def leave(self, vm: VirtualMachine, target: str) -> None:
        """Take back what `place` did."""
        del self._order[bisect_left(self._order, self._key(target))]
        self._loads[target].take(vm, self._cores(vm))
        if vm.anti_affinity:
            self._apart[target][vm.anti_affinity] -= 1
        insort(self._order, self._key(target))

    def utilization(self, target: str, vm: VirtualMachine | None = None) -> float:
        """Projected utilization (0..1) of a host, with this VM on it too."""
        return _utilization(self._hosts[target], self._with(target, vm) if vm else self._loads[target])

    def fits(self, target: str, vm: VirtualMachine) -> bool:
        """Whether the host can promise this VM its memory and its CPUs."""
        host, load = self._hosts[target], self._with(target, vm)
        return load.memory_bytes <= host.memory_bytes and load.vcpus <= host.cpus

    def free(self, target: str) -> tuple[int, float]:
        """Memory in bytes and CPUs that a host can still promise."""
        host, load = self._hosts[target], self._loads[target]
        return host.memory_bytes - load.memory_bytes, host.cpus - load.vcpus

    def keeps_apart(self, target: str, vm: VirtualMachine) -> bool:
        """Whether a VM that must not share a host with this one is, or is coming, there."""
        return bool(vm.anti_affinity) and self._apart[target][vm.anti_affinity] > 0

    def link_bytes_per_s(self, name: str) -> float:
        return self._hosts[name].link_bytes_per_s

    def workload(self, vm: VirtualMachine) -> Workload | None:
        return self._workloads.get(vm.id)

    def _cores(self, vm: VirtualMachine) -> float:
        workload = self._workloads.get(vm.id)
        return workload.cpu_cores if workload else float(vm.vcpus)

    def _with(self, target: str, vm: VirtualMachine) -> _Load:
        return self._loads[target].plus(vm, self._cores(vm))

    def _carry(self, vm: VirtualMachine, name: str) -> None:
        if load := self._loads.get(name):
            load.add(vm, self._cores(vm))
            if vm.anti_affinity:
                self._apart[name][vm.anti_affinity] += 1

    def _key(self, name: str) -> tuple[float, str]:
        host, load = self._hosts[name], self._loads[name]
        return max(_utilization(host, load), _share(load.vcpus, host.cpus)), name


@dataclass(frozen=True, slots=True)
class Target:
    """A host that can take a VM, and what the move there will be like."""

    host: Host
    utilization: float  # 0..1, projected, the VM included
    estimate: MigrationEstimate


def suitable(
    vm: VirtualMachine,
    component: str,
    projection: Projection,
    blocked: Mapping[str, tuple[Refusal, str]],
    ceiling: float,
    settings: PolicySettings,
    wanted: int = 1,
) -> tuple[tuple[Target, ...], tuple[Verdict, ...]]:
    """The first `wanted` hosts that can take this VM, best first, and a verdict for each host passed over before them.

    `blocked` says of hosts that must receive nothing for what they risk themselves, why. `component` is the part for
    which the VM shall leave; it is only named in the verdicts.
    """
    search = _Search(vm, component, projection, blocked, ceiling, settings)
    found: list[Target] = []
    for host in projection.ranked():
        if len(found) >= wanted:
            break
        if target := search.weigh(host):
            found.append(target)
    return tuple(found), search.verdicts()


def fit(
    vm: VirtualMachine,
    host: Host,
    projection: Projection,
    blocked: Mapping[str, tuple[Refusal, str]],
    ceiling: float,
    settings: PolicySettings,
) -> Target | None:
    """This one host as a target of the VM, if it is suitable."""
    return _Search(vm, "", projection, blocked, ceiling, settings).weigh(host)


class _Search:
    """One VM's way down the ranking."""

    def __init__(
        self,
        vm: VirtualMachine,
        component: str,
        projection: Projection,
        blocked: Mapping[str, tuple[Refusal, str]],
        ceiling: float,
        settings: PolicySettings,
    ) -> None:
        self._vm, self._component, self._projection = vm, component, projection
        self._blocked, self._ceiling, self._settings = blocked, ceiling, settings
        self._link = projection.link_bytes_per_s(vm.host)
        self._estimates: dict[float, MigrationEstimate] = {}
        self._named: list[Verdict] = []
        self._unnamed: Counter[Refusal] = Counter()

    def weigh(self, host: Host) -> Target | None:
        """This host as a target, or None with the cause noted."""
        refusal = self._standing(host) or self._room(host)
        if refusal is None and not self._estimate(host).converges:
            refusal = Refusal.NO_CONVERGENCE
        if refusal is None:
            return Target(host, self._projection.utilization(host.name, self._vm), self._estimate(host))
        self._refuse(host, refusal)
        return None

    def _standing(self, host: Host) -> Refusal | None:
        """What keeps the host from receiving any VM, or this one because it is already there."""
        checks = (
            (host.name == self._vm.host, Refusal.TARGET_SAME_HOST),
            (host.state is not HostState.UP, Refusal.TARGET_DOWN),
            (not host.can_receive, Refusal.TARGET_CANNOT_RECEIVE),
            (host.cordoned, Refusal.TARGET_CORDONED),
        )
        refusal = next((refusal for refused, refusal in checks if refused), None)
        return refusal or self._blocked.get(host.name, (None, ""))[0]

    def _room(self, host: Host) -> Refusal | None:
        """What keeps the host from receiving this VM."""
        if not self._vm.needs <= host.offers:
            return Refusal.TARGET_LACKS
        if not self._projection.fits(host.name, self._vm):
            return Refusal.TARGET_FULL
        if self._projection.keeps_apart(host.name, self._vm):
            return Refusal.TARGET_ANTI_AFFINITY
        if self._projection.utilization(host.name, self._vm) > self._ceiling:
            return Refusal.TARGET_UTILIZATION
        return None

    def _rate(self, host: Host) -> float:
        return link_rate(self._link, host.link_bytes_per_s, self._settings.migration)

    def _estimate(self, host: Host) -> MigrationEstimate:
        rate = self._rate(host)
        if rate not in self._estimates:
            workload = self._projection.workload(self._vm)
            self._estimates[rate] = estimate(self._vm.memory_bytes, workload, rate, self._settings.migration)
        return self._estimates[rate]

    def _refuse(self, host: Host, refusal: Refusal) -> None:
        if len(self._named) < self._settings.verdicts_per_vm:
            self._named.append(self._verdict(host, refusal))
        else:
            self._unnamed[refusal] += 1

    def _verdict(self, host: Host, refusal: Refusal) -> Verdict:
        text = f"{self._vm.name} cannot go to {host.name}: {self._why(host, refusal)}"
        return Verdict(self._vm.id, self._vm.host, self._component, refusal, text, host.name)

    def _why(self, host: Host, refusal: Refusal) -> str:
        vm = self._vm
        if refusal is Refusal.TARGET_DOWN:
            return f"it is {host.state.words}"
        if self._blocked.get(host.name, (None, ""))[0] is refusal:
            return self._blocked[host.name][1]
        if refusal is Refusal.TARGET_LACKS:
            return f"it lacks {listing(vm.needs - host.offers)}"
        if refusal is Refusal.TARGET_FULL:
            memory, cpus = self._projection.free(host.name)
            return (
                f"{memory / GIB:.1f} GiB and {cpus:g} CPUs are free there, "
                f"{vm.memory_bytes / GIB:.1f} GiB and {vm.vcpus} CPUs are needed"
            )
        if refusal is Refusal.TARGET_UTILIZATION:
            reached = self._projection.utilization(host.name, vm)
            return f"it would be {reached:.0%} utilized, the ceiling is {self._ceiling:.0%}"
        if refusal is Refusal.NO_CONVERGENCE:
            return f"{vm.name} dirties memory faster than {self._rate(host) / 1e6:.0f} MB/s can copy it"
        return {
            Refusal.TARGET_SAME_HOST: "it runs there, and a VM never moves to the host that it leaves",
            Refusal.TARGET_CANNOT_RECEIVE: "its driver can only look",
            Refusal.TARGET_CORDONED: "it is cordoned",
            Refusal.TARGET_ANTI_AFFINITY: f"a VM of its anti-affinity group {vm.anti_affinity} is or comes there",
        }[refusal]

    def verdicts(self) -> tuple[Verdict, ...]:
        """The hosts passed over: the first few one by one, the rest in one verdict under their most frequent cause."""
        if not self._unnamed:
            return tuple(self._named)
        causes = sorted(self._unnamed.items(), key=lambda cause: (-cause[1], cause[0]))
        counts = ", ".join(f"{count} {refusal}" for refusal, count in causes)
        text = f"{self._unnamed.total()} more hosts cannot take {self._vm.name}: {counts}"
        return (*self._named, Verdict(self._vm.id, self._vm.host, self._component, causes[0][0], text))
