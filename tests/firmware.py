"""Firmware that takes memory errors before the kernel does, for a guest: ACPI's table HEST, and error records (CPER).

The table names a source that the kernel polls (ACPI 6.5, section 18.3.2.7): an address that holds the address of an
error status block. Both lie in memory that the kernel was told to leave alone; whoever writes a record there is the
firmware.
Records are those of UEFI 2.10, appendix N.2.5.
"""

import struct
import uuid

PLACE = 0x1000_0000
BLOCK = PLACE + 0x1000
BROKEN = PLACE + 0x8000  # where errors are: memory of nobody, so that the kernel kills none for it
DIMM_HANDLE = 0x1100  # QEMU's SMBIOS, type 17
MEMORY_ERROR = uuid.UUID("a5bc1114-6f64-4ede-b863-3e83ed7c83b1").bytes_le
RECOVERABLE, CORRECTED = 0, 2
SINGLE_BIT, MULTI_BIT = 2, 3
POLL_MS = 500
# What a record tells: physical address, bank, device, row, column, type, rank and the module's handle.
_VALID = 0x2 | 0x40 | 0x80 | 0x100 | 0x200 | 0x4000 | 0x8000 | 0x20000


def _notified(kind: int) -> bytes:
    return struct.pack("<BBHIIIIII", kind, 28, 0, POLL_MS, 0, 0, 0, 0, 0)


def hest() -> bytes:
    """The table: corrected machine checks are the firmware's, and one source of errors is polled."""
    corrected = struct.pack("<HHHBBII", 1, 0, 0, 1, 1, 1, 1) + _notified(0) + struct.pack("<B3x", 0)
    polled = struct.pack("<HHHBBIII", 9, 1, 0xFFFF, 0, 1, 1, 1, 4096)
    polled += struct.pack("<BBBBQ", 0, 64, 0, 4, PLACE) + _notified(0) + struct.pack("<I", 4096)
    body = struct.pack("<I", 2) + corrected + polled
    head = struct.pack("<4sIBB6s8sI4sI", b"HEST", 36 + len(body), 1, 0, b"TESTER", b"HARDWARE", 1, b"TEST", 1)
    table = bytearray(head + body)
    table[9] = -sum(table) % 256
    return bytes(table)


def record(*, corrected: bool, kind: int, row: int, column: int) -> bytes:
    """An error status block with one memory error in it, at this row and column of the guest's DIMM."""
    severity = CORRECTED if corrected else RECOVERABLE
    section = struct.pack("<QQQQ", _VALID, 0, BROKEN, 0)
    section += struct.pack("<8H", 0, 0, 0, 3, 1, row, column, 0) + struct.pack("<QQQ", 0, 0, 0)
    section += struct.pack("<BBHHH", kind, 0, 0, 0, DIMM_HANDLE)
    data = MEMORY_ERROR + struct.pack("<IHBBI", severity, 0x0201, 0, 0, len(section)) + bytes(36) + section
    status = (0x2 if corrected else 0x1) | 1 << 4
    return struct.pack("<IIIII", status, 0, 0, len(data), severity) + data
