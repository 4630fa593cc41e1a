"""A run of the tests tells what it left out, and waits for what is real."""

from collections.abc import Iterator

import pytest

from tests.conftest import skipped_by_reason, skipped_lines
from tests.support import eventually


def skipped(test: str, reason: str) -> pytest.TestReport:
    return pytest.TestReport(test, (test, 1, test), {}, "skipped", (test, 1, f"Skipped: {reason}"), "call")


def test_skipped_tests_are_listed_under_their_reason() -> None:
    grouped = skipped_by_reason([skipped("b", "no disk"), skipped("c", "no net"), skipped("a", "no disk")])
    assert skipped_lines(grouped) == ["2 skipped: no disk", "    a", "    b", "1 skipped: no net", "    c"]


def test_a_run_that_skipped_nothing_says_so() -> None:
    assert skipped_lines({}) == ["No test was skipped."]


def test_waiting_ends_at_the_first_true_value() -> None:
    values: Iterator[int] = iter([0, 0, 7, 8])
    assert eventually(lambda: next(values), every=0) == 7


def test_waiting_in_vain_says_what_it_saw() -> None:
    with pytest.raises(AssertionError, match=r"still \[\] after 0 s"):
        eventually(list, deadline=0)
