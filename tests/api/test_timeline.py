"""The time line of moves."""

from dataclasses import replace
from datetime import timedelta

import pytest

from forewarn.domain.plan import MoveState, Outcome
from forewarn.web.migrations import rows_of
from forewarn.web.timeline import LEFT, SPAN, Timeline, timeline_of
from tests.shown import NOW, snapshot_of

BUSY = snapshot_of()


def move(name: str, source: str, start_s: float, took_s: float, state: MoveState = MoveState.SUCCEEDED) -> Outcome:
    like = BUSY.moves[5]
    started = NOW + timedelta(seconds=start_s)
    changed = replace(like.move, id=name, source=source, duration_s=20.0)
    return replace(like, move=changed, state=state, started=started, time=started + timedelta(seconds=took_s))


def line(*outcomes: Outcome, now_s: float = 100.0) -> Timeline:
    return timeline_of(rows_of(BUSY, outcomes), NOW + timedelta(seconds=now_s))


def test_nothing_started_is_an_empty_line() -> None:
    assert line() == line(replace(BUSY.moves[0], started=None)) == Timeline()


def test_a_bar_is_as_long_as_its_move_took_and_its_outline_as_predicted() -> None:
    (bar,) = line(move("a", "h1", 0, 40)).bars
    assert bar.x == LEFT
    assert bar.width == pytest.approx(2 * bar.ghost)


def test_a_running_move_reaches_to_now() -> None:
    first, second = line(move("a", "h1", 0, 50), move("b", "h2", 0, 1, MoveState.RUNNING), now_s=100).bars
    running, ended = sorted((first, second), key=lambda bar: -bar.width)
    assert running.row.outcome.state is MoveState.RUNNING
    assert running.width == pytest.approx(2 * ended.width)


def test_moves_at_the_same_time_do_not_cover_each_other() -> None:
    bars = line(move("a", "h1", 0, 40), move("b", "h1", 10, 40), move("c", "h1", 60, 20)).bars
    assert [bar.y for bar in bars] == [bars[0].y, bars[0].y + 15, bars[0].y]


def test_the_host_that_moved_last_stands_on_top() -> None:
    groups = line(move("a", "early", 0, 10), move("b", "late", 50, 10)).groups
    assert [group.host for group in groups] == ["late", "early"]
    assert groups[0].bottom < groups[1].middle


@pytest.mark.parametrize(("span_s", "pattern"), [(30, ":"), (600, ":"), (90000, ":"), (900000, " ")])
def test_the_ticks_are_round_times_inside_the_picture(span_s: float, pattern: str) -> None:
    ticks = line(move("a", "h1", 0, span_s)).ticks
    assert 2 <= len(ticks) <= 9
    assert all(LEFT <= x <= LEFT + SPAN for x, _ in ticks)
    assert all(pattern in words for _, words in ticks)


def test_the_whole_picture_stays_within_its_width() -> None:
    for bar in timeline_of(rows_of(BUSY, BUSY.moves), NOW).bars:
        assert bar.x >= LEFT
        assert bar.x + bar.width <= LEFT + SPAN + 1
