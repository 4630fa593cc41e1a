"""What has changed on this host since the agent last looked: another boot, another kernel. Changes explain failures.

The agent remembers what it saw in a small file. The first look finds nothing to compare with, and tells nothing.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from forewarn.collect.base import Collected
from forewarn.collect.files import write_whole
from forewarn.collect.tree import Tree, parse_number
from forewarn.domain.events import ChangeEvent, ChangeKind
from forewarn.errors import SourceAbsent

FILE = "seen.json"
_SAME_BOOT_S = 60.0  # a kernel's boot time wanders by seconds as its clock is set right


@dataclass(frozen=True, slots=True)
class Seen:
    """A host as it was: its boot and its kernel; empty and 0 where that could not be read."""

    boot_id: str = ""
    boot_time: float = 0.0
    kernel: str = ""


class ChangesCollector:
    """Tells of boots and of new kernels, both at the time of the boot."""

    name = "changes"

    def __init__(self, root: Path, folder: Path | None) -> None:
        self._tree = Tree(root)
        self._folder = folder

    def collect(self) -> Iterator[Collected]:
        if self._folder is None:
            raise SourceAbsent("there is no folder in which to remember what was seen last")
        now, before = read(self._tree), parse(_text(self._folder / FILE))
        if before is not None:
            yield from changes(before, now)
        if now != before:
            _remember(self._folder, now)
        yield from self._tree.report(self.name, [("boot", bool(now.boot_id or now.boot_time))])


def read(tree: Tree) -> Seen:
    """The host as it is."""
    lines = (line.split() for line in tree.words("proc/stat").splitlines())
    times = [parse_number(line[1]) for line in lines if len(line) == 2 and line[0] == "btime"]
    boot_id, kernel = tree.words("proc/sys/kernel/random/boot_id"), tree.words("proc/sys/kernel/osrelease")
    return Seen(boot_id, (times[0] if times else None) or 0.0, kernel)


def parse(text: str) -> Seen | None:
    """What was remembered, or None where that is nothing or damaged."""
    try:
        row = json.loads(text)
        return Seen(str(row["boot_id"]), float(row["boot_time"]), str(row["kernel"]))
    except (ValueError, TypeError, KeyError):
        return None


def changes(before: Seen, now: Seen) -> Iterator[ChangeEvent]:
    """What changed between two looks; the host is left to the agent."""
    time = datetime.fromtimestamp(now.boot_time, UTC)
    if _booted(before, now):
        yield ChangeEvent(time, "", ChangeKind.BOOT, "", before.boot_id, now.boot_id)
    if before.kernel and now.kernel and before.kernel != now.kernel:
        yield ChangeEvent(time, "", ChangeKind.KERNEL, "", before.kernel, now.kernel)


def _booted(before: Seen, now: Seen) -> bool:
    if before.boot_id and now.boot_id:
        return before.boot_id != now.boot_id
    return bool(before.boot_time and now.boot_time) and abs(now.boot_time - before.boot_time) > _SAME_BOOT_S


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _remember(folder: Path, seen: Seen) -> None:
    row: Mapping[str, object] = asdict(seen)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / FILE, json.dumps(row).encode())
    except OSError as problem:
        raise SourceAbsent(f"what was seen cannot be kept in {folder}: {problem.strerror}") from problem
