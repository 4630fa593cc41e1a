"""One controller leads; whoever waits takes over once that one is gone, and whoever was overtaken writes nothing."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from forewarn.act.journal import Journal
from forewarn.clock import SimulatedClock
from forewarn.domain.plan import MoveState, Outcome
from forewarn.errors import NotLeading
from forewarn.state.database import Database
from forewarn.state.leadership import Leadership, LeaseSettings, own_name
from tests.moves import NOW, move, plan_of

LEASE = LeaseSettings(180.0)


class File:
    """One database file, and controllers that each open it on their own."""

    def __init__(self, folder: Path) -> None:
        self.clock = SimulatedClock(NOW)
        self.url = f"sqlite:///{folder / 'state.sqlite'}"
        self.opened: list[Database] = []

    def open(self) -> Database:
        self.opened.append(Database(self.url, self.clock))
        return self.opened[-1]

    def controller(self, holder: str) -> Leadership:
        return Leadership(self.open(), holder, LEASE)


@pytest.fixture
def file(tmp_path: Path) -> Iterator[File]:
    made = File(tmp_path)
    yield made
    for database in made.opened:
        database.close()


def test_the_second_controller_waits_and_says_who_leads(file: File) -> None:
    first, second = file.controller("one/1"), file.controller("two/2")
    assert first.acquire() == 1
    with pytest.raises(NotLeading) as waiting:
        second.acquire()
    assert str(waiting.value) == "another controller (one/1) leads until 00:03:00 UTC unless it goes on"
    assert (second.epoch, first.acquire()) == (0, 1)


def test_a_leader_that_renews_goes_on_leading(file: File) -> None:
    first, second = file.controller("one/1"), file.controller("two/2")
    for _ in range(5):
        assert first.acquire() == 1
        file.clock.sleep(120)
        with pytest.raises(NotLeading):
            second.acquire()
    assert first.expires_at() == second.expires_at() == NOW + timedelta(seconds=4 * 120 + 180)


def test_a_lease_that_has_run_out_is_taken_over(file: File) -> None:
    first, second = file.controller("one/1"), file.controller("two/2")
    first.acquire()
    file.clock.sleep(179)
    with pytest.raises(NotLeading):
        second.acquire()
    file.clock.sleep(1)
    assert second.acquire() == 2


def test_a_leader_that_was_late_and_not_overtaken_leads_on(file: File) -> None:
    first = file.controller("one/1")
    first.acquire()
    file.clock.sleep(1000)
    assert first.acquire() == 1


def test_the_lead_is_free_at_once_after_it_was_given_back(file: File) -> None:
    first, second = file.controller("one/1"), file.controller("two/2")
    first.acquire()
    first.release()
    assert (first.epoch, second.acquire()) == (0, 2)
    with pytest.raises(NotLeading, match=r"two/2"):
        first.acquire()


def test_giving_back_a_lead_that_one_does_not_have_changes_nothing(file: File) -> None:
    first, second = file.controller("one/1"), file.controller("two/2")
    first.acquire()
    second.release()
    with pytest.raises(NotLeading):
        second.acquire()


def test_a_controller_that_was_overtaken_waits_like_any_other(file: File) -> None:
    first, second = file.controller("one/1"), file.controller("two/2")
    first.acquire()
    file.clock.sleep(180)
    second.acquire()
    with pytest.raises(NotLeading, match=r"two/2"):
        first.acquire()
    first.release()
    file.clock.sleep(1)
    with pytest.raises(NotLeading, match=r"two/2"):
        first.acquire()
    file.clock.sleep(180)
    assert first.acquire() == 3


def test_a_restarted_controller_of_the_same_name_need_not_wait(file: File) -> None:
    file.controller("one/1").acquire()
    assert file.controller("one/1").acquire() == 2


def test_a_process_of_this_machine_that_is_dead_is_taken_over_at_once(file: File) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    file.controller(f"{socket.gethostname()}/{process.pid}").acquire()
    assert file.controller("two/2").acquire() == 2


@pytest.mark.parametrize("holder", [own_name(), "", "elsewhere/99999999", f"{socket.gethostname()}/x"])
def test_a_process_that_lives_or_of_which_nothing_is_known_is_waited_for(file: File, holder: str) -> None:
    file.controller(holder).acquire()
    with pytest.raises(NotLeading, match="another controller"):
        file.controller("two/2").acquire()


def test_a_controller_is_named_after_its_machine_and_process() -> None:
    assert own_name() == f"{socket.gethostname()}/{os.getpid()}"


def test_nobody_has_led_a_new_database(file: File) -> None:
    assert file.controller("one/1").expires_at() is None


def test_each_write_to_the_journal_of_one_that_was_overtaken_is_refused(file: File) -> None:
    first = Journal(file.open(), leadership=file.controller("one/1"))
    first.lead()
    flight = first.intend(plan_of(), move())
    file.clock.sleep(180)
    second = Journal(file.open(), leadership=file.controller("two/2"))
    assert second.lead() == 2
    over = Outcome(move(), MoveState.FAILED, file.clock.now())
    for write in (
        lambda: first.intend(plan_of(), move("db")),
        lambda: first.refuse(plan_of(), move("db"), "b is down"),
        lambda: first.record(over),
        lambda: first.ask_cancel(flight, "slow"),
    ):
        with pytest.raises(NotLeading, match="another controller has taken over"):
            write()
    assert second.flights() == (flight,)


def test_a_lease_that_lasts_no_time_is_refused() -> None:
    with pytest.raises(ValueError, match="lease_s is 0; it lies above 0"):
        LeaseSettings(0.0)
