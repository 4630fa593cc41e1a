"""How often somebody failed of late, so that guessing is slowed down and refusals cannot flood the audit."""

from collections import OrderedDict, deque
from threading import Lock

from forewarn.clock import Clock
from forewarn.errors import TemporaryError


class TooManyAttempts(TemporaryError):
    """Too many failures within the window."""

    code = "too_many_attempts"


class Attempts:
    """Failures by key (an address, a name) within a sliding window. Safe to use from several threads."""

    def __init__(self, clock: Clock, failures_max: int, window_s: float, keys_max: int) -> None:
        self._clock = clock
        self._failures_max = failures_max
        self._window_s = window_s
        self._keys_max = keys_max
        self._lock = Lock()
        self._times: OrderedDict[str, deque[float]] = OrderedDict()

    def check(self, key: str) -> None:
        """Raises TooManyAttempts while `key` has failed as often as it may."""
        now = self._clock.monotonic()
        with self._lock:
            times = self._recent(self._times.get(key, deque()), now)
            if len(times) < self._failures_max:
                return
            wait_s = times[0] + self._window_s - now
        raise TooManyAttempts(f"too many failed attempts; try again in {wait_s:.0f} seconds", max(1.0, wait_s))

    def failed(self, key: str) -> None:
        """Count a failure."""
        now = self._clock.monotonic()
        with self._lock:
            times = self._times.setdefault(key, deque(maxlen=self._failures_max))
            self._recent(times, now).append(now)
            self._times.move_to_end(key)
            while len(self._times) > self._keys_max:
                self._times.popitem(last=False)

    def forgive(self, key: str) -> None:
        """Forget the failures of one who has got it right."""
        with self._lock:
            self._times.pop(key, None)

    def _recent(self, times: deque[float], now: float) -> deque[float]:
        while times and times[0] <= now - self._window_s:
            times.popleft()
        return times
