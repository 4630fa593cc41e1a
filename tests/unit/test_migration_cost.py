"""The pre-copy model against numbers worked out by hand."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forewarn.decide.migration_cost import MigrationSettings, estimate, learned, link_rate
from forewarn.domain.plan import MoveState, Outcome
from forewarn.domain.situation import Workload
from tests.moves import NOW, move

GB = 1_000_000_000
PLAIN = MigrationSettings(downtime_limit_ms=300.0, resume_ms=0.0)


def workload(dirty: float, working_set: int = 100 * GB) -> Workload:
    return Workload("vm", 1.0, dirty, working_set)


def test_an_idle_guest_takes_memory_over_link_rate_and_no_downtime() -> None:
    made = estimate(8 * GB, workload(0.0), GB, PLAIN)
    assert (made.duration_s, made.downtime_ms, made.bytes, made.converges) == (8.0, 0.0, 8 * GB, True)


def test_rounds_shrink_by_the_ratio_of_dirty_rate_to_link_rate() -> None:
    # V = 8 GB, R = 1 GB/s, D = 0.25 GB/s: rounds of 8, 2, 0.5 GB; the rest of 0.125 GB fits into 0.3 s.
    made = estimate(8 * GB, workload(0.25e9), GB, PLAIN)
    assert made.duration_s == pytest.approx(8 * (1 - 0.25**4) / (1 - 0.25)) == 10.625
    assert made.downtime_ms == pytest.approx(1000 * 8 * 0.25**3) == 125.0
    assert made.bytes == 10_625_000_000
    assert made.converges


def test_resuming_adds_to_duration_and_downtime() -> None:
    made = estimate(8 * GB, workload(0.0), GB, MigrationSettings(resume_ms=50.0))
    assert (made.duration_s, made.downtime_ms) == (8.05, 50.0)


@pytest.mark.parametrize("dirty", [1.0e9, 2.0e9])
def test_a_guest_that_dirties_as_fast_as_the_link_copies_does_not_converge(dirty: float) -> None:
    assert not estimate(8 * GB, workload(dirty), GB, PLAIN).converges


def test_a_busy_guest_converges_once_its_working_set_fits_into_the_downtime() -> None:
    # It dirties twice what the link copies, but the same 0.2 GB again and again.
    made = estimate(8 * GB, workload(2e9, GB // 5), GB, PLAIN)
    assert made.converges
    assert [made.duration_s, made.downtime_ms] == pytest.approx([8.2, 200.0])


def test_no_round_is_larger_than_the_working_set() -> None:
    # λ = 0.5 would send 4 GB in the second round; the working set allows 1, then 0.5, and 0.25 at the stop.
    made = estimate(8 * GB, workload(0.5e9, GB), GB, PLAIN)
    assert made.bytes == 9_750_000_000
    assert made.downtime_ms == pytest.approx(250.0)


def test_a_move_that_needs_more_rounds_than_allowed_counts_as_never_ending() -> None:
    assert estimate(8 * GB, workload(0.9e9), GB, PLAIN).converges
    assert not estimate(8 * GB, workload(0.9e9), GB, MigrationSettings(rounds_max=10)).converges


def test_a_working_set_beyond_the_memory_is_the_memory() -> None:
    assert estimate(GB, workload(9e9, 50 * GB), GB, PLAIN).bytes == estimate(GB, workload(9e9, GB), GB, PLAIN).bytes


def test_a_guest_of_unknown_workload_is_taken_for_a_busy_one() -> None:
    assumed = workload(50e6, 2 * GB)
    assert estimate(8 * GB, None, GB, PLAIN) == estimate(8 * GB, assumed, GB, PLAIN)


@pytest.mark.parametrize("link", [1e6, 30e6, 99e6])
def test_a_guest_that_nobody_has_measured_is_never_taken_for_one_that_cannot_move(link: float) -> None:
    made = estimate(8 * GB, None, link, PLAIN)
    assert made.converges
    assert made == estimate(8 * GB, workload(link / 2, 2 * GB), link, PLAIN)
    assert not estimate(8 * GB, workload(50e6, 2 * GB), link / 2, PLAIN).converges  # measured, it is believed


def test_what_is_not_known_of_a_workload_is_assumed_and_what_is_known_is_not() -> None:
    half = Workload("vm", 1.0, 1e6, None)
    assert estimate(8 * GB, half, GB, PLAIN) == estimate(8 * GB, workload(1e6, 2 * GB), GB, PLAIN)
    nothing = Workload("vm", 1.0, None, None)
    assert estimate(8 * GB, nothing, GB, PLAIN) == estimate(8 * GB, None, GB, PLAIN)


def test_the_slower_end_and_the_share_make_the_rate() -> None:
    assert link_rate(1e9, 4e8, MigrationSettings(link_share=0.5)) == 2e8


def test_an_unknown_link_is_assumed_to_be_a_slow_one() -> None:
    assert link_rate(0.0, 1e10, PLAIN) == 125e6


@given(st.integers(1, 512), st.floats(0, 3e9), st.integers(0, 512), st.floats(1e8, 2.5e9))
def test_every_estimate_sends_all_memory_and_stops_within_the_limit_if_it_converges(
    memory_gb: int, dirty: float, working_set_gb: int, rate: float
) -> None:
    made = estimate(memory_gb * GB, workload(dirty, working_set_gb * GB), rate, PLAIN)
    assert made.bytes >= memory_gb * GB
    assert made.duration_s >= memory_gb * GB / rate
    assert not made.converges or made.downtime_ms <= 300.0 * (1 + 1e-9)


@given(st.floats(0, 9e8), st.floats(0, 1e8))
def test_a_busier_guest_never_moves_faster(dirty: float, more: float) -> None:
    calm, busy = (estimate(16 * GB, workload(rate), GB, PLAIN) for rate in (dirty, dirty + more))
    assert busy.duration_s >= calm.duration_s or not busy.converges


def test_pages_that_a_guest_has_never_filled_are_not_counted() -> None:
    filled = replace(workload(0.0), memory_filled_bytes=2 * GB)
    assert estimate(8 * GB, filled, GB, PLAIN).duration_s == 2.0
    assert estimate(GB, filled, GB, PLAIN).duration_s == 1.0


def test_what_a_move_takes_beside_copying_is_added_to_it() -> None:
    made = estimate(8 * GB, workload(0.25e9), GB, MigrationSettings(resume_ms=50.0, overhead_s=3.0))
    assert made.duration_s == pytest.approx(made.copy_s + 3.05)
    assert made.downtime_ms == pytest.approx(made.stop_ms + 50.0)


def ended(minute: float, took_s: float, stopped_ms: float = 0.0, **changes: object) -> Outcome:
    """A move that was predicted to copy for 4 s, the last 100 ms of them while its guest stood still."""
    one = replace(move(name=f"m{minute}"), **{"copy_s": 4.0, "stop_ms": 100.0, **changes})  # type: ignore[arg-type]
    time = NOW + timedelta(minutes=minute)
    return Outcome(one, MoveState.SUCCEEDED, time, NOW, duration_s=took_s, downtime_ms=stopped_ms)


def test_a_site_learns_from_its_own_moves_what_they_take_beside_copying() -> None:
    moves = [ended(1, 6.0, 150.0), ended(2, 6.5, 200.0), ended(3, 30.0, 900.0)]
    found = learned(PLAIN, moves)
    assert found.resume_ms == 100.0
    assert found.overhead_s == pytest.approx(2.4)
    assert learned(PLAIN, moves[:2]) == PLAIN


def test_moves_that_shared_a_link_teach_nothing() -> None:
    crowd = [ended(1, 12.0), ended(1.1, 12.0), ended(1.05, 12.0, target="c")]
    assert learned(PLAIN, crowd) == PLAIN
    elsewhere = [ended(minute, 6.0, source=f"x{minute}", target=f"y{minute}") for minute in (1, 1.05, 1.1)]
    assert learned(PLAIN, elsewhere).overhead_s == 2.0


def test_moves_that_failed_or_were_never_predicted_teach_nothing() -> None:
    failed = [replace(ended(minute, 6.0), state=MoveState.FAILED) for minute in (1, 2, 3)]
    assert learned(PLAIN, failed) == PLAIN
    assert learned(PLAIN, [ended(minute, 6.0, copy_s=0.0) for minute in (1, 2, 3)]) == PLAIN


def test_a_move_faster_than_predicted_teaches_no_time_below_nothing() -> None:
    found = learned(MigrationSettings(overhead_s=9.0), [ended(minute, 3.0) for minute in (1, 2, 3)])
    assert (found.resume_ms, found.overhead_s) == (0.0, 0.0)
