"""What is worth an alert: pure functions from a snapshot, and from what was seen before, to alerts.

That the control loop itself stands still cannot be told from here: whoever scrapes `forewarn_snapshot_age_seconds` can.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta

from forewarn.alerts.alert import Alert, AlertSeverity
from forewarn.alerts.seen import Part, Place
from forewarn.alerts.settings import AlertSettings
from forewarn.decide.narrate import horizon_name, in_words, part_name
from forewarn.domain.inventory import Cluster, HostState, Kind
from forewarn.domain.plan import MoveState, Outcome
from forewarn.domain.risk import FailureForecast
from forewarn.domain.situation import Snapshot

RISK = "ForewarnRiskAboveThreshold"
UNKNOWN = "ForewarnTelemetryUnknown"
MOVE_FAILED = "ForewarnMoveFailed"
BREAKER = "ForewarnBreakerTripped"
_PARTS_NAMED = 5


def alerts_of(
    snapshot: Snapshot, settings: AlertSettings, now: datetime, seen: Mapping[Place, Part] | None = None
) -> tuple[Alert, ...]:
    """Everything that is wrong now, the most severe first. `seen` are the parts that had a forecast before."""
    found = [
        *_risks(snapshot, settings),
        *_unknowns(snapshot, settings, now, (seen or {}).values()),
        *_failed_moves(snapshot, settings, now),
        *_breaker(snapshot, settings),
    ]
    return tuple(sorted(found, key=lambda alert: (-alert.severity.rank, alert.key)))


def undecided(alerts: Iterable[Alert], seen: Mapping[Place, Part]) -> frozenset[str]:
    """Keys of risk alerts about parts that are lost, until that is an alert of its own: lost is no all-clear."""
    told = {alert.host for alert in alerts if alert.name == UNKNOWN}
    lost = (part for part in seen.values() if part.lost_at is not None and part.host not in told)
    return frozenset(_key(RISK, part.host, part.component) for part in lost)


def hold_s(alert: Alert, settings: AlertSettings) -> float:
    """For how many seconds the cause of `alert` must last before it is told. The others hold by their own rules."""
    return settings.risk_for_s if alert.name == RISK else 0.0


def _key(*names: str) -> str:
    return "/".join(names)


def _alert(
    settings: AlertSettings,
    name: str,
    severity: AlertSeverity,
    host: str,
    component: str,
    kind: str,
    summary: str,
    description: str,
    *,
    simulated: bool,
    vm: str = "",
) -> Alert:
    labels = {
        "alertname": name,
        "severity": str(severity),
        "host": host,
        "component": component,
        "kind": kind,
        "cluster": settings.cluster,
        "vm": vm,
        "simulated": "true" if simulated else "",
    }
    return Alert(
        _key(name, host, vm or component),
        name,
        severity,
        host,
        component,
        kind,
        _cut(summary, settings.text_max),
        _cut(description, settings.text_max),
        {label: value for label, value in labels.items() if value},
    )


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 3] + "..."


# --- A risk above its threshold ---------------------------------------------------------------------------------------


def _risks(snapshot: Snapshot, settings: AlertSettings) -> Iterable[Alert]:
    horizon = timedelta(seconds=snapshot.horizon_s)
    for forecast in snapshot.forecasts:
        risk, threshold = forecast.within(horizon), snapshot.thresholds.get(forecast.kind)
        if risk is None or threshold is None or risk <= threshold:
            continue
        critical = risk >= settings.critical_times * threshold
        yield _alert(
            settings,
            RISK,
            AlertSeverity.CRITICAL if critical else AlertSeverity.WARNING,
            forecast.host,
            forecast.component,
            forecast.kind,
            f"{forecast.host}: {in_words(forecast, horizon)}; the threshold is {threshold:.2g}",
            _why(forecast, snapshot.cluster),
            simulated=_simulated(snapshot.cluster, forecast.host),
        )


def _why(forecast: FailureForecast, cluster: Cluster) -> str:
    reasons = [reason.text for reason in forecast.reasons if reason.contribution > 0]
    said = [f"Reasons: {'; '.join(reasons)}." if reasons else "The forecast names no reason."]
    if forecast.model:
        learned = forecast.learned_from
        said.append(f"Forecast by {forecast.model}" + (f", learned from {learned}." if learned else "."))
    vms = len(cluster.vms_by_host.get(forecast.host, ()))
    said.append(f"{vms} {'VM runs' if vms == 1 else 'VMs run'} on {forecast.host}.")
    return " ".join(said)


def _simulated(cluster: Cluster, host: str) -> bool:
    return host in cluster.host_by_name and cluster.host_by_name[host].simulated


# --- Telemetry that was lost ------------------------------------------------------------------------------------------


def _unknowns(snapshot: Snapshot, settings: AlertSettings, now: datetime, seen: Collection[Part]) -> Iterable[Alert]:
    """One alert for each host that lost a part for too long."""
    by_host: dict[str, list[Part]] = {}
    for part in seen:
        by_host.setdefault(part.host, []).append(part)
    for host, parts in by_host.items():
        lost = [part for part in parts if _lost_for(part, now) >= settings.unknown_after_s]
        if lost:
            yield _unknown(snapshot, settings, now, host, lost, len(parts))


def _lost_for(part: Part, now: datetime) -> float:
    return (now - part.lost_at).total_seconds() if part.lost_at is not None else -1.0


def _unknown(
    snapshot: Snapshot, settings: AlertSettings, now: datetime, host: str, lost: list[Part], parts: int
) -> Alert:
    longest = max(_lost_for(part, now) for part in lost)
    since = f"since {now - timedelta(seconds=longest):%Y-%m-%d %H:%M} UTC"
    names = ", ".join(part_name(part.component) for part in lost[:_PARTS_NAMED])
    names += f" and {len(lost) - _PARTS_NAMED} more" if len(lost) > _PARTS_NAMED else ""
    within = horizon_name(timedelta(seconds=snapshot.horizon_s))
    if len(lost) == parts:
        summary = f"{host} has gone silent: the risk within {within} of all its {parts} known parts is unknown {since}"
    else:
        summary = f"{host}: the risk within {within} of {names} is unknown {since}"
    causes = sorted({part.why for part in lost})
    said = f"Without telemetry nothing can be forecast: {'; '.join(causes[:_PARTS_NAMED])}. Lost: {names}."
    known = snapshot.cluster.host_by_name.get(host)
    if known is not None and known.state == HostState.DOWN:
        said += " The placement service reports the host down."
    simulated = any(part.simulated for part in lost)
    return _alert(settings, UNKNOWN, AlertSeverity.WARNING, host, "", Kind.HOST, summary, said, simulated=simulated)


# --- Moves that failed, and the breaker -------------------------------------------------------------------------------


def _failed_moves(snapshot: Snapshot, settings: AlertSettings, now: datetime) -> Iterable[Alert]:
    """One alert for each VM whose newest move failed within the time that the settings name."""
    newest: dict[str, Outcome] = {}
    for outcome in snapshot.moves:
        known = newest.get(outcome.move.vm)
        if outcome.state in (MoveState.FAILED, MoveState.SUCCEEDED) and (known is None or outcome.time >= known.time):
            newest[outcome.move.vm] = outcome
    for outcome in newest.values():
        recent = (now - outcome.time).total_seconds() < settings.failed_move_s
        if outcome.state == MoveState.FAILED and recent:
            yield _failed_move(snapshot, settings, outcome)


def _failed_move(snapshot: Snapshot, settings: AlertSettings, outcome: Outcome) -> Alert:
    move = outcome.move
    within = horizon_name(timedelta(seconds=snapshot.horizon_s))
    return _alert(
        settings,
        MOVE_FAILED,
        AlertSeverity.WARNING,
        move.source,
        move.component,
        move.kind,
        f"{move.source}: the move of {move.vm_name} to {move.target} failed: {outcome.text or 'no cause was given'}",
        f"{move.vm_name} still runs on {move.source}. It was to move because {part_name(move.component)} fails within "
        f"{within} with p={move.risk:.2g}, beside a threshold of {move.threshold:.2g}: {move.reason}",
        simulated=_simulated(snapshot.cluster, move.source),
        vm=move.vm,
    )


def _breaker(snapshot: Snapshot, settings: AlertSettings) -> Iterable[Alert]:
    if snapshot.standing.breaker:
        summary = f"The breaker has tripped and no VM is moved: {snapshot.standing.breaker}"
        said = "It stays tripped until somebody looks at the cause and clears it."
        simulated = all(host.simulated for host in snapshot.cluster.hosts) and bool(snapshot.cluster.hosts)
        yield _alert(settings, BREAKER, AlertSeverity.CRITICAL, "", "", "", summary, said, simulated=simulated)
