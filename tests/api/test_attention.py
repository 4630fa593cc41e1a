"""The list of what needs attention."""

from dataclasses import replace

from forewarn.domain.inventory import Criticality, VirtualMachine
from forewarn.domain.plan import Plan, Refusal, Ticket, Verdict
from forewarn.domain.risk import HORIZONS
from forewarn.domain.situation import Snapshot
from forewarn.web.attention import attention_of
from forewarn.web.fleet import fleet_of
from tests.api.test_fleet import small
from tests.shown import NOW, forecast_of, snapshot_of


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


def test_vms_that_must_leave_sooner_stand_before_a_greater_risk_that_leaves_more_time() -> None:
    fast, slow = forecast_of(PARTS[0], 0.9), forecast_of(PARTS[1], 0.99)
    late = replace(slow, probabilities=(0.0, 0.0, 0.0, 0.0, 0.99, 0.99))
    found = attention_of(fleet_of(guests(forecasts=(fast, late))), 10)
    assert [item.cell.device for item in found] == ["a", "b"]
    assert [item.start.crossing for item in found] == [HORIZONS[2], HORIZONS[4]]


def test_what_is_at_stake_is_counted_by_criticality_and_says_what_is_not_proven() -> None:
    first, second = attention_of(fleet_of(guests()), 10)
    assert {first.stakes, second.stakes} == {
        "2 VMs (1 critical, 1 low)",
        "2 VMs (1 critical, 1 low) on its host; none is proven to depend on it",
    }


def test_a_risk_comes_with_what_is_usual_for_its_kind_where_that_is_known() -> None:
    assert attention_of(fleet_of(guests()), 1)[0].usual == ""
    usual = attention_of(fleet_of(guests(usual={"cpu": 0.0004})), 1)[0].usual
    assert usual == "0.040 % within 7 days is usual for its kind"


def guests(**more: object) -> Snapshot:
    """A host with two VMs and two risky CPUs, of which the first is proven to be in their path."""
    snapshot = small(("a", 0.9), ("b", 0.9))
    sure = replace(snapshot.cluster.components[0], whole_host=True)
    vms = tuple(
        VirtualMachine(name, name, "h1", 1, 1, level)
        for name, level in (("x", Criticality.HIGH), ("y", Criticality.LOW))
    )
    cluster = replace(snapshot.cluster, components=(sure, *snapshot.cluster.components[1:]), vms=vms)
    return replace(snapshot, cluster=cluster, **more)  # type: ignore[arg-type]  # whatever the test wants otherwise


PARTS = small(("a", 0.9), ("b", 0.9)).cluster.components
