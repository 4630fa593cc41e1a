"""Numbers as people say them."""

import pytest

from forewarn.web.words import count, duration, listing, percent, size, span


@pytest.mark.parametrize(
    ("share", "said"),
    [(0.0, "0 %"), (1.0, "100 %"), (0.99951, "> 99.9 %"), (0.999, "99.9 %"), (0.5, "50.0 %"), (0.00001, "0.0010 %")],
)
def test_a_probability_is_never_falsely_certain(share: float, said: str) -> None:
    assert percent(share) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(9.94, "9.9 s"), (59.4, "59 s"), (60, "1 min"), (3599, "59 min 59 s"), (90000, "25 h"), (180000, "2 d 2 h")],
)
def test_a_time_takes_at_most_two_units(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_a_horizon_is_said_in_hours_or_days() -> None:
    assert [span(s) for s in (3600, 21600, 86400, 259200, 2592000)] == [
        "1 hour",
        "6 hours",
        "24 hours",
        "3 days",
        "30 days",
    ]


def test_sizes_take_the_largest_unit() -> None:
    assert [size(n) for n in (0, 1023, 1536, 1024**5 * 3000)] == ["0 B", "1023 B", "1.5 KiB", "3000 PiB"]


def test_numbers_agree_with_their_nouns() -> None:
    assert [count(n, "box", "boxes") for n in (1, 2, 1200)] == ["1 box", "2 boxes", "1,200 boxes"]
    assert [listing(parts) for parts in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == ["", "a", "a and b", "a, b and c"]
