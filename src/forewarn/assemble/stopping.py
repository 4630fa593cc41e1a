"""How a process that runs until somebody ends it is ended."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from forewarn.clock import RealClock


@contextmanager
def until_signal() -> Iterator[RealClock]:
    """A real clock that SIGTERM and SIGINT stop: whatever sleeps on it wakes, and ends cleanly."""
    clock = RealClock()
    signals = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, lambda *_: clock.stop()) for number in signals]
    try:
        yield clock
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)
