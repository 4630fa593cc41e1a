"""What the VMs of a host stand to lose if they stay, and what a move gains and costs: from parts to VMs, by topology.

A part that fails is no outage yet. It interrupts a VM only if it lies in the VM's path, and, where others stand in for
it, only once more of its group have failed than there are spares. Failures of different parts are taken as independent.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from forewarn.decide.migration_cost import MigrationEstimate
from forewarn.decide.policy import PolicySettings
from forewarn.decide.stopping import in_time
from forewarn.domain.inventory import Component, Kind, VirtualMachine
from forewarn.domain.risk import FailureForecast

GIB = 1024.0**3


@dataclass(frozen=True, slots=True)
class Exposure:
    """P(interrupted within a horizon) of a host's VMs: of all, and on top of it of those with parts of their own."""

    whole_host: float = 0.0
    of_vm: tuple[tuple[str, float], ...] = ()

    def interruption(self, vm: str) -> float:
        """P(this VM is interrupted), by whatever cause in its path."""
        own = dict(self.of_vm).get(vm, 0.0)
        return 1.0 - (1.0 - self.whole_host) * (1.0 - own)


def exposure(
    components: Iterable[Component], probabilities: Mapping[str, float], assumed: Mapping[Kind, float]
) -> Exposure:
    """The exposure of one host's VMs, from its parts and P(failure) of those whose risk is known.

    `assumed` holds per component kind what is taken for a stand-in whose risk is unknown: health that nobody has seen
    must not protect a VM. An unknown part outside any group adds nothing, since an unknown risk moves nothing.
    """
    whole_host, of_vm = 1.0, dict[str, float]()
    for members in _groups(components):
        failure = _group_failure(members, probabilities, assumed)
        if any(member.whole_host for member in members):
            whole_host *= 1.0 - failure
            continue
        for vm in sorted({vm for member in members for vm in member.vms}):
            of_vm[vm] = of_vm.get(vm, 1.0) * (1.0 - failure)
    return Exposure(1.0 - whole_host, tuple((vm, 1.0 - survival) for vm, survival in of_vm.items()))


def _groups(components: Iterable[Component]) -> list[list[Component]]:
    found: dict[tuple[str, str], list[Component]] = {}
    for component in sorted(components, key=lambda component: component.id):
        name = ("group", component.group) if component.group else ("part", component.id)
        found.setdefault(name, []).append(component)
    return list(found.values())


def _group_failure(
    members: list[Component], probabilities: Mapping[str, float], assumed: Mapping[Kind, float]
) -> float:
    """P(more of the group fail than there are spares)."""
    spares = min(member.spares for member in members)
    if spares <= 0 and len(members) == 1:
        return probabilities.get(members[0].id, 0.0)
    each = [probabilities.get(member.id, assumed[member.kind]) for member in members]
    each += [assumed[members[0].kind]] * (spares + 1 - len(members))  # stand-ins that the inventory does not show
    return more_than(spares, each)


def more_than(spares: int, probabilities: Iterable[float]) -> float:
    """P(more than `spares` of some independent events happen).

    >>> round(more_than(1, [0.5, 0.1]), 3)
    0.05
    """
    exactly = [1.0] + [0.0] * spares  # exactly[k] = P(k events so far), for k up to `spares`
    for probability in probabilities:
        for count in range(spares, 0, -1):
            exactly[count] = exactly[count] * (1.0 - probability) + exactly[count - 1] * probability
        exactly[0] *= 1.0 - probability
    return max(0.0, 1.0 - sum(exactly))


def known(forecasts: Iterable[FailureForecast], horizon: timedelta) -> Mapping[str, float]:
    """P(failure within `horizon`) by component; unknown ones are left out."""
    found = ((forecast.component, forecast.within(horizon)) for forecast in forecasts)
    return {component: probability for component, probability in found if probability is not None}


def loss(vm: VirtualMachine, settings: PolicySettings) -> float:
    """What an interruption of this VM costs, in weighted minutes."""
    return settings.outage_minutes * settings.weight(vm.criticality)


def benefit(stake: float, staying: float, first_hour: float, arriving: float, estimate: MigrationEstimate) -> float:
    """What a move saves, in weighted minutes.

    `stake` is the VM's loss, `staying` P(interrupted) at its host, `arriving` the same at the target. A move saves
    nothing if the source fails before it is done; `first_hour` is P(interrupted) at the source within an hour.
    """
    return stake * (staying * in_time(first_hour, estimate.duration_s) - arriving)


def cost(vm: VirtualMachine, estimate: MigrationEstimate, moved_lately: int, settings: PolicySettings) -> float:
    """What a move costs, in weighted minutes: its stop, its slowness, its traffic, its failures, and restlessness."""
    outage = (
        estimate.downtime_ms / 60_000.0
        + settings.slowdown * estimate.duration_s / 60.0
        + settings.move_failure_probability * settings.move_failure_minutes
        + settings.churn_minutes * moved_lately
    )
    return settings.weight(vm.criticality) * outage + settings.network_minutes_per_gib * estimate.bytes / GIB
