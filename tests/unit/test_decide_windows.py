"""Windows of the configuration open at their time, once or on days of the week, in UTC."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from forewarn.decide.windows import PlannedWindow, announced
from forewarn.domain.authority import WindowKind
from tests.clusters import NOW  # a Monday, at noon

HOUR = timedelta(hours=1)


def spans(planned: PlannedWindow, now: datetime = NOW) -> list[tuple[str, str]]:
    return [(f"{w.starts_at:%a %H:%M}", f"{w.ends_at:%a %H:%M}") for w in announced([planned], now)]


def test_a_window_of_one_time_is_announced_until_it_is_over() -> None:
    once = PlannedWindow("new kernel", hosts="rack1-*", starts_at=NOW + HOUR, ends_at=NOW + 2 * HOUR)
    (window,) = announced([once], NOW)
    assert (window.kind, window.hosts, window.who, window.why) == (
        WindowKind.MAINTENANCE,
        "rack1-*",
        "the configuration",
        "new kernel",
    )
    assert (window.starts_at, window.ends_at) == (NOW + HOUR, NOW + 2 * HOUR)
    assert len(announced([once], NOW + 2 * HOUR - timedelta(seconds=1))) == 1
    assert announced([once], NOW + 2 * HOUR) == ()


def test_a_weekly_window_is_announced_a_week_ahead() -> None:
    weekly = PlannedWindow("patches", days=("tue", "thu"), from_utc="02:00", hours=2)
    assert spans(weekly) == [("Tue 02:00", "Tue 04:00"), ("Thu 02:00", "Thu 04:00")]


def test_a_window_that_began_before_midnight_is_still_open_after_it() -> None:
    nightly = PlannedWindow("backups", days=("mon",), from_utc="23:00", hours=3)
    tuesday = NOW.replace(day=6, hour=1)
    window = announced([nightly], tuesday)[0]
    assert window.covers("a", tuesday)
    assert not window.covers("a", tuesday + HOUR)


def test_a_window_runs_over_the_week_s_end() -> None:
    weekend = PlannedWindow("freeze", WindowKind.FREEZE, days=("sat",), from_utc="18:00", hours=60)
    window = announced([weekend], NOW.replace(hour=5))[0]
    assert (window.starts_at, window.ends_at) == (
        datetime(2026, 1, 3, 18, tzinfo=UTC),
        datetime(2026, 1, 6, 6, tzinfo=UTC),
    )
    assert window.covers("a", NOW.replace(hour=5))


def test_a_window_of_a_whole_week_is_always_open() -> None:
    always = PlannedWindow("freeze", days=("mon",), hours=168)
    for hours in range(0, 8 * 24, 7):
        now = NOW + hours * HOUR
        assert any(window.covers("a", now) for window in announced([always], now))


def test_the_day_is_that_of_utc_whatever_the_zone_of_the_clock() -> None:
    tuesday_there = NOW.replace(hour=23).astimezone(timezone(3 * HOUR))
    weekly = PlannedWindow("patches", days=("mon",), from_utc="22:00", hours=2)
    assert announced([weekly], tuesday_there)[0].covers("a", tuesday_there)


def test_windows_come_in_the_order_of_their_starts() -> None:
    late = PlannedWindow("late", starts_at=NOW + 2 * HOUR, ends_at=NOW + 3 * HOUR)
    soon = PlannedWindow("soon", starts_at=NOW + HOUR, ends_at=NOW + 3 * HOUR)
    assert [window.why for window in announced([late, soon], NOW)] == ["soon", "late"]


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({}, "either starts_at and ends_at, or days"),
        ({"starts_at": NOW}, "either starts_at and ends_at, or days"),
        ({"starts_at": NOW, "days": ("mon",)}, "either starts_at and ends_at, or days"),
        ({"starts_at": NOW, "ends_at": NOW + HOUR, "days": ("mon",)}, "either starts_at and ends_at, or days"),
        ({"starts_at": NOW, "ends_at": NOW}, "ends after it starts"),
        ({"starts_at": NOW, "ends_at": (NOW + HOUR).replace(tzinfo=None)}, "need a time zone"),
        ({"days": ("mon", "freitag")}, "days names 'freitag'; known are: mon, tue"),
        ({"days": ("mon",), "hours": 0.0}, "hours is 0"),
        ({"days": ("mon",), "hours": 169.0}, "hours is 169"),
        ({"days": ("mon",), "from_utc": "25:00"}, "hour must be in"),
        ({"days": ("mon",), "from_utc": "02:00+02:00"}, "without a zone"),
    ],
)
def test_a_window_that_says_too_little_or_too_much_is_refused(wrong: dict[str, object], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        PlannedWindow("why", **wrong)  # type: ignore[arg-type]
