"""Which components need a person's attention, at most ten, each with its reasons and what is being done, in words.

Those whose VMs must leave come first, by the latest safe start (see `safe_start`); then parts above their threshold on
hosts without VMs, then those on their way to it.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from forewarn.domain.inventory import Criticality, VirtualMachine
from forewarn.domain.plan import MoveState
from forewarn.domain.situation import Snapshot
from forewarn.web.fleet import Cell, Fleet, Level, Row
from forewarn.web.safe_start import SafeStart, drain_of, safe_start
from forewarn.web.words import count, listing, percent, span

_REASONS = 3


@dataclass(frozen=True, slots=True)
class Attention:
    """One component that needs attention."""

    cell: Cell
    row: Row
    reasons: tuple[str, ...]
    source: str  # the model, and what it learned from
    doing: str  # what Forewarn does about it, or why not
    start: SafeStart
    stakes: str  # the VMs that depend on it, by criticality
    usual: str  # what any part of its kind risks, to compare with


def attention_of(fleet: Fleet, limit: int) -> tuple[Attention, ...]:
    """At most `limit` components that are above, or more than half way to, their thresholds, the most urgent first."""
    near = [cell for cell in fleet.cells if cell.moving or cell.level in (Level.NEAR, Level.ABOVE, Level.FAR_ABOVE)]
    drains = {host: drain_of(fleet.snapshot, host) for host in {cell.host for cell in near}}
    starts = {
        cell.key: safe_start(fleet.snapshot, fleet.forecast_by_key.get(cell.key), cell.threshold, drains[cell.host])
        for cell in near
    }
    near.sort(key=lambda cell: _urgency(cell, starts[cell.key]))
    return tuple(_attention(fleet, cell, starts[cell.key]) for cell in near[:limit])


def _urgency(cell: Cell, start: SafeStart) -> tuple[int, float, float, str, str]:
    group = 2 if not (cell.at_risk or cell.moving) else 0 if start.drain.vms else 1
    due = start.order.timestamp() if start.order and group == 0 else math.inf
    return group, due, -(cell.ratio or 0.0), cell.host, cell.device


def _attention(fleet: Fleet, cell: Cell, start: SafeStart) -> Attention:
    forecast = fleet.forecast_by_key.get(cell.key)
    reasons = [r.text for r in forecast.reasons if r.contribution > 0][:_REASONS] if forecast else []
    source = f"{forecast.model}, learned from {forecast.learned_from}" if forecast and forecast.learned_from else ""
    row, snapshot = fleet.row_by_host[cell.host], fleet.snapshot
    doing, stakes = _doing(snapshot, cell, row), _stakes(snapshot, cell)
    return Attention(cell, row, tuple(reasons), source, doing, start, stakes, usual_words(snapshot, cell))


def usual_words(snapshot: Snapshot, cell: Cell) -> str:
    """The base rate of the part's kind, empty where none is known."""
    usual = snapshot.usual.get(cell.kind)
    return "" if usual is None else f"{percent(usual)} within {span(snapshot.horizon_s)} is usual for its kind"


def _stakes(snapshot: Snapshot, cell: Cell) -> str:
    """How many VMs hang on a part. Where its path is not known, every VM of its host may."""
    on_host = snapshot.cluster.vms_by_host.get(cell.host, ())
    part = snapshot.cluster.component_by_id.get(cell.component)
    if part is not None and part.vms and not part.whole_host:
        return _by_criticality([vm for vm in on_host if vm.id in part.vms])
    sure = part is not None and part.whole_host
    return _by_criticality(on_host) + ("" if sure or not on_host else " on its host; none is proven to depend on it")


def _by_criticality(vms: Sequence[VirtualMachine]) -> str:
    """A count of VMs.

    >>> _by_criticality([VirtualMachine("v", "web", "h1", 1, 1, Criticality.HIGH)])
    '1 VM (1 critical)'
    """
    tally = Counter(vm.criticality for vm in vms)
    words = {Criticality.HIGH: "critical", Criticality.NORMAL: "normal", Criticality.LOW: "low"}
    parts = [f"{tally[level]} {word}" for level, word in words.items() if tally[level]]
    return count(len(vms), "VM") + (f" ({', '.join(parts)})" if parts else "")


def _doing(snapshot: Snapshot, cell: Cell, row: Row) -> str:
    ticket = next((ticket.text for ticket in snapshot.plan.tickets if ticket.component == cell.component), "")
    said = "; ".join(filter(None, (_moves(snapshot, cell), ticket)))
    if not said:
        said = next((v.text for v in snapshot.plan.verdicts if v.component == cell.component and not v.target), "")
    if said or not cell.at_risk:
        return said
    return "no VM runs here" if not row.vms else "no move is planned"


def _moves(snapshot: Snapshot, cell: Cell) -> str:
    """How many VMs left because of this component, and how that went."""
    states = Counter(
        o.state for o in snapshot.moves if o.move.component == cell.component and o.move.source == cell.host
    )
    running = states[MoveState.RUNNING] + states[MoveState.INTENDED]
    said = [
        (running, "moving away"),
        (states[MoveState.SUCCEEDED], "moved away"),
        (states[MoveState.FAILED], "failed to move"),
    ]
    parts = [f"{count(number, 'VM')} {words}" for number, words in said if number]
    return listing(parts)
