"""What a site learns from: whose failure counts, what is hidden, and what a candidate must show."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from forewarn.domain.events import FailureEvent, LabelState
from forewarn.domain.inventory import Kind
from forewarn.domain.risk import FailureForecast
from forewarn.predict.base import Curves
from forewarn.predict.contest import ContestSettings, contest
from forewarn.predict.drift import drifted, reference
from forewarn.predict.site_rows import LabelSettings, SiteEvents, SiteRows, lives
from forewarn.store.base import DEVICES, FRAME_KEYS
from forewarn.store.recordings import LIFETIMES

START = datetime(2026, 1, 1, tzinfo=UTC)
NOW = START + timedelta(days=100)


def day(number: float) -> datetime:
    return START + timedelta(days=number)


def devices(last: float = 100.0) -> pa.Table:
    row = {"component": "disk:A", "kind": "disk", "host": "h", "device": "sda", "model": "M"}
    return pa.Table.from_pylist([{**row, "first_seen": START, "last_seen": day(last)}], schema=DEVICES)


def failure(at: float, confidence: float = 1.0, state: LabelState = LabelState.OPEN) -> FailureEvent:
    return FailureEvent(day(at), "h", Kind.DISK, "disk:A", "kernel log", "it broke", confidence, state)


def found(
    *failures: FailureEvent, acted: tuple[float, ...] = (), last: float = 100.0
) -> list[tuple[float, float, bool]]:
    events = SiteEvents(failures, {"disk:A": [day(at) for at in acted]})
    made = lives(devices(last), events, NOW, LabelSettings()).to_pylist()
    return [((r["start"] - START).days, (r["end"] - START).days, r["failed"]) for r in made]


def test_a_failure_ends_a_life_and_what_comes_in_its_place_begins_another() -> None:
    assert found(failure(40)) == [(0, 40, True), (41, 100, False)]


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (failure(40, state=LabelState.CONFIRMED), [(0, 40, True), (41, 100, False)]),
        (failure(40, 0.3), [(0, 100, False)]),  # nobody vouches for it
        (failure(40, 0.3, LabelState.CONFIRMED), [(0, 40, True), (41, 100, False)]),  # until a person does
        (failure(40, state=LabelState.REFUTED), [(0, 100, False)]),
        (failure(40, state=LabelState.CENSORED), [(0, 40, False), (41, 100, False)]),
    ],
)
def test_a_failure_counts_as_far_as_somebody_vouches_for_it(
    event: FailureEvent, expected: list[tuple[float, float, bool]]
) -> None:
    assert found(event) == expected


def test_a_part_that_was_swapped_without_a_failure_did_not_fail() -> None:
    assert found(last=60.0) == [(0, 60, False)]


def test_a_part_that_was_acted_upon_is_unknown_for_a_month_unless_it_failed_all_the_same() -> None:
    assert found(acted=(30,)) == [(0, 30, False), (60, 100, False)]
    assert found(failure(40), acted=(30,)) == [(0, 40, True), (41, 100, False)]
    assert found(failure(80), acted=(30,)) == [(0, 30, False), (60, 80, True), (81, 100, False)]


class Told:
    """A predictor that says a probability per row of its column."""

    kind, learned_from = Kind.DISK, "a test"

    def __init__(self, column: str) -> None:
        self.name = column

    def threshold(self, horizon: timedelta) -> float | None:  # noqa: ARG002 - it was never evaluated
        return None

    def curves(self, frame: pa.Table) -> Curves:
        said = np.repeat(frame.column(self.name).to_numpy()[:, None], 6, axis=1)
        return Curves(said, said, said, np.zeros(len(said), dtype=np.bool_))

    def forecast(self, frame: pa.Table) -> tuple[FailureForecast, ...]:
        raise NotImplementedError


def rows(parts: int = 300, failing: int = 30) -> SiteRows:
    """Parts seen for 40 days, of which some fail within the last of them; `sharp` knows which, `dull` hardly."""
    random, frame, lifetimes = np.random.default_rng(5), [], []
    for number in range(parts):
        fails = number < failing
        end = day(20 + number % 15) if fails else day(60)
        lifetimes.append({"component": f"disk:{number}", "start": START, "end": end, "failed": fails})
        for at in range(0, 40, 5):
            if day(at) < end:
                near = fails and end - day(at) <= timedelta(days=7)
                sharp = float(np.clip(0.95 * near + 0.002 + random.normal(0, 0.001), 0.0001, 0.9999))
                dull = float(np.clip(0.03 + 0.01 * near + random.normal(0, 0.01), 0.001, 0.999))
                key = {
                    "time": day(at),
                    "component": f"disk:{number}",
                    "host": "h",
                    "device": "s",
                    "model": f"M{number % 2}",
                }
                frame.append({**key, "sharp": sharp, "dull": dull})
    schema = pa.schema([*FRAME_KEYS, ("sharp", pa.float64()), ("dull", pa.float64())])
    table, lived = pa.Table.from_pylist(frame, schema=schema), pa.Table.from_pylist(lifetimes, schema=LIFETIMES)
    return SiteRows("rows", Kind.DISK, START, day(60), False, "", table, lived)


def test_a_candidate_that_is_better_may_take_over_and_a_worse_one_may_not() -> None:
    better, worse = (contest(Told(a), Told(b), rows(), START) for a, b in (("sharp", "dull"), ("dull", "sharp")))
    assert better.refusal == ""
    assert all(one.low > 0 for one in better.differences if one.measure != "calibration")
    assert {one.measure for one in better.families} == {"M0", "M1"}
    assert "worse in average precision" in worse.refusal
    assert contest(Told("sharp"), Told("sharp"), rows(), START).refusal == ""


def test_too_few_failures_decide_nothing() -> None:
    verdict = contest(Told("sharp"), Told("dull"), rows(failing=3), START, ContestSettings(draws=20))
    assert "3 parts failed" in verdict.refusal


def test_what_was_acted_upon_within_the_horizon_is_neither_right_nor_wrong() -> None:
    whole = rows()
    cut = whole.lifetimes.to_pylist()
    cut[-1]["end"] = day(36)
    acted = replace(whole, lifetimes=pa.Table.from_pylist(cut, schema=LIFETIMES))
    judged = [contest(Told("sharp"), Told("dull"), r, START, ContestSettings(draws=20)) for r in (whole, acted)]
    assert judged[0].measures["candidate"]["n"] - judged[1].measures["candidate"]["n"] == 2


def test_a_column_that_shifts_or_vanishes_drifts_and_one_that_stays_does_not() -> None:
    random = np.random.default_rng(1)
    learned, now = (random.normal(size=(2000, 3)).astype(np.float32) for _ in range(2))
    now[:, 1] += 1.0
    now[:, 2] = np.nan
    found = {one.column: one.psi for one in drifted(now, "abc", reference(learned, "abc"))}
    assert found["a"] < 0.05
    assert found["b"] > 0.25
    assert found["c"] > 1.0
