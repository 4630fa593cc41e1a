"""Samples as text that any Prometheus reads."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forewarn.collect.exposition import Page, format_value, help_for, type_of, write
from forewarn.domain.telemetry import Sample

LINE = re.compile(r'([a-z_]+)(?:\{((?:[a-z_]+="(?:[^"\\\n]|\\.)*",?)*)\})? (\S+)')


def test_families_stand_together_with_help_and_type() -> None:
    samples = [
        Sample("node_network_up", {"device": "eth0"}, 1.0),
        Sample("node_edac_correctable_errors_total", {}, 3.0),
        Sample("node_network_up", {"device": "eth1"}, 0.0),
    ]
    assert write(samples) == (
        "# HELP node_edac_correctable_errors_total Memory errors that EDAC counted\n"
        "# TYPE node_edac_correctable_errors_total counter\n"
        "node_edac_correctable_errors_total 3\n"
        "# HELP node_network_up 1 while the link is up\n"
        "# TYPE node_network_up gauge\n"
        'node_network_up{device="eth0"} 1\n'
        'node_network_up{device="eth1"} 0\n'
    )


def test_nothing_is_an_empty_text() -> None:
    assert write([]) == ""


def test_labels_are_in_order_and_what_would_break_a_line_is_escaped() -> None:
    text = write([Sample("x", {"b": 'say "hi"\n', "a": "C:\\"}, 1.0)])
    assert text.splitlines()[-1] == r'x{a="C:\\",b="say \"hi\"\n"} 1'


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0.0, "0"),
        (-3.0, "-3"),
        (0.5, "0.5"),
        (9230082287649927.0, "9230082287649928.0"),
        (1e300, "1e+300"),
        (float("nan"), "NaN"),
        (float("inf"), "+Inf"),
        (float("-inf"), "-Inf"),
    ],
)
def test_values_are_written_so_that_they_are_read_back_exactly(value: float, written: str) -> None:
    assert format_value(value) == written


@given(st.floats())
def test_every_value_survives_the_way_there_and_back(value: float) -> None:
    assert float(format_value(value)) == value or value != value


@given(st.dictionaries(st.sampled_from("abc"), st.text()))
def test_every_label_survives_the_way_there_and_back(labels: dict[str, str]) -> None:
    line = write([Sample("x", labels, 1.0)]).removeprefix("# HELP x x\n# TYPE x gauge\n")
    assert line.count("\n") == 1
    found = LINE.fullmatch(line[:-1])
    assert found
    pairs = re.findall(r'([a-z_]+)="((?:[^"\\]|\\.)*)"', found[2] or "", re.DOTALL)
    unescape = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}
    read = {key: re.sub(r'\\[\\"n]', lambda match: unescape[match[0]], text) for key, text in pairs}
    assert read == labels


SERIES = st.sampled_from([("x", {"cpu": "0"}), ("x", {"cpu": "1"}), ("x", {}), ("y", {"cpu": "0"})])
ROUNDS = st.lists(st.lists(st.tuples(SERIES, st.floats()), max_size=4), max_size=6)


@given(ROUNDS)
def test_a_page_shows_each_round_as_if_it_were_the_first(
    rounds: list[list[tuple[tuple[str, dict[str, str]], float]]],
) -> None:
    page = Page()
    for shown in rounds:
        samples = [Sample(name, dict(labels), value) for (name, labels), value in shown]
        assert page.write(samples) == write(samples)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("node_cpu_seconds_total", "counter"),
        ("node_memory_MemTotal_bytes", "gauge"),
        ("smartctl_device_power_on_seconds", "counter"),
        ("smartctl_read_total_uncorrected_errors", "counter"),
        ("smartctl_device_temperature", "gauge"),
    ],
)
def test_types_are_those_of_the_exporters(name: str, kind: str) -> None:
    assert type_of(name) == kind


def test_help_is_the_catalogues_else_that_of_the_longest_prefix_else_the_name() -> None:
    assert help_for("node_memory_MemAvailable_bytes") == "memory that the host can still give"
    assert help_for("node_cpu_guest_seconds_total").startswith("Seconds the CPUs spent in guests")
    assert help_for("node_cpu_core_flips") == "CPU statistic of /proc/stat or cpufreq"
    assert help_for("unheard_of") == "unheard_of"
