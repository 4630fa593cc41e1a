"""The simulated world: hosts that show telemetry, parts that wear out and fail, and technicians who replace them.

It tells the simulated driver which hosts fail and come back, and tells nobody what is coming: the loop learns of a
decline only through the same exporters' series that real hosts expose. Equal seeds and equal times give equal worlds;
the faults do not depend on what moves.
"""

import random
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from forewarn.domain.events import FailureEvent, LabelState
from forewarn.domain.inventory import Cluster, Component, Kind, VmState
from forewarn.domain.telemetry import Sample
from forewarn.drivers.simulated import SimulatedDriver
from forewarn.sim.faults import Course, Fault, FaultSettings, Schedule, additions
from forewarn.sim.fleet import Array, Fleet, Place, place_of
from forewarn.sim.happenings import Happening, Happenings
from forewarn.sim.scenario import replacement
from forewarn.store.base import DEVICES, SAMPLES, TIME, Batch

HOUR = timedelta(hours=1)

# What a dead part shows on a host that lives on; parts that are not named here show nothing any more.
_DEAD: Mapping[Kind, Mapping[str, float]] = {
    Kind.POWER: {"psu_output_volts": 0.0, "psu_amperes": 0.0, "psu_fan_speed": 0.0, "psu_state": 2.0},
    Kind.NETWORK: {"nic_up": 0.0, "nic_speed": 0.0},
}


@dataclass(frozen=True, slots=True)
class WorldSettings:
    """How the simulated world behaves."""

    faults: FaultSettings = field(default_factory=FaultSettings)
    """What wears out, and how fast."""
    busy_scale: float = 2.5
    """Offered CPUs per core of a host: how far CPUs are over-committed."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A part that failed, or a whole host for a cause of its own, and what it took with it."""

    event: FailureEvent
    host_failed: bool
    signs: bool  # whether its telemetry had shown a decline
    interrupted: tuple[str, ...] = ()  # ids of the VMs that went down


class World:
    """Everything below the placement service. `history` comes first, if wanted; then `advance` at each tick.

    Fate begins with the first tick, however long setting up took after `start`.
    """

    def __init__(
        self,
        driver: SimulatedDriver,
        seed: int,
        start: datetime,
        settings: WorldSettings | None = None,
        faults: Iterable[Fault] | None = None,
        happenings: Iterable[Happening] = (),
    ) -> None:
        cluster = driver.inventory()
        self._driver, self._seed, self._start = driver, seed, start
        self._settings = settings or WorldSettings()
        self._fleet = Fleet(seed, cluster.hosts, cluster.components)
        self._parts: dict[Place, Component] = {place_of(part): part for part in cluster.components}
        drawn = Schedule(seed, cluster, start, self._settings.faults) if faults is None else faults
        self._coming = iter(drawn)
        self._next = next(self._coming, None)
        self._active: list[Fault] = []
        self._happenings = Happenings(driver, happenings)
        self._dead: dict[Place, Fault] = {}
        self._down: dict[str, Fault] = {}
        self._booted: set[str] = set()  # since the last tick
        self._failures: list[Failure] = []
        self._replaced = 0
        self._last = start
        self._late: timedelta | None = None  # from the start to the first tick, which setting up took

    @property
    def failures(self) -> tuple[Failure, ...]:
        """Every part, and every host by itself, that has failed so far, in order."""
        return tuple(self._failures)

    def events(self) -> tuple[FailureEvent, ...]:
        """The same as events that may be recorded."""
        return tuple(failure.event for failure in self._failures)

    # --- what goes wrong ------------------------------------------------------------------------------

    def step(self, now: datetime) -> None:
        """Let fail and let be replaced what is due, without showing any telemetry."""
        if self._late is None:
            self._late = max(timedelta(0), now - self._start)
        while self._next is not None and self._next.starts + self._late <= now:
            self._active.append(self._next.later(self._late))
            self._next = next(self._coming, None)
        for fault in list(self._active):
            place = (fault.host, fault.kind, fault.device)
            if fault.fails and fault.peaks <= now and place not in self._dead:
                self._fail(place, fault, now)
            if fault.ends <= now:
                self._mend(place, fault)
                self._active.remove(fault)
        self._happenings.step(now - self._late)
        self._note_outages(now)
        for host in self._happenings.booted():
            self._fleet.boot(host)
            self._booted.add(host)

    def meddle(self, now: datetime) -> None:
        """Let happen what comes between a plan and its first move."""
        self._happenings.amid(now - (self._late or timedelta(0)))
        self._note_outages(now)

    def _note_outages(self, now: datetime) -> None:
        for fallen in self._happenings.fallen():
            text = f"{fallen.host} went down"
            event = FailureEvent(now, fallen.host, Kind.HOST, "", "simulator", text, state=LabelState.CONFIRMED)
            self._failures.append(Failure(event, host_failed=True, signs=False, interrupted=fallen.interrupted))

    def _fail(self, place: Place, fault: Fault, now: datetime) -> None:
        part = self._parts[place]
        self._dead[place] = fault
        lost = self._dead_in(part) > part.spares
        host_failed = part.whole_host and lost and fault.host not in self._down
        if host_failed:
            self._down[fault.host] = fault
            interrupted = self._driver.fail_host(fault.host, part.id, f"{part.kind} {part.device} failed")
        else:
            interrupted = self._driver.fail_part(part.id)
        signs = fault.course == Course.DECLINE
        text = f"{part.kind} {part.device} of {fault.host} failed"
        event = FailureEvent(now, fault.host, part.kind, part.id, "simulator", text, state=LabelState.CONFIRMED)
        self._failures.append(Failure(event, host_failed, signs, interrupted))

    def _dead_in(self, part: Component) -> int:
        """How many parts of the same set are dead, itself among them."""
        if not part.group:
            return 1
        return sum(self._parts[place].group == part.group for place in self._dead)

    def _mend(self, place: Place, fault: Fault) -> None:
        """A technician replaces the part; a host that was down comes back."""
        if fault.course == Course.DARK:
            return
        old, self._replaced = self._parts[place], self._replaced + 1
        new = replacement(random.Random(f"part {self._seed} {self._replaced}"), old)
        self._dead.pop(place, None)
        self._parts[place] = new
        self._fleet.replace(place, new)
        self._driver.replace_part(old.id, new)
        if self._down.get(fault.host) is fault:
            del self._down[fault.host]
            self._fleet.boot(fault.host)
            self._booted.add(fault.host)
            self._driver.repair_host(fault.host)

    # --- what it shows --------------------------------------------------------------------------------

    def history(self, days: int = 30) -> Iterator[Batch]:
        """The hourly telemetry of the `days` before the start, healthy, a batch per day."""
        busy, used = self._loads(self._driver.inventory())
        components, metrics = (pa.array(names, pa.string()) for names in zip(*self._fleet.keys(), strict=True))
        for day in range(days, 0, -1):
            first = self._start - timedelta(days=day)
            times = [first + hour * HOUR for hour in range(24)]
            rows = [self._fleet.shown(self._fleet.at(time, HOUR.total_seconds(), busy, used)) for time in times]
            self._last = times[-1]
            yield Batch(_samples_table(times, components, metrics, rows), self._devices(times[0], times[-1]))

    def lived(self, days: int) -> Iterator[Batch]:
        """The hourly telemetry of the `days` after the start, with all that goes wrong in them, a batch per day.

        It stands for ticks of a site that are long past: the same as `advance` shows, without the exporters' lines.
        """
        for day in range(days):
            hours = [self._lived(self._start + timedelta(days=day, hours=hour + 1)) for hour in range(24)]
            samples, devices = (pa.concat_tables(tables) for tables in zip(*hours, strict=True))
            yield Batch(samples, devices)

    def _lived(self, now: datetime) -> tuple[pa.Table, pa.Table]:
        """What is shown at one time, as SAMPLES and DEVICES."""
        shown, silent, missing = self._moment(now)
        heard = np.array(self._fleet.heard(silent, missing))
        keys = [key for key, one in zip(self._fleet.keys(), heard.tolist(), strict=True) if one]
        components, metrics = (pa.array(names, pa.string()) for names in zip(*keys, strict=True))
        devices = self._devices(now, now)
        told = pc.is_in(devices.column("component"), components.unique())
        return _samples_table([now], components, metrics, [shown[heard]]), devices.filter(told)

    def advance(self, now: datetime) -> dict[str, list[Sample]]:
        """Bring the world to `now` and return what each host's exporters show. Hosts that are down show nothing."""
        shown, silent, missing = self._moment(now)
        names = [host.name for host in self._driver.inventory().hosts if host.name not in silent]
        return {name: self._fleet.samples(name, shown, missing) for name in names}

    def _moment(self, now: datetime) -> tuple[Array, Set[str], frozenset[Place]]:
        """Bring the world to `now`: every signal's value, the hosts that say nothing, and the places that do not."""
        self.step(now)
        cluster = self._driver.inventory()
        elapsed_s = max(0.0, (now - self._last).total_seconds())
        self._last = max(now, self._last)
        still = self._down.keys() | self._booted | self._happenings.off()
        shown = self._shown(now, self._fleet.at(now, elapsed_s, *self._loads(cluster), still))
        self._booted.clear()
        silent = {fault.host for fault in self._active if fault.course == Course.DARK} | self._down.keys()
        silent |= self._happenings.silent()
        return shown, silent, frozenset(place for place in self._dead if place[1] not in _DEAD)

    def _shown(self, now: datetime, values: Array) -> Array:
        for fault in self._active:
            place = (fault.host, fault.kind, fault.device)
            numbers = self._fleet.numbers_of(place) if place in self._parts else {}
            for key, amount in additions(fault, now):
                if key in numbers:
                    values[numbers[key]] += amount
        changes = [(self._fleet.numbers_of(place), each) for place, part in self._parts.items()
                   for each in self._happenings.readings(part)]  # fmt: skip
        for numbers, change in changes:
            for key in change.adds.keys() & numbers.keys():
                values[numbers[key]] += change.adds[key]
        shown = self._fleet.shown(values)
        for numbers, change in changes:
            for key in change.sets.keys() & numbers.keys():
                shown[numbers[key]] = change.sets[key]
        for place in self._dead:
            numbers = self._fleet.numbers_of(place)
            for key, value in _DEAD.get(place[1], {}).items():
                shown[numbers[key]] = value
        return shown

    def _loads(self, cluster: Cluster) -> tuple[dict[str, float], dict[str, float]]:
        """Each host's mean share of busy CPU, and the share of its memory that VMs take."""
        cores = {workload.vm: workload.cpu_cores for workload in self._driver.workloads()}
        busy: dict[str, float] = {}
        used: dict[str, float] = {}
        for host in cluster.hosts:
            running = [vm for vm in cluster.vms_by_host[host.name] if vm.state is not VmState.STOPPED]
            wanted = sum(cores.get(vm.id, 0.0) for vm in running)
            busy[host.name] = self._settings.busy_scale * wanted / max(1.0, host.cpus)
            used[host.name] = sum(vm.memory_bytes for vm in running) / max(1, host.memory_bytes)
        return busy, used

    def _devices(self, first: datetime, last: datetime) -> pa.Table:
        parts = list(self._parts.values())
        hosts = sorted({part.host for part in parts})
        columns: dict[str, list[str] | list[datetime]] = {
            "component": [part.id for part in parts] + [f"host:{host}" for host in hosts],
            "kind": [str(part.kind) for part in parts] + [str(Kind.HOST)] * len(hosts),
            "host": [part.host for part in parts] + hosts,
            "device": [part.device for part in parts] + hosts,
            "model": [part.model if part.kind is Kind.DISK else "" for part in parts] + [""] * len(hosts),
            "first_seen": [first] * (len(parts) + len(hosts)),
            "last_seen": [last] * (len(parts) + len(hosts)),
        }
        return pa.table(columns, schema=DEVICES)


def _samples_table(
    times: list[datetime], components: pa.StringArray, metrics: pa.StringArray, rows: list[Array]
) -> pa.Table:
    """All signals at each time, below each other."""
    microseconds = np.array([round(time.timestamp() * 1e6) for time in times], dtype=np.int64)
    columns = [
        pa.array(np.repeat(microseconds, len(components))).cast(TIME),
        pa.chunked_array([components] * len(times)).combine_chunks(),
        pa.chunked_array([metrics] * len(times)).combine_chunks(),
        pa.array(np.concatenate(rows)),
    ]
    return pa.table(columns, schema=SAMPLES)
