"""Which parts had a forecast once and have lost it: what never had telemetry may not alarm for ever. Pure.

A part is lost when its forecast becomes unknown, when it leaves the inventory, or when its whole host does.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from forewarn.domain.situation import Snapshot

Place = tuple[str, str]  # a host and a component: a drive on two paths is seen at both


@dataclass(frozen=True, slots=True)
class Part:
    """One part that had a forecast; `lost_at` is None while it has one, `why` says what is missing."""

    host: str
    component: str
    simulated: bool = False
    lost_at: datetime | None = None
    why: str = ""


def look(before: Mapping[Place, Part], snapshot: Snapshot, forget_s: float) -> dict[Place, Part]:
    """The parts that had a forecast up to `snapshot`, without those that were lost for longer than `forget_s`."""
    known = {(f.host, f.component): f for f in snapshot.forecasts}
    elsewhere = {f.component for f in snapshot.forecasts if not f.unknown}
    after: dict[Place, Part] = {}
    for place, part in before.items():
        forecast = known.get(place)
        if forecast is None and part.component in elsewhere:
            continue  # it was carried to another host
        lost = _lost(part, snapshot, forecast.unknown_because if forecast else "")
        if (snapshot.time - (lost.lost_at or snapshot.time)) < timedelta(seconds=forget_s):
            after[place] = lost
    hosts = snapshot.cluster.host_by_name
    for place, forecast in known.items():
        if not forecast.unknown:
            found = after.get(place)
            simulated = forecast.host in hosts and hosts[forecast.host].simulated
            if found is None or found.lost_at is not None or found.simulated != simulated:
                found = Part(forecast.host, forecast.component, simulated)
            after[place] = found
    return after


def _lost(part: Part, snapshot: Snapshot, because: str) -> Part:
    if not because:
        gone = "its host" if part.host not in snapshot.cluster.host_by_name else "it"
        because = f"{gone} is no longer in the inventory"
    if part.lost_at is not None and part.why == because:
        return part
    return replace(part, lost_at=part.lost_at or snapshot.time, why=because)
