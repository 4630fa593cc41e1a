"""Labels are known only from outcomes, and rows are split along time alone."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from forewarn.errors import FrameError
from forewarn.features import labels
from forewarn.store.recordings import LIFETIMES
from tests.telemetry import rows

START = datetime(2014, 3, 3, tzinfo=UTC)  # a Monday


def day(number: float) -> datetime:
    return START + timedelta(days=number)


def lives(*found: tuple[str, float, float, bool]) -> pa.Table:
    return pa.Table.from_pylist(
        [{"component": name, "start": day(a), "end": day(b), "failed": failed} for name, a, b, failed in found],
        schema=LIFETIMES,
    )


def test_rows_are_asked_for_on_mondays_or_every_day() -> None:
    assert list(labels.asked_times(day(-1), day(8))) == [day(0), day(7)]
    assert list(labels.asked_times(day(0.5), day(3), "daily")) == [day(1), day(2)]


def test_a_part_is_asked_about_only_while_it_lives() -> None:
    living = labels.alive(lives(("disk:a", 0, 5, True), ("disk:b", 6, 9, False)), day(5))
    assert living.num_rows == 0
    assert labels.alive(lives(("disk:a", 0, 5, True)), day(4)).column("component").to_pylist() == ["disk:a"]


def test_a_failure_counts_only_where_it_is_known_and_removal_is_none() -> None:
    known = lives(("disk:a", 0, 10, True), ("disk:b", 0, 10, False), ("disk:a", 20, 30, True))
    asked = rows((day(1), "disk:a"), (day(1), "disk:b"), (day(21), "disk:a"))
    found = labels.outcomes(asked, known, day(25))
    assert found.failed_after_s.tolist() == [9 * 86400, np.inf, np.inf]
    assert found.watched_s.tolist() == [9 * 86400, 9 * 86400, 4 * 86400]
    assert found.within(timedelta(days=9)).tolist() == [True, False, False]
    assert not found.within(timedelta(days=8)).any()


@pytest.mark.parametrize("known", [lives(("disk:a", 0, 10, True)), lives()])
def test_a_row_whose_part_does_not_live_has_no_label(known: pa.Table) -> None:
    with pytest.raises(FrameError, match="disk:a does not live at"):
        labels.outcomes(rows((day(11), "disk:a")), known, day(30))


def test_between_fit_and_calibration_lies_an_embargo_and_no_outcome_is_shared() -> None:
    split = labels.chronological(day(0), day(100), timedelta(days=30), timedelta(days=20))
    assert (split.fit_until, split.calibrate_since, split.until) == (day(50), day(70), day(100))
    assert split.outcomes_until == day(120)


def test_too_little_history_leaves_nothing_to_fit_on() -> None:
    with pytest.raises(FrameError, match="50 days of history leave nothing to fit on"):
        labels.chronological(day(0), day(50), timedelta(days=30), timedelta(days=20))
