"""What a collector is. One collector is one file and one line in the table of `collect/agent.py`."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from forewarn.domain.events import ChangeEvent, FailureEvent
from forewarn.domain.telemetry import Sample

Event = ChangeEvent | FailureEvent
Collected = Sample | Event


@dataclass(frozen=True)
class Round:
    """What all collectors gave in one round; `time` is that of the samples that say none themselves."""

    samples: tuple[Sample, ...]
    events: tuple[Event, ...] = ()
    time: datetime | None = None

    def named(self, host: str) -> "Round":
        """The same round with `host` in the events that leave it open, and in their parts (`memory:/A1`)."""
        return replace(self, events=tuple(event if event.host else _named(event, host) for event in self.events))


def _named(event: Event, host: str) -> Event:
    """The event as one of `host`. A part that is called by its place, without a host, is of this one."""
    kind, colon, place = event.component.partition(":")
    component = f"{kind}{colon}{host}{place}" if place.startswith("/") else event.component
    return replace(event, host=host, component=component)


class Collector(Protocol):
    """One family of sources on this host.

    `collect` yields what it can read now; a source that this host does not have yields nothing, never zeros. It raises
    `SourceAbsent` where the whole family is absent, so that `forewarn_collector_up` says 0 with the cause.
    """

    name: str

    def collect(self) -> Iterable[Collected]:
        """Read every source once.

        Times are left to the agent (`Sample.time` is None) unless the source has its own; so is an event's host
        (""), also in the id of a part without a serial (`component_id(kind, "", device)`).
        """
        ...
