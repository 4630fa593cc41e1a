"""What people asked for, done: modes are granted or refused, windows opened and closed, the breaker cleared.

What concerns moves is the executor's; everything else is written down here, and takes effect in the same cycle. Each
order is answered by a sentence in the log.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from forewarn.decide.authority import AuthoritySettings, refusal_of
from forewarn.domain.authority import Action, Approval, Evidence, Grant, Mode, Window, WindowKind
from forewarn.domain.inventory import COMPONENT_KINDS, Cluster
from forewarn.domain.situation import LogLine, Severity
from forewarn.state.breaker import BreakerState
from forewarn.state.grants import Grants
from forewarn.state.requests import Request, RequestKind, Requests
from forewarn.state.windows import Windows

NUMBER_DIGITS = 18  # more than these are no number of a row


class _Refused(Exception):
    """An order that cannot be carried out, and why."""


@dataclass(frozen=True)
class Orders:
    """What orders change."""

    requests: Requests
    grants: Grants
    windows: Windows
    breaker: BreakerState
    settings: AuthoritySettings

    def carry_out(
        self, requests: Iterable[Request], evidence: Iterable[Evidence], cluster: Cluster, now: datetime
    ) -> tuple[LogLine, ...]:
        """Do what was asked for; a line for each order and what came of it."""
        lines = []
        for request in requests:
            try:
                done, severity = self._carry_out(request, tuple(evidence), cluster, now), Severity.NOTICE
            except _Refused as refused:
                done, severity = f"refused: {refused}", Severity.WARNING
            asked = f"{request.who} asked: {request.kind.replace('_', ' ')}: {request.why}"
            lines.append(LogLine(now, severity, f"{asked}; {done}" if done else asked))
        return tuple(lines)

    def approvals(self, now: datetime) -> tuple[Approval, ...]:
        """The approvals that hold."""
        lasts = timedelta(seconds=self.settings.approval_s)
        given = self.requests.taken_since(RequestKind.APPROVE, now - lasts)
        return tuple(
            Approval(r.args.get("vm", ""), r.args.get("source", ""), r.taken_at + lasts, r.who, r.why)
            for r in given
            if r.taken_at is not None
        )

    def _carry_out(self, request: Request, evidence: tuple[Evidence, ...], cluster: Cluster, now: datetime) -> str:
        match request.kind:
            case RequestKind.MODE:
                return self._grant(request, evidence, cluster, now)
            case RequestKind.CLEAR_BREAKER:
                cleared = self.breaker.clear(request.who, request.why)
                return "the breaker is cleared" if cleared else "the breaker was not tripped"
            case RequestKind.OPEN_WINDOW:
                return self._open_window(request, now)
            case RequestKind.CLOSE_WINDOW:
                number = request.args.get("window", "")
                closed = number.isdecimal() and len(number) <= NUMBER_DIGITS and self.windows.close(int(number))
                return f"window {number} is closed" if closed else f"there is no open window {number!r}"
            case RequestKind.APPROVE:
                return self._approve(request, cluster)
            case _:
                return ""

    def _grant(self, request: Request, evidence: tuple[Evidence, ...], cluster: Cluster, now: datetime) -> str:
        grant = grant_of(request.args, request.who, request.why, now)
        if why := refusal_of(grant, evidence, cluster, self.settings):
            raise _Refused(why)
        self.grants.give(grant)
        until = f" until {grant.until:%Y-%m-%d %H:%M} UTC" if grant.until else ""
        by_override = ", by override" if grant.overrides else ""
        return f"mode {grant.mode} for {grant.scope}{until}{by_override}"

    def _open_window(self, request: Request, now: datetime) -> str:
        args = request.args
        kind = _one_of(args.get("kind", "maintenance"), tuple(WindowKind), "kind")
        starts, ends = _time(args.get("starts_at", ""), now), _time(args.get("ends_at", ""), None)
        if starts is None or ends is None or ends <= starts:
            raise _Refused("a window needs an end after its start")
        if ends <= now:
            raise _Refused(f"the window ended at {ends:%Y-%m-%d %H:%M} UTC already")
        hosts = args.get("hosts", "").strip() or "*"
        number = self.windows.open(
            Window(WindowKind(kind), hosts, starts, ends, request.who, request.why, "api", f"request {request.id}")
        )
        return f"window {number}: {kind} of {hosts} until {ends:%Y-%m-%d %H:%M} UTC"

    def _approve(self, request: Request, cluster: Cluster) -> str:
        vm, source = cluster.vm_by_id.get(request.args.get("vm", "")), request.args.get("source", "")
        if vm is None or vm.host != source:
            raise _Refused(f"there is no VM {request.args.get('vm', '')!r} on {source!r}")
        return f"{vm.name} may leave {source} within {self.settings.approval_s:g} s"


def grant_of(args: Mapping[str, str], who: str, why: str, now: datetime) -> Grant:
    """The grant that a request for a mode means. Raises `_Refused` with the first thing wrong."""
    mode = _one_of(args.get("mode", ""), tuple(Mode), "mode")
    kind = _one_of(args.get("kind", ""), ("", *COMPONENT_KINDS), "kind")
    action = _one_of(args.get("action", ""), ("", *Action), "action")
    until = _time(args.get("until", ""), None) if args.get("until") else None
    if until is not None and until <= now:
        raise _Refused(f"until {until:%Y-%m-%d %H:%M} UTC lies in the past")
    overrides = args.get("override", "") == "yes"
    return Grant(Mode(mode), now, who, why, args.get("aggregate", ""), kind, action, until, overrides)


def _one_of(value: str, known: tuple[str, ...], what: str) -> str:
    if value not in known:
        raise _Refused(f"{what} is {value!r}; known are: {', '.join(name for name in known if name)}")
    return value


def _time(text: str, otherwise: datetime | None) -> datetime | None:
    if not text:
        return otherwise
    try:
        found = datetime.fromisoformat(text)
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError) as error:  # the last hours of the year 9999 have no UTC
        raise _Refused(f"{text!r} is no time: write 2026-01-05T02:00:00Z") from error
