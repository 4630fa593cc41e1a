"""Windows end where they should, and are cut into buckets without a gap or an overlap."""

import itertools
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forewarn.store.windows import DAY, HOUR, MINUTE, WIDTH, Kept, Spans, Tier, Window, ceiling, cover, floor


@pytest.mark.parametrize(
    ("length", "end"),
    [
        (timedelta(hours=23), 10 * DAY + 3 * HOUR + 5),
        (timedelta(days=1), 10 * DAY + 3 * HOUR),
        (timedelta(days=6, hours=23), 10 * DAY + 3 * HOUR),
        (timedelta(days=7), 10 * DAY),
    ],
)
def test_a_window_ends_at_the_asked_time_the_full_hour_or_the_full_day(length: timedelta, end: int) -> None:
    assert Window.of(length).ends(np.array([10 * DAY + 3 * HOUR + 5])).tolist() == [end]


def test_a_time_on_a_boundary_is_its_own_floor_and_ceiling() -> None:
    times = np.array([HOUR - 1, HOUR, HOUR + 1])
    assert floor(times, HOUR).tolist() == [0, HOUR, HOUR]
    assert ceiling(times, HOUR).tolist() == [HOUR, HOUR, 2 * HOUR]


@given(
    st.integers(0, 4 * DAY), st.integers(1, 4 * DAY), st.integers(0, 4), st.integers(0, 96), st.integers(0, 2 * 24 * 60)
)
def test_intervals_are_covered_exactly_once_by_what_is_kept(
    start: int, length: int, days: int, hours: int, minutes: int
) -> None:
    kept = (
        Kept(Tier.DAYS, 0, days * DAY),
        Kept(Tier.HOURS, 0, hours * HOUR),
        Kept(Tier.MINUTES, 24 * HOUR, 24 * HOUR + minutes * MINUTE),
    )
    found = cover(Spans(np.array([start]), np.array([start + length]), np.array([7])), kept)
    pieces = sorted(
        (int(begin), int(end), tier)
        for tier, spans in found.items()
        for begin, end in zip(spans.start, spans.end, strict=True)
    )
    assert pieces[0][0] == start
    assert pieces[-1][1] == start + length
    assert all(left[1] == right[0] for left, right in itertools.pairwise(pieces))
    assert all(begin % WIDTH[tier] == end % WIDTH[tier] == 0 for begin, end, tier in pieces if tier in WIDTH)
    limits = {tier.tier: tier for tier in kept}
    assert all(limits[t].since <= begin and end <= limits[t].until for begin, end, t in pieces if t in limits)
