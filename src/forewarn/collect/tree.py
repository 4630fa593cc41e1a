"""The `/proc`, `/sys` and `/run` of one machine, read below a root path.

The root is `/` on a live host and a folder in tests: a frozen machine is a fixture. Nothing here raises when a file is
missing or will not be read: sensors come and go, and drivers answer with every errno there is. What was refused is
counted instead, so that silence has a name; a file that does not exist is simply absent.
"""

import errno
import math
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from forewarn.domain.telemetry import Sample
from forewarn.errors import ConfigurationError

# Answers by which the kernel says "not here" or "not now", such as the speed of a link that is down.
ABSENT_ERRNOS = frozenset(
    {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EINVAL, errno.ENODEV, errno.ENXIO, errno.EOPNOTSUPP, errno.EAGAIN}
)
NOT_A_NUMBER = "not a number"
LABEL_CHARACTERS_MAX = 200
CHUNK_BYTES, PAGE_BYTES = 65_536, 4096  # an attribute of sysfs fits a page


class Tree:
    """Reads small kernel files below `root`; `refused` counts what was there and could not be read, by reason."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._prefix = f"{root}".rstrip("/")
        self.refused: Counter[str] = Counter()

    def path(self, name: str) -> Path:
        """Where `name` (relative, such as `proc/stat`) lies on this machine."""
        return self._root / name

    def has(self, name: str) -> bool:
        """Whether there is such an entry, as far as this user may see."""
        try:
            return self.path(name).exists()
        except OSError:
            return False

    def raw(self, name: str) -> bytes | None:
        """The bytes of a file, or None where it is absent or refused."""
        try:
            return _content(f"{self._prefix}/{name}", attribute=name.startswith("sys/"))
        except OSError as problem:
            if problem.errno not in ABSENT_ERRNOS:
                self.refused[(problem.strerror or "unknown error").lower()] += 1
            return None

    def text(self, name: str) -> str | None:
        """A file's text without the space around it; None where it is absent or refused."""
        content = self.raw(name)
        return None if content is None else content.decode("utf-8", "replace").strip("\0 \t\r\n")

    def words(self, name: str) -> str:
        """The text of a file that only names something; empty where there is none."""
        return self.text(name) or ""

    def number(self, name: str, base: int = 0) -> float | None:
        """The finite number in a file; with `base` 16 a whole number in hexadecimal, as some counters are written."""
        text = self.text(name)
        if text is None:
            return None
        value = parse_number(text, base)
        if value is None:
            self.refused[NOT_A_NUMBER] += 1
        return value

    def stamp(self, name: str) -> tuple[str, int, int]:
        """Of a file or folder, what differs once it is another or has other entries; zeros where it is absent."""
        try:
            status = os.stat(f"{self._prefix}/{name}")  # noqa: PTH116 - once for each drive and chip in each round
        except OSError:
            return name, 0, 0
        return name, status.st_ino, status.st_mtime_ns

    def names(self, folder: str, prefix: str = "") -> list[str]:
        """The entries of a folder that start with `prefix`, in natural order (cpu2 before cpu10)."""
        try:
            found = [name for name in os.listdir(f"{self._prefix}/{folder}") if name.startswith(prefix)]  # noqa: PTH208
        except OSError as problem:
            if problem.errno not in ABSENT_ERRNOS:
                self.refused[(problem.strerror or "unknown error").lower()] += 1
            return []
        return sorted(found, key=lambda name: (len(name), name))

    def numbered(self, folder: str, prefix: str) -> list[str]:
        """The entries of a folder named `prefix` and a number, in the order of the numbers."""
        return [name for name in self.names(folder, prefix) if name[len(prefix) :].isdecimal()]

    def report(self, collector: str, sources: Iterable[tuple[str, bool]]) -> Iterator[Sample]:
        """Which sources a collector found, and how much was refused since the last report."""
        for source, found in sources:
            yield Sample("forewarn_source_up", {"collector": collector, "source": source}, float(found))
        refused, self.refused = self.refused, Counter()
        for why, count in sorted(refused.items()):
            yield Sample("forewarn_collector_refused", {"collector": collector, "why": why}, float(count))


def _content(path: str, *, attribute: bool) -> bytes:
    """The bytes of a kernel file; thousands are read each round, so nothing is done that need not be.

    An attribute of sysfs is read at once, and a short answer is its end; files of /proc may come in pieces.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        content = os.read(descriptor, CHUNK_BYTES)
        if attribute and len(content) < PAGE_BYTES:
            return content
        pieces = [content]
        while pieces[-1]:
            pieces.append(os.read(descriptor, CHUNK_BYTES))
        return b"".join(pieces)
    finally:
        os.close(descriptor)


def pattern(setting: str, expression: str) -> re.Pattern[str]:
    """The regular expression in a setting; raises ConfigurationError with its name and the place where it is none."""
    try:
        return re.compile(expression)
    except re.error as problem:
        raise ConfigurationError(f"{setting} is no regular expression: {problem}") from problem


def label_text(text: str) -> str:
    """A text from elsewhere as a label's value: encodable, on one line and of bearable length."""
    clean = text.encode("utf-8", "replace").decode("utf-8").replace("\0", " ")
    return " ".join(clean.split())[:LABEL_CHARACTERS_MAX]


def parse_number(text: str, base: int = 0) -> float | None:
    """The finite number that `text` is, else None.

    >>> parse_number("42"), parse_number("0x1f", 16), parse_number("<unknown>"), parse_number("nan")
    (42.0, 31.0, None, None)
    """
    try:
        value = float(int(text, base)) if base else float(text)
    except (ValueError, OverflowError):
        return None
    return value if math.isfinite(value) else None
