"""What the migrations page shows of moves: each as a row in words, and the flow between hosts. Pure geometry and words.

The picture is drawn as SVG by the template; here are only its numbers, in units of the picture's own grid.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from forewarn.domain.plan import MoveState, Outcome
from forewarn.domain.situation import Snapshot
from forewarn.web.fleet import key_of, place, risk_words
from forewarn.web.words import duration, milliseconds

OUTCOME_WORDS = {
    MoveState.INTENDED: "about to start",
    MoveState.RUNNING: "running",
    MoveState.SUCCEEDED: "succeeded",
    MoveState.FAILED: "failed",
    MoveState.CANCELLED: "cancelled",
    MoveState.REFUSED: "refused",
}
OTHERS = "other hosts"
FLOW_WIDTH = 720.0
_NODE_GAP = 10.0
_UNIT_MAX, _UNIT_MIN = 14.0, 3.0
_FLOW_HEIGHT = 420.0


@dataclass(frozen=True, slots=True)
class MoveRow:
    """One move in words."""

    key: str
    outcome: Outcome
    state: str
    device: str
    risk: str
    reason: str  # without the rule, which stands above it
    duration: str
    downtime: str
    percent: int


def device_of(snapshot: Snapshot, outcome: Outcome) -> str:
    """The suspected part of a move, as people call it."""
    component = snapshot.cluster.component_by_id.get(outcome.move.component)
    device = component.device if component else outcome.move.component.rpartition("/")[2].rpartition(":")[2]
    return place(outcome.move.kind, device)


def rows_of(snapshot: Snapshot, outcomes: Iterable[Outcome]) -> tuple[MoveRow, ...]:
    """Every outcome in words."""
    return tuple(_row(snapshot, outcome) for outcome in outcomes)


def _row(snapshot: Snapshot, outcome: Outcome) -> MoveRow:
    move, final = outcome.move, outcome.state.final
    measured = outcome.state in (MoveState.SUCCEEDED, MoveState.FAILED, MoveState.CANCELLED)
    return MoveRow(
        key=key_of("move", move.id),
        outcome=outcome,
        state=OUTCOME_WORDS[outcome.state],
        device=device_of(snapshot, outcome),
        risk=risk_words(move.risk, move.threshold, snapshot.horizon_s),
        reason=move.reason.removeprefix(f"{move.rule}: "),
        duration=duration(outcome.duration_s) if final and measured else "",
        downtime=milliseconds(outcome.downtime_ms) if outcome.state == MoveState.SUCCEEDED else "",
        percent=round(100 * min(1.0, max(0.0, outcome.progress))),
    )


def chosen(snapshot: Snapshot, state: MoveState | None, limit: int) -> tuple[Outcome, ...]:
    """The moves with that outcome (all, if None), running ones first."""
    return tuple(o for o in snapshot.moves if state is None or o.state == state)[:limit]


@dataclass(frozen=True, slots=True)
class Node:
    """A host at one side of the flow."""

    name: str
    x: float
    y: float
    height: float
    moves: int


@dataclass(frozen=True, slots=True)
class Ribbon:
    """All moves with one outcome between two hosts, as a band of constant width."""

    source: str
    target: str
    state: MoveState
    moves: int
    path: str
    width: float


@dataclass(frozen=True, slots=True)
class Flow:
    """The picture of the flow between hosts: sources on the left, targets on the right."""

    width: float
    height: float
    sources: tuple[Node, ...]
    targets: tuple[Node, ...]
    ribbons: tuple[Ribbon, ...]


def flow_of(outcomes: Sequence[Outcome], hosts_max: int) -> Flow:
    """Lay out the flow. Hosts past `hosts_max` on a side are joined to one."""
    started = [outcome for outcome in outcomes if outcome.state != MoveState.REFUSED]
    named = [Counter(o.move.source for o in started), Counter(o.move.target for o in started)]
    kept = [{name for name, _ in _first(counts, hosts_max)} for counts in named]
    bands = Counter(
        (
            o.move.source if o.move.source in kept[0] else OTHERS,
            o.move.target if o.move.target in kept[1] else OTHERS,
            o.state,
        )
        for o in started
    )
    unit = _unit(bands)
    sources = _side([(a, n) for (a, _, _), n in bands.items()], 0.0, unit)
    targets = _side([(b, n) for (_, b, _), n in bands.items()], FLOW_WIDTH, unit)
    height = max([node.y + node.height for node in (*sources, *targets)], default=0.0)
    return Flow(FLOW_WIDTH, height, sources, targets, _ribbons(bands, sources, targets, unit))


def _first(counts: Counter[str], limit: int) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:limit]


def _unit(bands: Counter[tuple[str, str, MoveState]]) -> float:
    """The height of one move, so that the picture stays within bounds."""
    total = max(1, bands.total())
    return min(_UNIT_MAX, max(_UNIT_MIN, _FLOW_HEIGHT / total))


def _side(bands: list[tuple[str, int]], x: float, unit: float) -> tuple[Node, ...]:
    counts: Counter[str] = Counter()
    for name, moves in bands:
        counts[name] += moves
    nodes, y = [], 0.0
    for name, moves in sorted(counts.items(), key=lambda item: (item[0] == OTHERS, -item[1], item[0])):
        nodes.append(Node(name, x, y, moves * unit, moves))
        y += max(moves * unit, 14.0) + _NODE_GAP
    return tuple(nodes)


def _ribbons(
    bands: Counter[tuple[str, str, MoveState]],
    sources: tuple[Node, ...],
    targets: tuple[Node, ...],
    unit: float,
) -> tuple[Ribbon, ...]:
    """Bands leave and reach each node in the other side's order, so that they cross as little as possible."""
    left, right = {n.name: n.y for n in sources}, {n.name: n.y for n in targets}
    order = sorted(bands, key=lambda band: (left[band[0]], right[band[1]], band[2]))
    starts = _offsets([(band, band[0]) for band in order], dict(left), bands, unit)
    order.sort(key=lambda band: (right[band[1]], left[band[0]], band[2]))
    ends = _offsets([(band, band[1]) for band in order], dict(right), bands, unit)
    return tuple(
        Ribbon(*band, bands[band], _curve(starts[band], ends[band]), bands[band] * unit)
        for band in sorted(order, key=lambda band: (band[2] != MoveState.SUCCEEDED, starts[band]))
    )


def _offsets(
    order: list[tuple[tuple[str, str, MoveState], str]],
    free: dict[str, float],
    bands: Counter[tuple[str, str, MoveState]],
    unit: float,
) -> dict[tuple[str, str, MoveState], float]:
    """The middle of each band at its node; `free` is where the next band of a node begins."""
    found = {}
    for band, node in order:
        width = bands[band] * unit
        found[band] = free[node] + width / 2
        free[node] += width
    return found


def _curve(start: float, end: float) -> str:
    half = FLOW_WIDTH / 2
    return f"M 8 {start:.1f} C {half:.0f} {start:.1f}, {half:.0f} {end:.1f}, {FLOW_WIDTH - 8:.0f} {end:.1f}"
