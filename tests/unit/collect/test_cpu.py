"""CPU time, clock and throttling, on frozen machines."""

from collections.abc import Callable
from pathlib import Path

import pytest

from forewarn.collect.cpu import CpuCollector, CpuSettings, parse_interrupts, parse_stat
from forewarn.errors import SourceAbsent
from tests.frozen import find, unreadable


def test_time_is_told_in_seconds_by_cpu_and_mode(machines: Path) -> None:
    times = find(CpuCollector(machines / "bare-vm").collect(), "node_cpu_seconds_total")
    assert times == {
        "cpu=0 mode=user": 1.0,
        "cpu=0 mode=nice": 0.0,
        "cpu=0 mode=system": 0.5,
        "cpu=0 mode=idle": 9.0,
        "cpu=0 mode=iowait": 0.03,
        "cpu=0 mode=irq": 0.0,
        "cpu=0 mode=softirq": 0.01,
        "cpu=0 mode=steal": 0.07,
    }


def test_an_old_kernel_with_fewer_columns_gives_what_it_has() -> None:
    samples = list(parse_stat("cpu 1 2\ncpu0 100 x 50\n\ncpuidle 3\nintr 5"))
    assert find(samples, "node_cpu_seconds_total") == {"cpu=0 mode=user": 1.0, "cpu=0 mode=system": 0.5}
    assert find(samples, "node_cpu_guest_seconds_total") == {}


def test_threads_of_one_core_count_its_throttling_once(machines: Path) -> None:
    samples = list(CpuCollector(machines / "two-socket-server").collect())
    assert find(samples, "node_cpu_core_throttles_total") == {
        "core=0 package=0": 0,
        "core=1 package=0": 0,
        "core=0 package=1": 3,
        "core=1 package=1": 0,
    }
    assert find(samples, "node_cpu_package_throttles_total") == {"package=0": 0, "package=1": 17}


def test_the_clock_is_told_in_hertz_with_its_bounds(machines: Path) -> None:
    samples = list(CpuCollector(machines / "amd-box").collect())
    assert find(samples, "node_cpu_scaling_frequency_hertz")["cpu=3"] == 3.1e9
    assert find(samples, "node_cpu_scaling_frequency_max_hertz")["cpu=3"] == 4.65e9
    assert find(samples, "node_cpu_frequency_hertz")["cpu=0"] == 3.4e9


def test_clocks_may_be_left_unread(machines: Path) -> None:
    names = {sample.name for sample in CpuCollector(machines / "amd-box", CpuSettings(clocks=False)).collect()}
    assert "node_cpu_seconds_total" in names
    assert not [name for name in names if "hertz" in name]


def test_a_vm_without_clock_and_throttle_counters_shows_none(machines: Path) -> None:
    samples = list(CpuCollector(machines / "bare-vm").collect())
    assert not any("hertz" in sample.name or "throttles" in sample.name for sample in samples)
    assert find(samples, "forewarn_source_up") == {
        "collector=cpu source=stat": 1,
        "collector=cpu source=cpufreq": 0,
        "collector=cpu source=thermal_throttle": 0,
        "collector=cpu source=interrupts": 0,
    }


def test_a_counter_that_vanishes_between_two_reads_is_gone_and_nothing_else(thaw: Callable[[str], Path]) -> None:
    root = thaw("two-socket-server")
    collector = CpuCollector(root)
    before = list(collector.collect())
    (root / "sys/devices/system/cpu/cpu4/cpufreq/scaling_cur_freq").unlink()
    after = list(collector.collect())
    lost = {(s.name, s.labels["cpu"]) for s in before if "cpu" in s.labels} - {
        (s.name, s.labels["cpu"]) for s in after if "cpu" in s.labels
    }
    assert lost == {("node_cpu_scaling_frequency_hertz", "4")}


def test_a_clock_that_cannot_be_read_is_counted_not_zero(thaw: Callable[[str], Path]) -> None:
    root = thaw("amd-box")
    unreadable(root / "sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq")
    (root / "sys/devices/system/cpu/cpu2/cpufreq/scaling_cur_freq").write_text("<unknown>\n")
    samples = list(CpuCollector(root).collect())
    assert set(find(samples, "node_cpu_scaling_frequency_hertz")) == {"cpu=0", "cpu=3"}
    assert find(samples, "forewarn_collector_refused") == {
        "collector=cpu why=input/output error": 1,
        "collector=cpu why=not a number": 1,
    }


def test_without_any_source_the_collector_is_absent(tmp_path: Path) -> None:
    with pytest.raises(SourceAbsent, match="no CPU telemetry"):
        list(CpuCollector(tmp_path).collect())


def test_machine_checks_and_heat_are_counted_by_cpu_and_nothing_else_is(machines: Path) -> None:
    counts = find(CpuCollector(machines / "two-socket-server").collect(), "node_interrupts_total")
    assert {key.rpartition("type=")[2] for key in counts} == {"MCE", "DFR", "THR", "TRM"}
    assert counts["cpu=3 devices= info=Machine check exceptions type=MCE"] == 1
    assert counts["cpu=2 devices= info=Thermal event interrupts type=TRM"] == 7


@pytest.mark.parametrize("text", ["", "CPU0 CPU1\n MCE:", "CPU0\nMCE: x", "MCE: 5", "CPU0\n ERR: 0\nMCE 4"])
def test_interrupts_that_are_cut_short_give_nothing(text: str) -> None:
    assert list(parse_interrupts(text)) == []


def test_each_cpu_is_told_by_package_and_core_and_read_once(thaw: Callable[[str], Path]) -> None:
    root = thaw("two-socket-server")
    collector = CpuCollector(root)
    first = [sample.labels for sample in collector.collect() if sample.name == "node_cpu_info"]
    assert [(labels["cpu"], labels["package"], labels["core"]) for labels in first] == [
        ("0", "0", "0"),
        ("1", "0", "1"),
        ("2", "1", "0"),
        ("3", "1", "1"),
    ]
    assert {labels["model_name"] for labels in first} == {"Intel(R) Xeon(R) Gold 6230 CPU @ 2.10GHz"}
    (root / "proc/cpuinfo").unlink()
    assert [sample.labels for sample in collector.collect() if sample.name == "node_cpu_info"] == first


def test_time_throttled_and_cpus_offline_are_told(thaw: Callable[[str], Path]) -> None:
    root = thaw("two-socket-server")
    (root / "sys/devices/system/cpu/cpu1/online").write_text("0\n")
    samples = list(CpuCollector(root).collect())
    assert find(samples, "forewarn_cpu_package_throttled_seconds_total") == {"package=0": 0, "package=1": 91}
    assert find(samples, "forewarn_cpu_core_throttled_seconds_total")["core=0 package=1"] == 1.5
    assert find(samples, "node_cpu_online") == {"cpu=1": 0}
