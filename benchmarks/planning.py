"""What a decision costs over the size of the fleet, beside the time that OpenStack Watcher's strategies took for one.

The situation is in memory, as in the cycle: twelve parts and ten VMs per host, one host in a hundred risky since
yesterday. Counted is the whole decision (ladder, breaker, plan, what is allowed of it), in seconds of one core, from a
situation of which nothing has been looked up yet. Watcher 17 took 55.7 s (workload_stabilization) and 37.8 s
(vm_workload_consolidation) to decide over 1,000 hosts and 10,000 VMs on two such cores; it is not run here.
"""

import random
import statistics
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from time import process_time

from forewarn.decide.decision import Decision
from forewarn.decide.policy import PolicySettings, next_ladder
from forewarn.domain.inventory import Cluster, Component, Criticality, Host, Kind, VirtualMachine
from forewarn.domain.plan import Plan
from forewarn.domain.risk import FailureForecast, Reason
from forewarn.domain.situation import Situation, Workload

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
GIB = 1024**3
HOSTS = (1_000, 3_000, 10_000)
VMS_PER_HOST, RISKY_SHARE = 10, 0.01
WATCHER_S = {"workload_stabilization": 55.7, "vm_workload_consolidation": 37.8}
WATCHER_HOSTS = 1_000
RUNS = 3
PARTS = (
    (Kind.CPU, ("socket0", "socket1")),
    (Kind.MEMORY, ("A1", "A2", "B1", "B2")),
    (Kind.DISK, ("sda", "sdb")),
    (Kind.NETWORK, ("eth0", "eth1")),
    (Kind.POWER, ("PSU1", "PSU2")),
)
SOUND = (1e-6, 6e-6, 2e-5, 7e-5, 2e-4, 7e-4)
RISKY = (0.002, 0.01, 0.04, 0.1, 0.2, 0.5)


def parts(host: str) -> list[Component]:
    found = []
    for kind, devices in PARTS:
        paired = kind in (Kind.DISK, Kind.NETWORK, Kind.POWER)
        for device in devices:
            group = f"{host} {kind}" if paired else ""
            found.append(
                Component(
                    f"{kind}:{host}/{device}", kind, host, device, group=group, spares=int(paired), whole_host=True
                )
            )
    return found


def situation(hosts: int, seed: int = 1) -> Situation:
    """A fleet of `hosts` in racks of forty, 70 % of its memory promised, in which one host in a hundred is risky."""
    chance = random.Random(seed)  # noqa: S311 - a fleet that is the same each time
    names = [f"host{number:05d}" for number in range(hosts)]
    risky = set(chance.sample(names, round(hosts * RISKY_SHARE)))
    components = [part for name in names for part in parts(name)]
    forecasts = [
        FailureForecast(part.id, part.kind, part.host, part.device, NOW, curve, curve, curve, (reason,), "bench")
        for part in components
        for ill in (part.host in risky and part.kind is Kind.MEMORY and part.device == "A1",)
        for curve in (RISKY if ill else SOUND,)
        for reason in (Reason("corrected_errors", "corrected errors rose by 40 in a day", 2.0 if ill else 0.1),)
    ]
    vms, workloads = [], []
    for number in range(hosts * VMS_PER_HOST):
        size = chance.choice((4, 8, 16, 32)) * GIB
        criticality = chance.choices(tuple(Criticality), (2, 6, 2))[0]
        vm = VirtualMachine(f"vm{number:06d}", f"vm{number}", names[number % hosts], 4, size, criticality)
        vms.append(replace(vm, anti_affinity=f"group{number % 997}" if number % 20 == 0 else ""))
        workloads.append(Workload(vm.id, chance.uniform(0.1, 2.0), chance.uniform(1e6, 5e7), size // 8))
    placed = tuple(
        Host(n, cpus=96, memory_bytes=256 * GIB, link_bytes_per_s=1.25e9, rack=f"rack{i // 40}")
        for i, n in enumerate(names)
    )
    return Situation(Cluster(NOW, 1, placed, tuple(components), tuple(vms)), tuple(forecasts), tuple(workloads))


def decided(found: Situation, settings: PolicySettings) -> tuple[float, Plan]:
    """Seconds of one core to decide, and the plan, without what a situation remembers of earlier questions."""
    yesterday = NOW - timedelta(days=1)
    fresh = replace(found, cluster=replace(found.cluster), ladder=next_ladder(found, settings, yesterday))
    began = process_time()
    made, _ladder = Decision(fresh, settings, NOW).plan()
    return process_time() - began, made


def main() -> None:
    settings = PolicySettings(thresholds={Kind.MEMORY.value: 0.05})
    for hosts in HOSTS:
        found = situation(hosts)
        runs = [decided(found, settings) for _ in range(RUNS)]
        taken_s = statistics.median(run[0] for run in runs)
        made = runs[0][1]
        size = f"{hosts:6,} hosts, {len(found.cluster.vms):7,} VMs, {round(hosts * RISKY_SHARE)} risky"
        print(
            f"{size}: decided in {taken_s:7.3f} s, {len(made.proposals)} moves proposed, {len(made.verdicts)} verdicts"
        )
        if hosts == WATCHER_HOSTS:
            for strategy, watcher_s in WATCHER_S.items():
                print(f"    Watcher's {strategy} took {watcher_s} s: {watcher_s / taken_s:,.0f} times as long")


if __name__ == "__main__":
    main()
