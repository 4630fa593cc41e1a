"""What rasdaemon has written down: corrected memory errors with their addresses, machine checks, pages taken offline.

rasdaemon keeps the kernel's RAS trace events in a file of SQLite. It is opened read-only and read on from the last row
that was seen, never whole. Versions differ in tables and columns: what a version lacks is left out. What this is not:
a second count of errors, which `memory.py` reads from EDAC.

Privilege: read access to the file, which Debian's package gives to everybody.
"""

import json
import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from forewarn.clock import Clock
from forewarn.collect.base import Collected
from forewarn.collect.fault_mode import Address, fault_mode
from forewarn.collect.files import Kept
from forewarn.collect.machine_check import CORRUPT, UNCORRECTED, is_memory_code
from forewarn.collect.tree import Tree, label_text
from forewarn.domain.events import FailureEvent
from forewarn.domain.inventory import Kind, component_id
from forewarn.domain.telemetry import Sample
from forewarn.errors import SourceAbsent

FILE = "rasdaemon.json"
SOURCE = "rasdaemon"
TABLES = ("mc_event", "mce_record", "memory_failure_event")
# What drivers call the parts of an address: skx_edac, i10nm_edac, ghes_edac. The first name that is found counts.
NAMES: Mapping[str, tuple[str, ...]] = {
    "rank": ("PhysicalRankId", "rank"),
    "group": ("BankGroup", "BankGroupAddress", "bg"),
    "bank": ("Bank", "BankAddress", "bank", "ba"),
    "row": ("Row", "RowAddress", "row"),
    "column": ("Column", "ColumnAddress", "column", "col"),
}
# What firmware says of an error's width (UEFI, appendix N, memory error type), in the words of ghes_edac.
_MULTI_BIT = re.compile(r"(?i)multi-?(?:bit|symbol)")
_WORD = re.compile(r"(\w+):\s*(0x[0-9a-fA-F]+|\d+)")


@dataclass(frozen=True)
class RasdaemonSettings:
    """Where rasdaemon's records are, and how much of them is read."""

    database: Path = Path("/var/lib/rasdaemon/ras-mc_event.db")
    """The file that `rasdaemon --record` writes; looked for below `root`."""

    rows_max: int = 2000
    """Most rows of one table that are read per round; at the first look only the newest so many. The rest comes in the
    next rounds, and the database is never read whole."""

    timeout_s: float = 2.0
    """Seconds to wait while rasdaemon writes."""

    address_days: int = 30
    """Days for which an error's address counts towards the fault mode of its DIMM."""

    addresses_max: int = 500
    """Most addresses that are remembered per DIMM, the newest; a fault shows in far fewer."""


def parse_address(detail: str) -> Address:
    """The address in a driver's own words; a group and its bank make one number.

    >>> parse_address("err_code:0x0101:0x0090  socket:0 imc:1 rank:1 bg:2 ba:3 row:0x1f4 col:0x10")
    Address(rank=1, bank=11, row=500, column=16)
    """
    words = {name: int(number, 0 if number.startswith("0x") else 10) for name, number in _WORD.findall(detail)}
    part = {key: next((words[name] for name in names if name in words), -1) for key, names in NAMES.items()}
    bank = part["bank"]
    if bank >= 0 and part["group"] >= 0:
        bank += 4 * part["group"]  # DDR4 and DDR5 have four banks in a group, or fewer
    return Address(part["rank"], bank, part["row"], part["column"])


def parse_time(text: str) -> datetime | None:
    """A time as rasdaemon writes it, `2026-01-05 10:00:00 +0000`; None for anything else."""
    try:
        found = datetime.strptime(text, "%Y-%m-%d %H:%M:%S %z")
    except ValueError:
        return None
    return found.astimezone(UTC)


@dataclass
class Seen:
    """What was read so far: the last row of each table, and per DIMM when an error was where and how many were wide."""

    rows: dict[str, int] = field(default_factory=dict)
    addresses: dict[str, dict[Address, datetime]] = field(default_factory=dict)
    multi_bit: dict[str, int] = field(default_factory=dict)

    def to_json(self) -> bytes:
        """As it is kept between two runs."""
        found = {
            label: [[time.isoformat(), where.rank, where.bank, where.row, where.column] for where, time in of.items()]
            for label, of in self.addresses.items()
        }
        return json.dumps({"rows": self.rows, "addresses": found, "multi_bit": self.multi_bit}).encode()

    @classmethod
    def from_json(cls, text: str) -> "Seen":
        """What was kept; nothing where that is damaged."""
        try:
            row: Any = json.loads(text)
            rows = {str(table): int(number) for table, number in row["rows"].items()}
            addresses = {
                str(label): {Address(*map(int, where)): datetime.fromisoformat(time) for time, *where in of}
                for label, of in row["addresses"].items()
            }
            multi_bit = {str(label): int(count) for label, count in row.get("multi_bit", {}).items()}
        except (ValueError, TypeError, KeyError, AttributeError):
            return cls()
        return cls(rows, addresses, multi_bit)


class RasdaemonCollector:
    """What rasdaemon has recorded since the last look."""

    name = "rasdaemon"

    def __init__(self, root: Path, settings: RasdaemonSettings, folder: Path | None, clock: Clock) -> None:
        self._tree, self._settings, self._clock = Tree(root), settings, clock
        self._kept = Kept(folder, FILE)
        self._seen = Seen.from_json(self._kept.text)

    def collect(self) -> Iterator[Collected]:
        """New records as counts, fault modes and failures; raises SourceAbsent without a database that can be read."""
        database = self._tree.path(str(self._settings.database).lstrip("/"))
        if not database.is_file():
            raise SourceAbsent(f"{self._settings.database} is absent: rasdaemon does not run here, or does not record")
        seen, multi_bit = dict(self._seen.rows), dict(self._seen.multi_bit)
        try:
            with closing(self._open(database)) as connection:
                found = [collected for table in TABLES for collected in self._read(connection, table)]
        except sqlite3.Error as problem:
            # What was read of other tables was not told: it is read again.
            self._seen.rows, self._seen.multi_bit = seen, multi_bit
            raise SourceAbsent(f"{self._settings.database} cannot be read: {problem}") from problem
        yield from found
        yield from self._fault_modes()
        for label, count in sorted(self._seen.multi_bit.items()):
            yield Sample("forewarn_dimm_multi_bit_errors_total", {"dimm_label": label}, float(count))
        self._kept.keep(self._seen.to_json())

    def _open(self, database: Path) -> sqlite3.Connection:
        address = f"{database.resolve().as_uri()}?mode=ro"
        connection = sqlite3.connect(address, uri=True, timeout=self._settings.timeout_s)
        connection.row_factory = sqlite3.Row
        return connection

    def _read(self, connection: sqlite3.Connection, table: str) -> Iterator[Collected]:
        """The rows of one table that are new; a table that this version does not have gives nothing."""
        known = connection.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (table,))
        if known.fetchone() is None:
            return
        newest = connection.execute(f"SELECT max(id) FROM {table}").fetchone()[0] or 0  # noqa: S608 - from TABLES
        first = table not in self._seen.rows
        last = self._seen.rows.get(table, newest - self._settings.rows_max)
        if newest < last:  # the database was made anew
            last = 0
        query = f"SELECT * FROM {table} WHERE id > ? ORDER BY id LIMIT ?"  # noqa: S608 - from TABLES
        rows = [dict(row) for row in connection.execute(query, (last, self._settings.rows_max))]
        self._seen.rows[table] = max((row["id"] for row in rows), default=max(last, 0))
        yield Sample("forewarn_rasdaemon_records_total", {"table": table}, float(newest))
        for row in rows:
            if table == "mc_event" and str(row.get("err_type", "")).lower() == "corrected":
                self._place(row)
            if not first:  # what was there before the first look is history, and no news
                yield from _failures(table, row)

    def _place(self, row: Mapping[str, Any]) -> None:
        """Remember where a corrected error was, and whether it took several bits."""
        if _MULTI_BIT.search(str(row.get("err_msg") or "")):
            label = dimm_label(row)
            self._seen.multi_bit[label] = self._seen.multi_bit.get(label, 0) + _count(row.get("err_count"))
        address, time = parse_address(str(row.get("driver_detail") or "")), parse_time(str(row.get("timestamp")))
        if time is None or not address.known:
            return
        found = self._seen.addresses.setdefault(dimm_label(row), {})
        found.pop(address, None)
        found[address] = time
        while len(found) > self._settings.addresses_max:
            del found[next(iter(found))]

    def _fault_modes(self) -> Iterator[Sample]:
        oldest = self._clock.now() - timedelta(days=self._settings.address_days)
        for label in sorted(self._seen.addresses):
            fresh = {where: time for where, time in self._seen.addresses[label].items() if time >= oldest}
            self._seen.addresses[label] = fresh
            labels = {"dimm_label": label}
            yield Sample("forewarn_dimm_fault_mode", labels, float(fault_mode(fresh)))
            yield Sample("forewarn_dimm_error_addresses", labels, float(len(fresh)))
        for label in [label for label, found in self._seen.addresses.items() if not found]:
            del self._seen.addresses[label]


def _count(found: object) -> int:
    """How many errors a row stands for; at least itself."""
    return max(found, 1) if isinstance(found, int) else 1


def dimm_label(row: Mapping[str, Any]) -> str:
    """The DIMM of an error: its label, else its place as EDAC calls it."""
    label = label_text(str(row.get("label") or ""))
    return label or f"mc{row.get('mc', '')}_csrow{row.get('top_layer', '')}_channel{row.get('middle_layer', '')}"


def _failures(table: str, row: Mapping[str, Any]) -> Iterator[FailureEvent]:
    """The failure that a record tells of, where it tells of one: corrected errors and pages offlined are none."""
    time = parse_time(str(row.get("timestamp")))
    if time is None:
        return
    if table == "mc_event" and str(row.get("err_type", "")).lower() in ("uncorrected", "fatal"):
        said = label_text(f"{row['err_type']} memory error: {row.get('err_msg') or ''}")
        component = component_id(Kind.MEMORY, "", dimm_label(row))
        yield FailureEvent(time, "", Kind.MEMORY, component, SOURCE, said, 0.9)
    elif table == "mce_record":
        yield from _machine_check(time, row)


def _machine_check(time: datetime, row: Mapping[str, Any]) -> Iterator[FailureEvent]:
    """An uncorrected machine check is a failure; surer where the processor's context was corrupt."""
    status = int(row.get("status") or 0) & (2**64 - 1)
    if not status & UNCORRECTED:
        return
    kind = Kind.MEMORY if is_memory_code(status & 0xFFFF) else Kind.CPU
    bank = row.get("bank_name") or f"bank {row.get('bank')}"
    said = label_text(f"uncorrected machine check, {bank}: {row.get('error_msg') or f'status {status:#x}'}")
    event = FailureEvent(time, "", kind, "", SOURCE, said, 0.9 if status & CORRUPT else 0.6)
    yield replace(event, component=component_id(Kind.CPU, "", "cpu")) if kind is Kind.CPU else event
