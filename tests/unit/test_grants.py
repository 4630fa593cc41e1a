"""Grants survive as they were given, one for each scope, until they expire."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from forewarn.clock import SimulatedClock
from forewarn.decide.narrate import expired_line
from forewarn.domain.authority import Grant, Mode
from forewarn.state.database import Database
from forewarn.state.grants import Grants
from tests.moves import NOW

HOUR = timedelta(hours=1)
WIDE = Grant(Mode.RECOMMEND, NOW, "ann", "trial")
NARROW = Grant(Mode.AUTOMATIC, NOW, "bob", "proven", "gold", "disk", "cordon", NOW + HOUR, overrides=True)


@pytest.fixture
def grants() -> Iterator[Grants]:
    database = Database("sqlite://", SimulatedClock(NOW))
    yield Grants(database)
    database.close()


def test_a_grant_comes_back_as_it_was_given_the_oldest_first(grants: Grants) -> None:
    assert grants.load() == ()
    grants.give(NARROW)
    grants.give(WIDE)
    assert grants.load() == (NARROW, WIDE)


def test_a_new_grant_replaces_the_one_of_the_same_scope_and_comes_last(grants: Grants) -> None:
    grants.give(WIDE)
    grants.give(NARROW)
    other = replace(WIDE, mode=Mode.OBSERVE, who="cara", why="audit")
    grants.give(other)
    assert grants.load() == (NARROW, other)


def test_what_has_expired_is_told_once_and_gone(grants: Grants) -> None:
    grants.give(NARROW)
    grants.give(WIDE)
    assert grants.drop_expired(NOW + HOUR - timedelta(seconds=1)) == ()
    assert grants.drop_expired(NOW + HOUR) == (NARROW,)
    assert grants.drop_expired(NOW + HOUR) == ()
    assert grants.load() == (WIDE,)


def test_an_expired_grant_is_told_with_its_scope_and_who_gave_it() -> None:
    line = expired_line(NARROW, NOW)
    assert line.text == "mode automatic for cordon for disk, in aggregate gold has expired (bob: proven)"
