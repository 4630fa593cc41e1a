"""Time passes only where somebody lets it."""

import threading
from datetime import UTC, datetime, timedelta, timezone

import pytest

from forewarn.clock import RealClock, SimulatedClock

START = datetime(2026, 1, 5, tzinfo=UTC)


def test_a_simulated_clock_stands_still_until_somebody_sleeps() -> None:
    clock = SimulatedClock(START)
    assert clock.now() == clock.now() == START
    clock.sleep(1.5)
    clock.sleep(-3)
    assert clock.now() == START + timedelta(seconds=1.5)
    assert clock.monotonic() == 1.5


def test_a_simulated_clock_speaks_utc_and_refuses_a_time_without_zone() -> None:
    clock = SimulatedClock(datetime(2026, 1, 5, 2, tzinfo=timezone(timedelta(hours=2))))
    assert clock.now().isoformat() == "2026-01-05T00:00:00+00:00"
    with pytest.raises(ValueError, match="starts at a time with a zone"):
        SimulatedClock(datetime(2026, 1, 5))  # noqa: DTZ001 -- the case under test


def test_the_real_clock_runs_forward_and_speaks_utc() -> None:
    clock = RealClock()
    first = clock.monotonic()
    assert clock.now().tzinfo is UTC
    assert clock.monotonic() >= first


def test_stopping_the_real_clock_ends_a_long_sleep_at_once() -> None:
    clock = RealClock()
    sleeper = threading.Thread(target=clock.sleep, args=(3600,))
    sleeper.start()
    clock.stop()
    sleeper.join(timeout=10)
    assert not sleeper.is_alive()
    assert clock.stopped
