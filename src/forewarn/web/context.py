"""What every handler reads from: the newest snapshot, the store, the inbox, the clock and the settings."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

from fastapi import Request

from forewarn.clock import Clock
from forewarn.errors import PermanentError, TemporaryError
from forewarn.store.base import TelemetryStore
from forewarn.web.fleet import Fleet
from forewarn.web.inbox import Inbox, NoInbox
from forewarn.web.intake import Ingest
from forewarn.web.latest import Latest
from forewarn.web.live import Broadcaster
from forewarn.web.settings import WebSettings


class NoSnapshot(TemporaryError):
    """The first cycle has not ended yet."""

    code = "no_snapshot"


class NotFound(PermanentError):
    """Nothing of that name."""

    code = "not_found"


@dataclass(frozen=True)
class Context:
    """Everything that a handler may use."""

    settings: WebSettings
    latest: Latest
    broadcaster: Broadcaster
    clock: Clock
    version: str
    store: TelemetryStore | None = None
    requests: Inbox | None = None
    extra: Callable[[], Mapping[str, float]] = dict  # what other parts count about themselves, for /metrics
    ingest: Ingest | None = None

    def fleet_or_none(self) -> Fleet | None:
        """The newest snapshot, if there is one. Raises StateError for a file that is no snapshot."""
        return self.latest.fleet()

    def fleet(self) -> Fleet:
        """The newest snapshot. Raises NoSnapshot before the first cycle."""
        found = self.latest.fleet()
        if found is None:
            raise NoSnapshot("the first cycle has not ended yet; try again in a few seconds")
        return found

    def inbox(self) -> Inbox:
        """Raises NoInbox where the server runs without a state database."""
        if self.requests is None:
            raise NoInbox("this server has no state database, so requests cannot be taken")
        return self.requests

    def age_s(self, fleet: Fleet) -> float:
        """Seconds since the cycle of `fleet`."""
        return max(0.0, (self.clock.now() - fleet.snapshot.time).total_seconds())

    def is_stale(self, fleet: Fleet) -> bool:
        """Whether that is too long ago."""
        return self.age_s(fleet) > self.settings.stale_after_s


def context_of(request: Request) -> Context:
    """The context of the application that serves `request`."""
    return cast(Context, request.app.state.context)
