"""rasdaemon's database is read on from the last row, whatever its version, and never whole."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from forewarn.clock import SimulatedClock
from forewarn.collect.base import Collected
from forewarn.collect.rasdaemon import FILE, RasdaemonCollector, RasdaemonSettings, parse_address
from forewarn.domain.events import FailureEvent
from forewarn.domain.inventory import Kind
from forewarn.errors import SourceAbsent
from tests.frozen import find

NOW = datetime(2026, 1, 5, 10, tzinfo=UTC)
PLACE = "var/lib/rasdaemon/ras-mc_event.db"
# The tables as rasdaemon 0.6.8 makes them; 0.8 has further columns, and old versions lack whole tables.
MC_EVENT = """CREATE TABLE mc_event (id INTEGER PRIMARY KEY, timestamp TEXT, err_count INTEGER, err_type TEXT,
    err_msg TEXT, label TEXT, mc INTEGER, top_layer INTEGER, middle_layer INTEGER, lower_layer INTEGER,
    address INTEGER, grain INTEGER, syndrome INTEGER, driver_detail TEXT)"""
MCE_RECORD = """CREATE TABLE mce_record (id INTEGER PRIMARY KEY, timestamp TEXT, mcgcap INTEGER, mcgstatus INTEGER,
    status INTEGER, addr INTEGER, misc INTEGER, cpu INTEGER, bank INTEGER, bank_name TEXT, error_msg TEXT)"""
PAGES = """CREATE TABLE memory_failure_event (id INTEGER PRIMARY KEY, timestamp TEXT, pfn TEXT, page_type TEXT,
    action_result TEXT)"""


class Machine:
    """A host with a rasdaemon whose database a test writes."""

    def __init__(self, root: Path, *tables: str) -> None:
        self.root, self.folder, self.clock = root, root / "state", SimulatedClock(NOW)
        (root / PLACE).parent.mkdir(parents=True)
        self.write(*tables)

    def write(self, *statements: str) -> None:
        with closing(sqlite3.connect(self.root / PLACE)) as connection, connection:
            for statement in statements:
                connection.execute(statement)

    def error(
        self,
        detail: str,
        *,
        kind: str = "Corrected",
        label: str = "CPU0_DIMM_A1",
        at: datetime = NOW,
        said: str = "memory read error",
        count: object = 1,
    ) -> None:
        row = (f"{at:%Y-%m-%d %H:%M:%S} +0000", count, kind, said, label, 0, 0, 1, -1, 0x12345000, detail)
        columns = "timestamp, err_count, err_type, err_msg, label, mc, top_layer, middle_layer, lower_layer, address"
        with closing(sqlite3.connect(self.root / PLACE)) as connection, connection:
            statement = f"INSERT INTO mc_event ({columns}, driver_detail) VALUES (?,?,?,?,?,?,?,?,?,?,?)"  # noqa: S608
            connection.execute(statement, row)

    def check(self, status: int) -> None:
        signed = status - 2**64 if status >= 2**63 else status
        self.write(
            "INSERT INTO mce_record (timestamp, status, bank, bank_name, error_msg) "  # noqa: S608
            f"VALUES ('{NOW:%Y-%m-%d %H:%M:%S} +0000', {signed}, 8, 'bank=8', 'Internal parity error')"
        )

    def collector(self, settings: RasdaemonSettings | None = None) -> RasdaemonCollector:
        return RasdaemonCollector(self.root, settings or RasdaemonSettings(), self.folder, self.clock)


def failures(found: list[Collected]) -> list[FailureEvent]:
    return [each for each in found if isinstance(each, FailureEvent)]


@pytest.mark.parametrize(
    ("detail", "address"),
    [
        (" err_code:0x0101:0x0090  socket:0 imc:1 rank:1 bg:2 ba:3 row:0x1f4 col:0x10", (1, 11, 500, 16)),
        ("ChannelId:0 PhysicalRankId:0x1 Row:0x1f4 Column:0x10 Bank:0x3 BankGroup:0x2 ", (1, 11, 500, 16)),
        ("APEI location: node:0 card:0 module:1 rank:1 bank:11 device:3 row:500 column:16 bit_pos:4", (1, 11, 500, 16)),
        ("area:DRAM err_code:0001:0090 socket:0 ha:0 channel_mask:1 rank:1", (1, -1, -1, -1)),
        ("", (-1, -1, -1, -1)),
    ],
)
def test_addresses_are_read_in_the_words_of_each_driver(detail: str, address: tuple[int, int, int, int]) -> None:
    found = parse_address(detail)
    assert (found.rank, found.bank, found.row, found.column) == address


def test_addresses_of_corrected_errors_become_the_fault_mode_of_their_dimm(tmp_path: Path) -> None:
    machine = Machine(tmp_path, MC_EVENT)
    machine.error("rank:0 bg:1 ba:2 row:0x10 col:0x1")
    collector = machine.collector()
    assert find(collector.collect(), "forewarn_dimm_fault_mode") == {"dimm_label=CPU0_DIMM_A1": 1.0}
    machine.error("rank:0 bg:1 ba:2 row:0x10 col:0x9")
    machine.error("rank:0 bg:0 ba:2 row:0x7 col:0x9", label="CPU0_DIMM_B1")
    found = list(collector.collect())
    assert find(found, "forewarn_dimm_fault_mode") == {"dimm_label=CPU0_DIMM_A1": 3.0, "dimm_label=CPU0_DIMM_B1": 1.0}
    assert find(found, "forewarn_dimm_error_addresses")["dimm_label=CPU0_DIMM_A1"] == 2
    assert find(found, "forewarn_rasdaemon_records_total") == {"table=mc_event": 3}


def test_an_agent_that_starts_anew_knows_the_addresses_and_reads_no_row_twice(tmp_path: Path) -> None:
    machine = Machine(tmp_path, MC_EVENT)
    machine.error("rank:0 bg:1 ba:2 row:0x10 col:0x1")
    list(machine.collector().collect())
    machine.write("DELETE FROM mc_event")
    machine.write("INSERT INTO mc_event (id, timestamp, err_type) VALUES (2, 'garbled', 'Corrected')")
    machine.error("rank:0 bg:1 ba:2 row:0x10 col:0x9")
    assert find(machine.collector().collect(), "forewarn_dimm_fault_mode") == {"dimm_label=CPU0_DIMM_A1": 3.0}


@pytest.mark.parametrize(
    ("said", "wide"), [("multi-bit ECC", 1), ("multi-symbol chipkill ECC", 1), ("single-bit ECC", 0)]
)
def test_corrected_errors_of_several_bits_are_counted_and_remembered(tmp_path: Path, said: str, wide: int) -> None:
    machine, name = Machine(tmp_path, MC_EVENT), "forewarn_dimm_multi_bit_errors_total"
    machine.error("rank:0", said=said)
    machine.error("rank:0", said=said, kind="Uncorrected")  # no corrected one
    assert find(machine.collector().collect(), name) == ({"dimm_label=CPU0_DIMM_A1": 1} if wide else {})
    machine.error("rank:0", said=said, count=3)
    machine.error("rank:0", said=said, count="garbled")
    assert find(machine.collector().collect(), name) == ({"dimm_label=CPU0_DIMM_A1": 5} if wide else {})


def test_errors_of_several_bits_are_counted_once_where_another_table_could_not_be_read(tmp_path: Path) -> None:
    machine = Machine(tmp_path, MC_EVENT, MCE_RECORD)
    collector = machine.collector()
    list(collector.collect())
    machine.error("rank:0", said="multi-bit ECC")
    machine.write("ALTER TABLE mce_record RENAME COLUMN id TO number")
    with pytest.raises(SourceAbsent, match="cannot be read"):
        list(collector.collect())
    machine.write("ALTER TABLE mce_record RENAME COLUMN number TO id")
    assert set(find(collector.collect(), "forewarn_dimm_multi_bit_errors_total").values()) == {1}


def test_old_addresses_no_longer_count(tmp_path: Path) -> None:
    machine = Machine(tmp_path, MC_EVENT)
    machine.error("rank:0 ba:2 row:0x10 col:0x1", at=NOW - timedelta(days=29))
    machine.error("rank:0 ba:2 row:0x10 col:0x9")
    collector = machine.collector()
    assert find(collector.collect(), "forewarn_dimm_fault_mode") == {"dimm_label=CPU0_DIMM_A1": 3.0}
    machine.clock.sleep(2 * 86_400)
    assert find(collector.collect(), "forewarn_dimm_fault_mode") == {"dimm_label=CPU0_DIMM_A1": 1.0}


def test_the_first_look_reads_the_newest_rows_alone_and_tells_no_old_failure(tmp_path: Path) -> None:
    machine = Machine(tmp_path, MC_EVENT)
    for row in range(5):
        machine.error(f"rank:0 ba:2 row:{row} col:0x1", kind="Uncorrected" if row == 4 else "Corrected")
    collector = machine.collector(RasdaemonSettings(rows_max=3))
    found = list(collector.collect())
    assert find(found, "forewarn_dimm_error_addresses") == {"dimm_label=CPU0_DIMM_A1": 2}
    assert failures(found) == []


def test_an_uncorrected_error_is_a_failure_of_its_dimm_once(tmp_path: Path) -> None:
    machine = Machine(tmp_path, MC_EVENT)
    collector = machine.collector()
    list(collector.collect())
    machine.error("rank:0", kind="Uncorrected")
    [event] = failures(list(collector.collect()))
    assert (event.time, event.kind, event.component) == (NOW, Kind.MEMORY, "memory:/CPU0_DIMM_A1")
    assert (event.source, event.confidence) == ("rasdaemon", 0.9)
    assert failures(list(collector.collect())) == failures(list(machine.collector().collect())) == []


def test_uncorrected_machine_checks_are_failures_of_cpu_or_memory_and_corrected_ones_are_counted(
    tmp_path: Path,
) -> None:
    machine = Machine(tmp_path, MCE_RECORD, PAGES)
    collector = machine.collector()
    list(collector.collect())
    machine.check(0x9C00000000010091)  # corrected, of a memory controller
    machine.check(0xBE00000000800400)  # uncorrected, context corrupt
    machine.check(0xBC00000000000091)  # uncorrected, of a memory controller
    found = list(collector.collect())
    kinds = [(event.kind, event.component, event.confidence) for event in failures(found)]
    assert kinds == [(Kind.CPU, "cpu:/cpu", 0.9), (Kind.MEMORY, "", 0.6)]
    assert find(found, "forewarn_rasdaemon_records_total") == {"table=mce_record": 3, "table=memory_failure_event": 0}


def test_what_was_read_before_another_table_could_not_be_is_told_once_it_can(tmp_path: Path) -> None:
    machine = Machine(tmp_path, MC_EVENT, MCE_RECORD)
    collector = machine.collector()
    list(collector.collect())
    machine.error("rank:0", kind="Uncorrected")
    machine.write("ALTER TABLE mce_record RENAME COLUMN id TO number")
    with pytest.raises(SourceAbsent, match="cannot be read"):
        list(collector.collect())
    machine.write("ALTER TABLE mce_record RENAME COLUMN number TO id")
    assert len(failures(list(collector.collect()))) == 1


def test_a_database_that_was_made_anew_is_read_from_its_beginning(tmp_path: Path) -> None:
    machine = Machine(tmp_path, MC_EVENT)
    for row in range(4):
        machine.error(f"rank:0 ba:2 row:{row} col:0x1")
    collector = machine.collector()
    list(collector.collect())
    (tmp_path / PLACE).unlink()
    machine.write(MC_EVENT)
    machine.error("rank:0", kind="Uncorrected")
    assert len(failures(list(collector.collect()))) == 1


def test_other_columns_and_missing_tables_are_no_trouble(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "CREATE TABLE mc_event (id INTEGER PRIMARY KEY, timestamp TEXT, ppin INTEGER)")
    machine.write("INSERT INTO mc_event (timestamp) VALUES ('2026-01-05 10:00:00 +0000')")
    assert find(machine.collector().collect(), "forewarn_rasdaemon_records_total") == {"table=mc_event": 1}


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"rows": [], "addresses": {}}', '{"rows": {}}'])
def test_what_was_remembered_and_got_damaged_is_as_if_never_seen(tmp_path: Path, damage: str) -> None:
    machine = Machine(tmp_path, MC_EVENT)
    machine.folder.mkdir()
    (machine.folder / FILE).write_text(damage)
    machine.error("rank:0", kind="Uncorrected")
    assert failures(list(machine.collector().collect())) == []


def test_without_a_database_or_with_a_damaged_one_it_is_absent_and_says_why(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    (tmp_path / PLACE).unlink(missing_ok=True)
    with pytest.raises(SourceAbsent, match="rasdaemon does not run here"):
        list(machine.collector().collect())
    (tmp_path / PLACE).write_bytes(b"no database" * 100)
    with pytest.raises(SourceAbsent, match="cannot be read: file is not a database"):
        list(machine.collector().collect())


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    machine = Machine(tmp_path, MC_EVENT)
    (tmp_path / "state").touch()
    with pytest.raises(SourceAbsent, match="cannot be kept"):
        list(machine.collector().collect())
