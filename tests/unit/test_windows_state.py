"""Windows that people and other systems open survive, end when they are closed, and follow what their source says."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from forewarn.clock import SimulatedClock
from forewarn.domain.authority import Window, WindowKind
from forewarn.state.database import Database
from forewarn.state.windows import Windows
from tests.moves import NOW

HOUR = timedelta(hours=1)
ONE = Window(WindowKind.FREEZE, "a*", NOW, NOW + HOUR, "ann", "audit", "api", "request 1")
TWO = Window(WindowKind.MAINTENANCE, "b", NOW + HOUR, NOW + 2 * HOUR, "bob", "new kernel", "alertmanager", "s1")


@pytest.fixture
def windows() -> Iterator[Windows]:
    database = Database("sqlite://", SimulatedClock(NOW))
    yield Windows(database)
    database.close()


def test_windows_come_back_as_they_were_opened_by_their_start(windows: Windows) -> None:
    assert (windows.open(TWO), windows.open(ONE)) == (1, 2)
    assert windows.load(NOW) == (ONE, TWO)
    assert windows.numbered(NOW) == ((2, ONE), (1, TWO))


def test_a_window_is_gone_at_its_end(windows: Windows) -> None:
    windows.open(ONE)
    assert windows.load(NOW + HOUR - timedelta(seconds=1)) == (ONE,)
    assert windows.load(NOW + HOUR) == ()


def test_a_window_is_closed_once_by_its_number(windows: Windows) -> None:
    number = windows.open(ONE)
    assert windows.close(number)
    assert not windows.close(number)
    assert not windows.close(99)
    assert windows.load(NOW) == ()


def test_what_a_source_says_replaces_what_it_said_and_nothing_else(windows: Windows) -> None:
    windows.open(ONE)
    other = replace(TWO, hosts="c", key="s2")
    windows.replace("alertmanager", [TWO, TWO])
    (numbered,) = [number for number, window in windows.numbered(NOW) if window == TWO]
    windows.replace("alertmanager", [TWO, other])
    assert set(windows.load(NOW)) == {ONE, TWO, other}
    assert (numbered, TWO) in windows.numbered(NOW)
    windows.replace("alertmanager", [other])
    assert windows.load(NOW) == (ONE, other)
    windows.replace("alertmanager", [])
    assert windows.load(NOW) == (ONE,)


def test_a_window_that_a_source_said_twice_is_gone_with_it(windows: Windows) -> None:
    windows.open(TWO)
    windows.open(TWO)
    windows.replace("alertmanager", [])
    assert windows.load(NOW) == ()
