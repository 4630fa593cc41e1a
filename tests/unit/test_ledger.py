"""Forecasts are written down when they are made and judged by what came: confirmed, refuted, or known by nobody."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from forewarn.clock import SimulatedClock
from forewarn.domain.authority import Evidence
from forewarn.domain.events import FailureEvent, LabelState
from forewarn.domain.inventory import COMPONENT_KINDS, Component, Kind
from forewarn.domain.risk import FailureForecast
from forewarn.domain.situation import LadderStep, Rung
from forewarn.ledger import Judged, Ledger, LedgerSettings, precision_low
from forewarn.state.database import Database
from tests.clusters import NOW, forecast, part

DAY = timedelta(days=1)
WEEK = 7 * DAY
CPU, DISK = part("a"), part("a", Kind.DISK, "sda")


class Site:
    """A ledger, and the loop's way of keeping it."""

    def __init__(self, settings: LedgerSettings | None = None) -> None:
        self.clock = SimulatedClock(NOW)
        self.database = Database("sqlite://", self.clock)
        self.ledger = Ledger(self.database, settings)

    def after(self, days: float) -> None:
        self.clock.sleep(days * DAY.total_seconds())

    def forecast(self, of: Component, risk: float | None = 0.5) -> FailureForecast:
        return replace(forecast(of, risk), time=self.clock.now())

    def raised(self, *parts: Component, rung: Rung = Rung.MOVE, risk: float | None = 0.5) -> None:
        ladder = [LadderStep(of.id, rung, NOW) for of in parts]
        self.ledger.record([self.forecast(of, risk) for of in parts], ladder, lambda _: 0.1, WEEK)

    def judge(
        self, *events: FailureEvent, alive: tuple[Component, ...] = (), silent: tuple[Component, ...] = ()
    ) -> None:
        seen = [*(self.forecast(of) for of in alive), *(self.forecast(of, None) for of in silent)]
        self.ledger.judge(events, seen, self.clock.now())

    def states(self) -> list[tuple[str, str]]:
        return [(judged.state.value, judged.because) for judged in self.ledger.recent()]

    def evidence(self, kind: Kind = Kind.CPU) -> Evidence:
        return next(found for found in self.ledger.evidence() if found.kind is kind)


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    yield made
    made.database.close()


def failed(of: Component, days: float = 1.0, **fields: object) -> FailureEvent:
    event = FailureEvent(NOW + days * DAY, of.host, of.kind, of.id, "driver", "it stopped")
    return replace(event, **fields)  # type: ignore[arg-type]


# --- what is written down -------------------------------------------------------------------------------------


def test_a_raised_forecast_is_written_down_as_it_was_made(site: Site) -> None:
    site.raised(CPU)
    assert site.ledger.recent() == (
        Judged(CPU.id, Kind.CPU, "a", "test", NOW, NOW + WEEK, 0.5, 0.1, LabelState.OPEN, None, ""),
    )
    assert site.ledger.open_since() == NOW


@pytest.mark.parametrize("rung", [Rung.CLEAR, Rung.WATCH])
def test_a_part_that_is_only_watched_is_not_written_down(site: Site, rung: Rung) -> None:
    site.raised(CPU, rung=rung)
    assert (site.ledger.recent(), site.ledger.open_since()) == ((), None)


def test_a_part_of_unknown_risk_is_not_written_down(site: Site) -> None:
    site.raised(CPU, risk=None)
    assert site.ledger.recent() == ()


def test_a_part_has_one_open_forecast_until_that_is_judged(site: Site) -> None:
    site.raised(CPU)
    site.after(1)
    site.raised(CPU, DISK)
    assert [(judged.component, judged.made_at) for judged in site.ledger.recent()] == [
        (DISK.id, NOW + DAY),
        (CPU.id, NOW),
    ]
    site.judge(failed(CPU))
    site.raised(CPU)
    assert [judged.component for judged in site.ledger.recent()] == [CPU.id, DISK.id, CPU.id]
    assert site.ledger.open_since() == NOW + DAY


def test_the_newest_forecasts_come_first_up_to_a_limit(site: Site) -> None:
    site.raised(CPU)
    site.raised(DISK)
    assert [judged.component for judged in site.ledger.recent(limit=1)] == [DISK.id]


# --- how it is judged -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("days", [0, 1, 7])
def test_a_failure_of_the_part_within_the_horizon_confirms_it(site: Site, days: float) -> None:
    site.raised(CPU)
    site.after(8)
    site.judge(failed(CPU, days), alive=(CPU,))
    assert site.states() == [("confirmed", "it failed: it stopped")]
    assert [judged.judged_at for judged in site.ledger.recent()] == [NOW + 8 * DAY]


@pytest.mark.parametrize(
    "event",
    [
        failed(CPU, -1),
        failed(CPU, 7.1),
        failed(DISK),
        failed(CPU, component=""),
        failed(CPU, state=LabelState.REFUTED),
        failed(CPU, confidence=0.3),
    ],
)
def test_no_other_failure_confirms_it(site: Site, event: FailureEvent) -> None:
    site.raised(CPU)
    site.after(1)
    site.judge(event, alive=(CPU,))
    assert site.states() == [("open", "")]


def test_weak_evidence_for_which_a_person_vouches_confirms_it(site: Site) -> None:
    site.raised(CPU)
    site.after(1)
    site.judge(failed(CPU, confidence=0.3, state=LabelState.CONFIRMED), alive=(CPU,))
    assert [state for state, _ in site.states()] == ["confirmed"]


def test_of_two_failures_the_one_within_the_horizon_counts(site: Site) -> None:
    site.raised(CPU)
    site.after(10)
    site.judge(failed(CPU, 2), failed(CPU, 9), alive=(CPU,))
    assert site.states() == [("confirmed", "it failed: it stopped")]


def test_a_part_that_outlives_the_horizon_refutes_it_and_not_before(site: Site) -> None:
    site.raised(CPU)
    site.after(7)
    site.judge(alive=(CPU,))
    assert site.states() == [("open", "")]
    site.clock.sleep(1)
    site.judge(alive=(CPU,))
    assert site.states() == [("refuted", "its horizon passed, and the part is at work")]


def test_nobody_knows_of_a_part_that_is_silent_or_gone_at_the_end_of_the_horizon(site: Site) -> None:
    site.raised(CPU, DISK)
    site.after(7.1)
    site.judge(silent=(DISK,))
    assert site.states() == [
        ("censored", "its horizon passed, and nothing is heard of the part"),
        ("censored", "the part was taken out before its horizon had passed"),
    ]


def test_what_is_judged_is_not_judged_again(site: Site) -> None:
    site.raised(CPU)
    site.after(8)
    site.judge(alive=(CPU,))
    site.judge(failed(CPU))
    assert [state for state, _ in site.states()] == ["refuted"]


# --- people ---------------------------------------------------------------------------------------------------


def test_a_person_overrules_what_was_concluded_of_the_latest_forecast(site: Site) -> None:
    site.raised(CPU)
    site.after(8)
    site.judge(alive=(CPU,))
    assert site.ledger.say(CPU.id, LabelState.CONFIRMED, "the vendor found it worn")
    assert site.states() == [("confirmed", "the vendor found it worn")]
    assert site.evidence().confirmed == 1


def test_a_person_judges_what_is_open_and_a_new_forecast_may_follow(site: Site) -> None:
    site.raised(CPU)
    assert site.ledger.say(CPU.id, LabelState.REFUTED, "a loose cable")
    site.raised(CPU)
    assert [state for state, _ in site.states()] == ["open", "refuted"]


def test_a_part_without_a_forecast_cannot_be_judged(site: Site) -> None:
    assert not site.ledger.say(CPU.id, LabelState.CONFIRMED, "it broke")


# --- evidence -------------------------------------------------------------------------------------------------


def test_evidence_is_counted_by_kind_and_by_what_came(site: Site) -> None:
    cpus = [part("a", device=f"cpu{n}") for n in range(6)]
    site.raised(*cpus, DISK)
    site.after(7.1)
    site.judge(*(failed(of) for of in cpus[:3]), alive=tuple(cpus[3:5]), silent=(cpus[5], DISK))
    assert site.evidence() == Evidence(Kind.CPU, 3, 2, 1, precision_low(3, 2))
    assert site.evidence(Kind.DISK) == Evidence(Kind.DISK, censored=1)
    assert [found.kind for found in site.ledger.evidence()] == list(COMPONENT_KINDS)


def test_open_forecasts_are_no_evidence(site: Site) -> None:
    site.raised(CPU)
    assert site.evidence() == Evidence(Kind.CPU)


def test_what_was_judged_long_ago_is_no_evidence_any_more() -> None:
    site = Site(LedgerSettings(evidence_days=30))
    site.raised(CPU)
    site.after(1)
    site.judge(failed(CPU))
    site.after(30)
    assert site.evidence().confirmed == 1
    site.after(0.01)
    assert site.evidence().confirmed == 0
    site.database.close()


@pytest.mark.parametrize(
    ("confirmed", "refuted", "low"),
    [(0, 0, 0.0), (0, 9, 0.0), (1, 0, 0.05), (5, 0, 0.5493), (10, 0, 0.7411), (20, 0, 0.8609), (1, 1, 0.0253)],
)
def test_the_lower_bound_is_that_of_clopper_and_pearson(confirmed: int, refuted: int, low: float) -> None:
    """Without a refuted one it is 0.05 to the power of 1/n; of 1 in 2 it is 1 - 0.95 to the power of 1/2."""
    assert precision_low(confirmed, refuted) == pytest.approx(low, abs=5e-5)


def test_more_confidence_gives_a_lower_bound() -> None:
    assert precision_low(15, 5, 0.99) < precision_low(15, 5) < 15 / 20


@pytest.mark.parametrize("confidence", [0.0, 1.0])
def test_a_confidence_that_is_none_is_refused(confidence: float) -> None:
    with pytest.raises(ValueError, match="confidence is"):
        LedgerSettings(confidence=confidence)
