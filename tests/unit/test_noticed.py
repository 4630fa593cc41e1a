"""What the loop notices of hosts by itself: silence, and work on them."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from forewarn.decide.noticed import maintenance, silences
from forewarn.domain.authority import Window, WindowKind
from forewarn.domain.events import ChangeKind
from forewarn.domain.inventory import Cluster, HostState, Kind
from forewarn.domain.situation import Situation
from tests.clusters import NOW, host

BEGAN = NOW - timedelta(hours=1)
LATE = NOW - timedelta(seconds=400)
WINDOW = Window(WindowKind.MAINTENANCE, "a", NOW - timedelta(hours=1), NOW + timedelta(hours=1), "ann", "new kernel")


def situation(state: HostState = HostState.UP, *windows: Window) -> Situation:
    return Situation(Cluster(NOW, hosts=(host("a", state=state), host("b"), host("c"))), windows=windows)


def heard(**times: datetime) -> dict[str, datetime]:
    return dict.fromkeys("abc", NOW) | times


def test_a_host_that_falls_silent_among_others_is_weak_evidence_at_its_last_word() -> None:
    [event] = silences(situation(), heard(a=LATE), 300.0, BEGAN, NOW)
    assert (event.host, event.kind, event.time) == ("a", Kind.HOST, LATE)
    assert (event.source, event.confidence) == ("silence", 0.3)
    assert silences(situation(), heard(a=LATE), 300.0, BEGAN, NOW + timedelta(seconds=60)) == [event]


@pytest.mark.parametrize("state", [HostState.DOWN, HostState.MAINTENANCE])
def test_a_host_that_is_down_or_worked_on_is_silent_for_that(state: HostState) -> None:
    assert silences(situation(state), heard(a=LATE), 300.0, BEGAN, NOW) == []
    assert silences(situation(HostState.UP, WINDOW), heard(a=LATE), 300.0, BEGAN, NOW) == []


def test_where_most_are_silent_at_once_it_is_no_host_that_failed() -> None:
    assert silences(situation(), heard(a=LATE, b=LATE), 300.0, BEGAN, NOW) == []


def test_silence_that_began_before_this_loop_is_no_news_nor_is_a_host_that_was_never_heard() -> None:
    assert silences(situation(), heard(a=BEGAN - timedelta(seconds=1)), 300.0, BEGAN, NOW) == []
    assert silences(situation(), {"b": NOW, "c": NOW}, 300.0, BEGAN, NOW) == []


def test_work_on_a_host_is_told_as_it_begins_and_ends() -> None:
    known, changes = maintenance({}, situation(), NOW)
    assert changes == []
    known, [begun] = maintenance(known, situation(HostState.MAINTENANCE), NOW)
    assert (begun.host, begun.kind, begun.before, begun.after) == (
        "a",
        ChangeKind.MAINTENANCE,
        "in service",
        "maintenance",
    )
    known, changes = maintenance(known, situation(HostState.UP, WINDOW), NOW)
    assert changes == []  # from one kind of work to the other
    freeze = replace(WINDOW, kind=WindowKind.FREEZE)
    _, [ended] = maintenance(known, situation(HostState.UP, freeze), NOW)
    assert (ended.before, ended.after) == ("maintenance", "in service")
