"""What the board says of itself by SMBIOS: BIOS version, and the serial numbers of DIMMs and power supplies.

Layouts are those of DMTF's SMBIOS 3.7 (DSP0134): type 17 is a memory device, type 39 a power supply. The raw entries
are readable by root alone (CAP_DAC_READ_SEARCH).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from forewarn.collect.tree import Tree, label_text
from forewarn.domain.inventory import Kind

ENTRIES = "sys/firmware/dmi/entries"
# What boards write where they know nothing.
_NOTHING = re.compile(r"(?i)(?:0+|f+|unknown|none|n/?a|no dimm|not .*|to be filled.*|empty|default.*|\s*)")


@dataclass(frozen=True, slots=True)
class Slot:
    """A place on the board and the serial number of the part in it."""

    kind: Kind
    place: str
    serial: str


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where a structure holds the numbers of its texts: of the place, and of the serial number."""

    kind: Kind
    place_at: int
    serial_at: int


_LAYOUTS = {"17": _Layout(Kind.MEMORY, 0x10, 0x18), "39": _Layout(Kind.POWER, 0x05, 0x08)}


def read_slots(tree: Tree) -> Iterator[Slot]:
    """Every DIMM and power supply whose serial number the board tells."""
    for number, layout in _LAYOUTS.items():
        for entry in tree.names(ENTRIES, f"{number}-"):
            slot = parse_slot(tree.raw(f"{ENTRIES}/{entry}/raw") or b"", layout)
            if slot is not None:
                yield slot


def parse_slot(raw: bytes, layout: _Layout) -> Slot | None:
    """The slot that a structure describes; None for one that is empty, short or without a serial number."""
    length = raw[1] if len(raw) > 1 else 0
    if length <= layout.serial_at or len(raw) < length:
        return None
    texts = [label_text(text.decode("latin-1")) for text in raw[length:].split(b"\0")]
    place, serial = (_text(texts, raw[at]) for at in (layout.place_at, layout.serial_at))
    return Slot(layout.kind, place, serial) if place and serial and not _NOTHING.fullmatch(serial) else None


def _text(texts: list[str], number: int) -> str:
    return texts[number - 1] if 0 < number <= len(texts) else ""
