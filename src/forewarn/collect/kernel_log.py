"""What the kernel says while hardware fails: its log, read on from the last line, as counters and failures.

The source is `/dev/kmsg`, or journald where that is set. Only what the kernel itself said counts: anybody may write to
the log, but not under the kernel's name. A storm of equal lines is one event with a count. At the very first look old
lines are no news; after a reboot all lines are.

Privilege: CAP_SYSLOG for `/dev/kmsg` (where `kernel.dmesg_restrict` is 1, as on Debian); for journald the group
systemd-journal.
"""

import errno
import json
import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from forewarn.clock import Clock
from forewarn.collect.base import Collected
from forewarn.collect.drives import drive_id
from forewarn.collect.files import Kept
from forewarn.collect.kernel_templates import TEMPLATES, Said, read
from forewarn.collect.smart import Run, Runner
from forewarn.collect.tree import Tree, label_text, parse_number
from forewarn.domain.events import FailureEvent
from forewarn.domain.inventory import Kind, component_id
from forewarn.domain.telemetry import Sample
from forewarn.errors import SourceAbsent

FILE = "kernel_log.json"
SOURCE = "kernel log"
_RECORD_BYTES = 8192  # the longest record that /dev/kmsg gives; it refuses smaller buffers


class LogSource(StrEnum):
    """Where the kernel's log is read."""

    KMSG = "kmsg"
    JOURNALD = "journald"


@dataclass(frozen=True)
class KernelLogSettings:
    """How the kernel's log is read."""

    source: LogSource = LogSource.KMSG
    """`kmsg` reads /dev/kmsg; `journald` asks `journalctl`, for agents that may not read /dev/kmsg."""

    storm_s: float = 3600.0
    """Seconds in which equal lines (one template, one part) are one event; those that follow are counted, and told with
    the next event."""

    bytes_max: int = 4 * 2**20
    """Most bytes that are read per round; the kernel's own buffer is smaller, and what is left comes in the next
    round."""

    lines_max: int = 20_000
    """Most lines that are asked of journald per round."""

    timeout_s: float = 10.0
    """Seconds that journalctl may take."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the kernel: when, and what."""

    time: datetime
    text: str


@dataclass
class Storm:
    """What was told of one kind of line: when last, how many came since, and when the last of those."""

    told_at: str
    since: int = 0


@dataclass
class Seen:
    """How far the log was read: of which boot, up to which record or cursor; and what was told of storms."""

    boot: str = ""
    sequence: int = -1
    cursor: str = ""
    storms: dict[str, Storm] = field(default_factory=dict)

    def to_json(self) -> bytes:
        """As it is kept between two runs."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_json(cls, text: str) -> "Seen":
        """What was kept; nothing where that is damaged."""
        try:
            row: Any = json.loads(text)
            storms = {str(key): Storm(str(of["told_at"]), int(of["since"])) for key, of in row["storms"].items()}
            for storm in storms.values():
                datetime.fromisoformat(storm.told_at)
            return cls(str(row["boot"]), int(row["sequence"]), str(row["cursor"]), storms)
        except (ValueError, TypeError, KeyError, AttributeError):
            return cls()


class Reader(Protocol):
    """Gives the lines that were not read yet, and notes in `seen` how far it came."""

    def lines(self, seen: Seen, now: datetime) -> list[Line]:
        """Raises SourceAbsent where the log cannot be read."""
        ...


def parse_kmsg(text: str) -> Iterator[tuple[int, int, float, str]]:
    r"""Priority, sequence, seconds since the boot, and text of each record; lines that go on a record are left out.

    >>> list(parse_kmsg("6,339,5140900,-;NET: Registered\n SUBSYSTEM=net\n"))
    [(6, 339, 5.1409, 'NET: Registered')]
    """
    for line in text.splitlines():
        head, semicolon, said = line.partition(";")
        fields = head.split(",")
        if semicolon and not line.startswith(" ") and len(fields) >= 3 and all(map(str.isdecimal, fields[:3])):
            yield int(fields[0]), int(fields[1]), int(fields[2]) / 1e6, said


class KmsgReader:
    """Reads `/dev/kmsg`, which gives one record at a time; it stays open, so that each is read once."""

    def __init__(self, tree: Tree, settings: KernelLogSettings) -> None:
        self._tree, self._settings = tree, settings
        self._open: int | None = None
        self._began = False

    def lines(self, seen: Seen, now: datetime) -> list[Line]:
        boot, up_s = self._tree.words("proc/sys/kernel/random/boot_id"), self._up_s()
        news, self._began = self._began or bool(seen.boot), True
        if boot != seen.boot:
            seen.boot, seen.sequence = boot, -1
        found, before = [], seen.sequence
        for priority, sequence, at_s, text in parse_kmsg(self._read()):
            if sequence <= before:
                continue
            seen.sequence = sequence
            if priority >> 3 == 0:  # the kernel's own: nobody else can write under facility 0
                found.append(Line(now - timedelta(seconds=max(up_s - at_s, 0.0)), text))
        return found if news else []

    def _up_s(self) -> float:
        return parse_number((self._tree.words("proc/uptime").split() or [""])[0]) or 0.0

    def _read(self) -> str:
        chunks, size = [], 0
        while size < self._settings.bytes_max:
            chunk = self._record()
            if chunk is None:
                break
            chunks.append(chunk)
            size += len(chunk)
        return b"".join(chunks).decode("utf-8", "replace")

    def _record(self) -> bytes | None:
        """The next record; None where there is none now."""
        try:
            if self._open is None:
                self._open = os.open(self._tree.path("dev/kmsg"), os.O_RDONLY | os.O_NONBLOCK)
            return os.read(self._open, _RECORD_BYTES) or None
        except BlockingIOError:
            return None
        except OSError as problem:
            if problem.errno == errno.EPIPE:  # records were overwritten before they were read; the next are there
                return b""
            raise SourceAbsent(f"/dev/kmsg cannot be read: {(problem.strerror or '').lower()}") from problem


class JournalReader:
    """Asks journald, which keeps what the kernel said before the reboot too."""

    def __init__(self, settings: KernelLogSettings, run: Run | None = None) -> None:
        self._settings, self._run = settings, run or Runner()

    def lines(self, seen: Seen, now: datetime) -> list[Line]:  # noqa: ARG002 - journald has its own times
        program = shutil.which("journalctl")
        if program is None:
            raise SourceAbsent("journalctl is not on PATH")
        asked = [program, "--quiet", "--output=json", "_TRANSPORT=kernel"]
        if seen.cursor:
            asked += [f"--after-cursor={seen.cursor}", f"--lines=+{self._settings.lines_max}"]
        else:
            asked += ["--lines=1"]  # where to begin
        news, found = bool(seen.cursor), []
        for row in self._rows(asked):
            seen.cursor = str(row["__CURSOR"])
            micros, text = parse_number(str(row.get("__REALTIME_TIMESTAMP"))), row.get("MESSAGE")
            if micros is not None and isinstance(text, str):
                found.append(Line(datetime.fromtimestamp(micros * 1e-6, UTC), text))
        return found if news else []

    def _rows(self, asked: Sequence[str]) -> Iterator[dict[str, Any]]:
        try:
            answer = self._run(asked, self._settings.timeout_s)
        except (OSError, subprocess.SubprocessError) as problem:
            raise SourceAbsent(f"journalctl gives nothing: {type(problem).__name__}") from problem
        for line in answer.splitlines():
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if isinstance(row, dict) and "__CURSOR" in row:
                yield row


class KernelLogCollector:
    """Failures of which the kernel speaks, and how often it does."""

    name = "kernel_log"

    def __init__(
        self, root: Path, settings: KernelLogSettings, folder: Path | None, clock: Clock, reader: Reader | None = None
    ) -> None:
        self._tree, self._settings, self._clock = Tree(root), settings, clock
        journald = settings.source is LogSource.JOURNALD
        self._reader = reader or (JournalReader(settings) if journald else KmsgReader(self._tree, settings))
        self._kept = Kept(folder, FILE)
        self._seen = Seen.from_json(self._kept.text)
        self._counts: Counter[str] = Counter({template.name: 0 for template in TEMPLATES})

    def collect(self) -> Iterator[Collected]:
        """What is new; raises SourceAbsent where the log cannot be read."""
        now = self._clock.now()
        groups: dict[str, tuple[Said, list[Line]]] = {}
        for line in self._reader.lines(self._seen, now):
            said = read(line.text)
            if said is None:
                continue
            self._counts[said.template] += 1
            if said.confidence > 0:
                groups.setdefault(f"{said.template} {said.kind} {said.device}", (said, []))[1].append(line)
        for key, (said, lines) in groups.items():
            yield from self._tell(key, said, lines)
        for name, count in sorted(self._counts.items()):
            yield Sample("forewarn_kernel_log_lines_total", {"template": name}, float(count))
        self._forget(now)
        self._kept.keep(self._seen.to_json())

    def _tell(self, key: str, said: Said, lines: Sequence[Line]) -> Iterator[FailureEvent]:
        """One event for equal lines, unless one was told a short while ago."""
        first, storm = lines[0], self._seen.storms.get(key)
        if storm is not None and (first.time - datetime.fromisoformat(storm.told_at)).total_seconds() < (
            self._settings.storm_s
        ):
            storm.since += len(lines)
            return
        earlier = storm.since if storm else 0
        count = len(lines) + earlier
        times = f" ({count} times{', since the last such event' if earlier else ''})" if count > 1 else ""
        self._seen.storms[key] = Storm(first.time.isoformat())
        text = f"{label_text(first.text)}{times}"
        yield FailureEvent(first.time, "", said.kind, self._component(said), SOURCE, text, said.confidence)

    def _component(self, said: Said) -> str:
        """The part's id; empty where the line names none, or a volume that is no part."""
        if said.kind is Kind.DISK:
            return drive_id(self._tree, said.device)
        return component_id(said.kind, "", said.device) if said.device or said.kind is Kind.CPU else ""

    def _forget(self, now: datetime) -> None:
        """Storms that are over and left nothing to tell."""
        over = timedelta(seconds=2 * self._settings.storm_s)
        for key, storm in list(self._seen.storms.items()):
            if now - datetime.fromisoformat(storm.told_at) > over:
                del self._seen.storms[key]
