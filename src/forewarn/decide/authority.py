"""What Forewarn may do by itself: the mode of each scope, the evidence that automation needs, and what people approved.

A plan is made as if everything were allowed; `permit` then keeps what is, and turns the rest into proposals that say
what is missing. Automation is earned: without enough forecasts of a kind that came true at this very site, `automatic`
falls back to `recommend`, unless somebody overrides that with a reason.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property

from forewarn.domain.authority import Action, Evidence, Grant, Mode
from forewarn.domain.inventory import COMPONENT_KINDS, Cluster, Kind
from forewarn.domain.plan import Move, Plan, Proposal
from forewarn.domain.situation import Situation


@dataclass(frozen=True, slots=True)
class AuthoritySettings:
    """How far Forewarn may go."""

    mode: Mode = Mode.OBSERVE
    """The mode of every scope for which nobody has granted another one."""

    mode_max: Mode = Mode.OBSERVE
    """The furthest that any grant may go while the controller runs; in observe it is built without anything that could
    write to the placement service."""

    evidence_least: int = 20
    """Judged forecasts of a kind at this site before automation of it is allowed; fewer prove little."""

    evidence_floor: float = 0.5
    """Lower 95 % bound (0..1) that the precision of those forecasts must reach: most alarms have to be right."""

    approval_s: float = 900.0
    """Seconds for which an approval holds; the cluster it was given for changes."""

    def __post_init__(self) -> None:
        if self.mode.rank > self.mode_max.rank:
            raise ValueError(f"mode is {self.mode}, but mode_max is {self.mode_max}: raise mode_max too, or lower mode")
        if self.evidence_least < 1:
            raise ValueError(f"evidence_least is {self.evidence_least}; it is at least 1")
        if not 0 <= self.evidence_floor < 1:
            raise ValueError(f"evidence_floor is {self.evidence_floor:g}; it lies from 0 to below 1")


@dataclass(frozen=True, slots=True)
class Ruling:
    """What a scope allows, and why not more."""

    mode: Mode
    why: str


class Authority:
    """The settings and the situation's grants, evidence and approvals, at one time."""

    def __init__(self, situation: Situation, settings: AuthoritySettings, now: datetime) -> None:
        self._situation, self._settings, self._now = situation, settings, now

    @cached_property
    def grants(self) -> tuple[Grant, ...]:
        """The grants in force, from the narrowest scope to the widest, the newest of equals first."""
        holding = [grant for grant in reversed(self._situation.grants) if grant.in_force(self._now)]
        return tuple(sorted(holding, key=lambda grant: grant.breadth))

    def ruling(self, action: Action, kind: Kind, host: str) -> Ruling:
        """How far Forewarn may go with `action` about a part of `kind` in `host`."""
        grant = next((grant for grant in self.grants if self._covers(grant, action, kind, host)), None)
        mode = grant.mode if grant else self._settings.mode
        if mode.rank > self._settings.mode_max.rank:
            return Ruling(self._settings.mode_max, f"the configuration allows {self._settings.mode_max} at most")
        lacking = "" if grant and grant.overrides else lacking_evidence(self._evidence(kind), self._settings)
        if mode is Mode.AUTOMATIC and lacking:
            return Ruling(Mode.RECOMMEND, f"automatic is not earned: {lacking}")
        by = f"{grant.who}: {grant.why}" if grant else "nothing else was granted"
        return Ruling(mode, f"mode {mode} ({by})")

    def approved(self, move: Move) -> bool:
        """Whether somebody has approved that this VM leaves this host, and that still holds."""
        return any(approval.holds(move.vm, move.source, self._now) for approval in self._situation.approvals)

    def _covers(self, grant: Grant, action: Action, kind: Kind, host: str) -> bool:
        known = self._situation.cluster.host_by_name.get(host)
        return (
            grant.action in ("", action)
            and grant.kind in ("", kind)
            and (not grant.aggregate or (known is not None and grant.aggregate in known.aggregates))
        )

    def _evidence(self, kind: Kind) -> Evidence:
        return next((found for found in self._situation.evidence if found.kind is kind), Evidence(kind))


def lacking_evidence(evidence: Evidence, settings: AuthoritySettings) -> str:
    """What is missing before automation of a kind is earned; empty where nothing is.

    >>> lacking_evidence(Evidence(Kind.DISK, confirmed=3), AuthoritySettings())
    '3 judged forecasts about disk at this site, 20 are needed'
    """
    if evidence.judged < settings.evidence_least:
        needed = f"{settings.evidence_least} are needed"
        return f"{evidence.judged} judged forecasts about {evidence.kind} at this site, {needed}"
    if evidence.precision_low < settings.evidence_floor:
        return (
            f"{evidence.confirmed} of {evidence.judged} forecasts about {evidence.kind} came true, so at least "
            f"{evidence.precision_low:.0%} of them do; the floor is {settings.evidence_floor:.0%}"
        )
    return ""


def refusal_of(grant: Grant, evidence: Iterable[Evidence], cluster: Cluster | None, settings: AuthoritySettings) -> str:
    """Why a grant cannot be given; empty where it can."""
    if grant.mode.rank > settings.mode_max.rank:
        return (
            f"the configuration allows {settings.mode_max} at most: set authority.mode_max = {grant.mode.value!r} "
            "and restart"
        )
    if (
        grant.aggregate
        and cluster is not None
        and not any(grant.aggregate in host.aggregates for host in cluster.hosts)
    ):
        known = sorted({name for host in cluster.hosts for name in host.aggregates})
        return f"there is no aggregate {grant.aggregate!r}; known are: {', '.join(known) or 'none'}"
    if grant.mode is not Mode.AUTOMATIC or grant.overrides:
        return ""
    by_kind = {found.kind: found for found in evidence}
    kinds = [kind for kind in COMPONENT_KINDS if grant.kind in ("", kind)]
    lacking = [lacking_evidence(by_kind.get(kind, Evidence(kind)), settings) for kind in kinds]
    said = "; ".join(text for text in lacking if text)
    return f"automatic is not earned: {said}; wait, or override this with a reason" if said else ""


def furthest(grants: Iterable[Grant], settings: AuthoritySettings, now: datetime) -> Mode:
    """The furthest mode that holds anywhere."""
    modes = (settings.mode, *(grant.mode for grant in grants if grant.in_force(now)))
    return min(max(modes, key=lambda mode: mode.rank), settings.mode_max, key=lambda mode: mode.rank)


def permit(plan: Plan, situation: Situation, settings: AuthoritySettings, now: datetime) -> Plan:
    """The plan with what may be done now; what may not is proposed, with what is missing."""
    authority = Authority(situation, settings, now)
    moves, proposals = [], list(plan.proposals)
    for move in plan.moves:
        ruling = authority.ruling(Action.MOVE, move.kind, move.source)
        if ruling.mode is Mode.AUTOMATIC or (ruling.mode is Mode.RECOMMEND and authority.approved(move)):
            moves.append(move)
        else:
            proposals.append(Proposal(move, ruling.mode, ruling.why))
    cordons = tuple(
        cordon
        for cordon in plan.cordons
        if authority.ruling(Action.CORDON, cordon.kind, cordon.host).mode is Mode.AUTOMATIC
    )
    return replace(plan, moves=tuple(moves), proposals=tuple(proposals), cordons=cordons)
