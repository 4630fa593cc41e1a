"""ATA's SMART attributes: passed on as smartctl gives them, and decoded where a vendor packed several numbers into one.

The raw value keeps the exporter's name and meaning; what is inside is told as `forewarn_smartctl_attribute_unpacked`
besides. Where smartctl leaves out temperature, power-on time or wear, the attributes that hold them are asked.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from forewarn.collect.smart_reading import Reading, whole
from forewarn.domain.metrics import SMART_LOW_BITS
from forewarn.domain.telemetry import Sample

FLAGS = ("prefailure", "updated_online", "performance", "error_rate", "event_count", "auto_keep")
VALUE_TYPES = (("value", ("value",)), ("worst", ("worst",)), ("thresh", ("thresh",)), ("raw", ("raw", "value")))
ATTRIBUTE_MAX = 255
ERROR_RATES = (1, 7, 195)
TEMPERATURES = (194, 190, 231)
ALSO_UNNAMED = (194, 190)  # temperatures even where smartctl's database has no name for them
PACKED_HOURS = (9, 240)
BYTE, SIGN = 0xFF, 0x80
# Drives built by Seagate; those that it took over from Samsung (HN-M...) count as Samsung does.
SEAGATE = re.compile(r"(?i)^(?!.*(\bHN-M|samsung)).*(seagate|maxtor|\bST\d{3,})")
SPELLED_HOURS = re.compile(r"(\d+)h\+(\d+)m")
LEADING_NUMBER = re.compile(r"-?\d+")
# How smartctl spells out a raw value of several numbers, the one that counts first: "8 (0 2000)", "0/142937126".
COMPOSITE = re.compile(r"(\d+)(?: \(|/\d)")
# Normalized values that count down from 100 as the drive wears, by the names that smartctl's database gives them. 230
# is left out: SanDisk's Media_Wearout_Indicator counts up.
LIFE_LEFT = re.compile(
    r"Media_Wearout_Indicator|(SSD_|Drive_?)?Life_?(Left|Remaining)(_Perc|%)?|Remaining_Life(time_Perc)?|Lifetime_Left"
    r"|Lifetime_Remaining%|(Percent|PCT|Perc)_(Rated_)?Life(time)?_Remain(ing)?|SSD_Remaining_Life_Perc"
    r"|Life_Remaining_Percent|Available_Life"
)
# Of these the normalized value may stand still at 100, and the raw value holds what is left.
LEFT_IN_RAW = re.compile(r"(SSD_)?Remaining_Life(time_Perc|_Perc)?|Lifetime_Left|Life_Remaining_Percent")
# These name what is used, and count it in the raw value.
LIFE_USED = re.compile(r"(Percent|Perc)_(Rated_)?Life(time)?_Used|Drive_?Life_Used%")
WEAR_LEVELING = "Wear_Leveling_Count"
# Where smartctl's database does not know a solid-state drive: which attribute's normalized value its maker counts down.
LIFE_BY_MAKER = (
    (re.compile(r"(?i)^(micron|crucial|CT\d+|MTFD)"), 202),
    (re.compile(r"(?i)^(intel|solidigm|SSDSC)"), 233),
    (re.compile(r"(?i)^(samsung|MZ)"), 177),
    (re.compile(r"(?i)^(kingston|phison|corsair|patriot)"), 231),
)
UNKNOWN = re.compile(r"Unknown(_SSD)?_Attribute|")


@dataclass(frozen=True, slots=True)
class Attribute:
    """One row of the table of attributes; numbers that are missing or make no sense are None."""

    number: int
    name: str
    value: float | None
    raw: int | None
    text: str  # the raw value as smartctl spells it out

    @property
    def is_temperature(self) -> bool:
        named = "temp" in self.name.lower()
        return self.number in TEMPERATURES and (
            named or (self.number in ALSO_UNNAMED and bool(UNKNOWN.fullmatch(self.name)))
        )


def unpack(attribute: int, raw: int, model: str, text: str = "") -> int | None:
    """The count inside a raw value into which a vendor packs several numbers; None where nothing is packed.

    - 1, 7 and 195 of Seagate: errors in the upper 16 of 48 bits, operations in the lower 32.
    - 188 (command timeouts): three 16-bit counts; the lowest is of all timeouts, the others of slow commands.
    - 9 and 240: hours, as smartctl spells out minutes, half minutes and seconds (`text`), else in the lower 32 bits
      where fractions of the hour stand above.
    - 190, 194 and 231: degrees in the lowest byte, the lowest and highest ever above; or tenths of degrees.
    - whatever smartctl's database spells out as several numbers, by `text`.

    >>> unpack(188, 8590065666, ""), unpack(7, 12834215976973, "ST3500418AS"), unpack(5, 304, "")
    (2, 2988, None)
    >>> unpack(9, 2223300, "", "37055h+00m"), unpack(194, 176095232031, ""), unpack(194, 254 + (7 << 16), "")
    (37055, 31, -2)
    """
    if attribute in ERROR_RATES and SEAGATE.search(model):
        return (raw >> 32) & 0xFFFF
    if attribute in TEMPERATURES:
        degrees = _degrees(raw, text)
        return degrees if raw > BYTE or degrees != raw else None
    if attribute in PACKED_HOURS and (spelled := SPELLED_HOURS.match(text)):
        return int(spelled[1])
    bits = SMART_LOW_BITS.get(attribute)
    if bits and (attribute == 188 or raw >> bits):
        return raw & ((1 << bits) - 1)
    composite = COMPOSITE.match(text)
    return int(composite[1]) if composite and int(composite[1]) != raw else None


def _degrees(raw: int, text: str) -> int:
    """What smartctl's database makes of it, unless it only repeats the number; else the lowest byte, signed."""
    spelled = LEADING_NUMBER.match(text)
    if spelled and int(spelled[0]) != raw:
        return int(spelled[0])
    return ((raw & BYTE) ^ SIGN) - SIGN


def attributes(reading: Reading) -> tuple[Attribute, ...]:
    """The table of attributes, each number once."""
    found: dict[int, Attribute] = {}
    for row in reading.rows("ata_smart_attributes", "table"):
        number = row.number("id")
        if number is None or number in found or number not in range(1, ATTRIBUTE_MAX + 1):
            reading.note("ata_smart_attributes.table[].id: missing or twice")
            continue
        attribute = int(number)
        raw = whole(row.at("raw", "value"))  # as it stands: above 2**53 a float would lose the lowest bits
        found[attribute] = Attribute(attribute, row.words("name"), row.number("value"), raw, row.words("raw", "string"))
    return tuple(found.values())


def attribute_samples(reading: Reading) -> Iterator[Sample]:
    """Every attribute under the exporter's name, and what is inside of those that are packed."""
    seen: set[int] = set()
    model = f"{reading.words('model_family')} {reading.model}".strip()
    for row in reading.rows("ata_smart_attributes", "table"):
        number = row.number("id")
        if number is None or number in seen or number not in range(1, ATTRIBUTE_MAX + 1):
            continue
        seen.add(int(number))
        labels = {"attribute_id": str(int(number)), "attribute_name": row.words("name")}
        flags = {
            "attribute_flags_short": row.words("flags", "string"),
            "attribute_flags_long": ",".join(flag for flag in FLAGS if row.at("flags", flag) is True),
        }
        for kind, place in VALUE_TYPES:
            value = row.number(*place)
            if value is not None:
                yield reading.sample("smartctl_device_attribute", value, **flags, attribute_value_type=kind, **labels)
    for found in attributes(reading):
        yield from _inside(reading, found, model)


def _inside(reading: Reading, found: Attribute, model: str) -> Iterator[Sample]:
    if found.raw is None or (found.number in TEMPERATURES and not found.is_temperature):
        return
    inside = unpack(found.number, found.raw, model, found.text)
    labels = {"attribute_id": str(found.number), "attribute_name": found.name}
    if inside is not None:
        yield reading.sample("forewarn_smartctl_attribute_unpacked", float(inside), **labels)
        if found.number in ERROR_RATES:
            yield reading.sample("forewarn_smartctl_attribute_operations", float(found.raw & 0xFFFFFFFF), **labels)


def celsius(found: tuple[Attribute, ...]) -> float | None:
    """The temperature in the attributes: 194 where it is there, else 190."""
    rows = {row.number: row for row in found if row.is_temperature and row.raw is not None}
    for number in TEMPERATURES:
        if (row := rows.get(number)) is not None and row.raw is not None:
            return float(_degrees(row.raw, row.text))
    return None


def power_on_seconds(found: tuple[Attribute, ...]) -> float | None:
    """The time in attribute 9, of whichever form."""
    row = next((row for row in found if row.number == 9), None)
    if row is None or row.raw is None:
        return None
    spelled = SPELLED_HOURS.match(row.text)
    if spelled:
        return int(spelled[1]) * 3600.0 + int(spelled[2]) * 60.0
    if composite := COMPOSITE.match(row.text):
        return int(composite[1]) * 3600.0
    return float(row.raw & 0xFFFFFFFF) * 3600.0


def life_used(reading: Reading, found: tuple[Attribute, ...]) -> float | None:
    """How much of a solid-state drive's life its attributes say is used, in percent."""
    left = [row for row in found if row.number != 230 and LIFE_LEFT.fullmatch(row.name)]
    left += [row for row in found if row.number in (173, 177) and row.name == WEAR_LEVELING]
    left += [row for row in found if row.number == _by_maker(reading) and UNKNOWN.fullmatch(row.name)]
    used = [float(row.raw) for row in found if LIFE_USED.fullmatch(row.name) and row.raw is not None]
    if used and used[0] <= BYTE:
        return used[0]
    return next((100.0 - value for row in left if (value := _left(row)) is not None and 0.0 <= value <= 100.0), None)


def _left(row: Attribute) -> float | None:
    """The share of life that is left, in percent."""
    if LEFT_IN_RAW.fullmatch(row.name) and row.raw is not None and 0 < row.raw <= 100:
        return float(row.raw)
    return row.value


def _by_maker(reading: Reading) -> int:
    if reading.at("rotation_rate") != 0:
        return 0
    return next((number for maker, number in LIFE_BY_MAKER if maker.search(reading.model)), 0)
