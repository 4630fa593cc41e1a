"""Whatever a kernel file answers, reading it gives a value, or nothing and a reason."""

from pathlib import Path

import pytest

from forewarn.collect.tree import Tree, label_text, parse_number


def test_a_file_that_is_absent_is_silence_and_no_problem(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    assert tree.text("proc/stat") is None
    assert tree.number("proc/stat") is None
    assert tree.names("sys") == []
    assert not tree.refused


def test_a_file_that_refuses_to_be_read_is_counted_by_its_reason(tmp_path: Path) -> None:
    (tmp_path / "energy_uj").symlink_to("/proc/self/mem")
    (tmp_path / "loop").symlink_to("loop")
    tree = Tree(tmp_path)
    assert tree.number("energy_uj") is None
    assert tree.text("loop") is None
    assert tree.names("loop") == []
    assert tree.refused == {"input/output error": 1, "too many levels of symbolic links": 2}


def test_what_is_no_number_is_counted_and_never_zero(tmp_path: Path) -> None:
    (tmp_path / "temp").write_text("<unknown>\n")
    (tmp_path / "hex").write_text("0x1f\n")
    tree = Tree(tmp_path)
    assert tree.number("temp") is None
    assert tree.number("hex", base=16) == 31
    assert tree.refused == {"not a number": 1}


def test_a_report_tells_what_was_refused_once(tmp_path: Path) -> None:
    (tmp_path / "temp").write_text("hot")
    tree = Tree(tmp_path)
    tree.number("temp")
    first = [(sample.name, sample.labels, sample.value) for sample in tree.report("power", [("hwmon", False)])]
    assert first == [
        ("forewarn_source_up", {"collector": "power", "source": "hwmon"}, 0.0),
        ("forewarn_collector_refused", {"collector": "power", "why": "not a number"}, 1.0),
    ]
    assert [sample.name for sample in tree.report("power", [])] == []


def test_entries_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for name in ("cpu10", "cpu2", "cpufreq", "cpu0"):
        (tmp_path / name).mkdir()
    assert Tree(tmp_path).numbered("", "cpu") == ["cpu0", "cpu2", "cpu10"]


@pytest.mark.parametrize("text", ["", "nan", "inf", "-inf", "1e999", "12 34", "0x1f", "९x"])
def test_only_finite_numbers_are_numbers(text: str) -> None:
    assert parse_number(text) is None


def test_a_label_can_be_written_whatever_it_was_made_of() -> None:
    assert label_text("a\ud800\0\n  b") == "a? b"
    assert len(label_text("x" * 1000)) == 200
