"""What the log says once and not each cycle: a part that a person shall look at, a VM that finds no place.

Pure: what was told comes in, the new lines and what has been told now go out.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from forewarn.decide import narrate
from forewarn.decide.remarks import ticket_because
from forewarn.domain.plan import Plan, Refusal, Ticket, Verdict
from forewarn.domain.situation import LadderStep, LogLine, Rung, Severity, Situation

_NOWHERE = frozenset({Refusal.NO_SUITABLE_HOST, Refusal.NO_CONVERGENCE, Refusal.CONTESTED})


@dataclass(frozen=True, slots=True)
class Told:
    """The open tickets by part, and the ids of the VMs that find no place or are fought over."""

    tickets: Mapping[str, Ticket] = field(default_factory=dict)
    nowhere: frozenset[str] = frozenset()


def tell(
    before: Told, situation: Situation, plan: Plan, ladder: Sequence[LadderStep]
) -> tuple[tuple[LogLine, ...], Told]:
    """A line for each ticket that opens or closes and for each VM that newly finds no place; and what is told now."""
    if any(verdict.refusal is Refusal.BREAKER for verdict in plan.verdicts):
        return (), before  # one cause stands behind it all, and it is told already
    tickets = _open(before, situation, plan, ladder)
    stuck = _stuck(plan)
    lines = [narrate.ticket_line(ticket, plan.time) for part, ticket in tickets.items() if part not in before.tickets]
    lines += _closed(before, tickets, situation, plan)
    lines += (
        LogLine(plan.time, Severity.WARNING, verdict.text, verdict.host)
        for vm, verdict in stuck.items()
        if vm not in before.nowhere
    )
    return tuple(lines), Told(tickets, frozenset(stuck))


def _stuck(plan: Plan) -> dict[str, Verdict]:
    """By VM: the verdict that it goes nowhere, as against one that it does not go to this or that host."""
    moving = {move.vm for move in plan.moves}
    return {
        verdict.vm: verdict
        for verdict in plan.verdicts
        if verdict.refusal in _NOWHERE and not verdict.target and verdict.vm not in moving
    }


def _open(before: Told, situation: Situation, plan: Plan, ladder: Sequence[LadderStep]) -> dict[str, Ticket]:
    """The plan's tickets, and the earlier ones whose part has not come down the ladder.

    A part that has gone silent or dips below its threshold keeps its ticket; one without a spare left, for which VMs
    move now, does not. Where the part is sound, the ticket ends with its cause, unless nothing is heard of that.
    """
    risky = {step.component for step in ladder if step.rung is Rung.MOVE}
    unknown = {forecast.component for forecast in situation.forecasts if forecast.unknown}
    parts = situation.cluster.component_by_id
    kept = {
        part: ticket
        for part, ticket in before.tickets.items()
        if part in parts and (part in unknown if ticket.sound else part in risky and ticket_because(parts[part]))
    }
    return kept | {ticket.component: ticket for ticket in plan.tickets}


def _closed(before: Told, now_open: Mapping[str, Ticket], situation: Situation, plan: Plan) -> Iterator[LogLine]:
    for part, ticket in before.tickets.items():
        if part not in now_open:
            component = situation.cluster.component_by_id.get(part)
            yield narrate.ticket_closed_line(ticket, component, plan.time)
