"""From a situation to a plan: which VM goes where, in what order and why, and why everything else stays.

The rule: for each host and component whose risk exceeds its threshold, each VM of HIGH criticality goes to the first
suitable host, never the one it is on. Other VMs go only if what they stand to lose outweighs what the move costs. The
policy `cost_benefit` asks of HIGH VMs, too, that the part lies in their path and that the move can be done in time, and
lets the others wait while waiting costs less. All of it is a pure function: the same situation, settings and time give
the same plan, in whatever order things are listed.
"""

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from forewarn.decide.candidates import Candidate, candidates, urgency
from forewarn.decide.migration_cost import learned
from forewarn.decide.outlook import Outlook
from forewarn.decide.placement import Projection, fit, suitable
from forewarn.decide.policy import THRESHOLD, PolicySettings
from forewarn.decide.remarks import cordons, held_back, stopped_because, tickets, watched
from forewarn.decide.repacking import Repacking
from forewarn.decide.restraint import contested, resting, window_of
from forewarn.decide.weighing import Placement, Weighing
from forewarn.domain.inventory import Criticality, Host, HostState, VirtualMachine, VmState
from forewarn.domain.plan import Move, Plan, Refusal, Verdict
from forewarn.domain.situation import LadderStep, Situation


def plan(situation: Situation, ladder: tuple[LadderStep, ...], settings: PolicySettings, now: datetime) -> Plan:
    """What to do now, what not and why. `ladder` is where every part stands after the situation's forecasts."""
    settings = replace(settings, migration=learned(settings.migration, situation.recent))
    outlook = Outlook(situation, settings, ladder, now)
    planning = _Planning(outlook, now)
    for candidate in sorted(candidates(outlook), key=urgency):
        planning.decide(candidate)
    planning.repack()
    return planning.finished()


class _Planning:
    """A plan in the making."""

    def __init__(self, outlook: Outlook, now: datetime) -> None:
        self._outlook, self._settings, self._now = outlook, outlook.settings, now
        arriving = sorted(outlook.under_way.items())
        self._projection = Projection(outlook.cluster, outlook.situation.workload_by_vm, arriving)
        self._weighing = Weighing(outlook)
        self._placed: dict[str, Placement] = {}
        self._homeless: list[Candidate] = []
        self._verdicts: list[Verdict] = []

    def decide(self, candidate: Candidate) -> None:
        """Plan a move of this VM, or say why it stays."""
        if staying := self._obstacle(candidate.vm) or self._pointless(candidate):
            self._stays(candidate, *staying)
            return
        options, passed = self._search(candidate)
        self._verdicts += passed
        if not options:
            self._stranded(candidate, passed)
            return
        found = options[0]
        if against := self._weighing.against(found.candidate, found.target, found.worth):
            self._stays(candidate, *against, found.target.host.name)
        else:
            self._placed[candidate.vm.id] = found
            self._projection.place(candidate.vm, found.target.host.name)

    def repack(self) -> None:
        """Try again for those that found no room, and for those that gave way, until nothing gets better."""
        hosts, trials = self._settings.targets_weighed, self._settings.exchanges_per_plan
        repacking = Repacking(self._projection, self._placed, self._fit, self._find, hosts, trials)
        waiting = {
            candidate.vm.id: (candidate, f"no host can take {candidate.vm.name}") for candidate in self._homeless
        }
        better = bool(waiting)
        while better:
            better = False
            for candidate, _why in list(waiting.values()):
                if exchange := repacking.settle(candidate):
                    better = True
                    del waiting[candidate.vm.id]
                    why = f"its place goes to {candidate.vm.name}, which gains more"
                    waiting |= {displaced.vm.id: (displaced, why) for displaced in exchange.homeless}
        for candidate, why in waiting.values():
            self._stays(candidate, Refusal.NO_SUITABLE_HOST, why)

    def _search(self, candidate: Candidate) -> tuple[list[Placement], tuple[Verdict, ...]]:
        """The first suitable hosts, the best first, and the verdicts on those passed over.

        Of hosts where a VM gains nearly the same, the one with the most headroom is the best: no plan shall crowd one
        host for a hair's breadth of risk.
        """
        wanted = 1 if self._settings.policy == THRESHOLD else self._settings.targets_weighed
        vm, part, ceiling = candidate.vm, candidate.risk.component, self._ceiling(candidate)
        targets, passed = suitable(vm, part, self._projection, self._outlook.blocked, ceiling, self._settings, wanted)
        options = [Placement(candidate, target, self._weighing.worth(candidate, target)) for target in targets]
        most = max((option.worth.net for option in options), default=0.0)
        enough = most - self._settings.indifference * abs(most)
        return sorted(options, key=lambda option: -min(option.worth.net, enough)), passed

    def _find(self, candidate: Candidate) -> Placement | None:
        """The best place for which everything speaks, if there is one."""
        return next((option for option in self._search(candidate)[0] if self._speaks_for(option)), None)

    def _fit(self, candidate: Candidate, host: Host) -> Placement | None:
        """This host as such a place."""
        ceiling = self._ceiling(candidate)
        target = fit(candidate.vm, host, self._projection, self._outlook.blocked, ceiling, self._settings)
        option = Placement(candidate, target, self._weighing.worth(candidate, target)) if target else None
        return option if option and self._speaks_for(option) else None

    def _speaks_for(self, option: Placement) -> bool:
        """Whether the move pays, and leaves what this plan sends there besides below its own ceiling."""
        name = option.target.host.name
        arriving = (each.candidate for each in self._placed.values() if each.target.host.name == name)
        if any(option.target.utilization > self._ceiling(other) for other in arriving):
            return False
        return self._weighing.against(option.candidate, option.target, option.worth) is None

    def _stranded(self, candidate: Candidate, passed: tuple[Verdict, ...]) -> None:
        """No host can take the VM: for want of room, which others may give, or for good."""
        refusal, why = _nowhere(candidate, passed)
        if refusal is Refusal.NO_SUITABLE_HOST and self._settings.policy != THRESHOLD:
            self._homeless.append(candidate)
        else:
            self._stays(candidate, refusal, why)

    def _ceiling(self, candidate: Candidate) -> float:
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
        if len(self._placed) < self._settings.moves_per_plan:
            return None
        return Refusal.LIMIT, f"this plan already holds {self._settings.moves_per_plan} moves"

    def _pointless(self, candidate: Candidate) -> tuple[Refusal, str] | None:
        """Why a VM that no rule binds cannot gain from leaving, wherever it went."""
        if candidate.bound:
            return None
        if not candidate.reached:
            return Refusal.NOT_IN_PATH, "the part is not proven to be in its path"
        most = candidate.staying * candidate.stake
        if most > self._settings.margin_minutes:
            return None
        return self._weighing.refusal(candidate), (
            f"it stands to lose {most:.3g} weighted minutes of outage, interrupted with p={candidate.staying:.3g}; "
            f"the margin is {self._settings.margin_minutes:g}"
        )

    def _move(self, placement: Placement) -> Move:
        candidate, target, worth = placement.candidate, placement.target, placement.worth
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

    def _stays(self, candidate: Candidate, refusal: Refusal, why: str, target: str = "") -> None:
        vm, risk = candidate.vm, candidate.risk
        text = f"VM {vm.name} ({vm.criticality.upper()}) stays on {vm.host} although {self._outlook.words(risk)}: {why}"
        self._verdicts.append(Verdict(vm.id, vm.host, risk.component, refusal, text, target))

    def finished(self) -> Plan:
        """The plan, with its moves in the order in which they are to start."""
        moves = tuple(sorted((self._move(placement) for placement in self._placed.values()), key=_order))
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


def _nowhere(candidate: Candidate, passed: tuple[Verdict, ...]) -> tuple[Refusal, str]:
    others = [verdict for verdict in passed if verdict.refusal is not Refusal.TARGET_SAME_HOST]
    if others and all(verdict.refusal is Refusal.NO_CONVERGENCE for verdict in others):
        return Refusal.NO_CONVERGENCE, "it dirties memory faster than any link can copy it"
    return Refusal.NO_SUITABLE_HOST, f"no host can take {candidate.vm.name}"


def _digest(time: datetime, *content: object) -> str:
    """An id that follows from time and content, whatever kind of object stands for UTC."""
    return hashlib.sha256(repr((time.astimezone(UTC).isoformat(), *content)).encode()).hexdigest()[:16]
