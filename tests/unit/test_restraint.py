"""What keeps a VM where it is and a host from receiving one: windows, rest, contests, suspected causes."""

from dataclasses import replace
from datetime import timedelta

import pytest

from forewarn.decide.restraint import RestraintSettings, contested, resting, successes, suspects, window_of
from forewarn.domain.authority import Window, WindowKind
from forewarn.domain.inventory import Component, Kind
from forewarn.domain.plan import MoveState, Outcome, Refusal
from forewarn.domain.risk import Reason
from forewarn.domain.situation import LadderStep, Rung, Situation
from tests.clusters import NOW, forecast, host, outcome, part, situation, vm

SETTINGS = RestraintSettings()
VM = vm("v", "a")
MINUTE = timedelta(minutes=1)


def moved(minutes_ago: float, source: str = "a", target: str = "b") -> Outcome:
    return outcome("v", source, target, MoveState.SUCCEEDED, NOW - minutes_ago * MINUTE)


# --- windows --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "refusal"), [(WindowKind.MAINTENANCE, Refusal.MAINTENANCE), (WindowKind.FREEZE, Refusal.FREEZE)]
)
def test_a_window_is_a_reason_while_it_is_open(kind: WindowKind, refusal: Refusal) -> None:
    window = Window(kind, "a*", NOW, NOW + 60 * MINUTE, "ann", "new kernel")
    text = f"a1 is in a window: {kind} until 2026-01-05 13:00 UTC: new kernel (ann)"
    assert window_of((window,), "a1", NOW) == (refusal, text)
    assert window_of((window,), "b1", NOW) is None
    assert window_of((window,), "a1", NOW + 60 * MINUTE) is None
    assert window_of((), "a1", NOW) is None


# --- rest -----------------------------------------------------------------------------------------------------


def test_a_vm_that_has_not_moved_needs_no_rest() -> None:
    assert resting(VM, [], SETTINGS, NOW) == ""


def test_a_vm_rests_after_a_move_until_its_time_is_over() -> None:
    assert resting(VM, [moved(2)], SETTINGS, NOW) == "vm-v has moved once within a day and rests for 180 s more"
    assert resting(VM, [moved(5)], SETTINGS, NOW) == ""


@pytest.mark.parametrize(("count", "rest_minutes"), [(1, 5), (2, 10), (3, 20), (5, 80), (20, 1440), (2000, 1440)])
def test_each_further_move_doubles_the_rest_up_to_its_limit(count: int, rest_minutes: float) -> None:
    def moves(last_minutes_ago: float) -> list[Outcome]:
        return [moved(last_minutes_ago + number) for number in range(count)]

    assert resting(VM, moves(rest_minutes - 1), SETTINGS, NOW).endswith("rests for 60 s more")
    assert resting(VM, moves(rest_minutes), SETTINGS, NOW) == ""


def test_only_moves_that_succeeded_count_each_for_its_vm() -> None:
    failed = outcome("v", "a", "b", MoveState.FAILED)
    other = outcome("w", "a", "b", MoveState.SUCCEEDED)
    assert successes((moved(1), failed, other, moved(3))) == {"v": [moved(1), moved(3)], "w": [other]}


# --- contests -------------------------------------------------------------------------------------------------


def contest(*moves: Outcome, seen_minutes_ago: float = 0.0, on: str = "a") -> str:
    return contested(replace(VM, host=on), list(moves), SETTINGS, NOW - seen_minutes_ago * MINUTE, NOW)


def test_a_vm_that_is_back_where_it_was_moved_from_is_left_to_whoever_did_that() -> None:
    assert contest(moved(30)) == "somebody else moved it back from b, and Forewarn does not fight"


def test_a_vm_elsewhere_or_never_moved_is_not_contested() -> None:
    assert contest() == ""
    assert contest(moved(30), on="b") == ""
    assert contest(moved(30), on="c") == ""


def test_only_the_last_move_is_contested() -> None:
    there_and_back = [moved(30), moved(20, "b", "a")]
    assert contest(*there_and_back) == ""
    assert contest(*reversed(there_and_back)) == ""


def test_a_contest_is_over_after_its_time() -> None:
    assert contest(moved(24 * 60 - 1)) != ""
    assert contest(moved(24 * 60)) == ""


def test_a_picture_from_before_the_arrival_contests_nothing() -> None:
    assert contest(moved(1), seen_minutes_ago=2) == ""
    assert contest(moved(1), seen_minutes_ago=0.5) != ""


# --- suspects -------------------------------------------------------------------------------------------------


def showing(signs: dict[str, str], racks: dict[str, str], models: dict[str, str] | None = None) -> Situation:
    """A situation in which the CPU of a host shows a sign; nothing for an empty one, unknown for `?`."""
    models = models or {}
    hosts = [replace(host(name), rack=rack) for name, rack in racks.items()]
    parts = [replace(part(name), model=models.get(name, "")) for name in racks]
    made = situation(hosts, parts=parts)

    def told(of: Component) -> object:
        sign = signs.get(of.host, "")
        reasons = (Reason(sign, "", 1.0),) if sign else ()
        return replace(forecast(of, None if sign == "?" else 0.06), reasons=reasons)

    return replace(made, forecasts=tuple(map(told, parts)))  # type: ignore[arg-type]


def suspected(seen: Situation, *clear: str) -> dict[str, str]:
    rungs = [LadderStep(f.component, Rung.CLEAR if f.host in clear else Rung.WATCH, NOW) for f in seen.forecasts]
    return dict(suspects(seen, tuple(rungs), SETTINGS))


RACKS = {"a": "rack1", "b": "rack1", "c": "rack1", "d": "rack1", "e": "rack2"}


def test_a_rack_in_which_enough_hosts_show_the_same_sign_is_suspect_as_a_whole() -> None:
    found = suspected(showing(dict.fromkeys("abc", "heat"), RACKS))
    assert list(found) == ["a", "b", "c", "d"]
    assert found["d"] == "it shares a suspected cause: cpu shows heat on 3 hosts in rack 1"


def test_too_few_hosts_or_different_signs_make_no_suspects() -> None:
    assert suspected(showing(dict.fromkeys("ab", "heat"), RACKS)) == {}
    assert suspected(showing({"a": "heat", "b": "heat", "c": "load"}, RACKS)) == {}


def test_of_a_suspected_model_only_the_hosts_that_show_the_sign_are_suspect() -> None:
    found = suspected(showing(dict.fromkeys("abe", "heat"), dict.fromkeys("abcde", ""), dict.fromkeys("abcde", "M1")))
    assert found == dict.fromkeys("abe", "it shares a suspected cause: cpu shows heat on 3 hosts with a M1")


def test_clear_and_unknown_parts_and_parts_without_a_leading_sign_show_nothing() -> None:
    assert suspected(showing(dict.fromkeys("abc", "heat"), RACKS), "c") == {}
    assert suspected(showing({"a": "heat", "b": "heat", "c": "?"}, RACKS)) == {}
    assert suspected(showing({"a": "heat", "b": "heat"}, RACKS)) == {}


def test_many_parts_of_one_host_are_one_host() -> None:
    disks = [part("a", Kind.DISK, f"sd{letter}") for letter in "xyz"]
    seen = situation([replace(host("a"), rack="rack1")], parts=disks)
    signs = tuple(replace(f, reasons=(Reason("heat", "", 1.0),)) for f in seen.forecasts)
    assert suspected(replace(seen, forecasts=signs)) == {}


def test_parts_that_the_inventory_does_not_know_share_no_cause() -> None:
    seen = showing(dict.fromkeys("abc", "heat"), RACKS, dict.fromkeys("abc", "M1"))
    assert suspected(replace(seen, cluster=replace(seen.cluster, hosts=(), components=()))) == {}
