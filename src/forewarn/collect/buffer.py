"""What waits to be sent, on disk: bounded, oldest first, and readable after any end of the process.

Each segment is one file, written whole, with a checksum: its name says its number, when it was made and how many items
it holds. A segment that cannot be read is set aside and counted, and never stands in the way of the others.
"""

import fcntl
import logging
import re
import threading
import zlib
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from forewarn.clock import Clock
from forewarn.collect.files import write_whole
from forewarn.errors import ConfigurationError

log = logging.getLogger(__name__)

_NAME = re.compile(r"(\d{12})-(\d{14})-(\d{1,9})\.segment")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CHECK_BYTES = 4


@dataclass(frozen=True)
class BufferSettings:
    """How much waits on disk for a server that does not answer."""

    bytes_max: int = 3 << 29
    """Size of the buffer of samples, and likewise of that of events, bytes; the oldest go first. A server of 128 CPUs
    and 56 drives fills 8 to 20 MB an hour, at most 1.4 GB in three days; most hosts fill a fifth of that."""

    hours_max: float = 72.0
    """Age from which what waits is given up, hours; a server refuses samples that are too old."""

    segments_max: int = 50_000
    """Files in one buffer."""

    damaged_max: int = 10
    """Damaged segments that are kept for whoever wants to know what happened."""


@dataclass(frozen=True)
class Segment:
    """What is sent in one request."""

    name: str
    items: int
    body: bytes


@dataclass(frozen=True, slots=True)
class _File:
    number: int
    name: str
    made: datetime
    items: int
    size: int


class Buffer:
    """One folder of segments. Safe to use from several threads; a second process is refused.

    Raises ConfigurationError where the folder cannot be used. `dropped` counts items by the reason for which they went.
    """

    def __init__(self, folder: Path, settings: BufferSettings, clock: Clock) -> None:
        self._folder, self._settings, self._clock = folder, settings, clock
        self._lock = threading.Lock()
        self.dropped: Counter[str] = Counter(full=0, too_old=0, not_written=0)
        self.damaged = 0
        with ExitStack() as stack:
            try:
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                owner = stack.enter_context((folder / "lock").open("w"))
                fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
                for draft in folder.glob("*.tmp"):
                    draft.unlink()
                self._files = self._found()
            except OSError as problem:
                words = f"the buffer {folder} cannot be used: {problem}; is another agent on it?"
                raise ConfigurationError(words) from problem
            self._owner = stack.pop_all()
        self._bytes = sum(file.size for file in self._files)
        self._next = max((file.number for file in self._files), default=0) + 1

    def close(self) -> None:
        """Let another process have the folder."""
        self._owner.close()

    @property
    def size_bytes(self) -> int:
        """Size of all that waits."""
        return self._bytes

    def __len__(self) -> int:
        return len(self._files)

    def append(self, body: bytes, items: int) -> None:
        """Keep a body of so many items; what does not fit pushes out the oldest. A full disk is counted."""
        with self._lock:
            made = self._clock.now()
            name = f"{self._next:012d}-{(made - _EPOCH) // timedelta(milliseconds=1):014d}-{items}.segment"
            content = zlib.crc32(body).to_bytes(_CHECK_BYTES, "little") + body
            if len(content) > self._settings.bytes_max:
                self.dropped["full"] += items
                return
            self._make_room(len(content))
            try:
                write_whole(self._folder / name, content)
            except OSError as problem:
                log.warning("%d items cannot be kept in %s: %s", items, self._folder, problem.strerror)
                self.dropped["not_written"] += items
                return
            self._files.append(_File(self._next, name, made, items, len(content)))
            self._bytes += len(content)
            self._next += 1

    def oldest(self) -> Segment | None:
        """What is to be sent next; None where nothing waits."""
        with self._lock:
            while self._files:
                file = self._files[0]
                if self._clock.now() - file.made > timedelta(hours=self._settings.hours_max):
                    self._drop(file, "too_old")
                elif (body := self._read(file)) is not None:
                    return Segment(file.name, file.items, body)
        return None

    def remove(self, segment: Segment) -> None:
        """Forget a segment that has been dealt with."""
        with self._lock:
            file = next((file for file in self._files if file.name == segment.name), None)  # nearly always the first
            if file is not None:
                self._forget(file)

    def _found(self) -> list[_File]:
        files = []
        for path in sorted(self._folder.glob("*.segment")):
            found = _NAME.fullmatch(path.name)
            if found is None:
                self._set_aside(path.name)
                continue
            number, made, items = (int(part) for part in found.groups())
            time = _EPOCH + timedelta(milliseconds=made)
            files.append(_File(number, path.name, time, items, path.stat().st_size))
        return files

    def _make_room(self, size: int) -> None:
        settings = self._settings
        while self._files and (self._bytes + size > settings.bytes_max or len(self._files) >= settings.segments_max):
            self._drop(self._files[0], "full")

    def _read(self, file: _File) -> bytes | None:
        try:
            content = (self._folder / file.name).read_bytes()
        except OSError:
            content = b""
        check, body = content[:_CHECK_BYTES], content[_CHECK_BYTES:]
        if len(check) == _CHECK_BYTES and int.from_bytes(check, "little") == zlib.crc32(body):
            return body
        self._files.remove(file)
        self._bytes -= file.size
        self._set_aside(file.name)
        return None

    def _set_aside(self, name: str) -> None:
        self.damaged += 1
        log.warning("%s is damaged and set aside", self._folder / name)
        path = self._folder / name
        try:
            path.replace(path.with_suffix(".damaged"))
            for old in sorted(self._folder.glob("*.damaged"))[: -self._settings.damaged_max or None]:
                old.unlink()
        except OSError as problem:
            log.warning("%s cannot be set aside: %s", path, problem.strerror)

    def _drop(self, file: _File, why: str) -> None:
        self.dropped[why] += file.items
        self._forget(file)

    def _forget(self, file: _File) -> None:
        self._files.remove(file)
        self._bytes -= file.size
        try:
            (self._folder / file.name).unlink(missing_ok=True)
        except OSError as problem:  # it is sent once more after the next start, which does no harm
            log.warning("%s cannot be removed: %s", self._folder / file.name, problem.strerror)
