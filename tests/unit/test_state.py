"""Requests are taken once, the ladder and the failures survive, the log is kept within its limits."""

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from forewarn.clock import SimulatedClock
from forewarn.domain.events import FailureEvent, LabelState
from forewarn.domain.inventory import Kind
from forewarn.domain.situation import LadderStep, LogLine, Rung, Severity
from forewarn.errors import StateError, StoreUnavailable
from forewarn.state.database import Database
from forewarn.state.events import FailureEvents
from forewarn.state.ladder import Ladder
from forewarn.state.log import LogLines, LogSettings
from forewarn.state.requests import RequestKind, Requests, RequestSettings
from tests.moves import NOW


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock(NOW)


@pytest.fixture
def database(clock: SimulatedClock) -> Iterator[Database]:
    opened = Database("sqlite://", clock)
    yield opened
    opened.close()


# --- requests ---------------------------------------------------------------------------------------------


def test_each_request_is_taken_once_in_the_order_in_which_it_was_made(
    database: Database, clock: SimulatedClock
) -> None:
    requests = Requests(database)
    first = requests.make(RequestKind.PAUSE, "ann", "storm", {"running": "abort"})
    second = requests.make(RequestKind.RESUME, "bob", "over")
    clock.sleep(5)
    assert requests.waiting() == (first, second)
    taken_at = NOW + timedelta(seconds=5)
    assert requests.take() == (replace(first, taken_at=taken_at), replace(second, taken_at=taken_at))
    assert (requests.take(), requests.waiting()) == ((), ())
    assert [request.kind for request in requests.recent()] == [RequestKind.RESUME, RequestKind.PAUSE]
    assert [request.who for request in requests.recent(limit=1)] == ["bob"]


def test_two_loops_never_take_the_same_request(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'state.db'}"
    databases = [Database(url) for _ in range(3)]
    for number in range(20):
        Requests(databases[0]).make(RequestKind.PAUSE, "ann", f"reason {number}")
    taken: list[int] = []
    threads = [
        threading.Thread(target=lambda one=one: taken.extend(request.id for request in Requests(one).take()))
        for one in databases
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == list(range(1, 21))
    for one in databases:
        one.close()


def test_the_pause_that_was_taken_last_holds_until_a_resume_is_taken(database: Database) -> None:
    requests = Requests(database)
    assert requests.paused() == ""
    requests.make(RequestKind.PAUSE, "ann", "storm")
    assert requests.paused() == ""
    requests.take()
    requests.make(RequestKind.ABORT_MOVE, "bob", "too slow", {"move": "m1"})
    requests.take()
    assert requests.paused() == "storm (ann)"
    requests.make(RequestKind.RESUME, "ann", "over")
    assert requests.paused() == "storm (ann)"
    requests.take()
    assert requests.paused() == ""


@pytest.mark.parametrize("why", ["", "  \n"])
def test_a_request_without_a_reason_is_refused(database: Database, why: str) -> None:
    with pytest.raises(StateError, match="needs a reason"):
        Requests(database).make(RequestKind.RESUME, "ann", why)


def test_texts_and_waiting_requests_are_limited(database: Database) -> None:
    requests = Requests(database, RequestSettings(waiting_max=2, text_max=10))
    with pytest.raises(StateError, match="has 11 characters, at most 10"):
        requests.make(RequestKind.PAUSE, "ann", "x" * 11)
    with pytest.raises(StateError, match="has 12 characters, at most 10"):
        requests.make(RequestKind.ABORT_MOVE, "ann", "slow", {"move": "m" * 12})
    for _ in range(2):
        requests.make(RequestKind.PAUSE, "ann", "storm")
    with pytest.raises(StateError, match="does the controller run"):
        requests.make(RequestKind.PAUSE, "ann", "storm")
    requests.take()
    assert requests.make(RequestKind.PAUSE, "ann", "storm").id == 3


# --- ladder -----------------------------------------------------------------------------------------------


def test_the_ladder_is_replaced_as_a_whole(database: Database) -> None:
    ladder = Ladder(database)
    assert ladder.load() == ()
    watched = LadderStep("disk:B", Rung.WATCH, NOW, cycles_below=1)
    moving = LadderStep("disk:A", Rung.MOVE, NOW, cycles_above=3)
    ladder.save([watched, moving])
    assert ladder.load() == (moving, watched)
    ladder.save([watched])
    assert ladder.load() == (watched,)
    ladder.save([])
    assert ladder.load() == ()


# --- failures ---------------------------------------------------------------------------------------------


def failed(at_minutes: float, host: str = "a", component: str = "disk:A") -> FailureEvent:
    time = NOW + timedelta(minutes=at_minutes)
    return FailureEvent(time, host, Kind.DISK, component, "driver", f"{host} failed", 0.9)


def test_a_failure_that_is_told_twice_is_one(database: Database) -> None:
    events = FailureEvents(database)
    first, second = failed(1), failed(2)
    assert events.record([first, first]) == (first,)
    assert events.record([second, first]) == (second,)
    assert events.between(NOW, NOW + timedelta(days=1)) == (first, second)


def test_failures_are_found_from_the_start_to_before_the_end(database: Database) -> None:
    events = FailureEvents(database)
    events.record([failed(2), failed(1), failed(3)])
    found = events.between(NOW + timedelta(minutes=1), NOW + timedelta(minutes=3))
    assert found == (failed(1), failed(2))


def test_a_judged_failure_keeps_its_verdict(database: Database) -> None:
    events = FailureEvents(database)
    events.record([failed(1)])
    assert events.judge(failed(1), LabelState.CONFIRMED)
    assert not events.judge(failed(9), LabelState.REFUTED)
    assert events.record([failed(1)]) == ()
    assert [event.state for event in events.between(NOW, NOW + timedelta(days=1))] == [LabelState.CONFIRMED]


# --- log --------------------------------------------------------------------------------------------------


def line(number: int) -> LogLine:
    return LogLine(NOW + timedelta(seconds=number), Severity.NOTICE, f"line {number}", "a")


def test_the_log_is_read_the_newest_line_first_and_also_stands_in_a_file(database: Database, tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    log = LogLines(database, path)
    log.append([line(1), line(2)])
    log.append([])
    log.append([line(3)])
    assert log.recent(2) == (line(3), line(2))
    written = [json.loads(text) for text in path.read_text().splitlines()]
    assert [(entry["text"], entry["severity"]) for entry in written] == [(f"line {n}", "notice") for n in (1, 2, 3)]
    assert written[0]["time"] == "2026-01-05 00:00:01+00:00"


def test_the_log_keeps_its_newest_lines_within_the_limits(database: Database, tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    log = LogLines(database, path, LogSettings(lines_max=3, file_bytes_max=250))
    for number in range(10):
        log.append([line(number)])
    assert log.recent() == (line(9), line(8), line(7))
    names = sorted(file.name for file in tmp_path.iterdir())
    assert names == ["log.jsonl", "log.jsonl.1"]
    assert all(file.stat().st_size <= 250 for file in tmp_path.iterdir())
    assert "line 9" in path.read_text()


def test_a_log_without_a_file_is_in_the_database_alone(database: Database) -> None:
    LogLines(database).append([line(1)])
    assert LogLines(database).recent() == (line(1),)


def test_a_log_file_that_cannot_be_written_is_named(database: Database, tmp_path: Path) -> None:
    log = LogLines(database, tmp_path / "missing" / "log.jsonl")
    with pytest.raises(StoreUnavailable, match=r"missing/log.jsonl cannot be written"):
        log.append([line(1)])
    assert log.recent() == (line(1),)
