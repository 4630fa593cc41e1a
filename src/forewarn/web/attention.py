"""Which components need a person's attention, at most ten, each with its reasons and what is being done, in words."""

from collections import Counter
from dataclasses import dataclass

from forewarn.domain.plan import MoveState
from forewarn.domain.situation import Snapshot
from forewarn.web.fleet import Cell, Fleet, Level, Row
from forewarn.web.words import count, listing

_REASONS = 3


@dataclass(frozen=True, slots=True)
class Attention:
    """One component that needs attention."""

    cell: Cell
    row: Row
    reasons: tuple[str, ...]
    source: str  # the model, and what it learned from
    doing: str  # what Forewarn does about it, or why not


def attention_of(fleet: Fleet, limit: int) -> tuple[Attention, ...]:
    """The `limit` riskiest components that are above, or more than half way to, their thresholds."""
    near = [cell for cell in fleet.cells if cell.moving or cell.level in (Level.NEAR, Level.ABOVE, Level.FAR_ABOVE)]
    near.sort(key=lambda cell: (not cell.moving and not cell.at_risk, -(cell.ratio or 0.0), cell.host, cell.device))
    return tuple(_attention(fleet, cell) for cell in near[:limit])


def _attention(fleet: Fleet, cell: Cell) -> Attention:
    forecast = fleet.forecast_by_key.get(cell.key)
    reasons = [r.text for r in forecast.reasons if r.contribution > 0][:_REASONS] if forecast else []
    source = f"{forecast.model}, learned from {forecast.learned_from}" if forecast and forecast.learned_from else ""
    row = fleet.row_by_host[cell.host]
    return Attention(cell, row, tuple(reasons), source, _doing(fleet.snapshot, cell, row))


def _doing(snapshot: Snapshot, cell: Cell, row: Row) -> str:
    said = _moves(snapshot, cell)
    if not said:
        said = next((ticket.text for ticket in snapshot.plan.tickets if ticket.component == cell.component), "")
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
