"""Which changes of a host's state are recorded as failures."""

import pytest

from forewarn.control import failures
from forewarn.domain.inventory import Cluster, HostState
from tests.clusters import NOW, host


def cluster(state: HostState) -> Cluster:
    return Cluster(NOW, hosts=(host("a", state=state),))


@pytest.mark.parametrize("before", [HostState.UP, HostState.UNKNOWN])
def test_a_host_that_goes_down_has_failed(before: HostState) -> None:
    (event,) = failures(cluster(before), cluster(HostState.DOWN))
    assert (event.host, event.time, event.source) == ("a", NOW, "driver")


@pytest.mark.parametrize("before", [HostState.MAINTENANCE, HostState.DOWN])
def test_a_host_that_goes_down_in_maintenance_or_stays_down_has_not(before: HostState) -> None:
    assert failures(cluster(before), cluster(HostState.DOWN)) == []


def test_nothing_has_failed_at_the_first_look_or_as_a_host_enters_maintenance() -> None:
    assert failures(None, cluster(HostState.DOWN)) == []
    assert failures(cluster(HostState.UP), cluster(HostState.MAINTENANCE)) == []
