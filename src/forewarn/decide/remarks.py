"""What a plan says beside its moves: what stops everything, which hosts take no VM, what a person should see.

Each is read off an outlook; nothing here weighs one VM against another.
"""

from collections.abc import Iterator

from forewarn.decide.narrate import part_name
from forewarn.decide.outlook import Outlook
from forewarn.decide.restraint import window_of
from forewarn.domain.inventory import Component, HostState
from forewarn.domain.plan import Cordon, Move, Refusal, Ticket, Verdict
from forewarn.domain.situation import Situation


def watched(outlook: Outlook) -> Iterator[Verdict]:
    """A verdict for each part of unknown risk, up to a limit: watched, and nothing moved for it."""
    most = outlook.settings.unknowns_per_plan
    for forecast in outlook.unknowns[:most]:
        text = (
            f"the risk of {part_name(forecast.component)} of {forecast.host} is unknown: "
            f"{forecast.unknown_because}; it is watched, and nothing moves for it"
        )
        yield Verdict("", forecast.host, forecast.component, Refusal.UNKNOWN_RISK, text)
    if more := outlook.unknowns[most:]:
        yield Verdict("", "", "", Refusal.UNKNOWN_RISK, f"the risk of {len(more)} more parts is unknown")
    if old := len(outlook.stale):
        limit_s = outlook.settings.restraint.forecast_age_s_max
        text = f"{old} forecasts are older than {limit_s:g} s, and nothing moves for them"
        yield Verdict("", "", "", Refusal.STALE, text)


def stopped_because(situation: Situation) -> tuple[Refusal, str] | None:
    """What stops everything, if anything does."""
    if situation.breaker.tripped:
        return Refusal.BREAKER, f"the breaker is tripped ({situation.breaker.text})"
    return (Refusal.PAUSED, f"moves are paused ({situation.paused})") if situation.paused else None


def held_back(moves: tuple[Move, ...], refusal: Refusal, why: str) -> Iterator[Verdict]:
    """A verdict for each move that would be planned if nothing stopped it, and one for all of them."""
    yield Verdict("", "", "", refusal, f"{why}; {len(moves)} would have been planned")
    for move in moves:
        yield Verdict(
            move.vm, move.source, move.component, refusal, f"{why}; else {move.rule}: {move.reason}", move.target
        )


def cordons(outlook: Outlook) -> Iterator[Cordon]:
    """The hosts that shall receive no new VM: those with a part over its threshold that VMs depend on."""
    for host, risks in outlook.risks.items():
        known = outlook.cluster.host_by_name.get(host)
        if known is None or known.state is not HostState.UP or window_of(outlook.situation.windows, host, outlook.now):
            continue
        worst = next((risk for risk in risks if not ticket_because(outlook.component(risk))), None)
        if worst is not None:
            yield Cordon(host, worst.component, worst.kind, outlook.words(worst))


def tickets(outlook: Outlook) -> Iterator[Ticket]:
    """The parts over their threshold where moving VMs is not the answer, and sound ones that something else ails."""
    for host, risks in outlook.risks.items():
        for risk in risks:
            if why := ticket_because(outlook.component(risk)):
                yield Ticket(host, risk.component, risk.kind, f"{outlook.words(risk)}; {why}")
    suspected = {risk.component for risks in outlook.risks.values() for risk in risks}
    for forecast in outlook.situation.forecasts:
        if forecast.look_at and forecast.component not in suspected and not outlook.is_stale(forecast):
            yield Ticket(forecast.host, forecast.component, forecast.kind, forecast.look_at, sound=True)


def ticket_because(component: Component) -> str:
    """Why a part over its threshold is for a person to look at; empty where moving VMs is the answer."""
    if not component.whole_host and not component.vms:
        return "it is not proven to be in the path of any VM"
    if component.spares > 0:
        return f"{component.spares} more of {component.group or 'its kind'} can fail before VMs do"
    return ""
