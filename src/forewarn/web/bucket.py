"""Token buckets: how much each one may send in a while. They fill evenly, and hold at most a minute's worth."""

import threading
from collections import OrderedDict

from forewarn.clock import Clock

_MINUTE_S = 60.0


class Buckets:
    """One bucket per name; past `names_max` the longest unused are forgotten. Safe to use from several threads.

    >>> from datetime import UTC, datetime
    >>> from forewarn.clock import SimulatedClock
    >>> buckets = Buckets(SimulatedClock(datetime(2026, 1, 1, tzinfo=UTC)), 60.0, names_max=100)
    >>> buckets.take("a", 60.0), buckets.take("a", 5.0), buckets.take("b", 5.0)
    (0.0, 5.0, 0.0)
    """

    def __init__(self, clock: Clock, per_minute: float, names_max: int) -> None:
        self._clock = clock
        self._per_minute = per_minute
        self._names_max = names_max
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # what is left, and when that was so
        self._lock = threading.Lock()

    def take(self, name: str, amount: float) -> float:
        """Take that much out, or nothing: returns the seconds until it can be had, 0 where it was.

        More than a minute's worth is lent to a full bucket.
        """
        per_s = self._per_minute / _MINUTE_S
        with self._lock:
            now = self._clock.monotonic()
            left, since = self._left.pop(name, (self._per_minute, now))
            left = min(self._per_minute, left + (now - since) * per_s)
            lacking = min(amount, self._per_minute) - left
            self._left[name] = (left if lacking > 0 else left - amount, now)
            while len(self._left) > self._names_max:
                self._left.popitem(last=False)
        return max(0.0, lacking / per_s)
