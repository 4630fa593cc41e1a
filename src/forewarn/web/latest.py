"""The newest snapshot as a `Fleet`, computed once for all who ask."""

from collections.abc import Callable
from threading import Lock

from forewarn.domain.situation import Snapshot
from forewarn.web.fleet import Fleet, fleet_of


class Latest:
    """Reads the snapshot anew at each call, and computes what is shown of it only when it is another one."""

    def __init__(self, read: Callable[[], Snapshot | None]) -> None:
        self._read = read
        self._lock = Lock()
        self._held: Fleet | None = None

    def fleet(self) -> Fleet | None:
        """None before the first cycle. Raises what `read` raises: StateError for a file that is no snapshot."""
        snapshot = self._read()
        with self._lock:
            if snapshot is None:
                self._held = None
            elif self._held is None or self._held.snapshot is not snapshot:
                self._held = fleet_of(snapshot)
            return self._held
