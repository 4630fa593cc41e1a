"""Each order is carried out or refused, and either way answered by one sentence."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from forewarn.act.orders import Orders
from forewarn.clock import SimulatedClock
from forewarn.decide.authority import AuthoritySettings
from forewarn.domain.authority import Approval, Evidence, Grant, Mode, Window, WindowKind
from forewarn.domain.inventory import COMPONENT_KINDS
from forewarn.domain.situation import LogLine, Severity
from forewarn.state.breaker import BreakerState
from forewarn.state.database import Database
from forewarn.state.grants import Grants
from forewarn.state.requests import RequestKind, Requests
from forewarn.state.windows import Windows
from tests.clusters import NOW, host, situation, vm

HOUR = timedelta(hours=1)
EARNED = tuple(Evidence(kind, confirmed=20, precision_low=0.86) for kind in COMPONENT_KINDS)
CLUSTER = situation([replace(host("a"), aggregates=("gold",)), host("b")], [vm("v", "a")]).cluster
SETTINGS = AuthoritySettings(Mode.OBSERVE, Mode.AUTOMATIC, approval_s=900.0)


class Desk:
    """Where orders are given and carried out."""

    def __init__(self) -> None:
        self.clock = SimulatedClock(NOW)
        self.database = Database("sqlite://", self.clock)
        self.requests, self.breaker = Requests(self.database), BreakerState(self.database)
        self.grants, self.windows = Grants(self.database), Windows(self.database)
        self.evidence = EARNED
        self.orders = Orders(self.requests, self.grants, self.windows, self.breaker, SETTINGS)

    def asked(self, kind: RequestKind, /, **args: str) -> LogLine:
        self.requests.make(kind, "ann", "because", args)
        (line,) = self.orders.carry_out(self.requests.take(), self.evidence, CLUSTER, self.clock.now())
        assert line.text.startswith(f"ann asked: {kind.replace('_', ' ')}: because")
        return line

    def done(self, kind: RequestKind, /, **args: str) -> str:
        """What was done, in the words of the log."""
        line = self.asked(kind, **args)
        assert line.severity is Severity.NOTICE
        return line.text.partition("; ")[2]

    def refused(self, kind: RequestKind, /, **args: str) -> str:
        line = self.asked(kind, **args)
        assert line.severity is Severity.WARNING
        return line.text.partition("; refused: ")[2]


@pytest.fixture
def desk() -> Iterator[Desk]:
    made = Desk()
    yield made
    made.database.close()


# --- modes ----------------------------------------------------------------------------------------------------


def test_a_mode_is_granted_for_everything_until_revoked(desk: Desk) -> None:
    assert desk.done(RequestKind.MODE, mode="automatic") == (
        "mode automatic for every action for every kind of part, everywhere"
    )
    assert desk.grants.load() == (Grant(Mode.AUTOMATIC, NOW, "ann", "because"),)


def test_a_mode_is_granted_for_a_scope_and_a_time(desk: Desk) -> None:
    desk.evidence = ()
    scope = {"aggregate": "gold", "kind": "disk", "action": "cordon"}
    text = desk.done(RequestKind.MODE, mode="automatic", until="2026-01-05T15:00:00+02:00", override="yes", **scope)
    assert text == "mode automatic for cordon for disk, in aggregate gold until 2026-01-05 13:00 UTC, by override"
    (grant,) = desk.grants.load()
    assert (grant.until, grant.overrides) == (NOW + HOUR, True)


def test_a_time_without_a_zone_is_utc(desk: Desk) -> None:
    desk.done(RequestKind.MODE, mode="recommend", until="2026-01-05T13:00")
    assert [grant.until for grant in desk.grants.load()] == [NOW + HOUR]


def test_a_mode_that_is_not_earned_is_refused_with_what_is_missing(desk: Desk) -> None:
    desk.evidence = ()
    assert desk.refused(RequestKind.MODE, mode="automatic", kind="disk") == (
        "automatic is not earned: 0 judged forecasts about disk at this site, 20 are needed; "
        "wait, or override this with a reason"
    )
    assert desk.grants.load() == ()


@pytest.mark.parametrize(
    ("args", "text"),
    [
        ({}, "mode is ''; known are: observe, recommend, automatic"),
        ({"mode": "auto"}, "mode is 'auto'; known are: observe, recommend, automatic"),
        ({"mode": "observe", "kind": "gpu"}, "kind is 'gpu'; known are: cpu, memory, disk, network, power"),
        ({"mode": "observe", "action": "fly"}, "action is 'fly'; known are: cordon, move"),
        ({"mode": "observe", "aggregate": "tin"}, "there is no aggregate 'tin'; known are: gold"),
        ({"mode": "observe", "until": "soon"}, "'soon' is no time: write 2026-01-05T02:00:00Z"),
        ({"mode": "observe", "until": "9999-12-31T23:00-09:00"}, "'9999-12-31T23:00-09:00' is no time"),
        ({"mode": "observe", "until": "2026-01-05T12:00:00Z"}, "until 2026-01-05 12:00 UTC lies in the past"),
    ],
)
def test_a_mode_that_makes_no_sense_is_refused_with_what_would(desk: Desk, args: dict[str, str], text: str) -> None:
    assert desk.refused(RequestKind.MODE, **args).startswith(text)
    assert desk.grants.load() == ()


# --- windows --------------------------------------------------------------------------------------------------


def test_a_window_is_opened_now_for_all_hosts_where_nothing_else_is_said(desk: Desk) -> None:
    text = desk.done(RequestKind.OPEN_WINDOW, ends_at="2026-01-05T14:00:00+01:00")
    assert text == "window 1: maintenance of * until 2026-01-05 13:00 UTC"
    assert desk.windows.load(NOW) == (
        Window(WindowKind.MAINTENANCE, "*", NOW, NOW + HOUR, "ann", "because", "api", "request 1"),
    )


def test_a_window_is_opened_for_hosts_and_a_time_and_closed_by_its_number(desk: Desk) -> None:
    times = {"starts_at": "2026-01-05T13:00Z", "ends_at": "2026-01-05T14:00Z"}
    text = desk.done(RequestKind.OPEN_WINDOW, kind="freeze", hosts=" rack1-* ", **times)
    assert text == "window 1: freeze of rack1-* until 2026-01-05 14:00 UTC"
    assert desk.done(RequestKind.CLOSE_WINDOW, window="1") == "window 1 is closed"
    assert desk.windows.load(NOW) == ()


@pytest.mark.parametrize(
    ("args", "text"),
    [
        ({}, "a window needs an end after its start"),
        ({"starts_at": "2026-01-05T14:00Z", "ends_at": "2026-01-05T14:00Z"}, "a window needs an end after its start"),
        (
            {"starts_at": "2026-01-05T10:00Z", "ends_at": "2026-01-05T12:00Z"},
            "the window ended at 2026-01-05 12:00 UTC already",
        ),
        ({"ends_at": "noon"}, "'noon' is no time: write 2026-01-05T02:00:00Z"),
        ({"kind": "party", "ends_at": "2026-01-06"}, "kind is 'party'; known are: maintenance, freeze"),
    ],
)
def test_a_window_that_makes_no_sense_is_refused(desk: Desk, args: dict[str, str], text: str) -> None:
    assert desk.refused(RequestKind.OPEN_WINDOW, **args) == text
    assert desk.windows.load(NOW) == ()


@pytest.mark.parametrize("number", ["", "7", "-1", "one", "9" * 40])
def test_a_window_that_is_not_open_cannot_be_closed(desk: Desk, number: str) -> None:
    assert desk.done(RequestKind.CLOSE_WINDOW, window=number) == f"there is no open window {number!r}"


# --- the breaker ----------------------------------------------------------------------------------------------


def test_the_breaker_is_cleared_by_whom_and_why(desk: Desk) -> None:
    assert desk.done(RequestKind.CLEAR_BREAKER) == "the breaker was not tripped"
    desk.breaker.trip("a storm")
    assert desk.done(RequestKind.CLEAR_BREAKER) == "the breaker is cleared"
    assert not desk.breaker.load().tripped


# --- approvals ------------------------------------------------------------------------------------------------


def test_an_approval_holds_for_its_time_from_when_it_was_taken(desk: Desk) -> None:
    assert desk.done(RequestKind.APPROVE, vm="v", source="a") == "vm-v may leave a within 900 s"
    until = NOW + timedelta(seconds=900)
    assert desk.orders.approvals(NOW) == (Approval("v", "a", until, "ann", "because"),)
    assert len(desk.orders.approvals(until - timedelta(seconds=1))) == 1
    assert desk.orders.approvals(until) == ()


def test_an_approval_that_nobody_has_taken_yet_does_not_hold(desk: Desk) -> None:
    desk.requests.make(RequestKind.APPROVE, "ann", "because", {"vm": "v", "source": "a"})
    assert desk.orders.approvals(NOW) == ()


@pytest.mark.parametrize("args", [{"vm": "w", "source": "a"}, {"vm": "v", "source": "b"}, {}])
def test_an_approval_for_a_vm_that_is_not_there_is_refused(desk: Desk, args: dict[str, str]) -> None:
    text = f"there is no VM {args.get('vm', '')!r} on {args.get('source', '')!r}"
    assert desk.refused(RequestKind.APPROVE, **args) == text


# --- the rest -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [RequestKind.PAUSE, RequestKind.RESUME, RequestKind.ABORT_MOVE])
def test_what_concerns_moves_is_noted_and_left_to_the_executor(desk: Desk, kind: RequestKind) -> None:
    assert desk.done(kind) == ""


def test_a_refused_order_does_not_keep_the_next_from_being_carried_out(desk: Desk) -> None:
    desk.requests.make(RequestKind.MODE, "ann", "typo", {"mode": "auto"})
    desk.requests.make(RequestKind.MODE, "bob", "right", {"mode": "observe"})
    lines = desk.orders.carry_out(desk.requests.take(), (), CLUSTER, NOW)
    assert [line.severity for line in lines] == [Severity.WARNING, Severity.NOTICE]
    assert [grant.who for grant in desk.grants.load()] == ["bob"]
