"""The file that each cycle leaves behind: written whole or not at all, read by the dashboard, the API and the CLI.

Whoever reads it never waits for the control loop, and sees the last good cycle when the loop has stopped.
"""

from pathlib import Path
from threading import Lock

from pydantic import TypeAdapter, ValidationError

from forewarn.domain.situation import Snapshot
from forewarn.errors import StateError

_SNAPSHOT = TypeAdapter(Snapshot)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees the old one or the new one. Raises StateError where that cannot be done."""
    partial = path.with_suffix(".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(content)
        partial.replace(path)
    except OSError as error:
        raise StateError(f"cannot write {path}: {error.strerror}") from error


class SnapshotFile:
    """One snapshot on disk. Reading is cheap while the file has not changed; both ends may be in one process or two."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = Lock()
        self._stamp: tuple[int, int, int] | None = None
        self._held: Snapshot | None = None

    def write(self, snapshot: Snapshot) -> None:
        """Replace the file in one step. Raises StateError if the folder cannot be written."""
        write_whole(self.path, _SNAPSHOT.dump_json(snapshot))

    def read(self) -> Snapshot | None:
        """The last snapshot, or None before the first cycle. Raises StateError for a file that is no snapshot."""
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return None
        stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
        with self._lock:
            if stamp != self._stamp:
                self._held, self._stamp = self._parse(), stamp
            return self._held

    def _parse(self) -> Snapshot:
        try:
            return _SNAPSHOT.validate_json(self.path.read_bytes())
        except ValidationError as error:
            raise StateError(f"{self.path} is not a snapshot of this version; remove it") from error
        except OSError as error:
            raise StateError(f"cannot read the snapshot {self.path}: {error.strerror}") from error
