"""Sensors, energy and power supplies on frozen machines, named as node_exporter names them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from forewarn.collect.power import PowerCollector, PowerSettings, hwmon_name
from forewarn.errors import ConfigurationError, SourceAbsent
from tests.frozen import find, unreadable


def test_cpu_temperatures_stand_under_the_chip_of_their_socket(machines: Path) -> None:
    celsius = find(PowerCollector(machines / "two-socket-server").collect(), "node_hwmon_temp_celsius")
    assert celsius["chip=platform_coretemp_0 sensor=temp1"] == pytest.approx(51.5)
    assert celsius["chip=platform_coretemp_1 sensor=temp1"] == pytest.approx(60.5)
    assert celsius["chip=nvme_nvme0 sensor=temp1"] == pytest.approx(37.85)


def test_an_amd_sensor_keeps_the_colons_of_its_address(machines: Path) -> None:
    samples = list(PowerCollector(machines / "amd-box").collect())
    assert find(samples, "node_hwmon_temp_celsius")["chip=pci0000:00_0000:00:18_3 sensor=temp1"] == 48.125
    assert "chip=pci0000:00_0000:00:18_3 chip_name=k10temp" in find(samples, "node_hwmon_chip_names")
    labels = find(samples, "node_hwmon_sensor_label")
    assert "chip=pci0000:00_0000:00:18_3 label=Tctl sensor=temp1" in labels


def test_chips_that_shall_be_left_alone_are_not_read(machines: Path) -> None:
    settings = PowerSettings(chips_ignored="platform_coretemp_.*")
    celsius = find(PowerCollector(machines / "two-socket-server", settings).collect(), "node_hwmon_temp_celsius")
    assert celsius
    assert not [series for series in celsius if "coretemp" in series]
    with pytest.raises(ConfigurationError, match=r"agent\.power\.chips_ignored is no regular expression"):
        PowerCollector(machines / "two-socket-server", PowerSettings("("))


def test_chips_without_device_or_name_and_two_on_one_device_are_told_apart(machines: Path) -> None:
    samples = list(PowerCollector(machines / "amd-box").collect())
    assert find(samples, "node_hwmon_fan_rpm") == {"chip=hwmon3 sensor=fan1": 880}
    assert find(samples, "node_hwmon_temp_celsius")["chip=it8688 sensor=temp1"] == 33
    assert set(find(samples, "node_hwmon_pwm_enable")) == {
        "chip=platform_asus_nb_wmi_asus sensor=pwm1",
        "chip=platform_asus_nb_wmi_asus_wmi_sensors sensor=pwm1",
    }


def test_every_kind_of_sensor_has_its_unit(machines: Path) -> None:
    samples = list(PowerCollector(machines / "two-socket-server").collect())
    found = {
        sample.name.removeprefix("node_hwmon_") + " " + sample.labels["sensor"]: sample.value
        for sample in samples
        if sample.labels.get("chip") == "platform_nct6775_656" and "sensor" in sample.labels
    }
    assert found == pytest.approx(
        {
            "in_volts in0": 0.888,
            "in_min_volts in0": 0.0,
            "in_max_volts in0": 1.744,
            "in_alarm in0": 0.0,
            "in_beep_enabled in0": 0.0,
            "in_volts in1": 1.008,
            "in_alarm in1": 1.0,
            "fan_rpm fan1": 1155.0,
            "fan_min_rpm fan1": 300.0,
            "fan_alarm fan1": 0.0,
            "fan_pulses fan1": 2.0,
            "fan_rpm fan2": 0.0,
            "fan_fault fan2": 1.0,
            "pwm pwm1": 153.0,
            "pwm_enable pwm1": 5.0,
            "curr_amps curr1": 2.5,
            "power_average_watt power1": 231.0,
            "power_average_interval_seconds power1": 1.0,
            "energy_joule_total energy1": 99.0,
            "humidity humidity1": 0.045,
            "intrusion_alarm intrusion0": 1.0,
        }
    )


def test_a_frequency_stands_under_its_label_where_it_has_one(machines: Path) -> None:
    megahertz = find(PowerCollector(machines / "amd-box").collect(), "node_hwmon_freq_freq_mhz")
    assert megahertz == pytest.approx(
        {"chip=pci0000:00_0000:08:00_0 sensor=sclk": 400, "chip=pci0000:00_0000:08:00_0 sensor=freq2": 1600}
    )


def test_a_temperatures_type_is_no_temperature() -> None:
    assert hwmon_name("temp", "type") == ("node_hwmon_temp_type", 1.0)


def test_energy_is_told_in_joules_by_package_and_part(machines: Path) -> None:
    samples = list(PowerCollector(machines / "two-socket-server").collect())
    assert find(samples, "node_rapl_package_joules_total") == pytest.approx(
        {
            "index=0 path=/sys/class/powercap/intel-rapl:0": 240422.366267,
            "index=1 path=/sys/class/powercap/intel-rapl:1": 240422.366268,
        }
    )
    assert set(find(samples, "node_rapl_dram_joules_total")) == {
        "index=0 path=/sys/class/powercap/intel-rapl:0:0",
        "index=1 path=/sys/class/powercap/intel-rapl:1:0",
    }


def test_power_supplies_are_told_with_their_identity(machines: Path) -> None:
    samples = list(PowerCollector(machines / "amd-box").collect())
    assert find(samples, "node_power_supply_online") == {"power_supply=AC": 1, "power_supply=UPS0": 1}
    assert find(samples, "node_power_supply_voltage_volt") == pytest.approx({"power_supply=UPS0": 13.6})
    assert find(samples, "node_power_supply_temp_celsius") == pytest.approx({"power_supply=UPS0": 29.1})
    assert "power_supply=AC type=Mains" in find(samples, "node_power_supply_info")


def test_thermal_zones_and_cooling_devices_are_told(thaw: Callable[[str], Path]) -> None:
    root = thaw("two-socket-server")
    samples = list(PowerCollector(root).collect())
    assert find(samples, "node_thermal_zone_temp") == {"type=x86_pkg_temp zone=0": 51}
    assert find(samples, "node_cooling_device_cur_state") == {"name=0 type=Processor": 1}
    (root / "sys/class/thermal/thermal_zone0/temp").unlink()
    (root / "sys/class/thermal/cooling_device0/max_state").unlink()
    after = list(PowerCollector(root).collect())
    assert find(after, "node_thermal_zone_temp") == find(after, "node_cooling_device_max_state") == {}


def test_a_sensor_that_vanishes_refuses_or_babbles_is_absent_and_hides_no_other(thaw: Callable[[str], Path]) -> None:
    root = thaw("two-socket-server")
    collector = PowerCollector(root)
    before = find(collector.collect(), "node_hwmon_temp_celsius")
    chip = root / "sys/class/hwmon/hwmon1"
    (chip / "temp1_input").unlink()
    unreadable(chip / "temp2_input")
    (chip / "temp3_input").write_text("N/A\n")
    (chip / "temp3_label").write_text("\n")
    unreadable(root / "sys/class/powercap/intel-rapl:0/energy_uj")
    after = list(collector.collect())
    lost = before.keys() - find(after, "node_hwmon_temp_celsius").keys()
    assert lost == {f"chip=platform_coretemp_0 sensor=temp{number}" for number in (1, 2, 3)}
    assert set(find(after, "node_rapl_package_joules_total")) == {"index=1 path=/sys/class/powercap/intel-rapl:1"}
    assert find(after, "forewarn_collector_refused") == {
        "collector=power why=input/output error": 2,
        "collector=power why=not a number": 1,
    }


def test_a_supply_without_any_word_is_none(thaw: Callable[[str], Path]) -> None:
    root = thaw("amd-box")
    (root / "sys/class/power_supply/EMPTY").mkdir()
    assert len(find(PowerCollector(root).collect(), "node_power_supply_info")) == 2


def test_a_vm_without_sensors_has_none_and_says_which(machines: Path) -> None:
    told = PowerCollector(machines / "bare-vm").collect()
    sources = [next(told).labels["source"] for _ in range(4)]
    assert sources == ["hwmon", "rapl", "power_supply", "thermal"]
    with pytest.raises(SourceAbsent, match="no hwmon, RAPL, power_supply or thermal sensor"):
        next(told)
