"""An answer of a BMC as series: ipmi_exporter's names for what it measures too, our own for the supplies. Pure.

What a BMC writes where it knows nothing is no reading: no number at all, 0 or 255 degrees, 0 volts, the largest number
of a byte or a word; nor is what a supply shows that is absent or has no mains. Such readings are set aside and counted.
"""

from collections import Counter
from collections.abc import Iterator

from forewarn.collect.bmc.answer import Answer, Health, Quantity, Reading, Supply
from forewarn.domain.telemetry import Sample

UNITS = {
    Quantity.TEMPERATURE: "celsius",
    Quantity.VOLTAGE: "volts",
    Quantity.CURRENT: "amperes",
    Quantity.POWER: "watts",
    Quantity.FAN: "rpm",
}
NO_READING, ZERO, ALL_ONES, NO_FEED = "no reading", "zero", "all ones", "supply without input"
_NEVER_ZERO = (Quantity.TEMPERATURE, Quantity.VOLTAGE)  # an idle fan, current or power may well be
_ALL_ONES = {Quantity.TEMPERATURE: (255.0,), Quantity.VOLTAGE: (65535.0,), Quantity.CURRENT: (65535.0,)}
_ALL_ONES_ELSE = (65535.0,)


def set_aside(reading: Reading, answer: Answer) -> str:
    """Why a reading is none; empty for one that counts.

    >>> set_aside(Reading("1", "CPU1 Temp", Quantity.TEMPERATURE, 255.0), Answer())
    'all ones'
    """
    if reading.value is None:
        return NO_READING
    if any(supply.name == reading.supply and not supply.feeds for supply in answer.supplies):
        return NO_FEED
    if reading.value == 0 and reading.quantity in _NEVER_ZERO:
        return ZERO
    return ALL_ONES if reading.value in _ALL_ONES.get(reading.quantity, _ALL_ONES_ELSE) else ""


def samples(answer: Answer) -> Iterator[Sample]:
    """Every series of an answer, but those about the BMC as a source."""
    aside: Counter[str] = Counter({NO_READING: answer.unread} if answer.unread else {})
    for reading in answer.readings:
        if why := set_aside(reading, answer):
            aside[why] += 1
        else:
            yield from _reading(reading)
    for supply in answer.supplies:
        yield from _supply(supply)
    for group, redundant in sorted(answer.redundant.items()):
        yield Sample("forewarn_power_redundant", {"name": group}, float(redundant))
    for why, count in sorted(aside.items()):
        yield Sample("forewarn_bmc_readings_set_aside", {"why": why}, float(count))
    yield from _about(answer)


def _reading(reading: Reading) -> Iterator[Sample]:
    """A reading under its own name; one of a supply that is called otherwise, behind `PSU1`."""
    assert reading.value is not None  # noqa: S101 - set aside else
    name = reading.name
    if reading.supply and not name.upper().startswith(("PSU", "PS")):
        name = f"{reading.supply} {name}"
    labels = {"id": reading.number, "name": name}
    yield Sample(f"{reading.quantity}_{UNITS[reading.quantity]}", labels, reading.value)
    if reading.health is not None:
        yield Sample(f"{reading.quantity}_state", labels, float(reading.health))


def _supply(supply: Supply) -> Iterator[Sample]:
    labels = {"name": supply.name}
    told = {
        "forewarn_psu_present": supply.present,
        "forewarn_psu_input_lost": supply.input_lost,
        "forewarn_psu_failed": supply.failed,
        "forewarn_psu_failure_predicted": supply.failure_predicted,
    }
    for name, said in told.items():
        if said is not None:
            yield Sample(name, labels, float(said))
    if supply.serial or supply.model or supply.firmware:
        info = {"serial": supply.serial, "model": supply.model, "firmware": supply.firmware}
        yield Sample("forewarn_psu_info", {**labels, **info}, 1.0)
    if supply.failed is not None:
        state = Health.CRITICAL if supply.failed else Health.WARNING if supply.failure_predicted else Health.NOMINAL
        named = {"id": supply.name, "name": f"{supply.name} Status", "type": "Power Supply"}
        yield Sample("ipmi_sensor_state", named, float(state))


def _about(answer: Answer) -> Iterator[Sample]:
    if answer.firmware:
        labels = {"firmware_revision": answer.firmware, "manufacturer_id": answer.maker}
        yield Sample("ipmi_bmc_info", labels, 1.0)
    for name, value in (
        ("ipmi_chassis_power_state", None if answer.powered is None else float(answer.powered)),
        ("ipmi_sel_logs_count", answer.log_entries),
        ("ipmi_sel_free_space_bytes", answer.log_free_bytes),
    ):
        if value is not None:
            yield Sample(name, {}, float(value))
