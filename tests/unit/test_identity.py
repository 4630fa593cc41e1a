"""Which part sat where is the same by whatever order what was said of it came."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from forewarn.domain.inventory import Kind
from forewarn.store.identity import RUNS_MAX, UNKNOWN, Identities, Part
from tests.telemetry import NOON

MINUTES = [NOON + timedelta(minutes=number) for number in range(6)]


@given(st.integers(0, 6), st.permutations(range(6)), st.lists(st.sampled_from(range(6)), max_size=3))
def test_a_part_that_was_replaced_is_the_new_one_from_its_first_word_on(
    swap: int, order: list[int], again: list[int]
) -> None:
    known, old, new = Identities(), Part(1, "OLD", ""), Part(1, "NEW", "")
    for number in [*order, *again]:
        known.learn(Kind.DISK, "sda", old if number < swap else new, MINUTES[number])
    found = [known.part(Kind.DISK, "sda", time) for time in MINUTES]
    assert found == [old] * swap + [new] * (6 - swap)


def test_a_device_of_which_nothing_was_said_is_unknown() -> None:
    assert Identities().part(Kind.DISK, "sda", NOON) == UNKNOWN


def test_no_more_parts_of_a_device_are_remembered_than_may_be() -> None:
    known = Identities()
    times = [NOON + timedelta(minutes=number) for number in range(RUNS_MAX + 2)]
    for number, time in enumerate(times):
        assert known.learn(Kind.DISK, "sda", Part(1, str(number), ""), time)
    assert known.part(Kind.DISK, "sda", times[0]).serial == "2"
    assert known.part(Kind.DISK, "sda", times[-1]).serial == str(RUNS_MAX + 1)
