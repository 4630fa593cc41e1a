"""The numbers behind the charts of one component; the page's script draws them with Plotly in the page's own colours.

`curve` is the forecast over the six horizons with its interval, `histories` the telemetry behind its reasons.
"""

import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import islice, pairwise
from typing import Any

import pyarrow as pa

from forewarn.domain.feature import DerivedFeature, Feature
from forewarn.domain.risk import HORIZONS, FailureForecast
from forewarn.features.catalog import CATALOG
from forewarn.store.base import TelemetryStore
from forewarn.web.fleet import Cell, Fleet
from forewarn.web.settings import WebSettings
from forewarn.web.words import span

_CHARTS_MAX = 3
_WINDOWS = tuple(timedelta(minutes=minutes) for minutes in (10, 60, 360, 1440, 10080))


def curve_of(fleet: Fleet, cell: Cell, forecast: FailureForecast | None) -> dict[str, Any] | None:
    """The forecast in per cent by horizon, or None while the risk is unknown."""
    if forecast is None or forecast.unknown:
        return None
    return {
        "horizons": [span(horizon.total_seconds()) for horizon in HORIZONS],
        "risk": [100 * p for p in forecast.probabilities],
        "low": [100 * p for p in forecast.low],
        "high": [100 * p for p in forecast.high],
        "threshold": None if cell.threshold is None else 100 * cell.threshold,
        "threshold_at": span(fleet.snapshot.horizon_s),
        "median": 100 * fleet.medians[cell.kind] if cell.kind in fleet.medians else None,
    }


def histories_of(
    store: TelemetryStore, settings: WebSettings, cell: Cell, forecast: FailureForecast | None, until: datetime
) -> list[dict[str, Any]]:
    """The telemetry behind the three reasons, each metric once and with them; else the first that have samples."""
    start = until - timedelta(days=settings.history_days)
    tables = ((key, store.series(cell.component, key, start, until)) for key in _metrics_behind(cell, forecast))
    filled = islice(((key, table) for key, table in tables if table.num_rows), _CHARTS_MAX)
    return [
        {**_history(key, _points(table), settings.series_points_max), "reasons": _reasons_behind(key, forecast)}
        for key, table in filled
    ]


def _points(table: pa.Table) -> list[tuple[datetime, float]]:
    times: list[Any] = table["time"].to_pylist()
    return list(zip(times, table["value"].to_pylist(), strict=True))  # type: ignore[arg-type]  # no value is null


def _metrics_behind(cell: Cell, forecast: FailureForecast | None) -> list[str]:
    named = [key for reason in forecast.reasons for key in metrics_of(reason.feature)] if forecast else []
    others = [metric.key for metric in CATALOG.metrics if metric.kind == cell.kind]
    return list(dict.fromkeys([*named, *others]))


def _reasons_behind(key: str, forecast: FailureForecast | None) -> list[str]:
    """What the forecast read off a metric, in its words; empty where the metric moved nothing."""
    reasons = forecast.reasons if forecast else ()
    return [reason.text for reason in reasons if key in metrics_of(reason.feature)]


_BY_NAME: dict[str, Feature | DerivedFeature] = {f.name: f for f in CATALOG.features}
_BY_NAME.update({f.name: f for f in CATALOG.derived})


def metrics_of(feature: str) -> list[str]:
    """The metrics that a feature is computed from, itself or through its inputs; none for a name out of the catalogue.

    >>> metrics_of("smart_5_increase_30d"), metrics_of("nothing of ours")
    (['smart_5'], [])
    """
    found = _BY_NAME.get(feature)
    if isinstance(found, Feature):
        return [found.metric]
    return [key for name in found.inputs for key in metrics_of(name)] if found else []


def _history(key: str, points: Sequence[tuple[datetime, float]], points_max: int) -> dict[str, Any]:
    metric = CATALOG.metric_by_key[key]
    points = thinned(since_it_moved(points), points_max)
    return {
        "title": metric.help,
        "unit": metric.unit,
        "time": [time.isoformat() for time, _ in points],
        "value": [None if math.isnan(value) else value for _, value in points],
    }


def since_it_moved(points: Sequence[tuple[datetime, float]]) -> Sequence[tuple[datetime, float]]:
    """The latest points, in the shortest of a few windows that holds every change; all where nothing changed."""
    first = next((after[0] for before, after in pairwise(points) if after[1] != before[1]), points[0][0])
    end = points[-1][0]
    window = next((window for window in _WINDOWS if end - window < first), None)
    if window is None or first == points[0][0]:
        return points
    begin = next(i for i, (time, _) in enumerate(points) if time >= end - window)
    return points[max(0, begin - 1) :]


def thinned(points: Sequence[tuple[datetime, float]], limit: int) -> Sequence[tuple[datetime, float]]:
    """At most about `limit` points: of each stretch its first, lowest, highest and last, so that no peak is lost."""
    if len(points) <= limit:
        return points
    stretches = max(1, limit // 4)
    edges = [round(i * len(points) / stretches) for i in range(stretches + 1)]
    kept: list[tuple[datetime, float]] = []
    for begin, end in pairwise(edges):
        part = points[begin:end]
        known = [point for point in part if not math.isnan(point[1])] or part
        extremes = {part[0], part[-1], min(known, key=lambda p: p[1]), max(known, key=lambda p: p[1])}
        kept += sorted(extremes, key=lambda point: point[0])
    return kept
