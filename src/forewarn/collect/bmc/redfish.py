"""A BMC asked by Redfish: Power and Thermal, or the subsystems that follow them.

Asking is `RedfishBmc`'s, in which one document that is missing or malformed hides no other; the rest makes readings of
documents, in DMTF's schemas Power 1.7, Thermal 1.7, PowerSupply 1.5, Sensor 1.7 and Manager 1.19.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from forewarn.clock import Clock
from forewarn.collect.bmc.answer import Answer, Health, Quantity, Reading, Supply, supply_of
from forewarn.collect.bmc.redfish_client import Client, client
from forewarn.collect.bmc.settings import BmcSettings, BmcTarget
from forewarn.collect.smart_reading import finite
from forewarn.collect.tree import label_text
from forewarn.errors import SourceAbsent

Document = Mapping[str, Any]
ROOT = "/redfish/v1/"
_HEALTH = {"OK": Health.NOMINAL, "Warning": Health.WARNING, "Critical": Health.CRITICAL}
_ABSENT = ("Absent", "Disabled", "UnavailableOffline")
_SENSORS = {
    "Temperature": Quantity.TEMPERATURE,
    "Voltage": Quantity.VOLTAGE,
    "Current": Quantity.CURRENT,
    "Power": Quantity.POWER,
    "Rotational": Quantity.FAN,
}
# Excerpts of sensors in PowerSupplyMetrics, and what the reading is called.
_METRICS = (
    ("InputVoltage", "Input Voltage", Quantity.VOLTAGE),
    ("InputCurrentAmps", "Input Current", Quantity.CURRENT),
    ("InputPowerWatts", "Input Power", Quantity.POWER),
    ("OutputPowerWatts", "Output Power", Quantity.POWER),
    ("TemperatureCelsius", "Temperature", Quantity.TEMPERATURE),
    ("FanSpeedPercent", "Fan Speed", Quantity.FAN),
    ("RailVoltage", "Output Voltage", Quantity.VOLTAGE),
    ("RailCurrentAmps", "Output Current", Quantity.CURRENT),
)
# Numbers of a supply in the older schema Power.
_OLDER = (
    ("LineInputVoltage", "Input Voltage", Quantity.VOLTAGE),
    ("PowerInputWatts", "Input Power", Quantity.POWER),
    ("PowerOutputWatts", "Output Power", Quantity.POWER),
)


class RedfishBmc:
    """Asks one BMC."""

    def __init__(self, target: BmcTarget, settings: BmcSettings, clock: Clock) -> None:
        self._target, self._settings, self._clock = target, settings, clock

    def ask(self) -> Answer:
        """Everything at once. Raises SourceAbsent where the BMC gives nothing."""
        with client(self._target, self._settings) as asked:
            return _Poll(asked, self._settings, self._clock).answer()


class _Poll:
    """One poll: a client, the number of documents left, and what went wrong."""

    def __init__(self, client: Client, settings: BmcSettings, clock: Clock) -> None:
        self._client, self._clock = client, clock
        self._left, self._trouble = settings.documents_max, dict[str, None]()
        self._end = clock.monotonic() + settings.timeout_s

    def answer(self) -> Answer:
        root = self._get(ROOT)
        if not root:
            raise SourceAbsent("the Redfish service has no root document")
        readings: dict[str, Reading] = {}
        supplies: dict[str, Supply] = {}
        redundant: dict[str, bool] = {}
        for chassis in self._members(root.get("Chassis")):
            for reading in self._chassis(chassis, supplies, redundant):
                readings.setdefault(reading.number, reading)
        manager: Document = next(iter(self._members(root.get("Managers"))), {})
        system: Document = next(iter(self._members(root.get("Systems"))), {})
        return Answer(
            tuple(readings.values()),
            tuple(supplies.values()),
            redundant,
            firmware=_text(manager.get("FirmwareVersion")),
            maker=_text(root.get("Vendor")),
            powered={"On": True, "Off": False}.get(_text(system.get("PowerState"))),
            started=_text(manager.get("LastResetTime")),
            trouble=tuple(self._trouble),
        )

    def _chassis(self, chassis: Document, supplies: dict[str, Supply], redundant: dict[str, bool]) -> Iterator[Reading]:
        """What one chassis tells: by the newer documents where it has them, so that nothing is told twice."""
        yield from self._power(chassis, supplies, redundant)
        if thermal := self._get(chassis.get("Thermal")):
            yield from _listed(thermal.get("Temperatures"), "ReadingCelsius", Quantity.TEMPERATURE)
            fans = [fan for fan in _rows(thermal.get("Fans")) if fan.get("ReadingUnits") != "Percent"]
            yield from _listed(fans, "Reading", Quantity.FAN)
        for sensor in self._members(chassis.get("Sensors")):
            yield from _sensor(sensor)
        if subsystem := self._get(chassis.get("ThermalSubsystem")):
            for fan in self._members(subsystem.get("Fans")):
                yield from _fan(fan)

    def _power(self, chassis: Document, supplies: dict[str, Supply], redundant: dict[str, bool]) -> Iterator[Reading]:
        if subsystem := self._get(chassis.get("PowerSubsystem")):
            redundant.update(_redundancy(subsystem.get("PowerSupplyRedundancy")))
            for document in self._members(subsystem.get("PowerSupplies")):
                supply = _supply(document)
                supplies[supply.name] = supply
                metrics = self._get(document.get("Metrics"))
                yield from _metrics(supply.name, metrics)
        elif power := self._get(chassis.get("Power")):
            redundant.update(_redundancy(power.get("Redundancy")))
            for document in _rows(power.get("PowerSupplies")):
                supply = _supply(document)
                supplies[supply.name] = supply
                yield from _older(supply.name, document)
            yield from _listed(power.get("Voltages"), "ReadingVolts", Quantity.VOLTAGE)

    def _members(self, link: Any) -> Iterator[Document]:
        for member in _rows(self._get(link).get("Members")):
            if document := self._get(member):
                yield document

    def _get(self, link: Any) -> Document:
        """The document behind a link, or a path; empty where there is none or it is none."""
        path = link.get("@odata.id") if isinstance(link, Mapping) else link
        if not isinstance(path, str) or not path.startswith("/"):
            return {}
        if self._left <= 0 or self._clock.monotonic() > self._end:
            self._trouble["not everything was read: too many documents, or too slow"] = None
            return {}
        self._left -= 1
        status, text = self._client.get(path)
        if status != 200:
            if status in (401, 403):
                raise SourceAbsent(f"the BMC refuses: {status}, a wrong account or too few rights")
            self._trouble[f"a document answers {status}"] = None
            return {}
        try:
            document = json.loads(text)
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, Mapping):
            self._trouble["a document is no JSON object"] = None
            return {}
        return document


def _rows(value: Any) -> list[Document]:
    return [row for row in value if isinstance(row, Mapping)] if isinstance(value, list) else []


def _text(value: Any) -> str:
    return label_text(value) if isinstance(value, str) else ""


def _status(document: Document) -> tuple[str, Health | None]:
    status = document.get("Status")
    status = status if isinstance(status, Mapping) else {}
    return _text(status.get("State")), _HEALTH.get(_text(status.get("Health")))


def _supply(document: Document) -> Supply:
    state, health = _status(document)
    names = (_text(document.get(key)) for key in ("Name", "Id", "MemberId"))
    name = next(filter(None, map(supply_of, names)), "") or _by_number(document)
    line, failure = _text(document.get("LineInputStatus")), document.get("FailurePredicted")
    volts = finite(document.get("LineInputVoltage"))  # the older schema has no status of the input
    input_lost = line in ("LossOfInput", "OutOfRange") or (state != "Absent" and not line and volts == 0)
    return Supply(
        name,
        present=state != "Absent" if state else None,
        input_lost=input_lost if line or volts is not None else None,
        failed=health is Health.CRITICAL and not input_lost if health is not None else None,
        failure_predicted=failure if isinstance(failure, bool) else None,
        serial=_text(document.get("SerialNumber")),
        model=_text(document.get("Model")),
        firmware=_text(document.get("FirmwareVersion")),
    )


def _by_number(document: Document) -> str:
    """A supply whose name has no number, by its place in the list, which counts from 0."""
    place = _text(document.get("MemberId")) or _text(document.get("Id"))
    return f"PSU{int(place) + 1}" if place.isdecimal() else f"PSU {place}"


def _older(supply: str, document: Document) -> Iterator[Reading]:
    for key, words, quantity in _OLDER:
        if key in document:
            yield Reading(f"{supply} {words}", f"{supply} {words}", quantity, finite(document[key]), None, supply)


def _metrics(supply: str, document: Document) -> Iterator[Reading]:
    for key, words, quantity in _METRICS:
        value = document.get(key)
        excerpt = _rows(value)[0] if _rows(value) else value
        if not isinstance(excerpt, Mapping):
            continue
        speed = quantity is Quantity.FAN
        reading = finite(excerpt.get("SpeedRPM" if speed else "Reading"))
        if speed and reading is None:
            continue
        number = _text(excerpt.get("DataSourceUri")) or f"{supply} {words}"
        yield Reading(number, f"{supply} {words}", quantity, reading, None, supply)


def _listed(rows: Any, key: str, quantity: Quantity) -> Iterator[Reading]:
    for row in _rows(rows):
        state, health = _status(row)
        name = _text(row.get("Name")) or _text(row.get("FanName"))
        if name and state not in _ABSENT:
            number = _text(row.get("@odata.id")) or name
            yield Reading(number, name, quantity, finite(row.get(key)), health, supply_of(name))


def _sensor(document: Document) -> Iterator[Reading]:
    quantity = _SENSORS.get(_text(document.get("ReadingType")))
    state, health = _status(document)
    name = _text(document.get("Name"))
    if quantity is not None and name and state not in _ABSENT and document.get("ReadingUnits") != "%":
        number = _text(document.get("@odata.id")) or name
        yield Reading(number, name, quantity, finite(document.get("Reading")), health, supply_of(name))


def _fan(document: Document) -> Iterator[Reading]:
    speed, name = document.get("SpeedPercent"), _text(document.get("Name"))
    rpm = finite(speed.get("SpeedRPM")) if isinstance(speed, Mapping) else None
    if name and rpm is not None:
        number = _text(speed.get("DataSourceUri")) if isinstance(speed, Mapping) else ""
        yield Reading(number or name, name, Quantity.FAN, rpm, _status(document)[1], supply_of(name))


def _redundancy(rows: Any) -> dict[str, bool]:
    """Whether each group of supplies is still redundant."""
    found = {}
    for number, row in enumerate(_rows(rows)):
        state, health = _status(row)
        if health is not None or state:
            found[_text(row.get("Name")) or f"group {number}"] = health is Health.NOMINAL and state not in _ABSENT
    return found
