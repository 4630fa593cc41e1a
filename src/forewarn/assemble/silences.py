"""Silences of Alertmanager as windows: hosts that people silence there are left alone here.

They are read beside the control loop, which must not wait for another server. While Alertmanager does not answer, the
windows that were read last hold to their own end.
"""

import logging
import threading
from collections.abc import Callable

from forewarn.alerts import silences
from forewarn.alerts.alert import Silence
from forewarn.alerts.settings import AlertSettings
from forewarn.clock import RealClock
from forewarn.domain.authority import Window, WindowKind
from forewarn.errors import ForewarnError
from forewarn.state.windows import Windows

SOURCE = "alertmanager"
logger = logging.getLogger(__name__)


class SilenceReader:
    """Reads the silences again and again, and keeps them as windows."""

    def __init__(self, settings: AlertSettings, windows: Windows) -> None:
        self._settings, self._windows = settings, windows
        self._told: tuple[str, ...] = ()

    def read(self) -> None:
        """Once. What cannot be read is logged when it begins."""
        try:
            found, left_out = silences.fetch(self._settings.alertmanager, self._settings.cluster)
            self._windows.replace(SOURCE, [window for silence in found for window in windows_of(silence)])
        except ForewarnError as error:
            left_out = (f"silences cannot be read: {error}",)
        for text in left_out:
            if text not in self._told:
                logger.warning("%s", text)
        self._told = left_out

    def run(self, clock: RealClock) -> None:
        """Until the clock is stopped."""
        while not clock.stopped:
            self.read()
            clock.sleep(self._settings.alertmanager.resend_s)


def windows_of(silence: Silence) -> tuple[Window, ...]:
    """A window for each pattern of hosts that a silence names."""
    return tuple(
        Window(
            WindowKind(silence.kind),
            hosts,
            silence.starts_at,
            silence.ends_at,
            silence.who,
            silence.why,
            SOURCE,
            silence.key,
        )
        for hosts in silence.hosts
    )


def start_reading(settings: AlertSettings, windows: Windows, clock: RealClock) -> Callable[[], None]:
    """Read silences on a thread of their own, where an Alertmanager is named; returns what ends it."""
    if not settings.alertmanager.urls or not settings.alertmanager.silences_as:
        return lambda: None
    thread = threading.Thread(target=SilenceReader(settings, windows).run, args=(clock,), name="silences")
    thread.start()

    def end() -> None:
        clock.stop()
        thread.join()

    return end
