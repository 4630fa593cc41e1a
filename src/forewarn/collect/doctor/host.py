"""The table of the checks that run on a host. One check is one line."""

from collections.abc import Callable, Iterator

from forewarn.collect.doctor import drives, evidence, machine, mapping, memory, sensors
from forewarn.collect.doctor.examination import Examination
from forewarn.domain.finding import Finding

CHECKS: tuple[Callable[[Examination], Iterator[Finding]], ...] = (
    machine.machine,
    machine.privileges,
    drives.permissions,
    machine.refusals,
    machine.clock,
    machine.collectors,
    drives.smartctl,
    memory.edac,
    memory.labels,
    evidence.kernel_log,
    evidence.records,
    sensors.board,
    sensors.energy,
    sensors.supplies,
    mapping.kinds,
    mapping.unmapped,
    mapping.identities,
    mapping.addresses,
)


def host_findings(seen: Examination) -> Iterator[Finding]:
    """Everything that is found on one host."""
    for check in CHECKS:
        yield from check(seen)
