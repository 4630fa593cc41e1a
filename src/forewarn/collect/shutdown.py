"""Whether the boot before this one ended as it should: by a shutdown that somebody asked for, or by a crash.

Two records tell. The system's own, `wtmp`, has a line for each shutdown; newer distributions keep none. The agent's own
is a mark that it leaves when it is told to stop, as it is at each shutdown.
"""

import json
import struct
from dataclasses import dataclass
from pathlib import Path

from forewarn.collect.files import read_text, write_whole
from forewarn.collect.tree import Tree

MARK = "stopped.json"
WTMP = "var/log/wtmp"
_RECORD = struct.Struct("<hxxi32s4s32s256shhiii16s20s")  # utmp(5), 64-bit: 384 bytes
_RUN_LEVEL, _BOOT_TIME = 1, 2
_SAME_S = 120.0  # the clock may be set right between the kernel's start and the record of it


@dataclass(frozen=True, slots=True)
class Ending:
    """How a boot ended: whether a shutdown is recorded (None: nothing tells), and how sure that is."""

    clean: bool | None
    confidence: float = 0.0


def parse_wtmp(content: bytes) -> list[tuple[str, float]]:
    """The boots and shutdowns in a `wtmp`, each with its time in seconds since 1970, in the order of the file."""
    found = []
    for at in range(len(content) % _RECORD.size, len(content) - _RECORD.size + 1, _RECORD.size):
        kind, _, _, _, user, _, _, _, _, seconds, _, _, _ = _RECORD.unpack_from(content, at)
        name = user.rstrip(b"\0")
        if kind == _BOOT_TIME:
            found.append(("boot", float(seconds)))
        elif kind == _RUN_LEVEL and name == b"shutdown":
            found.append(("shutdown", float(seconds)))
    return found


def ending(tree: Tree, folder: Path, boot_id: str, boot_time: float) -> Ending:
    """How the boot `boot_id` ended, before the one that began at `boot_time`."""
    records = parse_wtmp(tree.raw(WTMP) or b"")
    before = [what for what, time in records if time < boot_time - _SAME_S]
    told = any(what == "boot" and abs(time - boot_time) <= _SAME_S for what, time in records)
    if told:
        last = [what for what, time in records if time <= boot_time + _SAME_S]
        return Ending(clean=len(last) > 1 and last[-2] == "shutdown" if before else None, confidence=0.9)
    if boot_id and _marked(folder) == boot_id:
        return Ending(clean=True)
    return Ending(clean=False if boot_id else None, confidence=0.5)


def mark(folder: Path, boot_id: str) -> None:
    """Leave word that the agent was told to stop during this boot. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / MARK, json.dumps({"boot_id": boot_id}).encode())


def unmark(folder: Path, boot_id: str) -> None:
    """The agent runs (again): a mark of this very boot no longer counts."""
    if _marked(folder) == boot_id:
        (folder / MARK).unlink(missing_ok=True)


def _marked(folder: Path) -> str:
    try:
        return str(json.loads(read_text(folder / MARK))["boot_id"])
    except (ValueError, TypeError, KeyError):
        return ""
