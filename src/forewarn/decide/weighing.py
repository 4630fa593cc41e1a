"""One VM and one target: what the move gains and costs, and what speaks against making it now."""

from dataclasses import dataclass
from datetime import timedelta

from forewarn.decide import score
from forewarn.decide.candidates import Candidate
from forewarn.decide.narrate import horizon_name
from forewarn.decide.outlook import Outlook
from forewarn.decide.placement import Target
from forewarn.decide.policy import THRESHOLD
from forewarn.decide.stopping import at_best, waits
from forewarn.domain.inventory import VirtualMachine
from forewarn.domain.plan import Refusal


@dataclass(frozen=True, slots=True)
class Worth:
    """A move weighed against staying, in weighted minutes of outage."""

    benefit: float
    cost: float

    @property
    def net(self) -> float:
        return self.benefit - self.cost

    def __str__(self) -> str:
        return f"benefit {self.benefit:.3g}, cost {self.cost:.3g} weighted minutes of outage"


@dataclass(frozen=True, slots=True)
class Placement:
    """A VM that a plan sends to a target, and what that is worth."""

    candidate: Candidate
    target: Target
    worth: Worth

    @property
    def vm(self) -> VirtualMachine:
        return self.candidate.vm


class Weighing:
    """The scales of one plan."""

    def __init__(self, outlook: Outlook) -> None:
        self._outlook, self._settings = outlook, outlook.settings

    def worth(self, candidate: Candidate, target: Target) -> Worth:
        """What the move there gains and costs."""
        vm, settings = candidate.vm, self._settings
        arriving = self._outlook.exposure(target.host.name, settings.horizon).whole_host
        return Worth(
            score.benefit(candidate.stake, candidate.staying, candidate.first_hour, arriving, target.estimate),
            score.cost(vm, target.estimate, len(self._outlook.moved_lately.get(vm.id, ())), settings),
        )

    def against(self, candidate: Candidate, target: Target, worth: Worth) -> tuple[Refusal, str] | None:
        """What speaks against the move, if anything does."""
        return self._too_late(candidate, target) or self._not_now(candidate, target, worth)

    def refusal(self, candidate: Candidate) -> Refusal:
        """As what it counts that a move does not pay."""
        spared = self._outlook.component(candidate.risk).spares > 0
        return Refusal.REDUNDANT if spared else Refusal.DOES_NOT_PAY

    def _too_late(self, candidate: Candidate, target: Target) -> tuple[Refusal, str] | None:
        """Why a move is not begun because its source will hardly live to see it done."""
        if self._settings.policy == THRESHOLD:
            return None
        chance = at_best(candidate.first_hour, target.estimate.duration_s)
        least = self._settings.stopping.finish_chance_min
        if chance >= least:
            return None
        return Refusal.TOO_LATE, (
            f"the move to {target.host.name} takes {target.estimate.duration_s:.0f} s, and is done before a failure "
            f"with p={chance:.2g} only, at least {least:g} is asked for; have it ready to be started elsewhere"
        )

    def _not_now(self, candidate: Candidate, target: Target, worth: Worth) -> tuple[Refusal, str] | None:
        """Why a VM that no rule binds gains nothing there, or loses nothing by waiting."""
        settings, name = self._settings, target.host.name
        if candidate.bound:
            return None
        if worth.net <= settings.margin_minutes:
            text = f"going to {name} does not pay: {worth}, margin {settings.margin_minutes:g}"
            return self.refusal(candidate), text
        epoch = timedelta(seconds=settings.stopping.epoch_s)
        failing = self._outlook.exposure(candidate.vm.host, epoch).interruption(candidate.vm.id)
        if settings.policy == THRESHOLD or not waits(failing, candidate.stake, worth.cost, settings.stopping):
            return None
        return Refusal.CAN_WAIT, (
            f"going to {name} can wait: {worth}, and it is interrupted within {horizon_name(epoch)} "
            f"with p={failing:.2g} only"
        )
