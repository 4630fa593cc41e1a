"""Whether this machine's firmware takes memory errors before the kernel does, so that a count of zero means nothing.

ACPI's table HEST says who gets which kind of error. On a firmware-first machine the firmware decides when it tells
the kernel of corrected errors (by GHES, generic error sources), if ever: such a count of zero is unknown, not healthy.
Layouts are those of the ACPI specification 6.5, section 18.3.2. The table is readable by root alone.
"""

import struct
from collections.abc import Iterator

from forewarn.collect.tree import Tree

HEST = "sys/firmware/acpi/tables/HEST"
CONTROLLERS = "sys/devices/system/edac/mc"
_HEAD_BYTES = 40  # the table's header, and the number of sources
_CORRECTED = 1  # IA-32 corrected machine check
_BANK_BYTES = 28
# Size of an error source by its type; those that list banks of machine checks grow with them.
_SIZES = {0: 40, 1: 48, 2: 20, 6: 48, 7: 44, 8: 56, 9: 64, 10: 92, 11: 48}
_BANKS_AT = {0: 32, 1: 44, 11: 44}  # where the number of banks stands


def firmware_first(tree: Tree) -> str:
    """What shows that the firmware takes corrected errors first: `ghes_edac` or `HEST`; empty where nothing does."""
    controllers = tree.numbered(CONTROLLERS, "mc")
    if any("ghes" in tree.words(f"{CONTROLLERS}/{entry}/mc_name").lower() for entry in controllers):
        return "ghes_edac"
    if tree.words("sys/module/ghes/parameters/disable") in ("Y", "1"):
        return ""
    table = tree.raw(HEST) if tree.has(HEST) else None
    return "HEST" if table and corrected_by_firmware(table) else ""


def corrected_by_firmware(table: bytes) -> bool:
    """Whether the table HEST gives corrected machine checks to the firmware."""
    return any(kind == _CORRECTED and flags & 1 for kind, flags in _sources(table))


def _sources(table: bytes) -> Iterator[tuple[int, int]]:
    """Type and flags of each error source; a table that breaks off, or a type that is not known, ends it."""
    at = _HEAD_BYTES
    while at + 8 <= len(table):
        kind, _, _, flags = struct.unpack_from("<HHHB", table, at)
        if kind not in _SIZES or at + _SIZES[kind] > len(table):
            return
        yield kind, flags
        banks = table[at + _BANKS_AT[kind]] if kind in _BANKS_AT else 0
        at += _SIZES[kind] + banks * _BANK_BYTES
