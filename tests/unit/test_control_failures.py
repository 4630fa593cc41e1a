"""Which changes of a host's state are recorded as failures."""

from datetime import timedelta

import pytest

from forewarn.control import failures
from forewarn.domain.authority import Window, WindowKind
from forewarn.domain.inventory import Cluster, HostState
from forewarn.domain.situation import Situation
from tests.clusters import NOW, host


def cluster(state: HostState) -> Cluster:
    return Cluster(NOW, hosts=(host("a", state=state),))


def seen(state: HostState, *windows: Window) -> Situation:
    return Situation(cluster(state), windows=windows)


@pytest.mark.parametrize("before", [HostState.UP, HostState.UNKNOWN])
def test_a_host_that_goes_down_has_failed(before: HostState) -> None:
    (event,) = failures(cluster(before), seen(HostState.DOWN))
    assert (event.host, event.time, event.source) == ("a", NOW, "driver")


@pytest.mark.parametrize("before", [HostState.MAINTENANCE, HostState.DOWN])
def test_a_host_that_goes_down_in_maintenance_or_stays_down_has_not(before: HostState) -> None:
    assert failures(cluster(before), seen(HostState.DOWN)) == []


def test_nothing_has_failed_at_the_first_look_or_as_a_host_enters_maintenance() -> None:
    assert failures(None, seen(HostState.DOWN)) == []
    assert failures(cluster(HostState.UP), seen(HostState.MAINTENANCE)) == []


@pytest.mark.parametrize(
    ("kind", "hosts", "noted"),
    [(WindowKind.MAINTENANCE, "a", 0), (WindowKind.MAINTENANCE, "b*", 1), (WindowKind.FREEZE, "a", 1)],
)
def test_a_host_in_an_announced_window_of_maintenance_has_not_failed(kind: WindowKind, hosts: str, noted: int) -> None:
    window = Window(kind, hosts, NOW, NOW + timedelta(hours=1), "ann", "new kernel")
    assert len(failures(cluster(HostState.UP), seen(HostState.DOWN, window))) == noted
