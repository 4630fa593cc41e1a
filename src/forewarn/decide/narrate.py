"""What happened and why, in plain sentences for a tired operator: pure functions from two pictures to log lines.

Every state change that the log, the dashboard and the golden logs of the scenarios show is worded here, once.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from forewarn.domain.authority import Grant
from forewarn.domain.inventory import Cluster, Component, Criticality, HostState, Remark, VirtualMachine
from forewarn.domain.plan import Move, MoveState, Outcome, Plan, Ticket
from forewarn.domain.risk import HORIZON_NAMES, HORIZONS, FailureForecast
from forewarn.domain.situation import LadderStep, LogLine, Rung, Severity, Situation

_MANY_LINES = 12  # changes of one cycle that are told one by one
_MANY = 3  # parts from which on they share a line
_TINY, _SURE = 0.0005, 0.99  # probabilities beyond these are said to be beyond them
_RUNG_SEVERITY = {Rung.CLEAR: Severity.INFO, Rung.WATCH: Severity.NOTICE, Rung.MOVE: Severity.WARNING}
_MOVE_SEVERITY = {
    MoveState.FAILED: Severity.WARNING,
    MoveState.REFUSED: Severity.WARNING,
    MoveState.CANCELLED: Severity.NOTICE,
}


def ladder_lines(
    before: Sequence[LadderStep],
    after: Sequence[LadderStep],
    forecasts: Iterable[FailureForecast],
    horizon: timedelta,
    now: datetime,
) -> tuple[LogLine, ...]:
    """One line for each component whose rung changed, with the forecast that moved it.

    Many parts of one host that go the same way for the same cause share a line, unless VMs move for them.
    """
    rungs = {step.component: step.rung for step in before}
    by_component = {forecast.component: forecast for forecast in forecasts}
    alike: dict[tuple[str, Rung, Rung, str], list[FailureForecast]] = {}
    for step in after:
        old = rungs.get(step.component, Rung.CLEAR)
        forecast = by_component.get(step.component)
        if step.rung != old and forecast is not None:
            cause = "" if step.rung is Rung.CLEAR else _state_in_words(forecast, horizon)
            alike.setdefault((forecast.host, old, step.rung, cause), []).append(forecast)
    lines = [
        LogLine(now, _RUNG_SEVERITY[new], f"{host}: from '{old}' to '{new}': {words}", host)
        for (host, old, new, _), those in alike.items()
        for words in _together(those, new, horizon)
    ]
    return tuple(lines) if len(lines) <= _MANY_LINES else (*lines[:_MANY_LINES], _rest(lines, alike, now))


def _rest(lines: Sequence[LogLine], alike: Iterable[tuple[str, Rung, Rung, str]], now: datetime) -> LogLine:
    """What a flood of changes leaves unsaid, in one line."""
    left = len(lines) - _MANY_LINES
    hosts = len({host for host, *_ in alike})
    worst = max((line.severity for line in lines), key=list(Severity).index)
    return LogLine(now, worst, f"and {left} more such changes, {_count(hosts, 'host')} in all")


def _together(forecasts: Sequence[FailureForecast], rung: Rung, horizon: timedelta) -> Iterator[str]:
    """Forecasts of one host that took their parts the same way: one by one, or many in a sentence."""
    if rung is Rung.MOVE or len(forecasts) < _MANY:
        yield from (in_words(forecast, horizon) for forecast in forecasts)
        return
    worst = max(forecasts, key=lambda forecast: forecast.within(horizon) or 0.0)
    most = ", at the most" if (worst.within(horizon) or 0.0) >= _TINY else ""
    yield f"{len(forecasts)} parts: each {_state_in_words(replace(worst, reasons=()), horizon)}{most}"


def in_words(forecast: FailureForecast, horizon: timedelta) -> str:
    """A forecast as half a sentence.

    >>> from datetime import UTC, datetime
    >>> from forewarn.domain.inventory import Kind
    >>> now = datetime(2026, 1, 1, tzinfo=UTC)
    >>> blind = FailureForecast("disk:S3Z8", Kind.DISK, "h1", "sda", now, unknown_because="no SMART")
    >>> in_words(blind, timedelta(days=7))
    'disk S3Z8 is unknown: no SMART'
    """
    return f"{part_name(forecast.component)} {_state_in_words(forecast, horizon)}"


def _state_in_words(forecast: FailureForecast, horizon: timedelta) -> str:
    """The same without the part's name."""
    probability = forecast.within(horizon)
    if probability is None:
        return f"is unknown: {forecast.unknown_because}"
    raising = [reason.text for reason in forecast.reasons if reason.contribution > 0][:1]
    because = f" ({raising[0]})" if raising else ""
    return f"fails within {horizon_name(horizon)} with {_likely(probability)}{because}"


def _likely(probability: float) -> str:
    if probability < _TINY:
        return f"p<{_TINY:g}"
    return f"p>{_SURE:g}" if probability > _SURE else f"p={probability:.2g}"


def part_name(component: str) -> str:
    """A part in a sentence that names its host already.

    >>> part_name("disk:S3Z8"), part_name("memory:host03/DIMM_A1"), part_name("cpu:host03/cpu")
    ('disk S3Z8', 'memory DIMM_A1', 'cpu')
    """
    kind, _, identity = component.partition(":")
    name = identity.rpartition("/")[2]
    return kind if name == kind else f"{kind} {name}"


def horizon_name(horizon: timedelta) -> str:
    """`7 d` for seven days, `6 h` for six hours."""
    name = HORIZON_NAMES[HORIZONS.index(horizon)] if horizon in HORIZONS else f"{horizon.total_seconds() / 3600:g}h"
    return f"{name[:-1]} {name[-1]}"


def host_lines(before: Cluster | None, after: Cluster, recent: Iterable[Outcome]) -> tuple[LogLine, ...]:
    """One line for each host that went down, into maintenance or came back since `before`."""
    if before is None:
        return ()
    lines = []
    for host in after.hosts:
        old = before.host_by_name.get(host.name)
        if old is None or old.state == host.state:
            continue
        if host.state == HostState.DOWN and old.state != HostState.MAINTENANCE:
            text = _failure_sentence(host.name, before.vms_by_host[host.name], moved_away(host.name, recent))
            lines.append(LogLine(after.time, Severity.WARNING, text, host.name))
        else:
            lines.append(
                LogLine(after.time, Severity.INFO, _change_sentence(host.name, old.state, host.state), host.name)
            )
    return tuple(lines)


def remark_lines(before: Cluster | None, after: Cluster) -> tuple[LogLine, ...]:
    """A line for each remark of the driver that is new since `before`, and one for each that holds no more.

    A flood of them (a password that every host refuses) is told by its first few and their number.
    """
    old, new = before.remarks if before else (), after.remarks
    known, holding = frozenset(old), frozenset(new)
    came = [remark for remark in new if remark not in known]
    went = [remark for remark in old if remark not in holding]
    return (
        *_remarks(came, Severity.WARNING, "", after.time),
        *_remarks(went, Severity.INFO, "no more: ", after.time),
    )


def _remarks(remarks: Sequence[Remark], severity: Severity, head: str, now: datetime) -> Iterator[LogLine]:
    for remark in remarks[:_MANY_LINES]:
        yield LogLine(now, severity, f"{head}{remark.text}", remark.host)
    if (more := len(remarks) - _MANY_LINES) > 0:
        yield LogLine(now, severity, f"{head}and {_count(more, 'remark')} more of the placement service")


def _change_sentence(host: str, old: HostState, new: HostState) -> str:
    """A change of a host's state that is no failure."""
    match old, new:
        case HostState.MAINTENANCE, HostState.DOWN:
            return f"{host} is down for its maintenance"
        case HostState.MAINTENANCE, HostState.UP:
            return f"{host} is back from maintenance"
        case _, HostState.UP:
            return f"{host} is back"
        case _:
            return f"{host} is {new.words}"


def moved_away(host: str, recent: Iterable[Outcome]) -> tuple[Move, ...]:
    """The moves off `host` that succeeded and were the last of their VM: one that came back was not moved away."""
    last: dict[str, Outcome] = {}
    for outcome in recent:
        if outcome.state == MoveState.SUCCEEDED:
            known = last.get(outcome.move.vm)
            last[outcome.move.vm] = outcome if known is None or outcome.time >= known.time else known
    return tuple(outcome.move for outcome in last.values() if outcome.move.source == host)


def _failure_sentence(host: str, on_it: Sequence[VirtualMachine], away: Sequence[Move]) -> str:
    critical = sum(vm.criticality == Criticality.HIGH for vm in on_it)
    lost = f"{_count(len(on_it), 'VM')} on it interrupted, {critical} of them critical" if on_it else "no VM was on it"
    if not away:
        return f"{host} failed: {lost}; nothing had been moved away"
    names = ", ".join(move.vm_name for move in away[:5]) + (", ..." if len(away) > 5 else "")
    return f"{host} failed: {lost}; {_count(len(away), 'VM')} had been moved away before ({names})"


def ticket_line(ticket: Ticket, now: datetime) -> LogLine:
    """A part that a person should look at."""
    return LogLine(now, Severity.WARNING, f"{ticket.host}: ticket: {ticket.text}", ticket.host)


def ticket_closed_line(ticket: Ticket, component: Component | None, now: datetime) -> LogLine:
    """A ticket whose cause has gone; `component` is what the inventory says of its part now."""
    name = part_name(ticket.component)
    if component is None:
        why = f"{name} is gone: it failed, or was taken out"
    elif ticket.sound:
        why = f"{name} shows no sign of that any more"
    elif component.spares == 0 and component.group:
        why = f"no spare of {component.group} is left, so VMs move for {name} now"
    else:
        why = f"{name} is no longer suspected"
    return LogLine(now, Severity.INFO, f"{ticket.host}: ticket closed: {why}", ticket.host)


def outcome_line(outcome: Outcome) -> LogLine:
    """What became of a move, with its rule and its reason when it starts."""
    move = outcome.move
    way = f"{move.vm_name} from {move.source} to {move.target}"
    texts = {
        MoveState.INTENDED: f"will move {way}: {move.rule}",
        MoveState.RUNNING: f"{move.rule}: moving {way}: {move.reason}",
        MoveState.SUCCEEDED: f"moved {way} in {outcome.duration_s:.1f} s, downtime {outcome.downtime_ms:.0f} ms",
        MoveState.FAILED: f"could not move {way}: {outcome.text}",
        MoveState.CANCELLED: f"cancelled the move of {way}: {outcome.text}",
        MoveState.REFUSED: f"did not move {way}: {outcome.text}",
    }
    severity = _MOVE_SEVERITY.get(outcome.state, Severity.NOTICE)
    return LogLine(outcome.time, severity, texts[outcome.state], move.source)


def expired_line(grant: Grant, now: datetime) -> LogLine:
    """A mode that was granted for a time which is over."""
    text = f"mode {grant.mode} for {grant.scope} has expired ({grant.who}: {grant.why})"
    return LogLine(now, Severity.NOTICE, text)


def cycle_sentence(situation: Situation, plan: Plan, outcomes: Sequence[Outcome], thresholds: Mapping[str, float],
                   horizon: timedelta) -> str:  # fmt: skip
    """The one sentence that a cycle returns: what was looked at, what is wrong, and what is done about it."""
    cluster = situation.cluster
    risky = [f for f in situation.forecasts if (f.within(horizon) or 0.0) > thresholds.get(f.kind, 1.0)]
    unknown = sum(forecast.unknown for forecast in situation.forecasts)
    seen = f"{_count(len(cluster.hosts), 'host')}, {_count(len(situation.forecasts), 'part')}, {unknown} unknown"
    if not risky:
        return f"{seen}: nothing above its threshold{_doing(outcomes, plan)}"
    worst = max(risky, key=lambda forecast: forecast.within(horizon) or 0.0)
    return f"{seen}, {len(risky)} above threshold: {worst.host}, {in_words(worst, horizon)}{_doing(outcomes, plan)}"


def _doing(outcomes: Sequence[Outcome], plan: Plan) -> str:
    running = sum(not outcome.state.final for outcome in outcomes)
    if running:
        return f"; {_count(running, 'move')} running"
    proposed = len(plan.moves) + len(plan.proposals)
    return f"; {_count(proposed, 'move')} proposed" if proposed else ""


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
