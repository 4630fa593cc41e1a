"""What the page of one host says beside its parts: where each VM would go, how long draining takes, why it is cordoned.

Pure: a fleet and a name in, words out.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from forewarn.domain.hypervisor import Hypervisor, NumaNode
from forewarn.domain.inventory import VirtualMachine
from forewarn.domain.plan import Outcome
from forewarn.domain.situation import Snapshot
from forewarn.web.fleet import Fleet
from forewarn.web.migrations import MoveRow, rows_of
from forewarn.web.safe_start import Drain, SafeStart, drain_of, safe_start
from forewarn.web.watch import window_words
from forewarn.web.words import count, duration, size


@dataclass(frozen=True, slots=True)
class Guest:
    """A VM of the host, and whether it can move or where it goes. `stuck` if it cannot."""

    vm: VirtualMachine
    going: str
    stuck: bool = False
    why: str = ""


@dataclass(frozen=True)
class HostStory:
    """Everything of one host that is not a part's own."""

    guests: tuple[Guest, ...]
    drain: Drain
    start: SafeStart  # of the part that leaves the least time
    moves: tuple[MoveRow, ...]
    cordon: str  # why it takes no new VM; empty while it does
    windows: tuple[str, ...]
    tickets: tuple[str, ...]
    hypervisor: tuple[tuple[str, str], ...]  # what its placement service tells of it, by name


def story_of(fleet: Fleet, name: str, moves_max: int, now: datetime) -> HostStory:
    """The story of the host called `name`, which must be in the inventory."""
    snapshot = fleet.snapshot
    plan, drain = snapshot.plan, drain_of(snapshot, name)
    cells = [cell for cells in fleet.row_by_host[name].cells.values() for cell in cells]
    starts = [safe_start(snapshot, fleet.forecast_by_key.get(cell.key), cell.threshold, drain) for cell in cells]
    due = [start for start in starts if start.deadline is not None]
    moves = [o for o in snapshot.moves if name in (o.move.source, o.move.target)][:moves_max]
    return HostStory(
        guests=tuple(_guests(snapshot, name)),
        drain=drain,
        start=min(due, key=lambda start: start.deadline or now, default=SafeStart(drain)),
        moves=rows_of(snapshot, moves),
        cordon=_cordon(snapshot, name),
        windows=tuple(window_words(w, now) for w in snapshot.standing.windows if w.covers(name, now)),
        tickets=tuple(ticket.text for ticket in plan.tickets if ticket.host == name),
        hypervisor=tuple(_hypervisor(snapshot.cluster.host_by_name[name].hypervisor)),
    )


def _hypervisor(told: Hypervisor | None) -> Iterator[tuple[str, str]]:
    """What is known of a hypervisor, without what is not."""
    if told is None:
        return
    microcode = f"microcode {told.microcode}" if told.microcode else ""
    yield from (
        (name, words)
        for name, words in (
            ("Versions", ", ".join(filter(None, (told.emulator, told.service)))),
            ("Processor", ", ".join(filter(None, (told.cpu_model, microcode)))),
        )
        if words
    )
    yield from ((f"NUMA node {node.id}", _node_words(node)) for node in told.nodes)
    yield from ((f"Pool {pool.name}", f"{pool.type} {pool.path}".strip()) for pool in told.pools)
    for network in told.networks:
        bridge = f"bridge {network.bridge}" if network.bridge else ""
        yield f"Network {network.name}", ", ".join(filter(None, (network.mode, bridge))) or "without a bridge"


def _node_words(node: NumaNode) -> str:
    huge = (f"{pages.count} huge pages of {size(pages.size_bytes)}" for pages in node.huge_pages)
    return ", ".join((count(node.cpus, "CPU"), size(node.memory_bytes), *huge))


def _cordon(snapshot: Snapshot, name: str) -> str:
    host = snapshot.cluster.host_by_name[name]
    wanted = next((cordon.why for cordon in snapshot.plan.cordons if cordon.host == name), "")
    if host.cordoned:
        return wanted or "not by a decision of Forewarn that still holds"
    return f"about to be: {wanted}" if wanted else ""


def _guests(snapshot: Snapshot, name: str) -> list[Guest]:
    """The VMs of a host, the critical ones first."""
    running = {o.move.vm: o for o in snapshot.moves if not o.state.final}
    planned = _planned(snapshot)
    stays = {v.vm: v.text for v in snapshot.plan.verdicts if v.host == name and v.vm and not v.target}
    order = ("high", "normal", "low")
    vms = sorted(snapshot.cluster.vms_by_host.get(name, ()), key=lambda vm: (order.index(vm.criticality), vm.name))
    return [_guest(vm, running.get(vm.id), planned.get(vm.id), stays.get(vm.id, "")) for vm in vms]


def _planned(snapshot: Snapshot) -> Mapping[str, tuple[str, str]]:
    """By VM: where it goes or would go, and what that waits for."""
    proposed = {
        p.move.vm: (f"would go to {p.move.target}, in about {duration(p.move.duration_s)}", p.why)
        for p in snapshot.plan.proposals
    }
    going = {
        m.vm: (f"is to go to {m.target}, in about {duration(m.duration_s)}", m.reason) for m in snapshot.plan.moves
    }
    return proposed | going


def _guest(vm: VirtualMachine, moving: Outcome | None, planned: tuple[str, str] | None, stays: str) -> Guest:
    if moving is not None:
        return Guest(vm, f"on its way to {moving.move.target}", why=moving.move.rule)
    if vm.immovable_because:
        return Guest(vm, f"no: {vm.immovable_because}", stuck=True)
    if planned is not None:
        return Guest(vm, planned[0], why=planned[1])
    return Guest(vm, "can move", why=stays.partition(": ")[2] or stays)  # the rest says what the page shows already
