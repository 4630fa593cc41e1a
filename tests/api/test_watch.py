"""What the first screen says before anything else."""

from dataclasses import replace
from datetime import timedelta

from forewarn.act.guards import Guard
from forewarn.domain.authority import Mode
from forewarn.domain.plan import Proposal
from forewarn.domain.situation import Snapshot
from forewarn.state.requests import RequestKind
from forewarn.web.fleet import fleet_of
from forewarn.web.inbox import TakenRequest
from forewarn.web.settings import WebSettings
from forewarn.web.watch import LIMIT_WORDS, Watch, watch_of
from tests.shown import NOW, snapshot_of, standing_of

BUSY = snapshot_of()
LATER = NOW + timedelta(seconds=4)


def watch(snapshot: Snapshot = BUSY, *requests: TakenRequest, **settings: int) -> Watch:
    return watch_of(fleet_of(snapshot), requests, WebSettings(**settings), LATER)  # type: ignore[arg-type]  # numbers only


def asked(kind: RequestKind, **args: str) -> TakenRequest:
    return TakenRequest(id=1, kind=kind, reason="a drill", who="ann", made_at=NOW, args=args)


def offered(*modes: Mode) -> Snapshot:
    moves = [outcome.move for outcome in BUSY.moves[3:]]
    offers = tuple(Proposal(move, mode, "why") for move, mode in zip(moves, modes, strict=False))
    return replace(BUSY, plan=replace(BUSY.plan, proposals=offers))


def banners(snapshot: Snapshot) -> list[str]:
    return [banner.key for banner in watch(snapshot).banners]


def test_each_scope_comes_with_its_end_and_its_reason_and_the_rest_last() -> None:
    granted, rest = watch().scopes
    assert (granted.mode, granted.words) == ("automatic", "every action for disk, everywhere")
    assert (granted.until, granted.why) == ("until 17:00 UTC", "disks have earned it (ann)")
    assert (rest.mode, rest.words, rest.why) == ("recommend", "everything else", "as configured")


def test_what_is_missing_or_too_old_is_said_first_and_never_called_fresh() -> None:
    silent = replace(BUSY, standing=standing_of(telemetry_at=None))
    assert [item.stale for item in watch(silent).inputs] == [True, False, False]
    assert "stale" in banners(silent)
    old = replace(BUSY, standing=standing_of(telemetry_at=NOW - timedelta(minutes=6)))
    assert watch(old).inputs[0].stale
    assert "stale" not in banners(BUSY)


def test_without_one_known_forecast_their_age_is_missing() -> None:
    assert watch(replace(BUSY, forecasts=())).inputs[2].time is None


def test_hosts_that_do_not_answer_their_driver_are_named_with_the_age_of_what_is_shown() -> None:
    hosts = [replace(host, seen_at=NOW - timedelta(minutes=7)) for host in BUSY.cluster.hosts[:9]]
    cluster = replace(BUSY.cluster, hosts=(*hosts, *BUSY.cluster.hosts[9:]))
    banner = next(b for b in watch(replace(BUSY, cluster=cluster)).banners if b.key == "unheard")
    assert banner.title == "9 hosts do not answer the placement service"
    assert f"{hosts[0].name} 7 min ago" in banner.text
    assert banner.text.endswith("4 more")
    never = (replace(BUSY.cluster.hosts[0], unheard_because="a refuses the sign-in"), *BUSY.cluster.hosts[1:])
    banner = next(
        b for b in watch(replace(BUSY, cluster=replace(BUSY.cluster, hosts=never))).banners if b.key == "unheard"
    )
    assert banner.title == "1 host does not answer the placement service"
    assert banner.text.endswith(f"{never[0].name} (never)")
    assert "unheard" not in banners(BUSY)


def test_the_breaker_stands_before_the_pause_the_leader_and_the_fallen_hosts() -> None:
    standing = standing_of(breaker="9 hosts at once", leader="ctl2 leads until 12:01")
    assert banners(replace(BUSY, paused="a drill (ann)", standing=standing)) == ["breaker", "paused", "leader", "down"]
    first, *_ = watch(replace(BUSY, standing=standing)).banners
    assert (first.ask, first.text, first.bad) == ("clear_breaker", "9 hosts at once", True)


def test_a_move_whose_end_was_asked_for_says_by_whom() -> None:
    first = BUSY.moves[0].move.id
    flights = watch(BUSY, asked(RequestKind.ABORT_MOVE, move=first)).flights
    assert [flight.asked for flight in flights] == ["ann", "", ""]


def test_only_a_proposal_of_mode_recommend_can_be_approved_and_stands_first() -> None:
    offers = watch(offered(Mode.OBSERVE, Mode.RECOMMEND)).offers
    assert [offer.can_be_approved for offer in offers] == [True, False]


def test_a_proposal_that_was_approved_cannot_be_approved_again_while_that_waits() -> None:
    snapshot = offered(Mode.RECOMMEND)
    move = snapshot.plan.proposals[0].move
    (offer,) = watch(snapshot, asked(RequestKind.APPROVE, vm=move.vm, source=move.source)).offers
    assert (offer.can_be_approved, offer.asked) == (False, "ann")


def test_what_does_not_fit_is_counted() -> None:
    found = watch(offered(*[Mode.OBSERVE] * 12), attention_max=10, changes_shown_max=2)
    assert (len(found.offers), found.offers_more) == (10, 2)
    assert len(found.changes) == 2
    assert found.changes_more > 0


def test_limits_are_told_in_words_with_what_they_held_back() -> None:
    first, second = watch().limits
    assert (first.words, first.budget.held, first.full) == ("moves out of one host", 17, False)
    assert second.words == "moves begun within an hour"


def test_windows_say_when_they_open_or_close() -> None:
    assert watch().windows == (
        "freeze of host0[1-4] until 14:00 UTC: quarter's end (bob)",
        "maintenance of host2* from 13:00 UTC, in 59 min: new firmware (cay)",
    )


def test_what_is_read_aloud_names_what_stops_everything() -> None:
    assert watch().announcement == "1 host is down. 3 moves in flight."
    assert "1 proposal waits for approval" in watch(offered(Mode.RECOMMEND)).announcement


def test_every_limit_on_moves_has_words() -> None:
    assert {str(guard) for guard in Guard} <= LIMIT_WORDS.keys()
