"""Copies over shared links take the time that the physics says, whoever looks and however often."""

import math

import pytest

from forewarn.drivers.fluid import CopyEnded, CopySettings, End, Guest, Links

GIB = 1024**3
RATE = float(GIB)  # one GiB per second makes the sums readable
QUICK = CopySettings(resume_ms=0.0)


def links(settings: CopySettings = QUICK, **rates: float) -> Links:
    return Links({"a": RATE, "b": RATE, "c": RATE, "d": RATE, **rates}, settings)


def run(made: Links, until_s: float = 1e9) -> list[CopyEnded]:
    ended = []
    while (one := made.next_end(until_s)) is not None:
        ended.append(one)
    return ended


def test_an_idle_guest_takes_its_memory_over_the_link_and_only_the_resume_as_downtime() -> None:
    made = links(CopySettings(resume_ms=20))
    made.add("m", Guest(8 * GIB), "a", "b", 0.0)
    [ended] = run(made)
    assert (ended.end, ended.progress) == (End.ARRIVED, 1.0)
    assert ended.duration_s == pytest.approx(8.02)
    assert ended.downtime_ms == pytest.approx(20)


def test_a_guest_without_memory_arrives_at_once() -> None:
    made = links()
    made.add("m", Guest(0), "a", "b", 3.0)
    assert made.progress("m", 3.0) == 1.0
    assert [ended.at_s for ended in run(made)] == [3.0]


def test_a_slowly_dirtying_guest_follows_the_linear_pre_copy_formula() -> None:
    # D/R = 1/100 and V/R = 16 s: the first round leaves about 0.16 s, which fits into the limit of 0.3 s.
    made = links()
    made.add("m", Guest(16 * GIB, RATE / 100, 16 * GIB), "a", "b", 0.0)
    [ended] = run(made)
    assert ended.downtime_ms == pytest.approx(160, rel=0.01)
    assert ended.duration_s == pytest.approx(16.16, rel=0.001)


def test_each_round_sends_what_the_one_before_let_the_guest_dirty() -> None:
    memory, dirty, working_set = 16.0, 0.5, 8.0
    rounds_s = [memory]
    while rounds_s[-1] > 0.3:
        rounds_s.append(working_set * (1 - math.exp(-dirty * rounds_s[-1] / working_set)))
    made = links()
    made.add("m", Guest(16 * GIB, dirty * GIB, 8 * GIB), "a", "b", 0.0)
    [ended] = run(made)
    assert len(rounds_s) > 4
    assert ended.duration_s == pytest.approx(sum(rounds_s))
    assert ended.downtime_ms == pytest.approx(rounds_s[-1] * 1000)


def test_downtime_stays_within_the_limit_and_the_resume() -> None:
    for tenths in range(1, 10):
        made = links(CopySettings(downtime_limit_ms=300, resume_ms=20))
        made.add("m", Guest(8 * GIB, tenths / 10 * GIB, 4 * GIB), "a", "b", 0.0)
        [ended] = run(made)
        assert ended.downtime_ms <= 320.001


def test_a_guest_that_dirties_a_large_set_faster_than_the_link_takes_it_never_arrives() -> None:
    made = links(CopySettings(rounds_max=30))
    made.add("m", Guest(8 * GIB, 5 * GIB, 4 * GIB), "a", "b", 0.0)
    [ended] = run(made)
    assert ended.end is End.DIVERGED
    assert (ended.progress, ended.downtime_ms) == (1.0, 0.0)


def test_a_guest_that_dirties_fast_but_little_arrives_all_the_same() -> None:
    made = links()
    made.add("m", Guest(8 * GIB, 5 * GIB, GIB // 5), "a", "b", 0.0)
    [ended] = run(made)
    assert ended.end is End.ARRIVED
    assert ended.downtime_ms == pytest.approx(200)


def test_copies_out_of_one_host_share_its_link_evenly() -> None:
    made = links()
    for name, target in (("m", "b"), ("n", "c")):
        made.add(name, Guest(4 * GIB), "a", target, 0.0)
    assert [ended.duration_s for ended in run(made)] == pytest.approx([8.0, 8.0])


def test_copies_into_one_host_share_its_link_evenly() -> None:
    made = links()
    for name, source in (("m", "a"), ("n", "b")):
        made.add(name, Guest(4 * GIB), source, "c", 0.0)
    assert [ended.duration_s for ended in run(made)] == pytest.approx([8.0, 8.0])


def test_links_are_full_duplex_and_others_are_not_touched() -> None:
    made = links()
    made.add("there", Guest(4 * GIB), "a", "b", 0.0)
    made.add("back", Guest(4 * GIB), "b", "a", 0.0)
    made.add("elsewhere", Guest(4 * GIB), "c", "d", 0.0)
    assert [ended.duration_s for ended in run(made)] == pytest.approx([4.0, 4.0, 4.0])


def test_the_narrower_link_decides() -> None:
    made = links(b=RATE / 4)
    made.add("m", Guest(4 * GIB), "a", "b", 0.0)
    assert run(made)[0].duration_s == pytest.approx(16.0)


def test_a_copy_that_is_left_alone_on_the_link_gets_all_of_it_again() -> None:
    made = links()
    made.add("short", Guest(2 * GIB), "a", "b", 0.0)
    made.add("long", Guest(4 * GIB), "a", "c", 0.0)
    assert [(ended.id, round(ended.at_s, 6)) for ended in run(made)] == [("short", 4.0), ("long", 6.0)]


def test_moving_two_busy_guests_at_once_costs_more_than_one_after_the_other() -> None:
    busy = Guest(8 * GIB, 0.6 * GIB, 4 * GIB)
    together, alone = links(), links()
    together.add("m", busy, "a", "b", 0.0)
    together.add("n", busy, "a", "c", 0.0)
    alone.add("m", busy, "a", "b", 0.0)
    assert run(together)[-1].duration_s > 2 * run(alone)[0].duration_s


def test_a_dropped_copy_frees_its_share_and_never_ends() -> None:
    made = links()
    made.add("m", Guest(4 * GIB), "a", "b", 0.0)
    made.add("n", Guest(4 * GIB), "a", "c", 0.0)
    made.drop("m", 4.0)
    [ended] = run(made)
    assert ended.id == "n"
    assert ended.at_s == pytest.approx(6.0)


def test_a_stalled_copy_stands_still_and_goes_on_where_it_was() -> None:
    made = links()
    made.add("m", Guest(4 * GIB), "a", "b", 0.0)
    made.stall("m", True, 1.0)
    assert (made.progress("m", 1.0), made.progress("m", 500.0)) == (0.25, 0.25)
    assert made.next_end(500.0) is None
    made.stall("m", False, 500.0)
    assert run(made)[0].at_s == pytest.approx(503.0)


def test_a_copy_that_never_gets_on_is_given_up_after_its_patience() -> None:
    made = links(CopySettings(give_up_s_per_gib=10.0))
    made.add("m", Guest(4 * GIB), "a", "b", 0.0)
    made.stall("m", True, 0.0)
    assert [(ended.end, ended.at_s) for ended in run(made)] == [(End.TOO_LONG, 40.0)]


def test_a_small_guest_is_given_the_patience_of_two_gib() -> None:
    made = links(CopySettings(give_up_s_per_gib=10.0), a=1.0)
    made.add("m", Guest(GIB // 2), "a", "b", 0.0)
    assert [(ended.end, ended.at_s) for ended in run(made)] == [(End.TOO_LONG, 20.0)]


def test_a_copy_breaks_at_the_share_at_which_it_was_told_to() -> None:
    made = links()
    made.add("m", Guest(8 * GIB, RATE / 2, GIB), "a", "b", 0.0, break_at=0.25)
    [ended] = run(made)
    assert ended.end is End.BROKEN
    assert (ended.at_s, ended.progress) == pytest.approx((2.0, 0.25))


def test_looking_often_changes_no_result_by_a_single_bit() -> None:
    def ends(looks_s: list[float]) -> list[CopyEnded]:
        made = links(CopySettings())
        found: list[CopyEnded] = []
        for number, name in enumerate(("m", "n", "o")):
            found += run(made, 1.7 * number)
            made.add(name, Guest((3 + number) * GIB, 0.3 * GIB, GIB), "a", "bcd"[number], 1.7 * number)
        for look_s in looks_s:
            found += run(made, look_s)
        return found

    rarely, often = ends([1e6]), ends([3.4 + step / 7 for step in range(10_000)])
    assert rarely == often
    assert len(often) == 3


def test_progress_is_the_sent_share_of_the_first_round_and_then_stays_full() -> None:
    made = links()
    made.add("m", Guest(8 * GIB, 0.4 * GIB, 2 * GIB), "a", "b", 10.0)
    assert made.started_s("m") == 10.0
    assert made.progress("m", 12.0) == 0.25
    assert made.next_end(18.5) is None
    assert made.progress("m", 18.5) == 1.0
