"""The simulated hosts and VMs: who is where, what is reserved, and what a placement service would refuse.

Every placement is kept twice, by VM and by host, as real hypervisors and their controller keep it: `audit` compares
the two.
"""

from collections.abc import Iterator
from dataclasses import replace

from forewarn.domain.inventory import Cluster, Host, HostState, VirtualMachine, VmState
from forewarn.domain.plan import Move


class Estate:
    """Hosts and VMs that change. A VM in migration takes room on both its hosts; on a host that is down none runs."""

    def __init__(self, cluster: Cluster) -> None:
        self.generation = 0
        self.hosts = {host.name: host for host in cluster.hosts}
        self.vms: dict[str, VirtualMachine] = {}
        self._placed: dict[str, dict[str, None]] = {name: {} for name in self.hosts}
        self._incoming: dict[str, dict[str, None]] = {name: {} for name in self.hosts}
        for vm in cluster.vms:
            self.place(vm)
        self.generation = cluster.generation

    def place(self, vm: VirtualMachine) -> None:
        """Add a new VM on its host."""
        if vm.id in self.vms or vm.host not in self.hosts:
            raise ValueError(f"VM {vm.id} stands twice in the cluster, or on a host {vm.host!r} that it does not have")
        self.vms[vm.id] = vm
        self._placed[vm.host][vm.id] = None
        self.generation += 1

    def set_host(self, host: Host) -> None:
        self.hosts[host.name] = host
        self.generation += 1

    def set_state(self, vm_id: str, state: VmState) -> None:
        self.vms[vm_id] = replace(self.vms[vm_id], state=state)
        self.generation += 1

    def reserve(self, vm_id: str, target: str) -> None:
        """Take room for a VM that sets out for `target`."""
        self._incoming[target][vm_id] = None
        self.set_state(vm_id, VmState.MIGRATING)

    def release(self, vm_id: str, target: str, state: VmState) -> None:
        """Give the room back; the VM stays where it was, in `state`."""
        del self._incoming[target][vm_id]
        self.set_state(vm_id, state)

    def arrive(self, vm_id: str, target: str) -> None:
        """Hand a VM over to the target that holds room for it."""
        del self._incoming[target][vm_id]
        self.transfer(vm_id, target)

    def transfer(self, vm_id: str, target: str) -> None:
        """Put a VM on another host at once; it runs there, unless it was shut down."""
        vm = self.vms[vm_id]
        del self._placed[vm.host][vm_id]
        self._placed[target][vm_id] = None
        state = VmState.STOPPED if vm.state is VmState.STOPPED else VmState.RUNNING
        self.vms[vm_id] = replace(vm, host=target, state=state)
        self.generation += 1

    def remove(self, vm_id: str) -> None:
        """Delete a VM on purpose."""
        del self._placed[self.vms.pop(vm_id).host][vm_id]
        self.generation += 1

    def on(self, host: str) -> tuple[VirtualMachine, ...]:
        """The VMs on `host`."""
        return tuple(self.vms[vm_id] for vm_id in self._placed[host])

    def taking_room(self, host: str) -> Iterator[VirtualMachine]:
        """The VMs on `host` and those on their way to it."""
        yield from (self.vms[vm_id] for vm_id in (*self._placed[host], *self._incoming[host]))

    def why_not(self, move: Move) -> str:
        """The first reason for which a placement service would refuse `move`; empty if it would take it."""
        vm = self.vms.get(move.vm)
        if vm is None:
            return f"{move.vm_name} does not exist any more"
        target = self.hosts.get(move.target)
        if target is None:
            return f"there is no host {move.target!r}"
        return _vm_stays_because(vm, move) or self._closed_because(vm, target)

    def _closed_because(self, vm: VirtualMachine, target: Host) -> str:
        if vm.host == target.name:
            return f"{vm.name} is on {target.name} already"
        if target.state is not HostState.UP:
            return f"{target.name} is {target.state.words}"
        if target.cordoned or not target.can_receive:
            return f"{target.name} takes no VMs"
        return self._full_because(vm, target) or self._apart_because(vm, target)

    def _full_because(self, vm: VirtualMachine, target: Host) -> str:
        there = list(self.taking_room(target.name))
        if sum(other.memory_bytes for other in there) + vm.memory_bytes > target.memory_bytes:
            return f"{target.name} has not enough memory left for {vm.name}"
        if sum(other.vcpus for other in there) + vm.vcpus > target.cpus:
            return f"{target.name} has not enough CPUs left for {vm.name}"
        return ""

    def _apart_because(self, vm: VirtualMachine, target: Host) -> str:
        if not vm.anti_affinity:
            return ""
        kin = (other for other in self.taking_room(target.name) if other.anti_affinity == vm.anti_affinity)
        other = next(kin, None)
        if other is None:
            return ""
        return f"{vm.name} must not share a host with {other.name}, which is on {target.name} or on its way there"

    def audit(self) -> tuple[str, ...]:
        """A sentence for each VM that is not on exactly one host, or elsewhere than the controller believes."""
        found: dict[str, list[str]] = {vm_id: [] for vm_id in self.vms}
        for host, vm_ids in self._placed.items():
            for vm_id in vm_ids:
                found.setdefault(vm_id, []).append(host)
        believed = {vm_id: [vm.host] for vm_id, vm in self.vms.items()}
        return tuple(
            f"VM {vm_id} is on {' and '.join(hosts) or 'no host'}, and should be on {wanted[0] if wanted else 'none'}"
            for vm_id, hosts in found.items()
            if hosts != (wanted := believed.get(vm_id, []))
        )


def _vm_stays_because(vm: VirtualMachine, move: Move) -> str:
    if vm.host != move.source:
        return f"{vm.name} is on {vm.host}, not on {move.source}"
    if vm.immovable_because:
        return f"{vm.name} cannot move: {vm.immovable_because}"
    if vm.state is not VmState.RUNNING:
        return f"{vm.name} is {vm.state}"
    return ""
