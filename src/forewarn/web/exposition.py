"""Forewarn's own metrics in Prometheus' text format, read off the newest snapshot. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime

from forewarn.domain.authority import WindowKind
from forewarn.domain.plan import MoveState
from forewarn.domain.risk import HORIZON_NAMES, HORIZONS
from forewarn.domain.situation import Budget, Snapshot
from forewarn.web.fleet import Fleet, Level

_Value = tuple[Mapping[str, str], float]


def exposition(fleet: Fleet | None, now: datetime, version: str, streams: Mapping[str, int]) -> str:
    """The whole page. Without a snapshot it says so, and nothing else about the fleet."""
    lines = _family("forewarn_build_info", "the version that runs", [({"version": version}, 1.0)])
    lines += _family("forewarn_snapshot_present", "1 once a cycle has ended", [({}, float(fleet is not None))])
    for name, value in streams.items():
        kind = "counter" if name.endswith("_total") else "gauge"
        lines += _family(f"forewarn_events_{name}", "streams of server-sent events", [({}, float(value))], kind)
    if fleet is not None:
        lines += _of_cycle(fleet, now) + _of_cluster(fleet) + _of_risks(fleet) + _of_standing(fleet.snapshot, now)
    return "\n".join(lines) + "\n"


def _of_cycle(fleet: Fleet, now: datetime) -> list[str]:
    snapshot = fleet.snapshot
    return [
        *_family("forewarn_snapshot_age_seconds", "time since the last cycle", [({}, _age(now, snapshot.time))]),
        *_family("forewarn_cycles_total", "cycles of the control loop", [({}, float(snapshot.cycle))], "counter"),
        *_family("forewarn_paused", "1 while moves are paused", [({}, float(bool(snapshot.paused)))]),
        *_family("forewarn_mode", "1 for the mode that is on", [({"mode": snapshot.mode}, 1.0)]),
    ]


def _age(now: datetime, then: datetime) -> float:
    return max(0.0, (now - then).total_seconds())


def _of_cluster(fleet: Fleet) -> list[str]:
    hosts = Counter(str(row.host.state) for row in fleet.rows)
    vms = Counter(str(vm.state) for vm in fleet.snapshot.cluster.vms)
    moves = Counter(outcome.state for outcome in fleet.snapshot.moves)
    return [
        *_family("forewarn_hosts", "hosts by state", _by("state", hosts)),
        *_family("forewarn_vms", "VMs by state", _by("state", vms)),
        *_family("forewarn_moves", "moves of the last cycles by state", [({"state": s}, moves[s]) for s in MoveState]),
    ]


def _of_risks(fleet: Fleet) -> list[str]:
    horizon = _horizon_name(fleet.snapshot.horizon_s)
    risks = [
        (
            {"component": c.component, "kind": c.kind, "host": c.host, "device": c.device, "horizon": horizon},
            c.probability,
        )
        for c in fleet.cells
        if c.probability is not None
    ]
    levels = Counter(str(cell.kind) for cell in fleet.cells if cell.level == Level.UNKNOWN)
    above = Counter(str(cell.kind) for cell in fleet.cells if cell.at_risk)
    thresholds = [({"kind": k, "horizon": horizon}, v) for k, v in sorted(fleet.snapshot.thresholds.items())]
    return [
        *_family("forewarn_risk", "calibrated probability of failure within the horizon", risks),
        *_family("forewarn_risk_threshold", "the threshold of a component kind", thresholds),
        *_family("forewarn_components_unknown", "components without a forecast", _by("kind", levels)),
        *_family("forewarn_components_at_risk", "components above their threshold", _by("kind", above)),
    ]


def _of_standing(snapshot: Snapshot, now: datetime) -> list[str]:
    """What allows and what holds back."""
    standing, plan = snapshot.standing, snapshot.plan
    grants = [
        ({"mode": grant.mode, "aggregate": grant.aggregate, "kind": grant.kind, "action": grant.action}, 1.0)
        for grant in standing.grants
    ]
    windows = Counter(str(window.kind) for window in standing.windows if window.starts_at <= now < window.ends_at)
    judged: list[_Value] = [({"kind": found.kind}, float(found.judged)) for found in standing.evidence]
    lows: list[_Value] = [({"kind": found.kind}, found.precision_low) for found in standing.evidence if found.judged]
    return [
        *_family("forewarn_mode_granted", "1 for each mode that was granted, by its scope; empty is every", grants),
        *_family("forewarn_leader", "1 while no other controller leads", [({}, float(not standing.leader))]),
        *_family("forewarn_breaker_tripped", "1 while the breaker holds", [({}, float(bool(standing.breaker)))]),
        *_family("forewarn_windows_open", "open windows by kind", [({"kind": k}, windows[k]) for k in WindowKind]),
        *_family("forewarn_evidence_judged", "forecasts judged at this site", judged),
        *_family("forewarn_evidence_precision_low", "lower 95 % bound of their precision", lows),
        *_family("forewarn_proposals", "moves that wait for a mode or an approval", [({}, float(len(plan.proposals)))]),
        *_family("forewarn_cordons", "hosts that shall receive no new VM", [({}, float(len(plan.cordons)))]),
        *_of_limits(standing.budgets),
    ]


def _of_limits(budgets: tuple[Budget, ...]) -> list[str]:
    return [
        *_family("forewarn_limit", "a limit on acting", [({"name": b.name}, b.limit) for b in budgets]),
        *_family("forewarn_limit_used", "how much of it is used", [({"name": b.name}, b.used) for b in budgets]),
        *_family(
            "forewarn_limit_held_total",
            "how often it has held something back",
            [({"name": b.name}, float(b.held)) for b in budgets],
            "counter",
        ),
    ]


def _horizon_name(seconds: float) -> str:
    names = {h.total_seconds(): name for h, name in zip(HORIZONS, HORIZON_NAMES, strict=True)}
    return names.get(seconds, f"{seconds:g}s")


def _by(label: str, counts: Counter[str]) -> list[_Value]:
    return [({label: name}, float(number)) for name, number in sorted(counts.items())]


def _family(name: str, words: str, values: Iterable[_Value], kind: str = "gauge") -> list[str]:
    return [f"# HELP {name} {words}", f"# TYPE {name} {kind}", *(_line(name, *value) for value in values)]


def _line(name: str, labels: Mapping[str, str], value: float) -> str:
    inner = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
    return f"{name}{{{inner}}} {value:.10g}" if inner else f"{name} {value:.10g}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
