"""From what each host claims to one list of VMs: each once, where it runs, and whether it could go anywhere. Pure."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from forewarn.domain.inventory import Criticality, Remark, VirtualMachine, VmState, listing
from forewarn.drivers.libvirt.movable import immovable_because
from forewarn.drivers.libvirt.picture import Seen
from forewarn.drivers.libvirt.words import Facts, needs

Judge = Callable[[str, Mapping[str, str]], tuple[Criticality, str]]

RUNNING, BLOCKED, PAUSED, SHUTDOWN, SHUTOFF, CRASHED, SUSPENDED = range(1, 8)  # libvirt's virDomainState
STANDS_STILL = {
    PAUSED: "it is paused",
    SHUTDOWN: "it is shutting down",
    SUSPENDED: "it is suspended by its own power management",
}


@dataclass(frozen=True, slots=True)
class Claim:
    """A VM as one host shows it. `fresh` unless the host does not answer now."""

    vm: VirtualMachine
    seen: Seen
    fresh: bool

    @property
    def strength(self) -> tuple[int, bool]:
        """How much speaks for the VM being here: it runs, it stands still, it is still arriving, it is defined."""
        if not self.seen.running:
            return 0, self.fresh
        if self.seen.arriving:
            return 1, self.fresh
        return (3 if self.seen.state in (RUNNING, BLOCKED) else 2), self.fresh


def gather(
    claims: Iterable[Claim], offers: Mapping[str, frozenset[str]] | None
) -> tuple[tuple[VirtualMachine, ...], tuple[Remark, ...]]:
    """Each VM once, and remarks on those of which something is not as it should be.

    `offers` is what every host offers, None while a host has not told. Of a VM that runs on two hosts the first is
    kept; it must not be moved.
    """
    strongest: dict[str, Claim] = {}
    twice: dict[str, tuple[str, str]] = {}
    for claim in claims:
        vm = claim.vm
        known = strongest.get(vm.id)
        if known is None or claim.strength > known.strength:
            strongest[vm.id] = claim
        if known is not None and claim.strength == known.strength == (3, True):
            twice[vm.id] = (known.vm.host, vm.host)
    lonely = _Lonely(offers)
    vms = tuple(_placed(claim.vm, twice.get(vm_id), lonely) for vm_id, claim in strongest.items())
    return vms, tuple(_remarks(strongest, twice))


def _placed(vm: VirtualMachine, twice: tuple[str, str] | None, lonely: "_Lonely") -> VirtualMachine:
    if twice:
        return replace(vm, immovable_because=f"it runs on {twice[0]} and on {twice[1]} at once")
    why = "" if vm.immovable_because or vm.state is not VmState.RUNNING else lonely.because(vm)
    return replace(vm, immovable_because=why) if why else vm


def _remarks(strongest: Mapping[str, Claim], twice: Mapping[str, tuple[str, str]]) -> Iterator[Remark]:
    for vm_id, claim in strongest.items():
        vm, problem = claim.vm, claim.seen.guest.metadata.problem
        if problem and claim.fresh:
            yield Remark(vm.host, f"VM {vm.name} on {vm.host}: its metadata counts for nothing: {problem}", vm_id)
        if vm_id in twice:
            one, other = twice[vm_id]
            yield Remark(
                vm.host, f"VM {vm.name} runs on {one} and on {other} at once; stop one before both write", vm_id
            )


class _Lonely:
    """Whether any other host offers what a VM needs; answered once for VMs of one host that need the same."""

    def __init__(self, offers: Mapping[str, frozenset[str]] | None) -> None:
        self._offers = offers
        self._answers: dict[tuple[str, frozenset[str]], str] = {}

    def because(self, vm: VirtualMachine) -> str:
        """Why no other host can take it; empty where one can, where that is not known, or where it is alone."""
        if self._offers is None:
            return ""
        key = (vm.host, vm.needs)
        if key not in self._answers:
            self._answers[key] = self._nearest(vm)
        return self._answers[key]

    def _nearest(self, vm: VirtualMachine) -> str:
        others = [(name, offered) for name, offered in (self._offers or {}).items() if name != vm.host]
        if not others or any(vm.needs <= offered for _, offered in others):
            return ""
        name, offered = min(others, key=lambda other: (len(vm.needs - other[1]), other[0]))
        lacks = listing(vm.needs - offered)
        return f"no other host offers all that it needs; {name}, which comes nearest, lacks {lacks}"


def machine_of(host: str, seen: Seen, facts: Facts, offered: frozenset[str], judge: Judge) -> VirtualMachine:
    """The VM as the domain knows it."""
    guest, metadata = seen.guest, seen.guest.metadata
    level, source = _criticality(seen, judge)
    return VirtualMachine(
        id=guest.uuid,
        name=guest.name,
        host=host,
        vcpus=guest.vcpus,
        memory_bytes=guest.memory_max_bytes,
        criticality=level,
        criticality_source=source,
        state=_state(seen),
        immovable_because=_immovable(seen, facts),
        anti_affinity=metadata.apart,
        needs=needs(guest, facts, offered),
    )


def _criticality(seen: Seen, judge: Judge) -> tuple[Criticality, str]:
    metadata = seen.guest.metadata
    if metadata.problem:
        return Criticality.NORMAL, f"its metadata counts for nothing: {metadata.problem}"
    declared = {"forewarn:criticality": str(metadata.criticality)} if metadata.criticality else {}
    return judge(seen.guest.name, declared)


def _state(seen: Seen) -> VmState:
    if not seen.running:
        return VmState.INTERRUPTED if seen.state == CRASHED else VmState.STOPPED
    if seen.leaving or seen.arriving:
        return VmState.MIGRATING
    return VmState.INTERRUPTED if seen.state == CRASHED else VmState.RUNNING


def _immovable(seen: Seen, facts: Facts) -> str:
    if not seen.running:
        return "it does not run"
    why = [f"what it is made of is not known: {seen.unread}" if seen.unread else "", STANDS_STILL.get(seen.state, "")]
    why.append(immovable_because(seen.guest, facts.storage, seen.jobs))
    return "; ".join(filter(None, why))
