"""The SQL of the DuckDB store: its tables, its roll-ups, and the compiler of a feature question.

Every table of states, from single samples to days, has the same columns, and one `GROUP BY` merges any of them to
coarser ones: a state holds the steps *into* its samples, so that sums need no look at a neighbour. Only names and whole
numbers of our own are spliced into statements; values go in as Arrow tables or parameters. What aggregates mean stands
in `finish`, which buckets make up a window in `windows`.
"""

from collections.abc import Iterable, Mapping

from forewarn.store.windows import DAY, FOREVER, HOUR, NEVER, WIDTH, Spans, Tier

SCHEMA_VERSION = "1"

PLACE_TEXTS = ("component", "kind", "host", "device", "model")
SAMPLE_COLUMNS = ("series", "time", "value", "before", "before_time", "before_until")

_STATE_TYPES: dict[str, str] = {
    "count": "BIGINT",
    "total": "DOUBLE",
    "squares": "DOUBLE",
    "low": "DOUBLE",
    "high": "DOUBLE",
    "first": "DOUBLE",
    "first_time": "BIGINT",
    "before": "DOUBLE",
    "before_time": "BIGINT",
    "before_until": "BIGINT",
    "last": "DOUBLE",
    "last_time": "BIGINT",
    "until": "BIGINT",
    "increase": "DOUBLE",
    "changes": "BIGINT",
    "last_change": "BIGINT",
}

_SLOPE_TYPES: dict[str, str] = {
    "hours": "BIGINT",
    "hour_sum": "DOUBLE",
    "hour_squares": "DOUBLE",
    "mean_sum": "DOUBLE",
    "hour_mean_sum": "DOUBLE",
}

STATE = ", ".join(_STATE_TYPES)
SLOPE = ", ".join(_SLOPE_TYPES)

# Merging states that have `time`: the end of each one's bucket.
_MERGE = """
    sum(count)::BIGINT AS count, sum(total) AS total, sum(squares) AS squares, min(low) AS low, max(high) AS high,
    arg_min(first, first_time) AS first, min(first_time) AS first_time, arg_min(before, first_time) AS before,
    arg_min(before_time, first_time) AS before_time, arg_min(before_until, first_time) AS before_until,
    arg_max(last, time) AS last, arg_max(last_time, time) AS last_time, arg_max(until, time) AS until,
    sum(increase) AS increase, sum(changes)::BIGINT AS changes, max(last_change) AS last_change
"""

_MERGE_SLOPE = (
    "sum(hours)::BIGINT AS hours, sum(hour_sum) AS hour_sum, sum(hour_squares) AS hour_squares,"
    " sum(mean_sum) AS mean_sum, sum(hour_mean_sum) AS hour_mean_sum"
)

# One hour's part in a slope: its distance from some end in hours, and its mean.
_HOUR_SLOPE = """
    (count > 0)::BIGINT AS hours, if(count > 0, {hour}, 0) AS hour_sum,
    if(count > 0, {hour} * {hour}, 0) AS hour_squares,
    if(count > 0, total / count, 0) AS mean_sum, if(count > 0, {hour} * total / count, 0) AS hour_mean_sum
"""

_NO_SLOPE = ", ".join(f"NULL AS {name}" for name in _SLOPE_TYPES)


def _columns(types: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {kind}" for name, kind in types.items())


# A sample carries the state that it met, so it is a state by itself. A marker (NaN) counts nothing and ends the value
# before it.
_SAMPLE_STATES = f"""
CREATE VIEW sample_states AS
SELECT series, time, real::BIGINT AS count, if(real, value, 0) AS total, if(real, value * value, 0) AS squares,
    if(real, value, NULL) AS low, low AS high, low AS first, if(real, time, NULL) AS first_time,
    before, before_time, before_until,
    if(real, value, before) AS last, if(real, time, before_time) AS last_time,
    if(real, {FOREVER}, least(before_until, time)) AS until,
    if(stepped, greatest(value - before, 0), 0) AS increase, stepped::BIGINT AS changes,
    if(stepped, time, {NEVER}) AS last_change
FROM (SELECT *, NOT isnan(value) AS real, NOT isnan(value) AND NOT isnan(before) AND value <> before AS stepped
    FROM samples)
"""

_TABLES: dict[str, str] = {
    "forewarn": "key VARCHAR, value VARCHAR",
    "series": "id INTEGER, component VARCHAR, metric VARCHAR, until_marked BOOLEAN",
    "places": _columns({**dict.fromkeys(PLACE_TEXTS, "VARCHAR"), "first_seen": "BIGINT", "last_seen": "BIGINT"}),
    "samples": "series INTEGER, time BIGINT, value DOUBLE, before DOUBLE, before_time BIGINT, before_until BIGINT",
    "minutes": f"series INTEGER, time BIGINT, {_columns(_STATE_TYPES)}",
    "hours": f"series INTEGER, time BIGINT, {_columns(_STATE_TYPES)}",
    "days": f"series INTEGER, time BIGINT, {_columns(_STATE_TYPES)}, {_columns(_SLOPE_TYPES)}",
}
SCHEMA = (*(f"CREATE TABLE {name}({columns})" for name, columns in _TABLES.items()), _SAMPLE_STATES)


def bucket(width: int) -> str:
    """The end of the bucket in which `time` lies."""
    return f"time + (({width} - time % {width}) % {width} + {width}) % {width}"


def roll_up(tier: Tier, source: Tier, *, repair: bool = False) -> str:
    """Insert the buckets of `tier` made of `source`. Parameters: since, until.

    A repair makes those of the series in the table `repairs(series, since)` alone, and only from each one's `since`.
    """
    width = WIDTH[tier]
    table = "sample_states" if source is Tier.SAMPLES else str(source)
    rows = f"FROM {table} AS states WHERE time > ? AND time <= ?"
    if repair:
        rows = (
            f"FROM {table} AS states JOIN repairs USING (series)"
            f" WHERE time > ? AND time <= ? AND time > repairs.since // {width} * {width}"
        )
    slope = ""
    if tier is Tier.DAYS:
        hour = f"((time - ({bucket(DAY)})) // {HOUR})"
        rows = f"FROM (SELECT states.*, {_HOUR_SLOPE.format(hour=hour)} {rows})"
        slope = ", " + _MERGE_SLOPE
    columns = f"series, time, {STATE}" + (f", {SLOPE}" if slope else "")
    return (
        f"INSERT INTO {tier} ({columns})"
        f" SELECT series, {bucket(width)} AS bucket, {_MERGE}{slope} {rows} GROUP BY series, bucket ORDER BY bucket"
    )


def forget_repaired(tier: Tier) -> str:
    """Delete the buckets that a repair makes anew."""
    width = WIDTH[tier]
    return (
        f"DELETE FROM {tier} USING repairs WHERE {tier}.series = repairs.series AND time > since // {width} * {width}"
    )


REWRITTEN = (
    "SELECT series, time, value, before, before_time, before_until FROM samples JOIN rewrites USING (series)"
    " WHERE time >= rewrites.since"
)
FORGET_REWRITTEN = "DELETE FROM samples USING rewrites WHERE samples.series = rewrites.series AND time >= since"


def _part(tier: Tier, bounds: Spans, *, slope: bool) -> str:
    """The states of one tier of buckets, per row, metric and window. Hours are counted from the window's end."""
    hour = f"((states.time - spans.window_end) // {HOUR})"
    if not slope:
        columns = f"{STATE}, {_NO_SLOPE}"
    elif tier is Tier.DAYS:
        shift = f"({hour} * 1.0)"
        columns = (
            f"{STATE}, hours, hour_sum + hours * {shift} AS hour_sum,"
            f" hour_squares + 2 * {shift} * hour_sum + hours * {shift} * {shift} AS hour_squares,"
            f" mean_sum, hour_mean_sum + {shift} * mean_sum AS hour_mean_sum"
        )
    else:
        columns = f"{STATE}, {_HOUR_SLOPE.format(hour=hour)}"
    chosen = f"spans.row, spans.metric, spans.span, states.time, {columns}"
    return f"SELECT {chosen} {_joined(str(tier), tier, bounds)}"


def _joined(table: str, tier: Tier, bounds: Spans) -> str:
    return (
        f"FROM spans JOIN {table} AS states ON states.series = spans.series"
        " AND states.time > spans.start AND states.time <= spans.stop"
        f" WHERE spans.tier = '{tier}'"
        f" AND states.time > {int(bounds.start.min())} AND states.time <= {int(bounds.end.max())}"
    )


def _fine_part(tiers: Mapping[Tier, Spans], *, slope: bool) -> str:
    """Minutes and samples, merged to clock hours first: an hour's mean is that of all its samples in the window."""
    tables = {Tier.MINUTES: "minutes", Tier.SAMPLES: "sample_states"}
    columns = f"spans.row, spans.metric, spans.span, spans.window_end, states.time, {STATE}"
    parts = [
        f"SELECT {columns} {_joined(tables[tier], tier, bounds)}" for tier, bounds in tiers.items() if tier in tables
    ]
    merged = (
        "SELECT row, metric, span, any_value(window_end) AS window_end, max(time) AS newest,"
        f" {bucket(HOUR)} AS hour, {_MERGE}"
        f" FROM ({' UNION ALL '.join(parts)}) GROUP BY row, metric, span, hour"
    )
    slopes = _HOUR_SLOPE.format(hour=f"((hour - window_end) // {HOUR})") if slope else _NO_SLOPE
    return f"SELECT row, metric, span, newest AS time, {STATE}, {slopes} FROM ({merged})"


def window_states(tiers: Mapping[Tier, Spans], *, slope: bool) -> str:
    """One merged state per row, metric and window, of windows that were cut into the spans of `tiers`.

    The tables asked: `pairs(row, series, metric, time)` with the number of the asked time, `wants(metric, span)`, and
    `cuts(time, span, tier, start, stop, until)` with one row per asked time, window and interval.
    """
    coarse = [tier for tier in (Tier.DAYS, Tier.HOURS) if tier in tiers]
    parts = [_part(tier, tiers[tier], slope=slope) for tier in coarse]
    if Tier.MINUTES in tiers or Tier.SAMPLES in tiers:
        parts.append(_fine_part(tiers, slope=slope))
    return (
        "WITH spans AS (SELECT pairs.row, pairs.series, pairs.metric, cuts.span, tier, start, stop, window_end"
        " FROM pairs JOIN wants USING (metric) JOIN cuts ON cuts.time = pairs.time AND cuts.span = wants.span)"
        f" SELECT row, metric, span, {_MERGE}, {_MERGE_SLOPE} FROM ({' UNION ALL '.join(parts)})"
        " GROUP BY row, metric, span"
    )


# The newest state of a series at a time. The table asked: `moments(number, series, whole, moment)`, where `whole` is
# the last full hour that has been rolled up by then.
LATEST_HOURS = (
    "SELECT number, last, last_time, states.until FROM moments ASOF JOIN"
    " (SELECT series, time, last, last_time, until FROM hours WHERE series IN (SELECT series FROM moments)) AS states"
    " ON moments.series = states.series AND moments.whole >= states.time"
)
LATEST_SAMPLES = (
    "SELECT number, arg_max(last, time) AS last, arg_max(last_time, time) AS last_time,"
    " arg_max(until, time) AS until FROM moments JOIN sample_states AS states"
    " ON moments.series = states.series AND states.time > whole AND states.time <= moment"
    " WHERE time > ? AND time <= ? GROUP BY number"
)

# What is newest of each series when the store is opened: samples after the last full hour, else the newest hour.
_NEWEST = "arg_max(last, time) AS last, arg_max(last_time, time) AS last_time, arg_max(until, time) AS until"
HEADS = (
    "SELECT series, max(time) AS row_time, min(time) AS first_time, "
    f"{_NEWEST} FROM (SELECT series, time, last, last_time, until FROM hours UNION ALL"
    " SELECT series, time, last, last_time, until FROM sample_states) GROUP BY series"
)


def forget(table: str) -> str:
    """Delete what is not after a time."""
    return f"DELETE FROM {table} WHERE time <= ?"


def insert(table: str, source: str, columns: Iterable[str]) -> str:
    """Insert the columns of a registered Arrow table."""
    names = ", ".join(columns)
    return f"INSERT INTO {table} ({names}) SELECT {names} FROM {source}"


FORGET_SEEN = (
    "DELETE FROM places USING seen WHERE places.component = seen.component AND places.host = seen.host"
    " AND places.device = seen.device"
)

# Samples of one series, and hourly means where samples are past their retention. Parameters: component, metric, start
# and end, the same once more, and since when samples are kept.
SERIES = (
    "SELECT time, value FROM samples JOIN series ON series.id = samples.series"
    " WHERE component = ? AND metric = ? AND time > ? AND time <= ?"
    " UNION ALL SELECT time, total / count AS value FROM hours JOIN series ON series.id = hours.series"
    " WHERE component = ? AND metric = ? AND time > ? AND time <= ? AND time <= ? AND count > 0"
    " ORDER BY time"
)
