"""When many hosts turn risky together nothing moves, the common factor is named, and only a person clears it."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from forewarn.clock import SimulatedClock
from forewarn.decide.breaker import BreakerSettings, leading_feature, trip
from forewarn.decide.decision import Decision
from forewarn.decide.policy import PolicySettings
from forewarn.domain.inventory import Kind
from forewarn.domain.plan import Refusal
from forewarn.domain.risk import FailureForecast, Reason
from forewarn.domain.situation import Breaker, LadderStep, Rung, Situation
from forewarn.state.breaker import BreakerState
from forewarn.state.database import Database
from tests.clusters import NOW, host, part, situation, vm

MINUTE = timedelta(minutes=1)
SETTINGS = BreakerSettings()
POLICY = PolicySettings(thresholds={"cpu": 0.1, "disk": 0.1})


def fleet(count: int = 20, racks: int = 4, models: tuple[str, ...] = ("M1", "M2")) -> Situation:
    """Hosts h00, h01, ... in racks by turns, each with a CPU of one of the models by turns."""
    hosts = [replace(host(f"h{n:02}"), rack=f"rack{n % racks}") for n in range(count)]
    parts = [replace(part(f"h{n:02}"), model=models[n % len(models)]) for n in range(count)]
    return situation(hosts, parts=parts)


def turned(seen: Situation, *numbers: int, minutes_ago: float = 0.0) -> list[LadderStep]:
    """The ladder once the CPUs of these hosts have turned risky."""
    since = NOW - minutes_ago * MINUTE
    return [
        LadderStep(forecast.component, Rung.MOVE if n in numbers else Rung.CLEAR, since)
        for n, forecast in enumerate(seen.forecasts)
    ]


def because(seen: Situation, *readings: str) -> Situation:
    """The situation with a leading reading for each forecast, by turns."""

    def told(n: int, forecast: FailureForecast) -> FailureForecast:
        reading = readings[n % len(readings)]
        return replace(forecast, reasons=(Reason("age", "", 0.1), Reason(reading, "", 2.0), Reason("cool", "", -9.0)))

    return replace(seen, forecasts=tuple(told(n, forecast) for n, forecast in enumerate(seen.forecasts)))


# --- the limit ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hosts", "limit"), [(1, 2), (4, 2), (5, 4), (40, 4), (60, 6), (300, 30), (301, 30), (10_000, 30)]
)
def test_the_limit_follows_the_cluster_s_size_between_its_ends(hosts: int, limit: int) -> None:
    assert SETTINGS.limit(hosts) == limit


def test_it_trips_exactly_at_the_limit() -> None:
    seen = fleet()
    assert trip(seen, turned(seen, 0, 1, 2), SETTINGS, NOW) == ""
    assert trip(seen, turned(seen, 0, 1, 2, 3), SETTINGS, NOW).startswith(
        "4 of 20 hosts turned risky within 10 min, the limit is 4; "
    )


def test_many_parts_of_few_hosts_do_not_trip_it() -> None:
    hosts = [host(f"h{n}") for n in range(6)]
    parts = [part(f"h{n}", Kind.DISK, f"sd{letter}") for n in range(3) for letter in "abcd"]
    seen = situation(hosts, parts=parts)
    assert trip(seen, turned(seen, *range(12)), SETTINGS, NOW) == ""


def test_parts_that_turned_risky_before_the_window_do_not_count() -> None:
    seen = fleet()
    assert trip(seen, turned(seen, 0, 1, 2, 3, minutes_ago=9.9), SETTINGS, NOW)
    assert trip(seen, turned(seen, 0, 1, 2, 3, minutes_ago=10), SETTINGS, NOW) == ""


def test_parts_that_turned_risky_before_it_was_cleared_do_not_trip_it_again() -> None:
    seen = replace(fleet(), breaker=Breaker(cleared_at=NOW - 2 * MINUTE))
    old = turned(seen, 0, 1, 2, 3, minutes_ago=3)
    assert trip(seen, old, SETTINGS, NOW) == ""
    new = turned(seen, 4, 5, 6, minutes_ago=1)
    assert trip(seen, [*old[:4], *new[4:]], SETTINGS, NOW) == ""
    new = turned(seen, 4, 5, 6, 7, minutes_ago=1)
    assert trip(seen, [*old[:4], *new[4:]], SETTINGS, NOW).startswith("4 of 20 hosts")


def test_one_that_is_tripped_does_not_trip_anew() -> None:
    seen = replace(fleet(), breaker=Breaker("a storm"))
    assert trip(seen, turned(seen, *range(20)), SETTINGS, NOW) == ""


# --- the common factor ----------------------------------------------------------------------------------------


def factor(seen: Situation, ladder: list[LadderStep]) -> str:
    return trip(seen, ladder, SETTINGS, NOW).partition("; ")[2]


def apart(seen: Situation, *numbers: int) -> list[LadderStep]:
    """Each of these turned risky in a minute of its own."""
    steps = turned(seen, *numbers)
    return [replace(step, since=step.since - n % 9 * MINUTE) for n, step in enumerate(steps)]


def test_a_common_rack_is_named() -> None:
    seen = fleet(models=("M1", "M2", "M3"))
    assert factor(seen, apart(seen, 0, 4, 8, 12)) == "in common: rack rack0"


def test_a_common_model_is_named() -> None:
    seen = fleet(racks=3, models=("M1", "M2"))
    assert factor(seen, apart(seen, 0, 2, 4, 6)) == "in common: model M1"


def test_a_common_reading_is_named_by_what_raises_the_risk_most() -> None:
    seen = because(fleet(), "heat")
    assert factor(seen, apart(seen, 0, 1, 2, 3)) == "in common: reading heat"


def test_a_common_minute_is_named() -> None:
    seen = because(fleet(), "heat", "age", "errors", "load")
    assert factor(seen, turned(seen, 0, 1, 2, 3)) == "in common: minute 12:00 UTC"


def test_what_too_few_share_is_not_named() -> None:
    seen = because(fleet(), "heat", "heat", "heat", "heat", "load")
    assert factor(seen, apart(seen, 0, 1, 2, 3, 4)) == "in common: reading heat"
    seen = because(fleet(), "heat", "heat", "heat", "load")
    assert factor(seen, apart(seen, 0, 1, 2, 3)) == "they have no rack, model, reading or minute in common"


def test_a_rack_or_a_model_that_holds_everything_tells_nothing() -> None:
    seen = fleet(racks=1, models=("M1",))
    assert factor(seen, apart(seen, 0, 1, 2, 3)) == "they have no rack, model, reading or minute in common"


def test_parts_and_hosts_that_the_inventory_does_not_know_have_nothing_in_common() -> None:
    seen = fleet()
    cut = replace(
        seen, cluster=replace(seen.cluster, hosts=seen.cluster.hosts[10:], components=seen.cluster.components[10:])
    )
    assert factor(cut, apart(seen, 0, 1, 2, 3)) == "they have no rack, model, reading or minute in common"


def test_a_forecast_that_nothing_raises_has_no_leading_feature() -> None:
    (calm,) = because(fleet(1), "heat").forecasts
    assert leading_feature(calm) == "heat"
    assert leading_feature(replace(calm, reasons=calm.reasons[2:])) == ""


# --- in a decision --------------------------------------------------------------------------------------------


def stormy() -> Situation:
    hosts = [host(f"h{n}") for n in range(8)]
    return situation(hosts, [vm("v", "h0")], risks={f"h{n}": 0.5 for n in range(4)})


def test_a_decision_that_trips_the_breaker_moves_nothing_and_says_what_it_would_have_moved() -> None:
    decision = Decision(stormy(), POLICY, NOW)
    plan, _ = decision.plan()
    assert decision.breaker.text.startswith("4 of 8 hosts turned risky within 10 min")
    held = [verdict.text for verdict in plan.verdicts if verdict.refusal is Refusal.BREAKER]
    assert (plan.moves, plan.proposals) == ((), ())
    assert len(held) == 2
    assert held[0].startswith("the breaker is tripped (4 of 8 hosts")
    assert held[0].endswith("; 1 would have been planned")


def test_a_decision_with_fewer_risky_hosts_leaves_the_breaker_as_it_was() -> None:
    seen = replace(stormy(), breaker=Breaker(cleared_at=NOW))
    assert Decision(seen, POLICY, NOW).breaker == seen.breaker


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"share": 0.0}, "share is 0; it lies above 0"),
        ({"common_share": 1.1}, "common_share is 1.1"),
        ({"hosts_small": 0}, "hosts_small is 0; it is at least 1"),
        ({"hosts_min": 31}, "hosts_min is 31 and hosts_max 30"),
        ({"hosts_min": 0}, "hosts_min is 0"),
    ],
)
def test_settings_that_would_trip_always_or_never_are_refused(wrong: dict[str, float], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        BreakerSettings(**wrong)  # type: ignore[arg-type]


# --- across restarts ------------------------------------------------------------------------------------------


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock(NOW)


@pytest.fixture
def database(clock: SimulatedClock, tmp_path: Path) -> Iterator[Database]:
    opened = Database(f"sqlite:///{tmp_path / 'state.sqlite'}", clock)
    yield opened
    opened.close()


def test_a_new_site_s_breaker_is_not_tripped(database: Database) -> None:
    assert BreakerState(database).load() == Breaker()


def test_it_stays_tripped_across_a_restart(database: Database, tmp_path: Path) -> None:
    BreakerState(database).trip("a storm")
    database.close()
    again = Database(f"sqlite:///{tmp_path / 'state.sqlite'}")
    assert BreakerState(again).load() == Breaker("a storm")
    again.close()


def test_it_keeps_its_first_cause_until_it_is_cleared(database: Database, clock: SimulatedClock) -> None:
    breaker = BreakerState(database)
    breaker.trip("a storm")
    breaker.trip("a flood")
    assert breaker.load().text == "a storm"
    clock.sleep(60)
    assert breaker.clear("ann", "the firmware was at fault")
    assert breaker.load() == Breaker("", NOW + MINUTE)
    breaker.trip("a flood")
    assert breaker.load() == Breaker("a flood")


def test_one_that_is_not_tripped_cannot_be_cleared(database: Database) -> None:
    breaker = BreakerState(database)
    assert not breaker.clear("ann", "to be sure")
    breaker.trip("a storm")
    assert breaker.clear("ann", "it is over")
    assert not breaker.clear("bob", "it is over")
