"""Whether what a forecast rests on is fresh: a host that has fallen silent is unknown, whatever it showed before.

Features look back an hour and more, so a host that went silent would keep the forecast of its last words for as long.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from forewarn.domain.inventory import Kind
from forewarn.domain.risk import FailureForecast


def last_heard(devices: pa.Table) -> Mapping[str, datetime]:
    """When each host showed anything last, from the store's table of devices.

    Power supplies, and the host itself, do not count where a host has other parts: its BMC tells of them, also while
    the host is dead.
    """
    by_bmc = pc.field("kind").isin([str(Kind.POWER), str(Kind.HOST)])
    return {**_newest(devices.filter(by_bmc)), **_newest(devices.filter(~by_bmc))}


def _newest(devices: pa.Table) -> dict[str, datetime]:
    newest = devices.group_by("host").aggregate([("last_seen", "max")])
    pairs = zip(newest["host"].to_pylist(), newest["last_seen_max"].to_pylist(), strict=True)
    return {host: time for host, time in pairs if host is not None and time is not None}


def fresh(
    forecasts: Iterable[FailureForecast], heard: Mapping[str, datetime], silent_s: float, now: datetime
) -> tuple[FailureForecast, ...]:
    """The forecasts, but unknown for the parts of every host that was last heard longer than `silent_s` ago."""
    silent = {
        host: f"no telemetry for {seconds / 60:.0f} min"
        for host, time in heard.items()
        if (seconds := (now - time).total_seconds()) > silent_s
    }
    return tuple(_silenced(each, silent[each.host]) if each.host in silent else each for each in forecasts)


def _silenced(forecast: FailureForecast, because: str) -> FailureForecast:
    return replace(forecast, probabilities=(), low=(), high=(), reasons=(), unknown_because=because, look_at="")
