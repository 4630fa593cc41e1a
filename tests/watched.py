"""Snapshots for the tests of alerts: two hosts, whose parts fail, fall silent or recover from one cycle to the next."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from forewarn.domain.inventory import Cluster, Kind
from forewarn.domain.plan import Outcome, Plan
from forewarn.domain.risk import Reason
from forewarn.domain.situation import Snapshot, Standing
from tests.clusters import NOW, forecast, host, part

DISK = part("h1", Kind.DISK, "sda")
CPU = part("h1")
OTHER = part("h2")
REASON = Reason("smart_197", "24 pending sectors (SMART 197)", 1.8)
THRESHOLDS = {"disk": 0.01, "cpu": 0.02}


def snapshot(
    risks: dict[str, float | None] | None = None,
    at: datetime = NOW,
    *,
    without: Iterable[str] = (),
    moves: tuple[Outcome, ...] = (),
    breaker: str = "",
    simulated: bool = False,
) -> Snapshot:
    """One cycle. `risks` are by part, within seven days, None for unknown; `without` names parts or hosts that left."""
    gone = set(without)
    parts = tuple(each for each in (DISK, CPU, OTHER) if not gone & {each.id, each.host})
    hosts = tuple(replace(host(name), simulated=simulated) for name in ("h1", "h2") if name not in gone)
    forecasts = tuple(replace(forecast(each, (risks or {}).get(each.id, 1e-6)), reasons=(REASON,)) for each in parts)
    return Snapshot(
        at,
        1,
        "",
        Cluster(at, 1, hosts, parts),
        forecasts,
        (),
        Plan("p", at, 1),
        moves,
        THRESHOLDS,
        standing=Standing(breaker=breaker),
    )
