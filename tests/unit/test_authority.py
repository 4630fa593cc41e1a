"""What may be done without asking: the narrowest grant rules, automation is earned, and people may approve."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from forewarn.decide.authority import Authority, AuthoritySettings, furthest, lacking_evidence, permit, refusal_of
from forewarn.domain.authority import Action, Approval, Evidence, Grant, Mode, Window, WindowKind
from forewarn.domain.inventory import COMPONENT_KINDS, Cluster, Kind
from forewarn.domain.plan import Cordon, MoveState, Plan, Proposal
from forewarn.domain.situation import Situation
from tests.clusters import NOW, host, outcome
from tests.clusters import situation as cluster_of

HOUR = timedelta(hours=1)
OBSERVE, RECOMMEND, AUTOMATIC = Mode
FREE = AuthoritySettings(OBSERVE, AUTOMATIC)
EARNED = tuple(Evidence(kind, confirmed=20, precision_low=0.86) for kind in COMPONENT_KINDS)
SCOPES: tuple[dict[str, Any], ...] = ({}, {"kind": "cpu"}, {"kind": "cpu", "action": "move"})
MOVE = outcome("v", "a", "b", MoveState.RUNNING).move


def grant(mode: Mode, /, age_h: float = 1.0, **scope: Any) -> Grant:
    made = Grant(mode, NOW - age_h * HOUR, "ann", "trial")
    return replace(made, **scope)


def situation(*grants: Grant, evidence: Iterable[Evidence] = EARNED, approvals: Iterable[Approval] = ()) -> Situation:
    hosts = [replace(host("a"), aggregates=("gold", "lab")), host("b")]
    return replace(cluster_of(hosts), grants=grants, evidence=tuple(evidence), approvals=tuple(approvals))


def mode(seen: Situation, action: Action = Action.MOVE, kind: Kind = Kind.CPU, on: str = "a") -> Mode:
    return Authority(seen, FREE, NOW).ruling(action, kind, on).mode


# --- grants ---------------------------------------------------------------------------------------------------


def test_without_a_grant_the_mode_of_the_configuration_rules() -> None:
    ruling = Authority(situation(), AuthoritySettings(RECOMMEND, AUTOMATIC), NOW).ruling(Action.MOVE, Kind.CPU, "a")
    assert (ruling.mode, ruling.why) == (RECOMMEND, "mode recommend (nothing else was granted)")


def test_a_grant_of_everything_rules_everything_and_names_who_gave_it() -> None:
    ruling = Authority(situation(grant(AUTOMATIC)), FREE, NOW).ruling(Action.CORDON, Kind.DISK, "b")
    assert (ruling.mode, ruling.why) == (AUTOMATIC, "mode automatic (ann: trial)")


@pytest.mark.parametrize(
    "scope",
    [{"aggregate": "gold"}, {"kind": Kind.CPU}, {"action": Action.MOVE}, {"kind": "cpu", "action": "move"}],
)
@pytest.mark.parametrize("narrow_first", [True, False])
def test_the_narrowest_grant_wins_whichever_is_newer(scope: dict[str, Any], narrow_first: bool) -> None:
    narrow, wide = grant(OBSERVE, **scope), grant(AUTOMATIC)
    assert mode(situation(*((narrow, wide) if narrow_first else (wide, narrow)))) is OBSERVE


def test_of_grants_of_equal_breadth_the_newest_wins() -> None:
    older, newer = grant(AUTOMATIC, 2, kind="cpu"), grant(OBSERVE, 1, action="move")
    assert mode(situation(older, newer)) is OBSERVE
    assert mode(situation(newer, older)) is AUTOMATIC


def test_a_grant_rules_nothing_outside_its_scope() -> None:
    seen = situation(grant(AUTOMATIC, aggregate="gold", kind="disk", action="cordon"))
    assert mode(seen, Action.CORDON, Kind.DISK, "a") is AUTOMATIC
    assert mode(seen, Action.CORDON, Kind.DISK, "b") is OBSERVE
    assert mode(seen, Action.CORDON, Kind.CPU, "a") is OBSERVE
    assert mode(seen, Action.MOVE, Kind.DISK, "a") is OBSERVE
    assert mode(seen, Action.CORDON, Kind.DISK, "gone") is OBSERVE


def test_a_grant_ends_at_its_time_and_the_wider_one_rules_again() -> None:
    seen = situation(grant(RECOMMEND), grant(AUTOMATIC, kind="cpu", until=NOW + HOUR))
    assert Authority(seen, FREE, NOW + HOUR - timedelta(seconds=1)).ruling(Action.MOVE, Kind.CPU, "a").mode is AUTOMATIC
    assert Authority(seen, FREE, NOW + HOUR).ruling(Action.MOVE, Kind.CPU, "a").mode is RECOMMEND


def test_a_scope_is_told_in_words_and_counted_by_what_it_leaves_open() -> None:
    assert grant(OBSERVE).scope == "every action for every kind of part, everywhere"
    assert grant(OBSERVE, aggregate="gold", action="move").scope == "move for every kind of part, in aggregate gold"
    assert [grant(OBSERVE, **scope).breadth for scope in SCOPES] == [
        3,
        2,
        1,
    ]


def test_the_furthest_mode_is_told_within_what_the_configuration_allows() -> None:
    over = grant(AUTOMATIC, until=NOW)
    assert furthest([], FREE, NOW) is OBSERVE
    assert furthest([grant(RECOMMEND), over], FREE, NOW) is RECOMMEND
    assert furthest([grant(AUTOMATIC)], AuthoritySettings(OBSERVE, RECOMMEND), NOW) is RECOMMEND


def test_no_grant_goes_further_than_the_configuration() -> None:
    capped = Authority(situation(grant(AUTOMATIC)), AuthoritySettings(OBSERVE, RECOMMEND), NOW)
    ruling = capped.ruling(Action.MOVE, Kind.CPU, "a")
    assert (ruling.mode, ruling.why) == (RECOMMEND, "the configuration allows recommend at most")


# --- evidence -------------------------------------------------------------------------------------------------


def test_automatic_without_evidence_is_recommend_and_says_what_is_missing() -> None:
    ruling = Authority(situation(grant(AUTOMATIC), evidence=()), FREE, NOW).ruling(Action.MOVE, Kind.CPU, "a")
    assert ruling.mode is RECOMMEND
    assert ruling.why == "automatic is not earned: 0 judged forecasts about cpu at this site, 20 are needed"


def test_automatic_of_the_configuration_has_to_be_earned_too() -> None:
    settings = AuthoritySettings(AUTOMATIC, AUTOMATIC)
    assert Authority(situation(evidence=()), settings, NOW).ruling(Action.MOVE, Kind.CPU, "a").mode is RECOMMEND
    assert Authority(situation(), settings, NOW).ruling(Action.MOVE, Kind.CPU, "a").mode is AUTOMATIC


def test_an_override_holds_without_evidence() -> None:
    assert mode(situation(grant(AUTOMATIC, overrides=True), evidence=())) is AUTOMATIC


def test_evidence_of_one_kind_earns_nothing_for_another() -> None:
    seen = situation(grant(AUTOMATIC), evidence=[Evidence(Kind.DISK, 20, precision_low=0.86)])
    assert (mode(seen, kind=Kind.DISK), mode(seen, kind=Kind.CPU)) == (AUTOMATIC, RECOMMEND)


def test_enough_forecasts_that_were_mostly_wrong_earn_nothing() -> None:
    poor = Evidence(Kind.DISK, confirmed=10, refuted=10, precision_low=0.3)
    assert lacking_evidence(poor, FREE) == (
        "10 of 20 forecasts about disk came true, so at least 30% of them do; the floor is 50%"
    )
    assert lacking_evidence(replace(poor, precision_low=0.5), FREE) == ""


def test_censored_forecasts_prove_nothing() -> None:
    assert Evidence(Kind.DISK, 10, 5, 99).judged == 15
    assert "15 judged forecasts" in lacking_evidence(Evidence(Kind.DISK, 10, 5, 99, 0.9), FREE)


# --- permit ---------------------------------------------------------------------------------------------------


def planned(*cordons: Cordon) -> Plan:
    return Plan("p", NOW, 7, (MOVE,), cordons=cordons)


def approval(vm: str = "v", source: str = "a", left_s: float = 60.0) -> Approval:
    return Approval(vm, source, NOW + timedelta(seconds=left_s), "bob", "go")


def test_an_allowed_move_stays_a_move_and_any_other_becomes_a_proposal() -> None:
    assert permit(planned(), situation(grant(AUTOMATIC)), FREE, NOW) == planned()
    held = permit(planned(), situation(grant(OBSERVE)), FREE, NOW)
    assert (held.moves, held.proposals) == ((), (Proposal(MOVE, OBSERVE, "mode observe (ann: trial)"),))


def test_an_approved_move_is_made_where_the_mode_is_recommend() -> None:
    assert permit(planned(), situation(grant(RECOMMEND), approvals=[approval()]), FREE, NOW).moves == (MOVE,)


@pytest.mark.parametrize("wrong", [approval(vm="w"), approval(source="b"), approval(left_s=0)])
def test_an_approval_holds_for_its_vm_on_its_host_for_its_time(wrong: Approval) -> None:
    held = permit(planned(), situation(grant(RECOMMEND), approvals=[wrong]), FREE, NOW)
    assert (held.moves, [proposal.mode for proposal in held.proposals]) == ((), [RECOMMEND])


def test_an_approval_does_not_help_where_nothing_but_looking_is_allowed() -> None:
    assert permit(planned(), situation(grant(OBSERVE), approvals=[approval()]), FREE, NOW).moves == ()


def test_hosts_are_cordoned_only_where_that_is_automatic() -> None:
    cordons = [Cordon(name, f"cpu:{name}/cpu", Kind.CPU, "it may fail") for name in ("a", "b")]
    seen = situation(grant(RECOMMEND), grant(AUTOMATIC, aggregate="gold", action="cordon"))
    allowed = permit(planned(*cordons), seen, FREE, NOW)
    assert (allowed.cordons, allowed.moves) == ((cordons[0],), ())


# --- refusals -------------------------------------------------------------------------------------------------


def refusal(asked: Grant, settings: AuthoritySettings = FREE, evidence: Iterable[Evidence] = EARNED) -> str:
    return refusal_of(asked, evidence, situation().cluster, settings)


def test_a_grant_that_can_be_given_is_not_refused() -> None:
    assert refusal(grant(AUTOMATIC)) == ""
    assert refusal(grant(RECOMMEND, aggregate="lab"), evidence=()) == ""
    assert refusal_of(grant(RECOMMEND, aggregate="unseen"), (), None, FREE) == ""


def test_a_grant_beyond_the_configuration_is_refused_with_the_setting_to_change() -> None:
    text = refusal(grant(AUTOMATIC), AuthoritySettings(OBSERVE, RECOMMEND))
    assert text == ("the configuration allows recommend at most: set authority.mode_max = 'automatic' and restart")


def test_a_grant_for_an_unknown_aggregate_is_refused_with_the_known_ones() -> None:
    asked = grant(RECOMMEND, aggregate="golf")
    assert refusal(asked) == "there is no aggregate 'golf'; known are: gold, lab"
    assert refusal_of(asked, (), Cluster(NOW), FREE) == "there is no aggregate 'golf'; known are: none"


def test_automatic_that_is_not_earned_is_refused_for_each_kind_that_lacks_evidence() -> None:
    text = refusal(grant(AUTOMATIC), evidence=EARNED[1:])
    assert text == (
        "automatic is not earned: 0 judged forecasts about cpu at this site, 20 are needed; "
        "wait, or override this with a reason"
    )
    assert refusal(grant(AUTOMATIC, kind="disk"), evidence=EARNED[1:]) == ""
    assert refusal(grant(AUTOMATIC, overrides=True), evidence=()) == ""


# --- settings and words ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"mode": AUTOMATIC, "mode_max": RECOMMEND}, "raise mode_max too, or lower mode"),
        ({"evidence_least": 0}, "evidence_least is 0; it is at least 1"),
        ({"evidence_floor": 1.0}, "evidence_floor is 1; it lies from 0 to below 1"),
        ({"evidence_floor": -0.1}, "evidence_floor is -0.1"),
    ],
)
def test_settings_that_contradict_themselves_are_refused(wrong: dict[str, object], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        AuthoritySettings(**wrong)  # type: ignore[arg-type]


def test_a_window_is_told_in_utc_wherever_it_was_announced() -> None:
    summer = timezone(2 * HOUR)
    window = Window(WindowKind.FREEZE, "a", NOW, datetime(2026, 1, 5, 16, tzinfo=summer), "ann", "audit")
    assert str(window) == "freeze until 2026-01-05 14:00 UTC: audit (ann)"


def test_a_window_is_open_from_its_start_to_before_its_end_for_the_hosts_of_its_pattern() -> None:
    window = Window(WindowKind.FREEZE, "rack1-*", NOW, NOW + HOUR, "ann", "audit")
    assert [window.covers("rack1-a", NOW + n * HOUR) for n in (-1, 0, 1)] == [False, True, False]
    assert not window.covers("rack2-a", NOW)
