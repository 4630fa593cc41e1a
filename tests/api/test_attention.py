"""The list of what needs attention."""

from dataclasses import replace

from forewarn.domain.plan import Plan, Refusal, Ticket, Verdict
from forewarn.domain.situation import Snapshot
from forewarn.web.attention import attention_of
from forewarn.web.fleet import fleet_of
from tests.api.test_fleet import small
from tests.shown import NOW, snapshot_of


def doing(snapshot: Snapshot) -> str:
    return attention_of(fleet_of(snapshot), 10)[0].doing


def test_it_is_never_longer_than_its_limit() -> None:
    everything = small(*((f"cpu{i}", 0.5) for i in range(40)))
    assert len(attention_of(fleet_of(everything), 10)) == 10


def test_it_names_the_riskiest_first_and_leaves_out_the_calm() -> None:
    found = attention_of(fleet_of(small(("a", 0.02), ("b", 0.2), ("c", 0.4), ("d", 0.07))), 10)
    assert [item.cell.device for item in found] == ["c", "b", "d"]


def test_it_never_names_the_unknown_as_risky() -> None:
    assert attention_of(fleet_of(small(("a", 0.0), unknown="dark")), 10) == ()


def test_it_gives_only_reasons_that_raise_the_risk() -> None:
    (item,) = attention_of(fleet_of(small(("a", 0.3))), 10)
    assert item.reasons == ("41 new thermal throttle events of cores within 6 hours", "CPU reached 97 °C within 1 hour")
    assert item.source == "rules, learned from rules"


def test_it_says_how_many_vms_leave_and_how_that_went() -> None:
    snapshot = snapshot_of()
    running = snapshot.moves[0].move
    fleet = fleet_of(snapshot)
    item = next(item for item in attention_of(fleet, 20) if item.cell.component == running.component)
    assert "3 VMs moving away" in item.doing


def test_it_says_what_is_done_instead_of_moving() -> None:
    ticket = Ticket("h1", "cpu:a", fleet_of(small(("a", 0.3))).cells[0].kind, "replace the fan of CPU a")
    verdict = Verdict("vm1", "h1", "cpu:a", Refusal.PAUSED, "moves are paused")
    on_a_target = Verdict("vm1", "h1", "cpu:a", Refusal.TARGET_FULL, "h2 is full", "h2")
    assert doing(small(("a", 0.3), plan=Plan("p", NOW, 1, (), (verdict,), (ticket,)))) == "replace the fan of CPU a"
    assert doing(small(("a", 0.3), plan=Plan("p", NOW, 1, (), (on_a_target, verdict)))) == "moves are paused"


def test_it_says_when_nothing_has_to_be_done() -> None:
    busy = snapshot_of()
    assert doing(small(("a", 0.3))) == "no VM runs here"
    assert doing(small(("a", 0.07))) == ""
    idle = replace(busy, moves=())
    shown = attention_of(fleet_of(idle), 10)
    assert {item.doing for item in shown if item.row.vms and item.cell.at_risk} == {"no move is planned"}
