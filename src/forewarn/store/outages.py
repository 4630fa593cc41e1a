"""Recorded outages of a site's nodes: who was down, from when, and for what cause; no telemetry.

The form is that of the outage logs which Los Alamos National Laboratory published (LA-UR-05-7318), as CSV, also packed
with xz or gzip. Such logs are kept by hand, so single rows are odd. A row that names no node or no readable start tells
of no slot at any time: it is left out and counted in `left_out`. Months that say no date ("before tracking",
"current") mean that nothing is known. What is no log of this form at all is refused.

A slot is one place for a node in a system. Every slot counts, also those that were never down.
"""

import csv
import gzip
import lzma
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from forewarn.domain.inventory import Kind
from forewarn.errors import RecordingError
from forewarn.store.base import TIME

REQUIRED = ("System", "nodes", "nodenumz", "node prod", "node decom", "Prob Started", "Hardware", "Network")
SUFFIXES = (".csv", ".csv.gz", ".csv.xz")

# What a slot is: `since` and `until` are null where nothing is known of its beginning or end.
_FLOAT = pa.float64()
_SLOT: list[tuple[str, pa.DataType]] = [("system", pa.string()), ("node", pa.int64()), ("since", TIME), ("until", TIME)]
_MAKE = ("nodes", "processors", "memory", "interconnects", "graphics")
SLOTS = pa.schema([*_SLOT, *((name, _FLOAT) for name in _MAKE)])
# One row per outage; `causes` is a sum of `CAUSES`.
_OUTAGE: list[tuple[str, pa.DataType]] = [*_SLOT[:2], ("time", TIME), ("causes", pa.int64()), ("down_s", _FLOAT)]
OUTAGES = pa.schema(_OUTAGE)
CAUSES: Mapping[str, int] = {
    name: 1 << bit
    for bit, name in enumerate(
        ("cpu", "memory", "power", "network", "hardware", "software", "facilities", "undetermined")
    )
}
LEARNABLE = (Kind.CPU, Kind.MEMORY, Kind.NETWORK, Kind.POWER)

_HARDWARE = {"CPU": "cpu", "Memory Dimm": "memory", "Power Supply": "power"}
_TIME_FORMS = ("%m/%d/%Y %H:%M", "%m/%d/%Y", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_CENTURY = 70  # a year of two digits from here on is of the last century
_READABLE_MIN = 0.5  # of the rows that name a node; with fewer the file is something else
_NODES_MAX = 1_000_000
_SECOND = timedelta(seconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LONG_AGO_US = -(1 << 62)


@dataclass(frozen=True)
class OutageLog:
    """Outages of all slots from `start` to `end`; outcomes are known until `end`."""

    name: str
    start: datetime  # the first day of the month of the first outage
    end: datetime  # midnight after the last outage
    slots: pa.Table  # SLOTS
    outages: pa.Table  # OUTAGES, in the order of time
    left_out: Mapping[str, int]  # why rows tell of no slot, and how many

    @property
    def first(self) -> datetime:
        """When the first outage began."""
        return _EPOCH + timedelta(microseconds=int(micros(self.outages["time"])[0]))

    def continues(self, earlier: "OutageLog") -> "OutageLog":
        """This log with what an earlier one knows of the time before it, and of slots that it does not name."""
        before = earlier.before(self.first).outages
        if not before.num_rows:
            return self
        mine = set(keys(self.slots))
        foreign = earlier.slots.filter(pa.array([key not in mine for key in keys(earlier.slots)], pa.bool_()))
        slots = pa.concat_tables([self.slots, foreign]).sort_by([("system", "ascending"), ("node", "ascending")])
        outages = pa.concat_tables([before, self.outages])
        return OutageLog(self.name, earlier.start, self.end, slots, outages, self.left_out)

    def before(self, time: datetime) -> "OutageLog":
        """What was known at a time, of slots that had begun then."""
        moment = int(time.timestamp() * 1e6)
        begun = micros(self.slots["since"], _LONG_AGO_US) < moment
        past = micros(self.outages["time"]) < moment
        slots, outages = self.slots.filter(pa.array(begun)), self.outages.filter(pa.array(past))
        return replace(self, end=min(self.end, time), slots=slots, outages=outages)

    def where(self, system: str) -> "OutageLog":
        """The slots and outages of one system."""
        slots, outages = (
            table.filter(pa.array([name == system for name in table["system"].to_pylist()], pa.bool_()))
            for table in (self.slots, self.outages)
        )
        return replace(self, slots=slots, outages=outages)


def micros(column: "pa.ChunkedArray[Any]", missing: int = 0) -> NDArray[np.int64]:
    """Times as microseconds since 1970, `missing` where there is none."""
    return column.cast(pa.int64()).fill_null(pa.scalar(missing, pa.int64())).to_numpy()


def keys(table: pa.Table) -> list[tuple[str, int]]:
    """System and node of each row."""
    return [(str(row["system"]), int(row["node"])) for row in table.select(["system", "node"]).to_pylist()]


def is_outage_log(path: Path) -> bool:
    """Whether a file is CSV with the columns of an outage log; its rows are not looked at."""
    if not path.is_file() or not path.name.endswith(SUFFIXES):
        return False
    try:
        with _opened(path) as file:
            header = next(csv.reader(file), [])
    except (OSError, EOFError, lzma.LZMAError, UnicodeDecodeError, csv.Error):
        return False
    return set(REQUIRED) <= {name.strip() for name in header}


def read_outages(path: Path) -> OutageLog:
    """Read a log. Raises RecordingError with the file and what was expected there."""
    try:
        with _opened(path) as file:
            reader = csv.DictReader(file)
            names = [name.strip() for name in reader.fieldnames or ()]
            if missing := [name for name in REQUIRED if name not in names]:
                raise RecordingError(f"{path} lacks the columns {', '.join(missing)}: expected an outage log")
            reader.fieldnames = names
            rows = list(reader)
    except (OSError, EOFError, lzma.LZMAError, UnicodeDecodeError, csv.Error) as error:
        raise RecordingError(f"{path} cannot be read as an outage log: {error}") from error
    return _read(path, rows)


def _opened(path: Path) -> IO[str]:
    if path.name.endswith(".xz"):
        return lzma.open(path, "rt", encoding="utf-8", newline="")
    if path.name.endswith(".gz"):
        return gzip.open(path, "rt", encoding="utf-8", newline="")
    return path.open(encoding="utf-8", newline="")


def _read(path: Path, rows: Sequence[Mapping[str, str | None]]) -> OutageLog:
    left_out: Counter[str] = Counter()
    found: list[dict[str, Any]] = []
    named: dict[tuple[str, int], list[Mapping[str, str | None]]] = defaultdict(list)
    for row in rows:
        system, node, begun = _text(row, "System"), _number(row, "nodenumz"), _time(_text(row, "Prob Started"))
        if not system or node is None or not 0 <= node < _NODES_MAX or node != int(node):
            left_out["name no node"] += 1
        elif begun is None:
            left_out["have no readable start"] += 1
        else:
            named[system, int(node)].append(row)
            found.append(_outage(row, system, int(node), begun))
    if not found or len(found) < _READABLE_MIN * (len(rows) - left_out["name no node"]):
        raise RecordingError(
            f"{path} has {len(found)} readable outages in {len(rows)} rows: expected System, nodenumz and"
            " Prob Started such as 2, 17 and 2/23/1997 13:00"
        )
    found.sort(key=lambda outage: (outage["time"], outage["system"], outage["node"]))
    outages = pa.Table.from_pylist(found, schema=OUTAGES)
    start = found[0]["time"].replace(day=1, hour=0, minute=0)
    end = found[-1]["time"].replace(hour=0, minute=0) + timedelta(days=1)
    slots = pa.Table.from_pylist(list(_slots(named)), schema=SLOTS)
    return OutageLog(path.name, start, end, slots, outages, dict(left_out))


def _outage(row: Mapping[str, str | None], system: str, node: int, begun: datetime) -> dict[str, Any]:
    ended = _time(_text(row, "Prob Fixed"))
    down_s = (ended - begun) / _SECOND if ended is not None and ended >= begun else None
    return {"system": system, "node": node, "time": begun, "causes": _causes(row), "down_s": down_s}


def _causes(row: Mapping[str, str | None]) -> int:
    """All that the row names. Network is the column of that name, or a part that is an interconnect."""
    hardware = _text(row, "Hardware")
    named = {_HARDWARE.get(hardware, "")}
    if hardware:
        named.add("hardware")
    if hardware.startswith("Interconnect") or _text(row, "Network"):
        named.add("network")
    named |= {name.lower() for name in ("Software", "Facilities", "Undetermined") if _text(row, name)}
    return sum(CAUSES[name] for name in named if name)


def _slots(named: Mapping[tuple[str, int], Sequence[Mapping[str, str | None]]]) -> Iterator[dict[str, Any]]:
    """Every slot of every system: those that were down as their rows say, the others as most of the system."""
    by_system: dict[str, dict[int, dict[str, Any]]] = defaultdict(dict)
    for (system, node), rows in named.items():
        by_system[system][node] = _commonest([_slot(row) for row in rows])
    for system, slots in sorted(by_system.items()):
        usual = _commonest(list(slots.values()))
        size = int(usual["nodes"]) if usual["nodes"] is not None and 0 < usual["nodes"] < _NODES_MAX else 0
        for node in sorted({*slots, *range(size)}):
            yield {**slots.get(node, usual), "system": system, "node": node}


def _commonest(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    counted = Counter(tuple(one.items()) for one in found)
    return dict(counted.most_common(1)[0][0])


def _slot(row: Mapping[str, str | None]) -> dict[str, Any]:
    return {
        "since": _month(_text(row, "node prod")),
        "until": _after(_month(_text(row, "node decom"))),
        "nodes": _number(row, "nodes"),
        "processors": _number(row, "procsinnode"),
        "memory": _number(row, "mem"),
        "interconnects": _number(row, "num intercon"),
        "graphics": float(_text(row, "purpose").startswith("graphics")),
    }


def _text(row: Mapping[str, str | None], name: str) -> str:
    return (row.get(name) or "").strip()


def _number(row: Mapping[str, str | None], name: str) -> float | None:
    with suppress(ValueError):
        value = float(_text(row, name))
        return value if abs(value) != float("inf") and value == value else None
    return None


def _time(text: str) -> datetime | None:
    for form in _TIME_FORMS:
        with suppress(ValueError):
            return datetime.strptime(text, form).replace(tzinfo=UTC)
    return None


def _month(text: str) -> datetime | None:
    """The first day of a month such as `Nov-96`, or `5-Nov` for November 2005 as spreadsheets turn it; else nothing."""
    if found := re.fullmatch(r"([A-Za-z]{3})-(\d{1,4})", text):
        name, digits = found.groups()
    elif found := re.fullmatch(r"(\d{1,4})-([A-Za-z]{3})", text):
        digits, name = found.groups()
    else:
        return None
    year = int(digits)
    if name.capitalize() not in _MONTHS or 100 <= year < 1900:
        return None
    if year < 100:
        year += 1900 if year >= _CENTURY else 2000
    return datetime(year, 1 + _MONTHS.index(name.capitalize()), 1, tzinfo=UTC)


def _after(month: datetime | None) -> datetime | None:
    """The first day of the next month: a slot that was decommissioned in a month counts until its end."""
    return month and (month + timedelta(days=31)).replace(day=1)
