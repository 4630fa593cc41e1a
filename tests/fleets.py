"""A fleet's telemetry as the embedded store keeps it, written into its file as roll-ups: weeks in a minute or two.

Each host has twelve parts: a CPU, three DIMMs, four drives, two cards, two supplies. Drives tell of SMART every five
minutes, everything else is seen every minute. Counters of errors stand still on nearly all parts and climb on some,
those of work climb all the time, temperatures and voltages waver.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa

from forewarn.domain.inventory import Kind, component_id
from forewarn.store.duckdb import DuckDBSettings, DuckDBStore
from forewarn.store.windows import DAY, FOREVER, HOUR, MINUTE, NEVER, WIDTH, Tier, microseconds

NOW = datetime(2026, 3, 2, 10, 37, 20, tzinfo=UTC)
PARTS = ((Kind.CPU, 1), (Kind.MEMORY, 3), (Kind.DISK, 4), (Kind.NETWORK, 2), (Kind.POWER, 2))
DEVICES_PER_HOST = sum(number for _, number in PARTS)

# Metrics by how they behave; those of SMART come less often.
ERRORS = {
    Kind.CPU: ("cpu_core_throttles", "cpu_package_throttles"),
    Kind.MEMORY: ("dimm_corrected", "dimm_uncorrected"),
    Kind.DISK: ("disk_io_errors",),
    Kind.NETWORK: (
        *("nic_receive_errors", "nic_transmit_errors", "nic_frame_errors", "nic_receive_drops"),
        "nic_carrier_changes",
    ),
    Kind.POWER: ("psu_state",),
    Kind.HOST: ("memory_corrupted",),
}
WORK = {
    Kind.CPU: ("cpu_busy_seconds", "cpu_idle_seconds"),
    Kind.DISK: ("disk_reads", "disk_read_seconds", "disk_writes", "disk_write_seconds"),
    Kind.NETWORK: ("nic_receive_bytes", "nic_transmit_bytes"),
}
WAVERING = {
    Kind.CPU: ("cpu_temperature", "cpu_frequency"),
    Kind.POWER: ("psu_output_volts", "psu_input_volts", "psu_amperes", "psu_temperature", "psu_fan_speed"),
    Kind.HOST: ("memory_available",),
}
STEADY = {Kind.NETWORK: ("nic_up", "nic_speed"), Kind.HOST: ("memory_total",)}
SMART = ("5", "10", "12", "187", "188", "189", "196", "197", "198", "199")
SMART_ERRORS = (*(f"smart_{number}" for number in SMART), "disk_capacity", "smart_status")
SMART_WAVERING = ("disk_temperature",)
SMART_WORK = ("smart_9", "disk_power_on_seconds")
STANDS, CLIMBS, WORKS, WAVERS = range(4)


@dataclass(frozen=True)
class Fleet:
    """What was written: how many series, and how many samples the roll-ups stand for."""

    hosts: int
    series: int
    samples: int


def series_of_host() -> list[tuple[Kind, int, str, int, int]]:
    """Kind, part's number, metric, behaviour, and seconds between samples of every series of one host."""
    found = []
    for kind, number in (*PARTS, (Kind.HOST, 1)):
        for part in range(number):
            for behaviour, table in ((CLIMBS, ERRORS), (WORKS, WORK), (WAVERS, WAVERING), (STANDS, STEADY)):
                found += [(kind, part, metric, behaviour, 60) for metric in table.get(kind, ())]
            if kind is Kind.DISK:
                for behaviour, metrics in ((CLIMBS, SMART_ERRORS), (WAVERS, SMART_WAVERING), (WORKS, SMART_WORK)):
                    found += [(kind, part, metric, behaviour, 300) for metric in metrics]
    return found


def write(path: Path, hosts: int, now: datetime = NOW, days: int = 30, settings: DuckDBSettings | None = None) -> Fleet:
    """Make a store at `path` with what `hosts` hosts showed in the `days` before `now`.

    Days reach back all the time, hours two days, minutes and sixths of hours cover both ends of the windows of an hour
    and of six, samples four minutes: no window of the catalogue looks at finer buckets of other times.
    """
    DuckDBStore(path, settings).close()
    kinds = series_of_host()
    with duckdb.connect(str(path), config={"memory_limit": "2GB", "threads": 2}) as connection:
        connection.execute("SET preserve_insertion_order = false")
        _write_parts(connection, hosts, now, days)
        table = pa.table(
            {
                "place": list(range(len(kinds))),
                "component": [component(kind, part) for kind, part, *_ in kinds],
                "metric": [metric for _, _, metric, *_ in kinds],
                "behaviour": [behaviour for *_, behaviour, _ in kinds],
                "step": [step * 1_000_000 for *_, step in kinds],
            }
        )
        connection.register("kinds", table)
        connection.execute(_SERIES.format(hosts=hosts, kinds=len(kinds)))
        connection.execute("INSERT INTO series SELECT id, component, metric, false FROM shapes ORDER BY id")
        _write_states(connection, microseconds(now), days)
    daily = sum(86400 // step for *_, step in kinds)
    return Fleet(hosts, len(kinds) * hosts, daily * days * hosts)


def _write_states(connection: duckdb.DuckDBPyConnection, at: int, days: int) -> None:
    hour, minute = at // HOUR * HOUR, at // MINUTE * MINUTE - MINUTE
    rolled = {tier: (hour if tier is Tier.HOURS else minute) // width * width for tier, width in WIDTH.items()}
    edges = ((hour - 6 * HOUR, hour - 5 * HOUR), (hour - HOUR, minute))
    spans = {
        Tier.DAYS: ((rolled[Tier.DAYS] - days * DAY, rolled[Tier.DAYS]),),
        Tier.HOURS: ((hour - 48 * HOUR, hour),),
        Tier.SIXTHS: ((edges[0]), (hour - HOUR, rolled[Tier.SIXTHS])),
        Tier.MINUTES: edges,
    }
    for tier, parts in spans.items():
        statement = _states(tier)
        for begin, end in parts:
            connection.execute(statement, [begin, end])
    connection.execute(_SAMPLES, [minute - 4 * MINUTE, at])
    notes = {f"rolled_{tier}": until for tier, until in rolled.items()}
    notes |= {"minutes_since": edges[0][0], "raw_since": minute - 5 * MINUTE}
    for key, value in notes.items():
        connection.execute("UPDATE forewarn SET value = ? WHERE key = ?", [str(value), key])


def component(kind: Kind, part: int) -> str:
    """A part's id, with % where the host's number stands."""
    return component_id(kind, "host%", f"{kind}{part}" if kind is not Kind.HOST else "host%", "")


def _write_parts(connection: duckdb.DuckDBPyConnection, hosts: int, now: datetime, days: int) -> None:
    parts = [(str(kind), f"{kind}{part}", component(kind, part)) for kind, number in PARTS for part in range(number)]
    names = ("kind", "device", "component")
    table = pa.table({name: [part[at] for part in parts] for at, name in enumerate(names)})
    connection.register("parts", table)
    since, until = (microseconds(time) for time in (now - timedelta(days=days), now))
    connection.execute(
        "INSERT INTO places SELECT replace(component, '%', printf('%05d', host)), kind, 'host' || printf('%05d', host),"
        " device, if(kind = 'disk', 'MODEL ' || host % 12, ''), ?, ? FROM parts, range(?) AS hosts(host)",
        [since, until, hosts],
    )


# `level` is where a series starts, `slope` what it gains in a second (or how far it wavers).
_SERIES = """
CREATE TEMP TABLE shapes AS
SELECT (host * {kinds} + place)::INTEGER AS id, replace(component, '%', printf('%05d', host)) AS component, metric,
    behaviour, step, (hash(host, place) % 1000)::DOUBLE AS level,
    CASE behaviour WHEN {climbs} THEN if(hash(place, host) % 50 = 0, 2e-5, 0) WHEN {works} THEN 0.9 WHEN {wavers} THEN 4
    ELSE 0 END AS slope
FROM range({hosts}) AS hosts(host), kinds
"""
_SERIES = _SERIES.replace("{climbs}", str(CLIMBS)).replace("{works}", str(WORKS)).replace("{wavers}", str(WAVERS))

_VALUE = (
    f"CASE behaviour WHEN {CLIMBS} THEN if(slope = 0, level % 2,"
    " floor(level + slope * (({time} - {origin}) / 1e6)))"
    f" WHEN {WORKS} THEN round(level + slope * (({{time}} - {{origin}}) / 1e6), 2)"
    f" WHEN {WAVERS} THEN round(level + slope * sin({{time}} / 1.4e10) + (hash(id, {{time}}) % 8) / 4.0, 2)"
    " ELSE level END"
)
_ORIGIN = str(microseconds(NOW) - 90 * DAY)


def _value(time: str) -> str:
    return _VALUE.format(time=time, origin=_ORIGIN)


_SLOPE = (
    "24 AS hours, -276.0 AS hour_sum, 4324.0 AS hour_squares, 24 * (high + low) / 2 AS mean_sum,"
    " -276.0 * (high + low) / 2 AS hour_mean_sum"
)


def _states(tier: Tier) -> str:
    """Insert the buckets of a tier that end after a time, up to another; a first sample is one step into its bucket."""
    width = WIDTH[tier]
    return (
        f"INSERT INTO {tier} BY NAME SELECT series, time, count, (high + low) / 2 * count AS total,"
        " (high * high + low * low) / 2 * count AS squares, low, high, first, first_time, before, first_time - step AS"
        f" before_time, {FOREVER} AS before_until, last, time AS last_time, {FOREVER} AS until,"
        " greatest(last - before, 0) AS increase,"
        f" if(behaviour IN ({WORKS}, {WAVERS}), count, (last <> before)::BIGINT) AS changes,"
        f" if(last <> before, time, {NEVER}) AS last_change {', ' + _SLOPE if tier is Tier.DAYS else ''} FROM"
        f" (SELECT id AS series, behaviour, step, time, greatest({width} // step, 1) AS count,"
        f" {_value(f'time - {width} + step')} AS first, {_value(f'time - {width}')} AS before,"
        f" {_value('time')} AS last, time - {width} + least(step, {width}) AS first_time,"
        " least(first, last) AS low, greatest(first, last) AS high"
        f" FROM range(?, ?, {width}) AS times(began), (SELECT began + {width} AS time), shapes"
        f" WHERE time % step = 0 OR {width} > step)"
    )


_SAMPLES = (
    "INSERT INTO samples BY NAME SELECT id AS series, time,"
    f" {_value('time')} AS value, {_value('time - step')} AS before, time - step AS before_time,"
    f" {FOREVER} AS before_until, 1 AS weight FROM range(?, ?, {MINUTE}) AS times(began),"
    f" (SELECT began + {MINUTE} AS time), shapes WHERE time % step = 0 AND time <= {microseconds(NOW)}"
)
