"""The server asks the BMCs of its hosts itself: for sites where BMCs are reached from one place, and hosts not at all.

What a BMC says counts as said by the host on whose board it sits. A host that is silent and whose BMC answers shows in
the metrics of the BMC alone.
"""

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from forewarn.assemble.site import Site
from forewarn.clock import RealClock
from forewarn.collect.base import Round
from forewarn.collect.bmc.poller import Poller
from forewarn.collect.bmc.settings import BmcSettings
from forewarn.domain.telemetry import Sample
from forewarn.errors import ConfigurationError, ForewarnError

logger = logging.getLogger(__name__)
OWN = "forewarn_telemetry_"
_BEAT_S = 1.0  # between two looks whether a BMC has answered


def check(settings: BmcSettings) -> None:
    """Raises ConfigurationError for what a server cannot do."""
    if settings.local:
        raise ConfigurationError("bmc.local is an agent's: set it in the agent's file, as agent.bmc.local")
    if unnamed := [target.address for target in settings.targets if not target.host]:
        raise ConfigurationError(f"bmc.targets: {unnamed[0]} names no host: set `host` to that on whose board it sits")


class BmcWatch:
    """Polls the BMCs in a thread and hands the site what they say."""

    def __init__(self, settings: BmcSettings, site: Site, folder: Path, clock: RealClock) -> None:
        check(settings)
        self._poller, self._site, self._clock = Poller(settings, folder, clock), site, clock
        self._own: dict[str, float] = {}
        self._interval_s, self._due = settings.interval_s, dict[str, float]()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="bmc")

    def start(self) -> Callable[[], None]:
        """Begin; returns what ends it."""
        self._thread.start()

        def end() -> None:
            self._stopped.set()
            self._thread.join()
            self._poller.close()

        return end

    def metrics(self) -> Mapping[str, float]:
        """How each BMC does, under its name in Prometheus' format."""
        return dict(self._own)

    def look(self) -> None:
        """Hand over what the BMCs have said since the last look."""
        found = self._poller.look(news_only=True)
        own: dict[str, float] = {}
        shown: dict[str, list[Sample]] = {}
        for host, collected in found.items():
            samples = [each for each in collected if isinstance(each, Sample)]
            events = tuple(each for each in collected if not isinstance(each, Sample))
            own |= _exposed(sample for sample in samples if sample.name.startswith(OWN))
            shown[host] = samples if self._tells(host, samples) else []
            if events:
                self._site.record(Round((), events).named(host).events)
        self._own = own
        self._site.take({host: samples for host, samples in shown.items() if samples}, self._clock.now())

    def _tells(self, host: str, samples: Iterable[Sample]) -> bool:
        """Whether a look is worth storing: readings have come, or nothing has for as long as they take to come."""
        now = self._clock.monotonic()
        if all(sample.name.startswith(OWN) for sample in samples) and now < self._due.get(host, now):
            return False
        self._due[host] = now + self._interval_s
        return True

    def _run(self) -> None:
        while not self._stopped.is_set() and not self._clock.stopped:
            try:
                self.look()
            except ForewarnError:  # the store or the database; what the BMCs say next is taken again
                logger.exception("what BMCs said could not be taken")
            self._stopped.wait(_BEAT_S)


def _exposed(samples: Iterable[Sample]) -> dict[str, float]:
    """Samples as lines of Prometheus' format without their values."""
    lines = {}
    for sample in samples:
        labels = ",".join(f'{name}="{_escaped(value)}"' for name, value in sample.labels.items())
        lines[f"{sample.name}{{{labels}}}"] = sample.value
    return lines


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"")
