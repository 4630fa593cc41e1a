"""The SQL of the DuckDB store: its tables, its roll-ups, and the compiler of a feature question.

Every table of states, from single samples to days, has the same columns, and one `GROUP BY` merges any of them to
coarser ones: a state holds the steps *into* its samples, so that sums need no look at a neighbour. Only names and whole
numbers of our own are spliced into statements; values go in as Arrow tables or parameters. What aggregates mean stands
in `finish`, which buckets make up a window in `windows`.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence

from forewarn.store.windows import DAY, FOREVER, HOUR, NEVER, WIDTH, Spans, Tier

SCHEMA_VERSION = "3"

PLACE_TEXTS = ("component", "kind", "host", "device", "model")
SAMPLE_COLUMNS = ("series", "time", "value", "before", "before_time", "before_until", "weight")

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

# How states that have `time`, the end of each one's bucket, become one.
_MERGES: dict[str, str] = {
    "count": "sum(count)::BIGINT",
    "total": "sum(total)",
    "squares": "sum(squares)",
    "low": "min(low)",
    "high": "max(high)",
    "first": "arg_min(first, first_time)",
    "first_time": "min(first_time)",
    "before": "arg_min(before, first_time)",
    "before_time": "arg_min(before_time, first_time)",
    "before_until": "arg_min(before_until, first_time)",
    "last": "arg_max(last, time)",
    "last_time": "arg_max(last_time, time)",
    "until": "arg_max(until, time)",
    "increase": "sum(increase)",
    "changes": "sum(changes)::BIGINT",
    "last_change": "max(last_change)",
    "hours": "sum(hours)::BIGINT",
    "hour_sum": "sum(hour_sum)",
    "hour_squares": "sum(hour_squares)",
    "mean_sum": "sum(mean_sum)",
    "hour_mean_sum": "sum(hour_mean_sum)",
}


def _merge(names: Iterable[str]) -> str:
    return ", ".join(f"{_MERGES[name]} AS {name}" for name in names)


# One hour's part in a slope: its distance from some end in hours, and its mean.
_HOUR_SLOPE = """
    (count > 0)::BIGINT AS hours, if(count > 0, {hour}, 0) AS hour_sum,
    if(count > 0, {hour} * {hour}, 0) AS hour_squares,
    if(count > 0, total / count, 0) AS mean_sum, if(count > 0, {hour} * total / count, 0) AS hour_mean_sum
"""


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
    "samples": "series INTEGER, time BIGINT, value DOUBLE, before DOUBLE, before_time BIGINT, before_until BIGINT,"
    " weight INTEGER",
    "sixths": f"series INTEGER, time BIGINT, {_columns(_STATE_TYPES)}",
    "minutes": f"series INTEGER, time BIGINT, {_columns(_STATE_TYPES)}",
    "hours": f"series INTEGER, time BIGINT, {_columns(_STATE_TYPES)}",
    "days": f"series INTEGER, time BIGINT, {_columns(_STATE_TYPES)}, {_columns(_SLOPE_TYPES)}",
}
SCHEMA = (*(f"CREATE TABLE {name}({columns})" for name, columns in _TABLES.items()), _SAMPLE_STATES)


# What makes a store of an earlier version one of the next.
_NO_SIXTHS = NEVER // WIDTH[Tier.SIXTHS] * WIDTH[Tier.SIXTHS]
UPGRADES: Mapping[str, tuple[str, Sequence[str]]] = {
    "1": (
        "2",
        ("ALTER TABLE samples ADD COLUMN weight INTEGER", "UPDATE samples SET weight = (NOT isnan(value))::INTEGER"),
    ),
    "2": (
        "3",
        (
            f"CREATE TABLE sixths({_TABLES['sixths']})",
            f"INSERT INTO forewarn VALUES ('rolled_sixths', '{_NO_SIXTHS}')",
        ),
    ),
}

TIER_NUMBER = {tier: number for number, tier in enumerate(Tier)}
_TABLE = {Tier.SAMPLES: "sample_states"}  # where a tier's table is not called as the tier


def bucket(width: int) -> str:
    """The end of the bucket in which `time` lies."""
    return f"time + (({width} - time % {width}) % {width} + {width}) % {width}"


def roll_up(tier: Tier, source: Tier, *, repair: bool = False) -> str:
    """Insert the buckets of `tier` made of `source`. Parameters: since, until.

    A repair makes those of the series in the table `repairs(series, since)` alone, and only from each one's `since`.
    """
    width = WIDTH[tier]
    table = _TABLE.get(source, str(source))
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
        slope = ", " + _merge(_SLOPE_TYPES)
    columns = f"series, time, {STATE}" + (f", {SLOPE}" if slope else "")
    return (
        f"INSERT INTO {tier} ({columns})"
        f" SELECT series, {bucket(width)} AS bucket, {_merge(_STATE_TYPES)}{slope} {rows}"
        " GROUP BY series, bucket ORDER BY bucket"
    )


def forget_repaired(tier: Tier) -> str:
    """Delete the buckets that a repair makes anew."""
    width = WIDTH[tier]
    return (
        f"DELETE FROM {tier} USING repairs WHERE {tier}.series = repairs.series AND time > since // {width} * {width}"
    )


STATE_NOTES = "SELECT key, value FROM forewarn"
KNOWN_SERIES = "SELECT component, metric, until_marked FROM series ORDER BY id"
KNOWN_PLACES = "SELECT * FROM places"
HOSTS_SEEN = "SELECT host, max(last_seen) FROM places GROUP BY host ORDER BY host"

REWRITTEN = (
    f"SELECT {', '.join(SAMPLE_COLUMNS)} FROM samples JOIN rewrites USING (series) WHERE time >= rewrites.since"
    " ORDER BY series, time"
)
FORGET_REWRITTEN = "DELETE FROM samples USING rewrites WHERE samples.series = rewrites.series AND time >= since"


# What is stored at times. The table asked: `asked(row, series, time)`. Parameters: the first and the last of its times.
HELD = (
    "SELECT row, value, weight FROM asked JOIN samples ON samples.series = asked.series AND samples.time = asked.time"
    " WHERE samples.time >= ? AND samples.time <= ?"
)


def _part(tier: Tier, bounds: Spans, fields: Sequence[str], *, slope: bool) -> str:
    """The states of one tier, per row, metric and window. Hours are counted from the window's end."""
    hour = f"(states.time // {HOUR} - spans.window_end // {HOUR})"
    columns = ["spans.row", "spans.metric", "spans.span", "states.time", *fields]
    if slope and tier is Tier.DAYS:
        shift = f"({hour} * 1.0)"
        columns += [
            f"hours, hour_sum + hours * {shift} AS hour_sum",
            f"hour_squares + 2 * {shift} * hour_sum + hours * {shift} * {shift} AS hour_squares",
            f"mean_sum, hour_mean_sum + {shift} * mean_sum AS hour_mean_sum",
        ]
    elif slope:
        columns.append(_HOUR_SLOPE.format(hour=hour))
    return f"SELECT {', '.join(columns)} {_joined(_TABLE.get(tier, str(tier)), tier, bounds)}"


def _joined(table: str, tier: Tier, bounds: Spans) -> str:
    return (
        f"FROM spans JOIN {table} AS states ON states.series = spans.series"
        " AND states.time > spans.start AND states.time <= spans.stop"
        f" WHERE spans.tier = {TIER_NUMBER[tier]}"
        f" AND states.time > {int(bounds.start.min())} AND states.time <= {int(bounds.end.max())}"
    )


def _clock_hours(tiers: Mapping[Tier, Spans], fields: Sequence[str]) -> str:
    """Minutes and samples merged to clock hours, for slopes: an hour's mean is that of all its samples inside."""
    columns = ", ".join(("spans.row", "spans.metric", "spans.span", "spans.window_end", "states.time", *fields))
    parts = [f"SELECT {columns} {_joined(_TABLE.get(tier, str(tier)), tier, bounds)}" for tier, bounds in tiers.items()]
    merged = (
        "SELECT row, metric, span, any_value(window_end) AS window_end, max(time) AS newest,"
        f" {bucket(HOUR)} AS hour, {_merge(fields)}"
        f" FROM ({' UNION ALL '.join(parts)}) GROUP BY row, metric, span, hour"
    )
    slopes = _HOUR_SLOPE.format(hour=f"(hour // {HOUR} - window_end // {HOUR})")
    return f"SELECT row, metric, span, newest AS time, {', '.join(fields)}, {slopes} FROM ({merged})"


def window_states(tiers: Mapping[Tier, Spans], wanted: Collection[str]) -> str:
    """One merged state per row, metric and window, of windows that were cut into the spans of `tiers`.

    The tables asked: `pairs(row, series, metric, time)` with the number of the asked time, `wants(metric, span)`, and
    `cuts(time, span, tier, start, stop, window_end)` with one row per asked time, window and interval.
    """
    slope = not set(_SLOPE_TYPES).isdisjoint(wanted)
    needed = {*wanted, "first_time", *(("count", "total") if slope else ())}
    fields = [name for name in _STATE_TYPES if name in needed]
    fine: dict[Tier, Spans] = {
        tier: spans for tier, spans in tiers.items() if slope and tier not in (Tier.DAYS, Tier.HOURS)
    }
    parts = [_part(tier, spans, fields, slope=slope) for tier, spans in tiers.items() if tier not in fine]
    if fine:
        parts.append(_clock_hours(fine, fields))
    merged = _merge([*fields, *(_SLOPE_TYPES if slope else ())])
    return (
        "WITH spans AS (SELECT pairs.row, pairs.series, pairs.metric, cuts.span, tier, start, stop, window_end"
        " FROM pairs JOIN wants USING (metric) JOIN cuts ON cuts.time = pairs.time AND cuts.span = wants.span)"
        f" SELECT row, metric, span, {merged} FROM ({' UNION ALL '.join(parts)}) GROUP BY row, metric, span"
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
