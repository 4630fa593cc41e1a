"""A busy cluster as one cycle leaves it, made from a seed: for tests of the pages and the API, which only show it."""

import math
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from forewarn.clock import SimulatedClock
from forewarn.domain.authority import Evidence, Grant, Mode, Window, WindowKind
from forewarn.domain.inventory import (
    Cluster,
    Component,
    Criticality,
    Host,
    HostState,
    Kind,
    VirtualMachine,
    VmState,
    component_id,
)
from forewarn.domain.plan import COST_BENEFIT, PROACTIVE_FAILURE_AVOIDANCE, Move, MoveState, Outcome, Plan
from forewarn.domain.risk import HORIZONS, FailureForecast, Reason
from forewarn.domain.situation import Budget, LadderStep, LogLine, Rung, Severity, Snapshot, Standing
from forewarn.state.database import Database
from forewarn.store.base import TelemetryStore
from forewarn.web.app import create_app
from forewarn.web.server import Server, serve
from forewarn.web.settings import WebSettings

NOW = datetime(2026, 1, 5, 12, 0, 0, tzinfo=UTC)
GIB = 1024**3
THRESHOLDS = {"cpu": 0.02, "memory": 0.02, "disk": 0.0085, "network": 0.02, "power": 0.03}
USUAL = {"cpu": 0.00004, "memory": 0.00004, "disk": 0.0004, "network": 0.0001, "power": 0.0002}
# Two CPUs, four DIMMs, five drives, two network ports, two power supplies: fifteen parts of a host.
PARTS = (
    *((Kind.CPU, f"cpu{i}") for i in range(2)),
    *((Kind.MEMORY, f"DIMM_{c}1") for c in "ABCD"),
    *((Kind.DISK, f"sd{c}") for c in "abcde"),
    *((Kind.NETWORK, f"eth{i}") for i in range(2)),
    *((Kind.POWER, f"PSU{i + 1}") for i in range(2)),
)
REASONS = {
    Kind.CPU: ("41 new thermal throttle events of cores within 6 hours", "CPU reached 97 °C within 1 hour"),
    Kind.MEMORY: ("212 new corrected memory errors within 24 hours", "bursts of corrected memory errors came 9 times"),
    Kind.DISK: ("24 pending sectors (SMART 197)", "118 new reallocated sectors within 7 days (SMART 5)"),
    Kind.NETWORK: ("3 carrier changes within 1 hour", "1,204 new receive errors within 6 hours"),
    Kind.POWER: ("output voltage 6 % under its week's mean", "fan at 2,100 rpm, half of its peers'"),
}
FEATURES = {
    Kind.DISK: ("smart_197_last", "smart_5_increase_7d"),
    Kind.CPU: ("cpu_temperature_last", "cpu_temperature_max_1h"),
}


def forecast_of(component: Component, week: float, time: datetime = NOW, because: str = "") -> FailureForecast:
    """An even hazard of `week` within seven days, or unknown where `because` says why."""
    head = (component.id, component.kind, component.host, component.device, time)
    if because:
        return FailureForecast(*head, model="rules", learned_from="rules", unknown_because=because)
    curve = [1.0 - (1.0 - week) ** (horizon / HORIZONS[4]) for horizon in HORIZONS]
    names = FEATURES.get(component.kind, ("one", "two"))
    reasons = tuple(Reason(n, t, 1.8 - i) for i, (n, t) in enumerate(zip(names, REASONS[component.kind], strict=True)))
    trees = component.kind == Kind.DISK
    return FailureForecast(
        *head,
        tuple(curve),
        tuple(p * 0.6 for p in curve),
        tuple(min(1.0, p * 1.7) for p in curve),
        (*reasons, Reason("age", "2.1 years of power-on time", -0.3)),
        model="disk-trees 1" if trees else "rules",
        learned_from="public drives 2013-15" if trees else "rules",
    )


def cluster_of(seed: int, hosts: int, vms: int, time: datetime) -> Cluster:
    """A real machine without VMs, and `hosts` simulated ones."""
    chance = random.Random(seed)
    names = [f"host{i:02}" for i in range(1, hosts + 1)]
    real = Host("atlas", can_receive=False, driver="none")
    simulated = [
        Host(n, cpus=64, memory_bytes=256 * GIB, link_bytes_per_s=1.25e9, rack=f"r{i // 8 + 1}", driver="simulated",
             simulated=True)
        for i, n in enumerate(names)
    ]  # fmt: skip
    parts = [_part(chance, host.name, kind, device) for host in (real, *simulated) for kind, device in PARTS]
    machines = [_vm(chance, i, chance.choice(names)) for i in range(vms)]
    return Cluster(time, 7, (real, *simulated), tuple(parts), tuple(machines))


def _part(chance: random.Random, host: str, kind: Kind, device: str) -> Component:
    serial = f"ZA{chance.randrange(16**6):06X}" if kind == Kind.DISK else ""
    model = "ST4000DM000" if serial else ""
    return Component(component_id(kind, host, device, serial), kind, host, device, model, whole_host=kind == Kind.CPU)


def _vm(chance: random.Random, number: int, host: str) -> VirtualMachine:
    purpose = chance.choice(("web", "db", "cache", "batch", "mail", "build"))
    criticality = chance.choices(tuple(Criticality), (2, 5, 3))[0]
    return VirtualMachine(
        f"vm-{number:03}", f"{purpose}-{number:03}", host, chance.choice((2, 4, 8)), chance.choice((4, 8, 16)) * GIB,
        criticality, "declared",
    )  # fmt: skip


def snapshot_of(seed: int = 7, hosts: int = 24, vms: int = 200, time: datetime = NOW, cycle: int = 412) -> Snapshot:
    """Most parts calm, a few near or above their thresholds, some unknown, one host down, thirty moves."""
    chance = random.Random(f"shown {seed}")
    cluster = cluster_of(seed, hosts, vms, time)
    down = cluster.hosts[-1].name
    cluster = replace(
        cluster,
        hosts=tuple(replace(h, state=HostState.DOWN) if h.name == down else h for h in cluster.hosts),
        vms=tuple(replace(v, state=VmState.INTERRUPTED) if v.host == down else v for v in cluster.vms),
    )
    forecasts = tuple(_drawn(chance, component, time) for component in cluster.components)
    risky = [f for f in forecasts if (f.within(HORIZONS[4]) or 0.0) > THRESHOLDS[f.kind]]
    moves = tuple(_moves(chance, cluster, [f for f in risky if f.host != "atlas"], time))
    ladder = tuple(LadderStep(f.component, Rung.MOVE if i < 3 else Rung.WATCH, time) for i, f in enumerate(risky))
    return Snapshot(
        time=time,
        cycle=cycle,
        sentence=f"{len(cluster.hosts)} hosts, {len(forecasts)} parts, {len(risky)} above threshold: "
        "host07, disk sdb fails within 7 days with p=0.061; 3 moves running",
        cluster=cluster,
        forecasts=forecasts,
        ladder=ladder,
        plan=Plan("plan-412", time, cluster.generation),
        moves=moves,
        thresholds=THRESHOLDS,
        mode="automatic",
        simulated=True,
        log=tuple(_log(moves, time)),
        usual=USUAL,
        standing=standing_of(time),
    )


def standing_of(time: datetime = NOW, **changes: Any) -> Standing:
    """One grant that ends, an open freeze and a maintenance to come, some evidence, two limits."""
    hour = timedelta(hours=1)
    standing = Standing(
        mode=Mode.RECOMMEND,
        mode_max=Mode.AUTOMATIC,
        grants=(Grant(Mode.AUTOMATIC, time - hour, "ann", "disks have earned it", kind="disk", until=time + 5 * hour),),
        evidence=(Evidence(Kind.DISK, 21, 3, 2, 0.62), Evidence(Kind.CPU)),
        windows=(
            Window(WindowKind.FREEZE, "host0[1-4]", time - hour, time + 2 * hour, "bob", "quarter's end"),
            Window(WindowKind.MAINTENANCE, "host2*", time + hour, time + 3 * hour, "cay", "new firmware"),
        ),
        budgets=(Budget("moves_per_source", 1, 2, 17), Budget("moves_per_hour", 34, 120)),
        telemetry_at=time - timedelta(seconds=3),
    )
    return replace(standing, **changes)


def _drawn(chance: random.Random, component: Component, time: datetime) -> FailureForecast:
    if component.host == "atlas" and component.kind in (Kind.POWER, Kind.CPU):
        return forecast_of(component, 0.0, time, "no temperature and no throttle counters on this machine")
    if component.kind == Kind.MEMORY and chance.random() < 0.06:
        return forecast_of(component, 0.0, time, "firmware reports memory errors first: zero means nothing")
    exponent = chance.gauss(-1.7, 0.55) + (chance.random() < 0.02) * 1.9
    return forecast_of(component, min(0.9, THRESHOLDS[component.kind] * math.pow(10, exponent)), time)


def move_of(number: int, vm: VirtualMachine, target: str, forecast: FailureForecast) -> Move:
    risk = forecast.within(HORIZONS[4]) or 0.0
    high = vm.criticality == Criticality.HIGH
    return Move(
        f"m{number:03}", vm.id, vm.name, vm.criticality, vm.host, target, forecast.component, forecast.kind, risk,
        THRESHOLDS[forecast.kind], PROACTIVE_FAILURE_AVOIDANCE if high else COST_BENEFIT,
        f"{forecast.reasons[0].text}; {vm.name} is {vm.criticality} and {target} is the first suitable host",
        4.2, 0.3, 6.0 + vm.memory_bytes / GIB * 1.1, 80.0 + vm.vcpus * 9,
    )  # fmt: skip


def _moves(chance: random.Random, cluster: Cluster, risky: list[FailureForecast], time: datetime) -> Iterator[Outcome]:
    """Three running moves, then ended ones, the latest first, away from the hosts of risky parts."""
    targets = [h.name for h in cluster.hosts if h.simulated and h.state == HostState.UP]
    leaving = [(vm, f) for f in risky[:6] for vm in cluster.vms if vm.host == f.host]
    for number, (vm, forecast) in enumerate(leaving[:34]):
        target = chance.choice([t for t in targets if t != vm.host][:9])
        move = move_of(number, vm, target, forecast)
        started = time - timedelta(seconds=8 + number * 17)
        if number < 3:
            yield Outcome(move, MoveState.RUNNING, time, started, progress=0.2 + 0.25 * number)
            continue
        state = chance.choices(
            (MoveState.SUCCEEDED, MoveState.FAILED, MoveState.CANCELLED, MoveState.REFUSED), (22, 3, 1, 1)
        )[0]
        text = {MoveState.FAILED: "the source host failed under it", MoveState.CANCELLED: "the risk has passed",
                MoveState.REFUSED: "the target has no memory left"}.get(state, "")  # fmt: skip
        took = move.duration_s * chance.uniform(0.8, 1.5)
        begun = None if state == MoveState.REFUSED else started
        yield Outcome(move, state, started + timedelta(seconds=took), begun, text, 1.0, took, move.downtime_ms * 1.1)


def _log(moves: tuple[Outcome, ...], time: datetime) -> Iterator[LogLine]:
    yield LogLine(
        time, Severity.WARNING, "host24 failed: 8 VMs interrupted; 3 VMs had been moved away before", "host24"
    )
    for outcome in moves:
        move, at = outcome.move, outcome.time
        if outcome.state == MoveState.RUNNING:
            text = f"{move.rule}: moving {move.vm_name} from {move.source} to {move.target}: {move.reason}"
            yield LogLine(at, Severity.NOTICE, text, move.source)
        else:
            text = f"{move.vm_name} from {move.source} to {move.target}: {outcome.state} {outcome.text}".strip()
            severity = Severity.WARNING if outcome.state == MoveState.FAILED else Severity.INFO
            yield LogLine(at, severity, text, move.source)


class Shelf:
    """Holds the snapshot that the pages read; tests lay another one there."""

    def __init__(self, snapshot: Snapshot | None) -> None:
        self.snapshot = snapshot

    def read(self) -> Snapshot | None:
        return self.snapshot


@contextmanager
def serving(
    read: Callable[[], Snapshot | None],
    *,
    folder: Path | None = None,
    store: TelemetryStore | None = None,
    settings: WebSettings | None = None,
    clock: SimulatedClock | None = None,
) -> Iterator[Server]:
    """The pages on a free port. With `folder`, requests are taken into a state database there."""
    settings = settings or WebSettings(port=0, refresh_s=0.05)
    clock = clock or SimulatedClock(NOW + timedelta(seconds=4))
    database = Database(f"sqlite:///{folder / 'state.sqlite'}", clock) if folder else None
    taken: list[object] = []
    app = create_app(settings, read, store, database, clock, take=lambda *told: taken.append(told), record=taken.append)
    server = serve(app, settings)
    try:
        yield server
    finally:
        server.stop()
        if database is not None:
            database.close()
