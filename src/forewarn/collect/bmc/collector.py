"""The BMC of the agent's own host, as a collector. It is off until it is told which BMC to ask."""

from collections.abc import Iterator
from pathlib import Path

from forewarn.clock import Clock
from forewarn.collect.base import Collected
from forewarn.collect.bmc.poller import Poller
from forewarn.collect.bmc.settings import BmcSettings
from forewarn.domain.telemetry import Sample


class BmcCollector:
    """What this host's BMC says: the first time after waiting for its answer, later without waiting."""

    name = "bmc"

    def __init__(self, settings: BmcSettings, folder: Path | None, clock: Clock) -> None:
        self._settings, self._folder, self._clock = settings, folder, clock
        self._poller: Poller | None = None

    def collect(self) -> Iterator[Collected]:
        """The last answer; nothing but that it is off, where no BMC is to be asked."""
        asked = self._settings.local or bool(self._settings.targets)
        yield Sample("forewarn_source_up", {"collector": self.name, "source": "bmc"}, float(asked))
        if not asked:
            return
        first = self._poller is None
        if self._poller is None:
            self._poller = Poller(self._settings, self._folder, self._clock)
        found = self._poller.look(self._settings.timeout_s if first else 0.0)
        for host in found:  # a BMC of another host is the server's to ask
            if not host:
                yield from found[host]
