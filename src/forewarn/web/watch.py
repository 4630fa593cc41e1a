"""What the first screen says before anything else: may Forewarn act, on how fresh a picture, and what does it do now?

Then what waits for a person, what changed, and what holds it back. Pure: a fleet, the requests made lately and the time
in, words out.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice

from forewarn.domain.authority import Grant, Mode, Window
from forewarn.domain.inventory import Host, HostState
from forewarn.domain.plan import Proposal
from forewarn.domain.situation import Budget, Snapshot
from forewarn.state.requests import RequestKind
from forewarn.web.fleet import Fleet, key_of
from forewarn.web.inbox import TakenRequest
from forewarn.web.lately import Change, lately
from forewarn.web.migrations import MoveRow, rows_of
from forewarn.web.settings import WebSettings
from forewarn.web.words import ahead, count, listing, moment

LIMIT_WORDS = {
    "moves_per_source": "moves out of one host",
    "moves_per_target": "moves into one host",
    "moves_per_link": "moves over one rack's uplink",
    "moves_at_once": "moves at once",
    "moves_per_hour": "moves begun within an hour",
    "hosts_share": "hosts that VMs are leaving",
    "cordons": "cordoned hosts",
    "plan_age": "age of the plan when it began, seconds",
    "inventory_age": "age of the inventory, seconds",
    "paused": "moves paused",
}
_DOWN_NAMED = 5


@dataclass(frozen=True, slots=True)
class Scope:
    """A mode, what it holds for, until when and why."""

    mode: Mode
    words: str
    until: str
    why: str


@dataclass(frozen=True, slots=True)
class Input:
    """One thing that decisions rest on, and how old it is; `time` is None where there is none."""

    name: str
    time: datetime | None
    age_s: float
    stale: bool


@dataclass(frozen=True, slots=True)
class Banner:
    """Something that must be read first. `ask` is the request that would end it, if there is one."""

    key: str
    bad: bool
    title: str
    text: str
    ask: str = ""


@dataclass(frozen=True, slots=True)
class Flight:
    """A move that runs; `asked` says who has asked for its end."""

    row: MoveRow
    asked: str


@dataclass(frozen=True, slots=True)
class Offer:
    """A move that would be made if it were allowed. Only one of mode `recommend` can be approved."""

    key: str
    proposal: Proposal
    asked: str  # who has approved it, while the loop has not acted on it

    @property
    def can_be_approved(self) -> bool:
        return self.proposal.mode is Mode.RECOMMEND and not self.asked


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit on acting in words."""

    words: str
    budget: Budget

    @property
    def full(self) -> bool:
        return self.budget.used >= self.budget.limit


@dataclass(frozen=True)
class Watch:
    """The first screen."""

    scopes: tuple[Scope, ...]
    inputs: tuple[Input, ...]
    banners: tuple[Banner, ...]
    flights: tuple[Flight, ...]
    offers: tuple[Offer, ...]
    offers_more: int
    limits: tuple[Limit, ...]
    windows: tuple[str, ...]
    changes: tuple[Change, ...]
    changes_more: int
    changes_since: datetime
    leader: str
    announcement: str = field(default="")


def watch_of(fleet: Fleet, requests: Sequence[TakenRequest], settings: WebSettings, now: datetime) -> Watch:
    """Everything that the first screen says of `fleet`. `requests` are the latest, the newest first."""
    snapshot, standing = fleet.snapshot, fleet.snapshot.standing
    since = _since(snapshot, now - timedelta(hours=settings.lately_hours))
    changes = lately(snapshot, since)
    offers = tuple(_offers(snapshot, requests))
    inputs = tuple(_inputs(snapshot, settings.input_stale_after_s, now))
    banners = (*_banners(snapshot, now), *_stale_banner(inputs))
    flights = tuple(_flights(snapshot, requests))
    return Watch(
        scopes=tuple(_scopes(standing.grants, standing.mode, now)),
        inputs=inputs,
        banners=banners,
        flights=flights,
        offers=offers[: settings.attention_max],
        offers_more=max(0, len(offers) - settings.attention_max),
        limits=tuple(Limit(LIMIT_WORDS.get(b.name, b.name.replace("_", " ")), b) for b in standing.budgets),
        windows=tuple(window_words(window, now) for window in standing.windows),
        changes=changes[: settings.changes_shown_max],
        changes_more=max(0, len(changes) - settings.changes_shown_max),
        changes_since=since,
        leader=standing.leader,
        announcement=_announcement(banners, flights, offers),
    )


def _since(snapshot: Snapshot, wanted: datetime) -> datetime:
    """From when on the snapshot's log tells: it carries a limited number of lines."""
    return max(wanted, min((line.time for line in snapshot.log), default=wanted))


def _scopes(grants: Sequence[Grant], otherwise: Mode, now: datetime) -> Iterator[Scope]:
    """Granted modes, the narrowest scope first, as it counts; then the mode of everything else."""
    for grant in sorted(grants, key=lambda grant: grant.breadth):
        until = f"until {moment(grant.until, now)}" if grant.until else "until it is revoked"
        by = f"{grant.why} ({grant.who}{', by override' if grant.overrides else ''})"
        yield Scope(grant.mode, grant.scope, until, by)
    yield Scope(otherwise, "everything else" if grants else "everything", "", "as configured")


def _inputs(snapshot: Snapshot, stale_after_s: float, now: datetime) -> Iterator[Input]:
    times = (
        ("telemetry", snapshot.standing.telemetry_at),
        ("inventory", snapshot.cluster.time),
        ("forecasts", max((f.time for f in snapshot.forecasts if not f.unknown), default=None)),
    )
    for name, time in times:
        age_s = max(0.0, (now - time).total_seconds()) if time else 0.0
        yield Input(name, time, age_s, time is None or age_s > stale_after_s)


def _banners(snapshot: Snapshot, now: datetime) -> Iterator[Banner]:
    """What stops everything, then what has happened already."""
    standing = snapshot.standing
    if standing.breaker:
        yield Banner("breaker", True, "The breaker is tripped: nothing moves", standing.breaker, "clear_breaker")
    if snapshot.paused:
        yield Banner("paused", False, "Moves are paused", snapshot.paused)
    if standing.leader:
        yield Banner("leader", False, "Another controller leads: this one only looks", standing.leader)
    down = [host.name for host in snapshot.cluster.hosts if host.state is HostState.DOWN]
    if down:
        yield Banner("down", True, f"{count(len(down), 'host is', 'hosts are')} down", _down_words(snapshot, down))
    unheard = [host for host in snapshot.cluster.hosts if host.seen_at is not None or host.unheard_because]
    if unheard:
        silent = f"{count(len(unheard), 'host does', 'hosts do')} not answer the placement service"
        yield Banner("unheard", False, silent, _unheard_words(unheard, now))


def _down_words(snapshot: Snapshot, down: Sequence[str]) -> str:
    interrupted = sum(vm.state == "interrupted" for vm in snapshot.cluster.vms if vm.host in set(down))
    more = [f"{len(down) - _DOWN_NAMED} more"] if len(down) > _DOWN_NAMED else []
    return f"{listing([*down[:_DOWN_NAMED], *more])}; {count(interrupted, 'VM')} interrupted"


def _unheard_words(unheard: Sequence[Host], now: datetime) -> str:
    named = [f"{host.name} {ahead(host.seen_at, now) if host.seen_at else '(never)'}" for host in unheard]
    more = [f"{len(named) - _DOWN_NAMED} more"] if len(named) > _DOWN_NAMED else []
    return f"Shown as they were last seen: {listing([*named[:_DOWN_NAMED], *more])}"


def _stale_banner(inputs: Iterable[Input]) -> Iterator[Banner]:
    stale = [item.name for item in inputs if item.stale]
    if stale:
        are = "are" if stale != ["inventory"] and stale != ["telemetry"] else "is"
        text = "What this page shows may be over; nothing should be decided on it before that is mended"
        yield Banner("stale", True, f"{listing(stale).capitalize()} {are} missing or too old", text)


def _flights(snapshot: Snapshot, requests: Sequence[TakenRequest]) -> Iterator[Flight]:
    asked = {r.args.get("move", ""): r.who for r in requests if r.kind is RequestKind.ABORT_MOVE}
    running = (outcome for outcome in snapshot.moves if not outcome.state.final)
    for row in rows_of(snapshot, running):
        yield Flight(row, asked.get(row.outcome.move.id, ""))


def _offers(snapshot: Snapshot, requests: Sequence[TakenRequest]) -> Iterator[Offer]:
    """Proposals, those that somebody may approve first."""
    approved = {
        (r.args.get("vm", ""), r.args.get("source", "")): r.who
        for r in requests
        if r.kind is RequestKind.APPROVE and r.state == "waiting"
    }
    for proposal in sorted(snapshot.plan.proposals, key=lambda proposal: proposal.mode is not Mode.RECOMMEND):
        move = proposal.move
        yield Offer(key_of("offer", move.vm, move.source), proposal, approved.get((move.vm, move.source), ""))


def window_words(window: Window, now: datetime) -> str:
    """An open or a coming window in a sentence."""
    why = f"{window.why} ({window.who})"
    if window.starts_at <= now:
        return f"{window.kind} of {window.hosts} until {moment(window.ends_at, now)}: {why}"
    return (
        f"{window.kind} of {window.hosts} from {moment(window.starts_at, now)}, {ahead(window.starts_at, now)}: {why}"
    )


def _announcement(banners: Iterable[Banner], flights: Sequence[Flight], offers: Sequence[Offer]) -> str:
    """What a screen reader is told when it changes."""
    waiting = sum(offer.can_be_approved for offer in offers)
    said = [banner.title for banner in islice(banners, 4)]
    said.append(f"{count(len(flights), 'move')} in flight")
    if waiting:
        said.append(f"{count(waiting, 'proposal waits', 'proposals wait')} for approval")
    return ". ".join(said) + "."
