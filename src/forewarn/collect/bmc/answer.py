"""What a BMC answered, whichever way it was asked."""

import re
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum, StrEnum


class Quantity(StrEnum):
    """What a sensor measures; the value is the beginning of ipmi_exporter's name for it."""

    TEMPERATURE = "ipmi_temperature"
    VOLTAGE = "ipmi_voltage"
    CURRENT = "ipmi_current"
    POWER = "ipmi_power"
    FAN = "ipmi_fan_speed"


class Health(IntEnum):
    """A sensor's state as ipmi_exporter counts it."""

    NOMINAL = 0
    WARNING = 1
    CRITICAL = 2


@dataclass(frozen=True, slots=True)
class Reading:
    """A sensor that measures. `value` is None where the BMC has no reading; volts, amperes, watts, rpm or Celsius."""

    number: str  # the sensor's number or path, unique within the BMC
    name: str
    quantity: Quantity
    value: float | None
    health: Health | None = None
    supply: str = ""  # of which power supply it tells, as `PSU1`


@dataclass(frozen=True, slots=True)
class Supply:
    """A power supply; None where the BMC does not say."""

    name: str  # `PSU1`
    present: bool | None = None
    input_lost: bool | None = None  # no mains: the supply itself may be sound
    failed: bool | None = None
    failure_predicted: bool | None = None
    serial: str = ""
    model: str = ""
    firmware: str = ""

    @property
    def feeds(self) -> bool:
        """Whether it can be feeding the host, as far as is known: only then its readings speak of its health."""
        return self.present is not False and not self.input_lost


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the event log. `time` is None where the BMC did not know the time."""

    key: str  # tells this entry from every other
    time: datetime | None
    sensor: str
    event: str
    asserted: bool


@dataclass(frozen=True)
class Answer:
    """Everything that one poll of a BMC gave."""

    readings: tuple[Reading, ...] = ()
    supplies: tuple[Supply, ...] = ()
    redundant: dict[str, bool] = field(default_factory=dict)  # by the name of the group
    firmware: str = ""
    maker: str = ""
    powered: bool | None = None
    log: tuple[Entry, ...] | None = None  # None: the log was not asked for, or is as it was
    log_entries: int | None = None
    log_free_bytes: int | None = None
    started: str = ""  # a mark that changes when the BMC starts anew; empty where it gives none
    unread: int = 0  # sensors that have no reading
    trouble: tuple[str, ...] = ()  # parts that could not be read


_SUPPLY = re.compile(
    r"(?i)(?:^|[^a-z])(?:psu?|pws|power[ _.-]*(?:supply|supplies))(?:[ _.-]*(?:bay|slot|unit))?[ _.-]*(\d+)"
)


def supply_of(name: str) -> str:
    """The power supply of which a name speaks, as `PSU1`; empty where it speaks of none.

    >>> supply_of("PS1 Status"), supply_of("Power Supply Bay 2"), supply_of("PSU.Slot.1"), supply_of("CPU1 Temp")
    ('PSU1', 'PSU2', 'PSU1', '')
    """
    found = _SUPPLY.search(name)
    return f"PSU{int(found[1])}" if found else ""
