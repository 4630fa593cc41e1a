"""The part of the metric catalogue that tells of power: supplies, the board's rails, and the energy that CPUs use.

Sensors of supplies are ipmi_exporter's, whichever way a BMC was asked; what a supply says of itself is our own.
"""

from forewarn.domain.inventory import Kind
from forewarn.domain.telemetry import Combine, Metric


def _psu(key: str, name: str, sensor: str, help_text: str, unit: str, combine: Combine = Combine.AVG) -> Metric:
    where = (("name", f"(?i)(PSU|PS) ?[0-9].*({sensor}).*"),)
    return Metric(
        key,
        Kind.POWER,
        name,
        help_text,
        unit,
        where=where,
        device_label="name",
        device_pattern="(?i)((?:PSU|PS) ?[0-9]+)",
        combine=combine,
    )


def _psu_says(what: str, help_text: str, combine: Combine = Combine.MAX) -> Metric:
    return Metric(
        f"psu_{what}",
        Kind.POWER,
        f"forewarn_psu_{what}",
        help_text,
        device_label="name",
        device_pattern="(?i)((?:PSU|PS) ?[0-9]+)",
        combine=combine,
    )


POWER_METRICS = (
    _psu("psu_output_volts", "ipmi_voltage_volts", "Vout|V_OUT|Output|12V", "output voltage of the supply", "volts"),
    _psu("psu_input_volts", "ipmi_voltage_volts", "Vin|V_IN|Input|AC", "input voltage of the supply", "volts"),
    _psu("psu_amperes", "ipmi_current_amperes", ".*", "output current of the supply", "amperes"),
    _psu("psu_temperature", "ipmi_temperature_celsius", ".*", "temperature of the supply", "celsius", Combine.MAX),
    _psu("psu_fan_speed", "ipmi_fan_speed_rpm", ".*", "fan speed of the supply", "rpm", Combine.MIN),
    _psu(
        "psu_state",
        "ipmi_sensor_state",
        ".*",
        "state of the supply's sensors: 0 good, 1 warning, 2 critical",
        "",
        Combine.MAX,
    ),
    _psu_says("present", "1 where the supply is in its place", Combine.MIN),
    _psu_says("input_lost", "1 while the supply has no mains, which says nothing of the supply itself"),
    _psu_says("failed", "1 where the supply reports that it failed"),
    _psu_says("failure_predicted", "1 where the supply predicts its failure"),
    Metric(
        "board_volts_alarm",
        Kind.POWER,
        "node_hwmon_in_alarm",
        "voltage alarms of the board",
        combine=Combine.SUM,
    ),
    Metric(
        "board_volts",
        Kind.POWER,
        "node_hwmon_in_volts",
        "12 V rail of the board",
        "volts",
        where=(("label", r"(?i)(?!(-|n)\s*12)(.*[^0-9.])?\+?12(\.0+)? ?v.*"),),
    ),
    Metric(
        "package_joules",
        Kind.POWER,
        "node_rapl_package_joules_total",
        "energy used by the CPU packages",
        "joules",
        counter=True,
        combine=Combine.SUM,
    ),
)
