"""Memory use and EDAC's error counts, on frozen machines with either layout of sysfs."""

import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from forewarn.collect.firmware_first import corrected_by_firmware
from forewarn.collect.memory import FirmwareFirst, MemoryCollector, MemorySettings, parse_meminfo
from forewarn.errors import SourceAbsent
from tests.frozen import find, unreadable

CORRECTED = "node_edac_channel_correctable_errors_total"
UNCORRECTED = "node_edac_channel_uncorrectable_errors_total"


def test_usage_is_told_in_bytes_and_counts_stay_counts() -> None:
    text = "MemTotal:  2048 kB\nActive(anon): 4 kB\nHugePages_Total:  128\nBroken: kB\nEmpty:\nno colon\n"
    assert [(sample.name, sample.value) for sample in parse_meminfo(text)] == [
        ("node_memory_MemTotal_bytes", 2048 * 1024),
        ("node_memory_Active_anon_bytes", 4096),
        ("node_memory_HugePages_Total", 128),
    ]


def test_a_module_in_both_layouts_counts_once_with_its_own_uncorrected_errors(machines: Path) -> None:
    samples = list(MemoryCollector(machines / "two-socket-server").collect())
    bad = "channel=1 controller=1 csrow=0 dimm_label=CPU_SrcID#1_MC#0_Chan#1_DIMM#0"
    assert find(samples, CORRECTED)[bad] == 42
    assert find(samples, UNCORRECTED)[bad] == 1
    assert len(find(samples, CORRECTED)) == len(find(samples, UNCORRECTED)) == 4
    assert sum(find(samples, CORRECTED).values()) == 42
    assert find(samples, "node_edac_correctable_errors_total") == {"controller=0": 0, "controller=1": 42}


def test_uncorrected_errors_of_a_shared_row_are_nobodys_and_of_a_single_module_its_own(machines: Path) -> None:
    samples = list(MemoryCollector(machines / "amd-box").collect())
    assert find(samples, UNCORRECTED) == {"channel=0 controller=0 csrow=1 dimm_label=mc0_csrow1_channel0": 2}
    assert find(samples, CORRECTED) == {
        "channel=0 controller=0 csrow=0 dimm_label=DIMM_A1": 4,
        "channel=1 controller=0 csrow=0 dimm_label=DIMM_B1": 0,
        "channel=0 controller=0 csrow=1 dimm_label=mc0_csrow1_channel0": 0,
    }
    assert find(samples, "node_edac_csrow_correctable_errors_total")["controller=0 csrow=unknown"] == 1


def test_a_kernel_without_rows_is_read_by_its_modules(thaw: Callable[[str], Path]) -> None:
    root = thaw("two-socket-server")
    controller = root / "sys/devices/system/edac/mc/mc1"
    for file in sorted((controller / "csrow0").iterdir()):
        file.unlink()
    (controller / "csrow0").rmdir()
    (controller / "dimm0/dimm_label").write_text("\n")
    corrected = find(MemoryCollector(root).collect(), CORRECTED)
    assert corrected["channel=1 controller=1 csrow=0 dimm_label=CPU_SrcID#1_MC#0_Chan#1_DIMM#0"] == 42
    assert corrected["channel=0 controller=1 csrow=0 dimm_label=mc1_csrow0_channel0"] == 0


def test_a_module_whose_own_count_is_not_kept_has_the_rows(thaw: Callable[[str], Path]) -> None:
    root = thaw("two-socket-server")
    module = root / "sys/devices/system/edac/mc/mc1/dimm1"
    (module / "dimm_ce_count").unlink()
    (module / "dimm_ue_count").unlink()
    samples = list(MemoryCollector(root).collect())
    bad = "channel=1 controller=1 csrow=0 dimm_label=CPU_SrcID#1_MC#0_Chan#1_DIMM#0"
    assert find(samples, CORRECTED)[bad] == 42
    assert bad not in find(samples, UNCORRECTED)


def test_a_machine_without_edac_shows_no_error_counts_and_says_so(machines: Path) -> None:
    samples = list(MemoryCollector(machines / "bare-vm").collect())
    assert not any(sample.name.startswith("node_edac") for sample in samples)
    assert find(samples, "forewarn_source_up") == {
        "collector=memory source=meminfo": 1,
        "collector=memory source=edac": 0,
    }


def test_a_count_that_cannot_be_read_or_vanishes_is_absent(thaw: Callable[[str], Path]) -> None:
    root = thaw("amd-box")
    row = root / "sys/devices/system/edac/mc/mc0/csrow0"
    unreadable(row / "ch0_ce_count")
    (row / "ch1_ce_count").unlink()
    (row / "ce_count").write_text("four\n")
    samples = list(MemoryCollector(root).collect())
    assert set(find(samples, CORRECTED)) == {"channel=0 controller=0 csrow=1 dimm_label=mc0_csrow1_channel0"}
    assert find(samples, "forewarn_collector_refused") == {
        "collector=memory why=input/output error": 1,
        "collector=memory why=not a number": 1,
    }


def test_without_usage_and_edac_the_collector_is_absent(tmp_path: Path) -> None:
    with pytest.raises(SourceAbsent, match="no memory telemetry"):
        list(MemoryCollector(tmp_path).collect())


def hest(*sources: tuple[int, int, int]) -> bytes:
    """An ACPI table HEST with these error sources: type, flags, size."""
    rows = b"".join(struct.pack("<HHHB", kind, 0, 0, flags).ljust(size, b"\0") for kind, flags, size in sources)
    return b"HEST".ljust(36, b"\0") + struct.pack("<I", len(sources)) + rows


def test_an_operator_may_say_whether_the_firmware_takes_errors_first(thaw: Callable[[str], Path]) -> None:
    root = thaw("two-socket-server")
    said = list(MemoryCollector(root, MemorySettings(FirmwareFirst.YES)).collect())
    assert find(said, "forewarn_memory_firmware_first") == {"by=setting": 1.0}
    assert 0 not in find(said, CORRECTED).values()
    for mc in (root / "sys/devices/system/edac/mc").glob("mc*"):
        (mc / "mc_name").write_text("ghes_edac\n")
    denied = list(MemoryCollector(root, MemorySettings(FirmwareFirst.NO)).collect())
    assert find(denied, "forewarn_memory_firmware_first") == {}
    assert 0 in find(denied, CORRECTED).values()


@pytest.mark.parametrize("by", ["ghes_edac", "HEST"])
def test_where_the_firmware_takes_errors_first_zero_corrected_errors_are_not_told(
    thaw: Callable[[str], Path], by: str
) -> None:
    root = thaw("two-socket-server")
    healthy = list(MemoryCollector(root).collect())
    before = find(healthy, CORRECTED)
    zeros = {key for key, count in before.items() if count == 0}
    assert zeros
    if by == "HEST":
        (root / "sys/firmware/acpi/tables").mkdir(parents=True)
        (root / "sys/firmware/acpi/tables/HEST").write_bytes(hest((0, 1, 40), (1, 1, 48), (9, 0, 64)))
    else:
        for mc in (root / "sys/devices/system/edac/mc").glob("mc*"):
            (mc / "mc_name").write_text("ghes_edac\n")
    found = list(MemoryCollector(root).collect())
    after = find(found, CORRECTED)
    assert before.keys() - after.keys() == zeros
    assert find(found, "forewarn_memory_firmware_first") == {f"by={by}": 1.0}
    assert find(found, UNCORRECTED) == find(healthy, UNCORRECTED)


@pytest.mark.parametrize(
    ("table", "first"),
    [
        (hest((1, 1, 48)), True),
        (hest((1, 0, 48)), False),
        (hest((0, 1, 40), (2, 0, 20), (6, 1, 48), (7, 1, 44), (8, 1, 56), (9, 0, 64), (10, 0, 92), (1, 1, 48)), True),
        (hest((9, 0, 64), (10, 0, 92)), False),  # somebody tells of errors; who takes corrected ones is not said
        (hest((99, 0, 8), (1, 1, 48)), False),  # beyond a source that is not known nothing can be read
        (hest((1, 1, 48))[:60], False),
        (b"", False),
    ],
    ids=["taken", "left", "after others", "only told", "unknown source", "breaks off", "empty"],
)
def test_the_table_of_error_sources_says_who_takes_corrected_errors(table: bytes, first: bool) -> None:
    assert corrected_by_firmware(table) is first


def test_error_sources_that_list_banks_are_passed_whole() -> None:
    with_banks = hest((1, 0, 48 + 2 * 28), (1, 1, 48))
    held = bytearray(with_banks)
    held[40 + 44] = 2
    assert corrected_by_firmware(bytes(held))


def test_firmware_first_that_is_switched_off_is_none(thaw: Callable[[str], Path]) -> None:
    root = thaw("two-socket-server")
    for file, content in (
        ("sys/firmware/acpi/tables/HEST", hest((1, 1, 48))),
        ("sys/module/ghes/parameters/disable", b"Y\n"),
    ):
        (root / file).parent.mkdir(parents=True)
        (root / file).write_bytes(content)
    assert find(MemoryCollector(root).collect(), "forewarn_memory_firmware_first") == {}


def test_modules_say_what_they_are_and_nodes_which_pages_failed(thaw: Callable[[str], Path]) -> None:
    root = thaw("two-socket-server")
    folder = root / "sys/devices/system/edac/mc/mc0/dimm0"
    (folder / "dimm_dev_type").write_text("x4\n")
    label = (folder / "dimm_label").read_text().strip()
    pages = root / "sys/devices/system/node/node1/memory_failure"
    pages.mkdir(parents=True)
    (pages / "recovered").write_text("3\n")
    found = list(MemoryCollector(root).collect())
    [key] = [key for key in find(found, "forewarn_dimm_info") if f"dimm_label={label}" in key]
    assert "controller=0 dev_type=x4" in key
    assert find(found, "forewarn_memory_failure_pages_total") == {"node=1 result=recovered": 3}
