"""What the fleet page shows, computed once per snapshot: a cell per component, a row per host, and counts.

Pure: a `Snapshot` in, frozen dataclasses out. A missing forecast is `unknown`, never low.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from functools import cached_property
from itertools import chain
from statistics import median

from forewarn.domain.inventory import (
    COMPONENT_KINDS,
    Criticality,
    Host,
    HostState,
    Kind,
    VirtualMachine,
    VmState,
)
from forewarn.domain.plan import MoveState, Outcome
from forewarn.domain.risk import FailureForecast
from forewarn.domain.situation import Rung, Snapshot
from forewarn.web.words import KIND_WORDS, percent, span, times

NO_FORECAST = "no forecast has been made yet"


class Level(StrEnum):
    """A risk beside its threshold. The last two are no risk at all: nothing to compare, or nothing known."""

    FAR_BELOW = "l0"  # under a tenth of the threshold
    BELOW = "l1"  # under a half
    NEAR = "l2"
    ABOVE = "l3"
    FAR_ABOVE = "l4"  # four times the threshold or more
    UNJUDGED = "lx"  # a risk, but no threshold of its kind
    UNKNOWN = "lu"


LEVEL_WORDS: Mapping[Level, str] = {
    Level.FAR_ABOVE: "4 times its threshold or more",
    Level.ABOVE: "above it",
    Level.NEAR: "over a half",
    Level.BELOW: "under a half",
    Level.FAR_BELOW: "under a tenth",
    Level.UNJUDGED: "no threshold set",
    Level.UNKNOWN: "unknown",
}
_SEVERITY = (Level.UNKNOWN, Level.UNJUDGED, Level.FAR_BELOW, Level.BELOW, Level.NEAR, Level.ABOVE, Level.FAR_ABOVE)


def level_of(ratio: float | None, probability: float | None) -> Level:
    """The step of the scale on which a risk stands."""
    if probability is None:
        return Level.UNKNOWN
    if ratio is None:
        return Level.UNJUDGED
    bounds = ((0.1, Level.FAR_BELOW), (0.5, Level.BELOW), (1.0, Level.NEAR), (4.0, Level.ABOVE))
    return next((level for bound, level in bounds if ratio < bound or ratio == bound == 1.0), Level.FAR_ABOVE)


@dataclass(frozen=True, slots=True)
class Cell:
    """One component on the grid. `label` says in words all that the colour says."""

    key: str  # safe as an id in HTML, the same in every snapshot
    component: str
    kind: Kind
    host: str
    device: str
    level: Level
    label: str
    short: str  # the risk beside its threshold, with the horizon
    probability: float | None = None
    threshold: float | None = None
    ratio: float | None = None
    moving: bool = False  # the ladder stands at `move`

    @property
    def at_risk(self) -> bool:
        return self.level in (Level.ABOVE, Level.FAR_ABOVE)

    @property
    def name(self) -> str:
        return place(self.kind, self.device)


@dataclass(frozen=True, slots=True)
class Row:
    """One host on the grid."""

    key: str
    host: Host
    cells: Mapping[Kind, tuple[Cell, ...]]
    vms: int
    vms_high: int
    vms_interrupted: int
    moving_out: int
    moving_in: int
    worst: Cell | None
    worst_words: str  # its name and its risk, for a narrow column

    @property
    def rank(self) -> tuple[int, float, str]:
        """Sorts hosts with a risk above its threshold first, then those that are down, then by risk and name."""
        ratio = self.worst.ratio if self.worst and self.worst.ratio is not None else -1.0
        group = 0 if ratio > 1.0 else 1 if self.host.state == HostState.DOWN else 2
        return (group, -ratio, self.host.name)


@dataclass(frozen=True, slots=True)
class Counts:
    """The figures on top of the page, live."""

    hosts: int = 0
    hosts_down: int = 0
    components: int = 0
    at_risk: int = 0
    unknown: int = 0
    vms: int = 0
    vms_interrupted: int = 0
    moves_running: int = 0
    moves_succeeded: int = 0
    moves_failed: int = 0


@dataclass(frozen=True)
class Fleet:
    """A snapshot as rows and cells."""

    snapshot: Snapshot
    rows: tuple[Row, ...]
    counts: Counts
    unknown_causes: tuple[tuple[str, int], ...]  # the commonest first
    sources: tuple[tuple[Kind, str, str], ...]  # kind, model, what it learned from
    medians: Mapping[Kind, float] = field(default_factory=dict)  # of the fleet's risks, by kind

    @cached_property
    def row_by_host(self) -> Mapping[str, Row]:
        return {row.host.name: row for row in self.rows}

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        return tuple(cell for row in self.rows for kind in COMPONENT_KINDS for cell in row.cells.get(kind, ()))

    @cached_property
    def forecast_by_key(self) -> Mapping[str, FailureForecast]:
        return {key_of(f.host, f.component): f for f in self.snapshot.forecasts}

    @cached_property
    def mixed(self) -> bool:
        """Whether real and simulated hosts stand side by side."""
        return len({row.host.simulated for row in self.rows}) == 2

    @cached_property
    def layout(self) -> str:
        """A mark that changes when a row or a cell comes or goes: then changed cells alone do not suffice."""
        keys = (key for row in self.rows for key in (row.key, *(c.key for cs in row.cells.values() for c in cs)))
        return hashlib.blake2s("".join(keys).encode(), digest_size=8).hexdigest()


def key_of(*names: str) -> str:
    """A short name that is safe in HTML and URLs, whatever the names are made of."""
    return "k" + hashlib.blake2s("\0".join(names).encode(), digest_size=6).hexdigest()


def place(kind: Kind, device: str) -> str:
    """How a component is called within its host: `disk sdb`, or `CPU` where the host has but one."""
    word = KIND_WORDS[kind] if kind == Kind.CPU else KIND_WORDS[kind].lower()
    return word if device.lower() in ("", kind) else f"{word} {device}"


def fleet_of(snapshot: Snapshot) -> Fleet:
    """Everything that the fleet page shows of `snapshot`."""
    cells = _cells_by_host(snapshot)
    traffic = _traffic(snapshot.moves)
    rows = tuple(
        _row(host, cells.get(host.name, ()), snapshot.cluster.vms_by_host[host.name], traffic, snapshot.horizon_s)
        for host in sorted(snapshot.cluster.hosts, key=lambda host: host.name)
    )
    shown = [cell for row in rows for cell in chain.from_iterable(row.cells.values())]
    return Fleet(
        snapshot=snapshot,
        rows=rows,
        counts=_counts(snapshot, rows, shown),
        unknown_causes=_unknown_causes(snapshot, shown),
        sources=tuple(sorted({(f.kind, f.model, f.learned_from) for f in snapshot.forecasts if not f.unknown})),
        medians=_medians(shown),
    )


def _cells_by_host(snapshot: Snapshot) -> dict[str, list[Cell]]:
    """Cells of every component that the inventory or a forecast knows, in the order of kind and device."""
    forecasts = {(f.host, f.component): f for f in snapshot.forecasts}
    known = {(c.host, c.id): (c.kind, c.device) for c in snapshot.cluster.components}
    known.update({at: (f.kind, f.device) for at, f in forecasts.items() if at not in known})
    moving = {step.component for step in snapshot.ladder if step.rung == Rung.MOVE}
    found: dict[str, list[Cell]] = {}
    for (host, component), (kind, device) in known.items():
        forecast = forecasts.get((host, component))
        found.setdefault(host, []).append(_cell(snapshot, component, kind, host, device, forecast, component in moving))
    for cells in found.values():
        cells.sort(key=lambda cell: (cell.kind, _natural(cell.device)))
    return found


def _natural(device: str) -> tuple[tuple[int, str], ...]:
    """Sorts `psu10` behind `psu2`."""
    parts = "".join(c if c.isdigit() else f" {c} " for c in device).split()
    return tuple((int(part), "") if part.isdecimal() else (-1, part) for part in parts)


def _cell(
    snapshot: Snapshot,
    component: str,
    kind: Kind,
    host: str,
    device: str,
    forecast: FailureForecast | None,
    moving: bool,
) -> Cell:
    probability = forecast.within(timedelta(seconds=snapshot.horizon_s)) if forecast else None
    threshold = snapshot.thresholds.get(kind)
    ratio = probability / threshold if probability is not None and threshold else None
    because = forecast.unknown_because if forecast else NO_FORECAST
    short = risk_words(probability, threshold, snapshot.horizon_s, because)
    return Cell(
        key=key_of(host, component),
        component=component,
        kind=kind,
        host=host,
        device=device,
        level=level_of(ratio, probability),
        label=f"{host}, {place(kind, device)}: {short}" + (", moving its VMs away" if moving else ""),
        short=short,
        probability=probability,
        threshold=threshold,
        ratio=ratio,
        moving=moving,
    )


def risk_words(probability: float | None, threshold: float | None, horizon_s: float, because: str = "") -> str:
    """A risk with all that it needs to be understood: its horizon and its threshold, or why it is unknown."""
    if probability is None:
        return f"unknown: {because or 'the cause was not given'}"
    said = f"{percent(probability)} within {span(horizon_s)}"
    if not threshold:
        return f"{said}, no threshold set"
    if probability < 0.1 * threshold:
        return f"{said}, far below its threshold of {percent(threshold)}"
    return f"{said}, {times(probability / threshold)} its threshold of {percent(threshold)}"


def brief_words(probability: float, threshold: float | None, horizon_s: float) -> str:
    """The same as `risk_words` for a narrow column, whose head says that the threshold stands in brackets."""
    said = f"{percent(probability)} in {span(horizon_s)}"
    return f"{said} ({percent(threshold)})" if threshold else said


def _traffic(moves: tuple[Outcome, ...]) -> tuple[Counter[str], Counter[str]]:
    running = [outcome.move for outcome in moves if not outcome.state.final]
    return Counter(move.source for move in running), Counter(move.target for move in running)


def _row(
    host: Host,
    cells: list[Cell] | tuple[Cell, ...],
    vms: tuple[VirtualMachine, ...],
    traffic: tuple[Counter[str], Counter[str]],
    horizon_s: float,
) -> Row:
    worst = max((cell for cell in cells if cell.probability is not None), key=_danger, default=None)
    by_kind: dict[Kind, list[Cell]] = {kind: [] for kind in COMPONENT_KINDS}
    for cell in cells:
        by_kind.setdefault(cell.kind, []).append(cell)
    return Row(
        key=key_of(host.name),
        host=host,
        cells={kind: tuple(found) for kind, found in by_kind.items()},
        vms=len(vms),
        vms_high=sum(vm.criticality == Criticality.HIGH for vm in vms),
        vms_interrupted=sum(vm.state == VmState.INTERRUPTED for vm in vms),
        moving_out=traffic[0][host.name],
        moving_in=traffic[1][host.name],
        worst=worst,
        worst_words=_worst_words(worst, horizon_s),
    )


def _worst_words(worst: Cell | None, horizon_s: float) -> str:
    if worst is None or worst.probability is None:
        return ""
    return f"{worst.name}: {brief_words(worst.probability, worst.threshold, horizon_s)}"


def _danger(cell: Cell) -> tuple[float, float]:
    """Orders cells by their risk beside its threshold; unknown ones come last."""
    return (-1.0 if cell.ratio is None else cell.ratio, -1.0 if cell.probability is None else cell.probability)


def _counts(snapshot: Snapshot, rows: tuple[Row, ...], cells: list[Cell]) -> Counts:
    states = Counter(outcome.state for outcome in snapshot.moves)
    return Counts(
        hosts=len(rows),
        hosts_down=sum(row.host.state == HostState.DOWN for row in rows),
        components=len(cells),
        at_risk=sum(cell.at_risk for cell in cells),
        unknown=sum(cell.level == Level.UNKNOWN for cell in cells),
        vms=len(snapshot.cluster.vms),
        vms_interrupted=sum(row.vms_interrupted for row in rows),
        moves_running=sum(not outcome.state.final for outcome in snapshot.moves),
        moves_succeeded=states[MoveState.SUCCEEDED],
        moves_failed=states[MoveState.FAILED],
    )


def _unknown_causes(snapshot: Snapshot, cells: list[Cell]) -> tuple[tuple[str, int], ...]:
    causes = {(f.host, f.component): f.unknown_because for f in snapshot.forecasts if f.unknown}
    unknown = [cell for cell in cells if cell.level == Level.UNKNOWN]
    said = Counter(
        f"{KIND_WORDS[cell.kind]}: {causes.get((cell.host, cell.component), NO_FORECAST)}" for cell in unknown
    )
    return tuple(said.most_common(6))


def _medians(cells: list[Cell]) -> dict[Kind, float]:
    known: dict[Kind, list[float]] = {}
    for cell in cells:
        if cell.probability is not None:
            known.setdefault(cell.kind, []).append(cell.probability)
    return {kind: median(values) for kind, values in known.items()}
