"""Two plans for one situation, side by side: what either would do and the other would not."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from forewarn.domain.plan import Move, Plan, Verdict


@dataclass(frozen=True, slots=True)
class Difference:
    """One VM that the two plans treat differently. None is a VM that stays; the texts are the plans' own."""

    vm: str
    before: Move | None
    after: Move | None
    why_before: str
    why_after: str

    @property
    def text(self) -> str:
        """`web-1: before to host02, after it stays: ...`."""
        ways = (
            f"{when} {f'to {move.target} ({move.rule})' if move else 'it stays'}: {why}"
            for when, move, why in (("before", self.before, self.why_before), ("after", self.after, self.why_after))
        )
        return f"{self.vm}: " + "; ".join(ways)


@dataclass(frozen=True, slots=True)
class Comparison:
    """How two plans differ. `same` counts the moves that are in both."""

    moves_before: int
    moves_after: int
    same: int
    vms: tuple[Difference, ...] = ()
    tickets_gone: tuple[str, ...] = ()
    tickets_new: tuple[str, ...] = ()
    cordons_gone: tuple[str, ...] = ()
    cordons_new: tuple[str, ...] = ()

    def lines(self) -> Iterator[str]:
        """The comparison in sentences, the figures first."""
        yield f"Moves: {self.moves_before} before, {self.moves_after} after, {self.same} of them the same."
        yield from (f"differs {difference.text}" for difference in self.vms)
        for name, texts in (
            ("ticket no more", self.tickets_gone),
            ("new ticket", self.tickets_new),
            ("cordoned no more", self.cordons_gone),
            ("newly cordoned", self.cordons_new),
        ):
            yield from (f"{name}: {text}" for text in texts)


def compare(before: Plan, after: Plan) -> Comparison:
    """What `after` does otherwise than `before`; moves that are only proposed count as moves."""
    old, new = _moves(before), _moves(after)
    pairs = [(name, old.get(name), new.get(name)) for name in sorted(old.keys() | new.keys())]
    differing = [(name, was, now) for name, was, now in pairs if _way(was) != _way(now)]
    stays_before, stays_after = _staying(before), _staying(after)
    tickets, others = {ticket.text for ticket in before.tickets}, {ticket.text for ticket in after.tickets}
    marked, remarked = {cordon.host for cordon in before.cordons}, {cordon.host for cordon in after.cordons}
    return Comparison(
        len(old),
        len(new),
        len(pairs) - len(differing),
        tuple(
            Difference(
                next(move.vm_name for move in (now, was) if move),
                was,
                now,
                was.reason if was else stays_before.get(name, "nothing speaks for moving it"),
                now.reason if now else stays_after.get(name, "nothing speaks for moving it"),
            )
            for name, was, now in differing
        ),
        tuple(sorted(tickets - others)),
        tuple(sorted(others - tickets)),
        tuple(sorted(marked - remarked)),
        tuple(sorted(remarked - marked)),
    )


def _moves(plan: Plan) -> Mapping[str, Move]:
    return {move.vm: move for move in (*plan.moves, *(proposal.move for proposal in plan.proposals))}


def _way(move: Move | None) -> tuple[str, str] | None:
    return (move.source, move.target) if move else None


def _staying(plan: Plan) -> Mapping[str, str]:
    """By VM: why it stays, which is the last verdict on it, after those on its targets."""
    found: dict[str, Verdict] = {verdict.vm: verdict for verdict in plan.verdicts if verdict.vm}
    return {vm: verdict.text for vm, verdict in found.items()}
