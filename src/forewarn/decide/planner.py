"""From a situation to a plan: which VM goes where, in what order and why, and why everything else stays.

The rule: for each host and component whose risk exceeds its threshold, each VM of HIGH criticality goes to the first
suitable host, never the one it is on. Other VMs go only if what they stand to lose outweighs what the move costs. The
policy `cost_benefit` asks of HIGH VMs, too, that the part lies in their path and that the move can be done in time, and
lets the others wait while waiting costs less. All of it is a pure function: the same situation, settings and time give
the same plan, in whatever order things are listed.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from forewarn.decide import score
from forewarn.decide.migration_cost import learned
from forewarn.decide.narrate import horizon_name
from forewarn.decide.outlook import Outlook
from forewarn.decide.placement import Projection, Target, suitable
from forewarn.decide.policy import THRESHOLD, PolicySettings
from forewarn.decide.remarks import cordons, held_back, stopped_because, tickets, watched
from forewarn.decide.restraint import contested, resting, window_of
from forewarn.decide.stopping import in_time, waits
from forewarn.domain.inventory import Criticality, HostState, VirtualMachine, VmState
from forewarn.domain.plan import COST_BENEFIT, PROACTIVE_FAILURE_AVOIDANCE, Move, Plan, Refusal, Verdict
from forewarn.domain.risk import HORIZONS, Risk
from forewarn.domain.situation import LadderStep, Situation


def plan(situation: Situation, ladder: tuple[LadderStep, ...], settings: PolicySettings, now: datetime) -> Plan:
    """What to do now, what not and why. `ladder` is where every part stands after the situation's forecasts."""
    settings = replace(settings, migration=learned(settings.migration, situation.recent))
    outlook = Outlook(situation, settings, ladder, now)
    planning = _Planning(outlook, now)
    for candidate in sorted(_candidates(outlook), key=_urgency):
        planning.decide(candidate)
    return planning.finished()


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A VM on a host that has parts over their threshold. `risk` is the one for which it would move."""

    vm: VirtualMachine
    risk: Risk
    reached: bool  # whether the part lies in the VM's path
    bound: bool  # whether the rule alone moves it, without a comparison
    staying: float  # P(interrupted within the horizon) where it is
    stake: float  # what an interruption costs, in weighted minutes

    @property
    def rule(self) -> str:
        return PROACTIVE_FAILURE_AVOIDANCE if self.bound else COST_BENEFIT


def _candidates(outlook: Outlook) -> Iterator[_Candidate]:
    settings = outlook.settings
    for host, risks in outlook.risks.items():
        exposure = outlook.exposure(host, settings.horizon)
        for vm in outlook.cluster.vms_by_host.get(host, ()):
            reaching = [risk for risk in risks if outlook.reaches(risk, vm)]
            alone = [risk for risk in reaching if not outlook.spared(risk)]
            high, word_for_word = vm.criticality is Criticality.HIGH, settings.policy == THRESHOLD
            risk = next(iter(reaching if word_for_word else [*alone, *reaching]), risks[0])
            bound = high and (word_for_word or bool(alone))
            staying, stake = exposure.interruption(vm.id), score.loss(vm, settings)
            yield _Candidate(vm, risk, bool(reaching), bound, staying, stake)


def _urgency(candidate: _Candidate) -> tuple[bool, float, float, str]:
    """HIGH VMs first; then what is lost by staying, per byte to be moved; then the worst risk."""
    vm, risk = candidate.vm, candidate.risk
    expected = candidate.staying * candidate.stake / max(1, vm.memory_bytes)
    return vm.criticality is not Criticality.HIGH, -expected, -risk.probability / max(risk.threshold, 1e-12), vm.id


@dataclass(frozen=True, slots=True)
class _Worth:
    """A move weighed against staying, in weighted minutes of outage."""

    benefit: float
    cost: float

    @property
    def net(self) -> float:
        return self.benefit - self.cost

    def __str__(self) -> str:
        return f"benefit {self.benefit:.3g}, cost {self.cost:.3g} weighted minutes of outage"


class _Planning:
    """A plan in the making."""

    def __init__(self, outlook: Outlook, now: datetime) -> None:
        self._outlook, self._settings, self._now = outlook, outlook.settings, now
        arriving = sorted(outlook.under_way.items())
        self._projection = Projection(outlook.cluster, outlook.situation.workload_by_vm, arriving)
        self._moves: list[Move] = []
        self._verdicts: list[Verdict] = []

    def decide(self, candidate: _Candidate) -> None:
        """Plan a move of this VM, or say why it stays."""
        staying = self._obstacle(candidate.vm) or self._pointless(candidate)
        if staying:
            self._stays(candidate, *staying)
            return
        targets, passed = suitable(
            candidate.vm,
            candidate.risk.component,
            self._projection,
            self._outlook.blocked,
            self._ceiling(candidate),
            self._settings,
        )
        self._verdicts += passed
        if targets:
            self._weigh(candidate, targets[0])
        else:
            self._stays(candidate, *_nowhere(candidate, passed))

    def _ceiling(self, candidate: _Candidate) -> float:
        high = candidate.vm.criticality is Criticality.HIGH
        return self._settings.utilization_ceiling_high if high else self._settings.utilization_ceiling

    def _obstacle(self, vm: VirtualMachine) -> tuple[Refusal, str] | None:
        """What keeps the VM where it is, whatever it stands to lose."""
        host = self._outlook.cluster.host_by_name.get(vm.host)
        if host is None:
            return Refusal.HOST_DOWN, f"{vm.host} is not in the inventory"
        if host.state not in (HostState.UP, HostState.MAINTENANCE):
            return Refusal.HOST_DOWN, f"{vm.host} is {host.state.words}, so nothing can be moved off it"
        if vm.id in self._outlook.under_way:
            return Refusal.ALREADY_MOVING, f"it is on its way to {self._outlook.under_way[vm.id]}"
        if vm.state is VmState.MIGRATING:
            return Refusal.ALREADY_MOVING, "somebody else is moving it"
        if vm.immovable_because:
            return Refusal.IMMOVABLE, vm.immovable_because
        if vm.state is not VmState.RUNNING:
            return Refusal.IMMOVABLE, f"it is {vm.state}"
        return self._restrained(vm) or self._backing_off(vm) or self._at_limit()

    def _restrained(self, vm: VirtualMachine) -> tuple[Refusal, str] | None:
        """What speaks for leaving the VM alone for now."""
        if window := window_of(self._outlook.situation.windows, vm.host, self._now):
            return window
        moved, settings = self._outlook.moved_lately.get(vm.id, []), self._settings.restraint
        approved = any(found.holds(vm.id, vm.host, self._now) for found in self._outlook.situation.approvals)
        seen_at = self._outlook.cluster.time
        if not approved and (text := contested(vm, moved, settings, seen_at, self._now)):
            return Refusal.CONTESTED, text
        text = resting(vm, moved, settings, self._now)
        return (Refusal.COOL_DOWN, text) if text else None

    def _backing_off(self, vm: VirtualMachine) -> tuple[Refusal, str] | None:
        failed_at = self._outlook.failed_at.get(vm.id)
        if failed_at is None or self._now - failed_at >= timedelta(seconds=self._settings.back_off_s):
            return None
        passed_s = (self._now - failed_at).total_seconds()
        left_alone = f"it is left alone for {self._settings.back_off_s:.0f} s"
        return Refusal.BACK_OFF, f"its last move did not succeed {passed_s:.0f} s ago; {left_alone}"

    def _at_limit(self) -> tuple[Refusal, str] | None:
        if len(self._moves) < self._settings.moves_per_plan:
            return None
        return Refusal.LIMIT, f"this plan already holds {self._settings.moves_per_plan} moves"

    def _pointless(self, candidate: _Candidate) -> tuple[Refusal, str] | None:
        """Why a VM that no rule binds cannot gain from leaving, wherever it went."""
        if candidate.bound:
            return None
        if not candidate.reached:
            return Refusal.NOT_IN_PATH, "the part is not proven to be in its path"
        most = candidate.staying * candidate.stake
        if most > self._settings.margin_minutes:
            return None
        return self._why_not(candidate), (
            f"it stands to lose {most:.3g} weighted minutes of outage, interrupted with p={candidate.staying:.3g}; "
            f"the margin is {self._settings.margin_minutes:g}"
        )

    def _weigh(self, candidate: _Candidate, target: Target) -> None:
        worth = self._worth(candidate, target)
        against = self._too_late(candidate, target) or self._not_now(candidate, target, worth)
        if against:
            self._stays(candidate, *against, target.host.name)
        else:
            self._moves.append(self._move(candidate, target, worth))
            self._projection.place(candidate.vm, target.host.name)

    def _too_late(self, candidate: _Candidate, target: Target) -> tuple[Refusal, str] | None:
        """Why a move is not begun because its source will hardly live to see it done."""
        if self._settings.policy == THRESHOLD:
            return None
        first_hour = self._outlook.exposure(candidate.vm.host, HORIZONS[0]).interruption(candidate.vm.id)
        chance = in_time(first_hour, target.estimate.duration_s)
        least = self._settings.stopping.finish_chance_min
        if chance >= least:
            return None
        return Refusal.TOO_LATE, (
            f"the move to {target.host.name} takes {target.estimate.duration_s:.0f} s, and is done before a failure "
            f"with p={chance:.2g} only, at least {least:g} is asked for; have it ready to be started elsewhere"
        )

    def _not_now(self, candidate: _Candidate, target: Target, worth: _Worth) -> tuple[Refusal, str] | None:
        """Why a VM that no rule binds gains nothing there, or loses nothing by waiting."""
        settings, name = self._settings, target.host.name
        if candidate.bound:
            return None
        if worth.net <= settings.margin_minutes:
            text = f"going to {name} does not pay: {worth}, margin {settings.margin_minutes:g}"
            return self._why_not(candidate), text
        epoch = timedelta(seconds=settings.stopping.epoch_s)
        failing = self._outlook.exposure(candidate.vm.host, epoch).interruption(candidate.vm.id)
        if settings.policy == THRESHOLD or not waits(failing, candidate.stake, worth.cost, settings.stopping):
            return None
        return Refusal.CAN_WAIT, (
            f"going to {name} can wait: {worth}, and it is interrupted within {horizon_name(epoch)} "
            f"with p={failing:.2g} only"
        )

    def _worth(self, candidate: _Candidate, target: Target) -> _Worth:
        vm, settings = candidate.vm, self._settings
        first_hour = self._outlook.exposure(vm.host, HORIZONS[0]).interruption(vm.id)
        arriving = self._outlook.exposure(target.host.name, settings.horizon).whole_host
        return _Worth(
            score.benefit(candidate.stake, candidate.staying, first_hour, arriving, target.estimate),
            score.cost(vm, target.estimate, len(self._outlook.moved_lately.get(vm.id, ())), settings),
        )

    def _why_not(self, candidate: _Candidate) -> Refusal:
        spared = self._outlook.component(candidate.risk).spares > 0
        return Refusal.REDUNDANT if spared else Refusal.DOES_NOT_PAY

    def _move(self, candidate: _Candidate, target: Target, worth: _Worth) -> Move:
        vm, risk, estimate = candidate.vm, candidate.risk, target.estimate
        reason = (
            f"VM {vm.name} ({vm.criticality.upper()}) goes from {vm.host} to {target.host.name}, "
            f"because {self._outlook.words(risk)}; {worth}; "
            f"{target.host.name} is then {target.utilization:.0%} utilized, ceiling {self._ceiling(candidate):.0%}"
        )
        generation = self._outlook.cluster.generation
        return Move(
            id=_digest(self._now, generation, vm.id, vm.host, target.host.name),
            vm=vm.id,
            vm_name=vm.name,
            criticality=vm.criticality,
            source=vm.host,
            target=target.host.name,
            component=risk.component,
            kind=risk.kind,
            risk=risk.probability,
            threshold=risk.threshold,
            rule=candidate.rule,
            reason=reason,
            benefit=worth.benefit,
            cost=worth.cost,
            duration_s=estimate.duration_s,
            downtime_ms=estimate.downtime_ms,
            device=self._outlook.component(risk).device,
            copy_s=estimate.copy_s,
            stop_ms=estimate.stop_ms,
        )

    def _stays(self, candidate: _Candidate, refusal: Refusal, why: str, target: str = "") -> None:
        vm, risk = candidate.vm, candidate.risk
        text = f"VM {vm.name} ({vm.criticality.upper()}) stays on {vm.host} although {self._outlook.words(risk)}: {why}"
        self._verdicts.append(Verdict(vm.id, vm.host, risk.component, refusal, text, target))

    def finished(self) -> Plan:
        """The plan, with its moves in the order in which they are to start."""
        moves = tuple(sorted(self._moves, key=_order))
        verdicts = (*self._verdicts, *watched(self._outlook))
        stopped = stopped_because(self._outlook.situation)
        if stopped:
            moves, verdicts = (), (*verdicts, *held_back(moves, *stopped))
        marked = tuple(cordons(self._outlook))
        generation, open_tickets = self._outlook.cluster.generation, tuple(tickets(self._outlook))
        made = Plan("", self._now, generation, moves, verdicts, open_tickets, cordons=marked)
        return replace(made, id=_digest(self._now, generation, moves, verdicts, open_tickets, marked))


def _order(move: Move) -> tuple[bool, float, str]:
    """HIGH VMs first, then the most net benefit per second of moving."""
    return move.criticality is not Criticality.HIGH, -(move.benefit - move.cost) / move.duration_s, move.vm


def _nowhere(candidate: _Candidate, passed: tuple[Verdict, ...]) -> tuple[Refusal, str]:
    others = [verdict for verdict in passed if verdict.refusal is not Refusal.TARGET_SAME_HOST]
    if others and all(verdict.refusal is Refusal.NO_CONVERGENCE for verdict in others):
        return Refusal.NO_CONVERGENCE, "it dirties memory faster than any link can copy it"
    return Refusal.NO_SUITABLE_HOST, f"no host can take {candidate.vm.name}"


def _digest(time: datetime, *content: object) -> str:
    """An id that follows from time and content, whatever kind of object stands for UTC."""
    return hashlib.sha256(repr((time.astimezone(UTC).isoformat(), *content)).encode()).hexdigest()[:16]
