"""A cordon is written down before it is set, lasts only while it is renewed, and only Forewarn's own are lifted."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

import pytest

from forewarn.act.cordons import Cordons, CordonSettings
from forewarn.clock import SimulatedClock
from forewarn.domain.inventory import Kind
from forewarn.domain.plan import Cordon
from forewarn.drivers.simulated import SimulatedDriver
from forewarn.errors import DriverUnavailable, NotLeading
from forewarn.state.database import Database
from forewarn.state.leadership import Leadership
from tests.moves import NOW, small_cluster

LEASE_S = 900.0
HOSTS = "abcdefghij"


class Watchful(SimulatedDriver):
    """A simulated service that can time out, tells what it was asked for, and lets somebody look in between."""

    looks: Callable[[], object]
    answers = True
    calls: list[str]

    def cordon(self, host: str, why: str, until: datetime) -> None:
        self.calls.append(f"cordon {host}")
        self.looks()
        super().cordon(host, why, until)
        if not self.answers:
            raise DriverUnavailable("no answer")

    def uncordon(self, host: str) -> None:
        self.calls.append(f"uncordon {host}")
        super().uncordon(host)


class Site:
    def __init__(self) -> None:
        self.clock = SimulatedClock(NOW)
        self.database = Database("sqlite://", self.clock)
        self.driver = Watchful(small_cluster(hosts=HOSTS), (), self.clock)
        self.driver.calls, self.driver.looks = [], lambda: None
        self.cordons = self.restarted()

    def restarted(self, leadership: Leadership | None = None) -> Cordons:
        settings = CordonSettings(lease_s=LEASE_S, hosts_share=0.3)
        self.cordons = Cordons(self.driver, self.database, leadership, settings)
        return self.cordons

    def settle(self, *hosts: str, stopped: bool = False) -> list[str]:
        wanted = [Cordon(host, f"cpu:{host}/cpu", Kind.CPU, "its CPU may fail") for host in hosts]
        return [text for _, text in self.cordons.settle(wanted, self.driver.inventory(), stopped=stopped)]

    @property
    def marked(self) -> str:
        return "".join(host.name for host in self.driver.inventory().hosts if host.cordoned)

    @property
    def held(self) -> str:
        return "".join(cordon.host for cordon in self.cordons.held())


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    yield made
    made.database.close()


# --- set, renewed, lifted -------------------------------------------------------------------------------------


def test_a_cordon_is_set_once_kept_and_lifted_when_its_cause_is_gone(site: Site) -> None:
    assert site.settle("a") == ["a is cordoned: its CPU may fail"]
    assert (site.marked, site.held) == ("a", "a")
    assert site.settle("a") == []
    assert site.settle() == ["a is not cordoned any more: no part of it calls for that any more"]
    assert (site.marked, site.held) == ("", "")
    assert site.driver.calls == ["cordon a", "uncordon a"]


def test_the_row_is_there_when_the_placement_service_is_called(site: Site) -> None:
    seen: list[str] = []
    site.driver.looks = lambda: seen.append(site.held)
    site.settle("a")
    assert seen == ["a"]


def test_a_cordon_says_until_when_and_why(site: Site) -> None:
    site.settle("a")
    (held,) = site.cordons.held()
    assert (held.set_at, held.expires_at, held.why) == (NOW, NOW + timedelta(seconds=LEASE_S), "its CPU may fail")


def test_a_cordon_is_renewed_when_half_of_its_lease_is_over(site: Site) -> None:
    site.settle("a")
    site.clock.sleep(LEASE_S / 2 - 1)
    assert site.settle("a") == []
    assert site.driver.calls == ["cordon a"]
    site.clock.sleep(1)
    assert site.settle("a") == []
    assert site.driver.calls == ["cordon a", "cordon a"]
    site.clock.sleep(LEASE_S - 1)
    assert site.marked == "a"


def test_the_cordon_of_a_controller_that_is_gone_ends_with_its_lease(site: Site) -> None:
    site.settle("a")
    site.clock.sleep(LEASE_S - 1)
    assert site.marked == "a"
    site.clock.sleep(1)
    assert site.marked == ""


def test_a_restarted_controller_goes_on_with_the_cordons_of_the_one_before(site: Site) -> None:
    site.settle("a")
    site.restarted()
    assert site.settle("a") == []
    assert site.settle() == ["a is not cordoned any more: no part of it calls for that any more"]


def test_while_everything_is_stopped_nothing_is_set_or_lifted_and_what_is_held_is_renewed(site: Site) -> None:
    site.settle("a")
    site.clock.sleep(LEASE_S / 2)
    assert site.settle("b", stopped=True) == []
    assert (site.marked, site.held) == ("a", "a")
    assert site.driver.calls == ["cordon a", "cordon a"]


# --- limits ---------------------------------------------------------------------------------------------------


def test_only_a_share_of_the_hosts_is_cordoned_at_once(site: Site) -> None:
    assert len(site.settle(*"abcde")) == 3
    assert (site.held, site.cordons.held_back) == ("abc", 2)
    (budget,) = site.cordons.budget(site.driver.inventory())
    assert (budget.name, budget.used, budget.limit, budget.held) == ("cordons", 3, 3, 2)
    site.settle(*"bcde")
    assert site.held == "bcd"


@pytest.mark.parametrize(("hosts", "limit"), [(1, 1), (4, 1), (10, 2), (250, 50), (5000, 50)])
def test_the_limit_is_a_share_of_the_cluster_at_least_one_and_not_more_than_the_number(hosts: int, limit: int) -> None:
    assert CordonSettings().limit(hosts) == limit


# --- what other people do -------------------------------------------------------------------------------------


def test_a_host_that_somebody_else_has_cordoned_is_left_to_them_and_that_is_told_once(site: Site) -> None:
    site.driver.cordon_by_hand("a")
    assert site.settle("a") == ["a could not be cordoned: somebody else has cordoned a"]
    assert site.settle("a") == []
    assert (site.marked, site.held) == ("a", "")
    assert site.settle() == []
    assert site.settle("a") == ["a could not be cordoned: somebody else has cordoned a"]


def test_a_mark_of_somebody_else_beside_ours_stays_when_ours_is_lifted(site: Site) -> None:
    site.settle("a")
    site.driver.cordon_by_hand("a")
    site.clock.sleep(LEASE_S / 2)
    text = "the cordon of a could not be renewed: somebody else has cordoned a"
    assert [site.settle("a"), site.settle("a")] == [[text], []]
    site.settle()
    assert (site.marked, site.held) == ("a", "")


def test_release_lifts_every_cordon_of_ours_and_no_other(site: Site) -> None:
    site.driver.cordon_by_hand("c")
    site.settle("a", "b")
    assert site.cordons.release("we stop") == (
        ("a", "a is not cordoned any more: we stop"),
        ("b", "b is not cordoned any more: we stop"),
    )
    assert (site.marked, site.held) == ("c", "")
    assert site.cordons.release("we stop") == ()


# --- a placement service that does not answer -----------------------------------------------------------------


def test_a_cordon_whose_call_was_not_answered_stays_written_down_and_is_asked_for_again_at_once(site: Site) -> None:
    site.driver.answers = False
    assert site.settle("a") == ["a could not be cordoned: no answer"]
    assert (site.marked, site.held) == ("a", "a")
    site.driver.answers = True
    assert site.settle("a") == []
    assert site.driver.calls == ["cordon a", "cordon a"]
    assert site.settle("a") == []
    assert len(site.driver.calls) == 2


def test_a_cordon_whose_call_was_not_answered_is_lifted_when_its_cause_is_gone(site: Site) -> None:
    site.driver.answers = False
    site.settle("a")
    site.settle()
    assert (site.marked, site.held) == ("", "")


def test_a_renewal_that_failed_is_tried_again_in_the_next_cycle_and_told_once(site: Site) -> None:
    site.settle("a")
    site.clock.sleep(LEASE_S / 2)
    site.driver.answers = False
    assert site.settle("a") == ["the cordon of a could not be renewed: no answer"]
    assert site.settle("a") == []
    site.driver.answers = True
    site.settle("a")
    assert len(site.driver.calls) == 4
    site.settle("a")
    assert len(site.driver.calls) == 4


def test_a_cordon_that_could_not_be_lifted_stays_written_down(site: Site) -> None:
    site.settle("a")
    cluster = site.driver.inventory()
    site.driver.be_unreachable()
    assert site.cordons.settle([], cluster) == ()
    with pytest.raises(DriverUnavailable):
        site.cordons.release("we stop")
    assert site.held == "a"
    site.driver.be_reachable()
    site.settle()
    assert (site.marked, site.held) == ("", "")


# --- who leads ------------------------------------------------------------------------------------------------


def test_a_controller_that_was_overtaken_sets_and_lifts_nothing(site: Site) -> None:
    leadership = Leadership(site.database, "one/1")
    leadership.acquire()
    site.restarted(leadership)
    site.settle("a")
    site.clock.sleep(600)
    Leadership(site.database, "two/1").acquire()
    calls = list(site.driver.calls)
    for hosts in ("", "a", "b"):
        with pytest.raises(NotLeading, match="has taken over"):
            site.settle(*hosts)
    assert (site.driver.calls, site.held) == (calls, "a")
