"""Forewarn's own metrics in Prometheus' text format, read off the newest snapshot. Pure."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime

from forewarn.domain.authority import WindowKind
from forewarn.domain.own_metrics import OWN_BY_NAME
from forewarn.domain.plan import MoveState
from forewarn.domain.risk import HORIZON_NAMES, HORIZONS
from forewarn.domain.situation import Budget, Snapshot
from forewarn.domain.telemetry import Sample
from forewarn.web.fleet import Fleet, Level

_Value = tuple[Mapping[str, str], float]
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def exposition(
    fleet: Fleet | None,
    now: datetime,
    version: str,
    streams: Mapping[str, int],
    extra: Mapping[str, float] | None = None,
) -> str:
    """The whole page. Without a snapshot it says so, and nothing else about the fleet.

    `extra` is what other parts count about themselves, by the sample's whole name with its labels.
    """
    lines = _family("forewarn_build_info", [({"version": version}, 1.0)])
    lines += _family("forewarn_snapshot_present", [({}, float(fleet is not None))])
    for name, value in streams.items():
        lines += _family(f"forewarn_events_{name}", [({}, float(value))])
    if fleet is not None:
        lines += _of_cycle(fleet, now) + _of_cluster(fleet, now) + _of_risks(fleet) + _of_standing(fleet.snapshot, now)
    lines += _extra(extra or {})
    return "\n".join(lines) + "\n"


def _extra(values: Mapping[str, float]) -> list[str]:
    """Samples that come with their names, each family under one head."""
    lines, last = [], ""
    for sample, value in sorted(values.items(), key=lambda item: (item[0].partition("{")[0], item[0])):
        name = sample.partition("{")[0]
        if name != last:
            own = OWN_BY_NAME[name]
            lines += [f"# HELP {name} {own.help}", f"# TYPE {name} {own.type}"]
        last = name
        lines.append(f"{sample} {value:.10g}")
    return lines


def _of_cycle(fleet: Fleet, now: datetime) -> list[str]:
    snapshot = fleet.snapshot
    return [
        *_family("forewarn_snapshot_age_seconds", [({}, _age(now, snapshot.time))]),
        *_family("forewarn_cycles_total", [({}, float(snapshot.cycle))]),
        *_family("forewarn_paused", [({}, float(bool(snapshot.paused)))]),
        *_family("forewarn_mode", [({"mode": snapshot.mode}, 1.0)]),
    ]


def _age(now: datetime, then: datetime) -> float:
    return max(0.0, (now - then).total_seconds())


def _of_cluster(fleet: Fleet, now: datetime) -> list[str]:
    hosts = Counter(str(row.host.state) for row in fleet.rows)
    vms = Counter(str(vm.state) for vm in fleet.snapshot.cluster.vms)
    cordoned: list[_Value] = [({"host": row.host.name}, float(row.host.cordoned)) for row in fleet.rows]
    moves = Counter(outcome.state for outcome in fleet.snapshot.moves)
    remarks = Counter("vm" if remark.vm else "host" for remark in fleet.snapshot.cluster.remarks)
    unheard: list[_Value] = [
        ({"host": row.host.name}, _age(now, row.host.seen_at)) for row in fleet.rows if row.host.seen_at
    ]
    return [
        *_family("forewarn_hosts", _by("state", hosts)),
        *_family("forewarn_vms", _by("state", vms)),
        *_family("forewarn_host_cordoned", cordoned),
        *_family("forewarn_driver_remarks", [({"about": about}, remarks[about]) for about in ("host", "vm")]),
        *_family("forewarn_host_unheard_seconds", unheard),
        *_family("forewarn_moves", [({"state": s}, moves[s]) for s in MoveState]),
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
        *_family("forewarn_risk", risks),
        *_family("forewarn_risk_threshold", thresholds),
        *_family("forewarn_components_unknown", _by("kind", levels)),
        *_family("forewarn_components_at_risk", _by("kind", above)),
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
        *_family("forewarn_mode_granted", grants),
        *_family("forewarn_leader", [({}, float(not standing.leader))]),
        *_family("forewarn_breaker_tripped", [({}, float(bool(standing.breaker)))]),
        *_family("forewarn_windows_open", [({"kind": k}, windows[k]) for k in WindowKind]),
        *_family("forewarn_evidence_judged", judged),
        *_family("forewarn_evidence_precision_low", lows),
        *_family("forewarn_proposals", [({}, float(len(plan.proposals)))]),
        *_family("forewarn_cordons", [({}, float(len(plan.cordons)))]),
        *_family("forewarn_verdicts", _by("refusal", Counter(str(verdict.refusal) for verdict in plan.verdicts))),
        *_of_limits(standing.budgets),
    ]


def _of_limits(budgets: tuple[Budget, ...]) -> list[str]:
    return [
        *_family("forewarn_limit", [({"name": b.name}, b.limit) for b in budgets]),
        *_family("forewarn_limit_used", [({"name": b.name}, b.used) for b in budgets]),
        *_family(
            "forewarn_limit_held_total",
            [({"name": b.name}, float(b.held)) for b in budgets],
        ),
    ]


def _horizon_name(seconds: float) -> str:
    names = {h.total_seconds(): name for h, name in zip(HORIZONS, HORIZON_NAMES, strict=True)}
    return names.get(seconds, f"{seconds:g}s")


def _by(label: str, counts: Counter[str]) -> list[_Value]:
    return [({label: name}, float(number)) for name, number in sorted(counts.items())]


def counter(name: str, values: Iterable[_Value]) -> list[str]:
    """The lines of one of our own metrics."""
    return _family(name, values)


def _family(name: str, values: Iterable[_Value]) -> list[str]:
    own = OWN_BY_NAME[name]
    return [f"# HELP {name} {own.help}", f"# TYPE {name} {own.type}", *(_line(name, *value) for value in values)]


def _line(name: str, labels: Mapping[str, str], value: float) -> str:
    inner = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
    return f"{name}{{{inner}}} {value:.10g}" if inner else f"{name} {value:.10g}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def samples(text: str) -> list[Sample]:
    r"""The samples of a page that `exposition` made, without times.

    >>> [sample] = samples('# TYPE a gauge\na{b="c \\"d\\""} 1.5\n')
    >>> sample.name, sample.labels, sample.value
    ('a', {'b': 'c "d"'}, 1.5)
    """
    found = []
    for line in text.splitlines():
        if line and not line.startswith("#"):
            series, _, value = line.rpartition(" ")
            name, _, inner = series.partition("{")
            labels = {label: _plain(escaped) for label, escaped in _LABEL.findall(inner)}
            found.append(Sample(name, labels, float(value)))
    return found


def _plain(escaped: str) -> str:
    return re.sub(r"\\(.)", lambda mark: "\n" if mark[1] == "n" else mark[1], escaped)
