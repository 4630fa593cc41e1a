"""What a collector is. One collector is one file and one line in the table of `collect/agent.py`."""

from collections.abc import Iterable
from typing import Protocol

from forewarn.domain.events import ChangeEvent, FailureEvent
from forewarn.domain.telemetry import Sample

Collected = Sample | ChangeEvent | FailureEvent


class Collector(Protocol):
    """One family of sources on this host.

    `collect` yields what it can read now; a source that this host does not have yields nothing, never zeros. It raises
    `SourceAbsent` where the whole family is absent, so that `forewarn_collector_up` says 0 with the cause.
    """

    name: str

    def collect(self) -> Iterable[Collected]:
        """Read every source once. Times are left to the agent (`Sample.time` is None) unless the source has its own."""
        ...
