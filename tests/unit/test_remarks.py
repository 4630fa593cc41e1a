"""What a plan says beside its moves: cordons, tickets, what stops everything, and which forecasts are too old."""

from dataclasses import replace
from datetime import timedelta

import pytest

from forewarn.decide.outlook import Outlook
from forewarn.decide.policy import PolicySettings, next_ladder
from forewarn.decide.remarks import cordons, held_back, stopped_because, ticket_because, tickets, watched
from forewarn.domain.authority import Window, WindowKind
from forewarn.domain.inventory import HostState, Kind
from forewarn.domain.plan import Cordon, MoveState, Refusal, Ticket
from forewarn.domain.situation import Breaker, Situation
from tests.clusters import NOW, host, outcome, part, situation, vm

POLICY = PolicySettings(threshold_fallback=0.1)
HOUR = timedelta(hours=1)
LOOSE = part("a", Kind.DISK, "sda", whole_host=False)
SPARED = part("a", Kind.POWER, "PSU1", group="a/psu", spares=1)


def outlook(seen: Situation) -> Outlook:
    return Outlook(seen, POLICY, next_ladder(seen, POLICY, NOW), NOW)


def cordoned(seen: Situation) -> list[str]:
    return [cordon.host for cordon in cordons(outlook(seen))]


# --- cordons --------------------------------------------------------------------------------------------------


def test_a_host_whose_part_exceeds_its_threshold_shall_receive_nothing() -> None:
    (cordon,) = cordons(outlook(situation([host("a"), host("b")], risks={"a": 0.5})))
    why = "cpu of a fails within 7 d with p=0.5, over its threshold 0.1"
    assert cordon == Cordon("a", "cpu:a/cpu", Kind.CPU, why)


def test_a_part_that_no_vm_depends_on_cordons_no_host() -> None:
    assert cordoned(situation([host("a")], parts=[LOOSE], risks={LOOSE.id: 0.5})) == []
    assert cordoned(situation([host("a")], parts=[SPARED], risks={SPARED.id: 0.5})) == []


def test_a_part_that_one_vm_depends_on_cordons_its_host() -> None:
    disk = replace(LOOSE, vms=("v",))
    assert cordoned(situation([host("a")], [vm("v", "a")], parts=[disk], risks={disk.id: 0.5})) == ["a"]


def test_the_cordon_names_the_worst_part_that_vms_depend_on() -> None:
    cpu = part("a")
    seen = situation([host("a")], parts=[LOOSE, cpu], risks={LOOSE.id: 0.9, cpu.id: 0.2})
    assert [cordon.component for cordon in cordons(outlook(seen))] == [cpu.id]


@pytest.mark.parametrize("state", [HostState.DOWN, HostState.MAINTENANCE, HostState.UNKNOWN])
def test_a_host_that_is_not_up_is_not_cordoned(state: HostState) -> None:
    assert cordoned(situation([host("a", state=state)], risks={"a": 0.5})) == []


def test_a_host_that_is_not_in_the_inventory_is_not_cordoned() -> None:
    assert cordoned(situation([host("b")], parts=[part("a")], risks={"a": 0.5})) == []


@pytest.mark.parametrize("kind", list(WindowKind))
def test_a_host_in_a_window_is_not_cordoned(kind: WindowKind) -> None:
    window = Window(kind, "a", NOW - HOUR, NOW + HOUR, "ann", "new kernel")
    seen = situation([host("a"), host("b")], risks={"a": 0.5, "b": 0.5})
    assert cordoned(replace(seen, windows=(window,))) == ["b"]


# --- tickets --------------------------------------------------------------------------------------------------


def test_a_part_off_every_path_or_with_a_spare_is_a_ticket_and_any_other_is_none() -> None:
    cpu = part("a")
    seen = situation([host("a")], parts=[LOOSE, SPARED, cpu], risks={"a": 0.5})
    assert sorted(ticket.component for ticket in tickets(outlook(seen))) == [LOOSE.id, SPARED.id]
    assert ticket_because(LOOSE) == "it is not proven to be in the path of any VM"
    assert ticket_because(SPARED) == "1 more of a/psu can fail before VMs do"
    assert ticket_because(replace(SPARED, group="")) == "1 more of its kind can fail before VMs do"
    assert ticket_because(cpu) == ""


def test_a_sound_part_that_lacks_its_feed_is_a_ticket_unless_it_is_suspected_or_that_is_long_ago() -> None:
    text = "the feed of PSU1 is lost: look at the PDU"
    calm = situation([host("a")], parts=[SPARED], risks={SPARED.id: 0.001})
    told = replace(calm, forecasts=tuple(replace(forecast, look_at=text) for forecast in calm.forecasts))
    assert list(tickets(outlook(told))) == [Ticket("a", SPARED.id, Kind.POWER, text, sound=True)]
    assert list(tickets(outlook(calm))) == []
    old = replace(told, forecasts=tuple(replace(forecast, time=NOW - HOUR) for forecast in told.forecasts))
    assert list(tickets(outlook(old))) == []
    risky = situation([host("a")], parts=[SPARED], risks={SPARED.id: 0.5})
    both = replace(risky, forecasts=tuple(replace(forecast, look_at=text) for forecast in risky.forecasts))
    assert [ticket.sound for ticket in tickets(outlook(both))] == [False]


# --- what stops everything ------------------------------------------------------------------------------------


def test_a_tripped_breaker_stops_everything_also_beside_a_pause() -> None:
    seen = situation([host("a")])
    assert stopped_because(seen) is None
    assert stopped_because(replace(seen, paused="storm (ann)")) == (Refusal.PAUSED, "moves are paused (storm (ann))")
    both = replace(seen, paused="storm (ann)", breaker=Breaker("4 of 20 hosts"))
    assert stopped_because(both) == (Refusal.BREAKER, "the breaker is tripped (4 of 20 hosts)")


def test_what_is_held_back_is_told_for_all_and_for_each() -> None:
    move = replace(outcome("v", "a", "b", MoveState.RUNNING).move, rule="the rule", reason="it fails")
    whole, each = held_back((move,), Refusal.BREAKER, "the breaker is tripped")
    assert (whole.vm, whole.text) == ("", "the breaker is tripped; 1 would have been planned")
    assert (each.vm, each.host, each.target, each.refusal) == ("v", "a", "b", Refusal.BREAKER)
    assert each.text == "the breaker is tripped; else the rule: it fails"
    assert [verdict.text for verdict in held_back((), Refusal.PAUSED, "paused")] == [
        "paused; 0 would have been planned"
    ]


# --- what is only watched -------------------------------------------------------------------------------------


def test_old_forecasts_are_counted_in_one_verdict() -> None:
    seen = situation([host("a"), host("b")], risks={"a": 0.5})
    old = tuple(replace(forecast, time=NOW - HOUR) for forecast in seen.forecasts)
    (verdict,) = watched(outlook(replace(seen, forecasts=old)))
    assert (verdict.refusal, verdict.text) == (
        Refusal.STALE,
        "2 forecasts are older than 900 s, and nothing moves for them",
    )
    assert list(watched(outlook(seen))) == []
