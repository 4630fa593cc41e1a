"""Which VMs a plan has to decide on, for which part each would move, and in what order their cases are heard."""

from collections.abc import Iterator
from dataclasses import dataclass

from forewarn.decide import score
from forewarn.decide.outlook import Outlook
from forewarn.decide.policy import THRESHOLD
from forewarn.domain.inventory import Criticality, VirtualMachine
from forewarn.domain.plan import COST_BENEFIT, PROACTIVE_FAILURE_AVOIDANCE
from forewarn.domain.risk import HORIZONS, Risk


@dataclass(frozen=True, slots=True)
class Candidate:
    """A VM on a host that has parts over their threshold. `risk` is the one for which it would move."""

    vm: VirtualMachine
    risk: Risk
    reached: bool  # whether the part lies in the VM's path
    bound: bool  # whether the rule alone moves it, without a comparison
    staying: float  # P(interrupted within the horizon) where it is
    first_hour: float  # the same within an hour
    stake: float  # what an interruption costs, in weighted minutes

    @property
    def rule(self) -> str:
        return PROACTIVE_FAILURE_AVOIDANCE if self.bound else COST_BENEFIT


def candidates(outlook: Outlook) -> Iterator[Candidate]:
    """Every VM of every host that has parts over their threshold."""
    settings = outlook.settings
    for host, risks in outlook.risks.items():
        exposure, soon = outlook.exposure(host, settings.horizon), outlook.exposure(host, HORIZONS[0])
        for vm in outlook.cluster.vms_by_host.get(host, ()):
            reaching = [risk for risk in risks if outlook.reaches(risk, vm)]
            alone = [risk for risk in reaching if not outlook.spared(risk)]
            high, word_for_word = vm.criticality is Criticality.HIGH, settings.policy == THRESHOLD
            risk = next(iter(reaching if word_for_word else [*alone, *reaching]), risks[0])
            bound = high and (word_for_word or bool(alone))
            staying, first_hour = exposure.interruption(vm.id), soon.interruption(vm.id)
            yield Candidate(vm, risk, bool(reaching), bound, staying, first_hour, score.loss(vm, settings))


def urgency(candidate: Candidate) -> tuple[bool, float, float, str]:
    """HIGH VMs first; then what is lost by staying, per byte to be moved; then the worst risk."""
    vm, risk = candidate.vm, candidate.risk
    expected = candidate.staying * candidate.stake / max(1, vm.memory_bytes)
    return vm.criticality is not Criticality.HIGH, -expected, -risk.probability / max(risk.threshold, 1e-12), vm.id
