"""Changes are kept once, for as long as the setting says; what an agent notices is stored by what it is."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from forewarn.assemble.site import Site, SiteSettings
from forewarn.clock import SimulatedClock
from forewarn.domain.events import ChangeEvent, ChangeKind, FailureEvent
from forewarn.domain.inventory import Kind
from forewarn.domain.telemetry import Sample
from forewarn.state.changes import ChangeEvents, ChangeSettings
from forewarn.state.database import Database
from tests.moves import NOW

BOOT = ChangeEvent(NOW, "host03", ChangeKind.BOOT, "", "a", "b")
HOUR = timedelta(hours=1)


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock(NOW)


@pytest.fixture
def database(clock: SimulatedClock) -> Iterator[Database]:
    opened = Database("sqlite://", clock)
    yield opened
    opened.close()


def test_the_same_change_told_twice_is_one(database: Database) -> None:
    changes, other = ChangeEvents(database), replace(BOOT, host="host04")
    assert changes.record([BOOT, other]) == (BOOT, other)
    assert changes.record([BOOT]) == ()
    assert changes.between(NOW, NOW + HOUR) == (BOOT, other)
    assert changes.between(NOW - HOUR, NOW) == ()


def test_old_changes_go(database: Database, clock: SimulatedClock) -> None:
    changes = ChangeEvents(database, ChangeSettings(keep_days=1))
    changes.record([BOOT])
    clock.sleep(86_401)
    changes.record([replace(BOOT, time=clock.now())])
    assert [change.time for change in changes.between(NOW, clock.now() + HOUR)] == [clock.now()]


def test_a_site_keeps_events_by_what_they_are_and_takes_a_sample_twice_as_once(
    tmp_path: Path, clock: SimulatedClock
) -> None:
    site = Site(tmp_path, clock, SiteSettings())
    failure = FailureEvent(NOW, "host03", Kind.DISK, "disk:A", "agent", "I/O error")
    site.record([BOOT, failure])
    assert site.memory.changes.between(NOW, NOW + HOUR) == (BOOT,)
    assert site.memory.failures.between(NOW, NOW + HOUR) == (failure,)
    for _ in range(2):
        site.take({"host03": [Sample("node_network_up", {"device": "eth0"}, 1.0, NOW - HOUR)]}, NOW)
    found = site.store.series("network:host03/eth0", "nic_up", NOW - 2 * HOUR, NOW)
    assert found.column("time").to_pylist() == [NOW - HOUR]
    site.close()
