"""The driver for clusters that Forewarn may only watch: hosts and parts as telemetry shows them, no VMs, no moves.

It serves where no placement service is configured, and for single machines. `can_receive` is False on all its hosts, so
no planner ever proposes them as targets.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any

import pyarrow as pa

from forewarn.clock import Clock
from forewarn.domain.inventory import COMPONENT_KINDS, Cluster, Component, Host, HostState, Kind, component_id
from forewarn.domain.plan import Move, MoveState
from forewarn.domain.redundancy import Redundancy
from forewarn.domain.situation import Workload
from forewarn.drivers.base import MoveProgress
from forewarn.errors import CordonRefused, MoveRefused


@dataclass(frozen=True, slots=True)
class ObservedSettings:
    """How long telemetry keeps a host or a part in the inventory."""

    silent_after_s: float = 600.0
    """Seconds without telemetry after which a host's state is unknown: two missed scrapes of a slow site."""
    forgotten_after_s: float = 7 * 86400.0
    """Seconds without telemetry after which a part has left the inventory; a week outlasts a repair."""


class ObservedDriver:
    """An inventory read from the devices that a telemetry store knows (its `devices()`); it can do nothing.

    `redundancy` gives, for a time, which parts stand in for each other as far as hosts have told since then.
    `facts` are hosts of which more is known than telemetry tells (capacities, rack); their state is still observed.
    `whole_host` names the kinds of parts on which every VM of their host depends, where others tell of VMs; `carries`,
    by host, patterns of further such parts, by kernel name or id, as the operator has declared them.
    """

    name = "none"

    def __init__(
        self,
        devices: Callable[[], pa.Table],
        clock: Clock,
        facts: Iterable[Host] = (),
        settings: ObservedSettings | None = None,
        whole_host: Collection[Kind] = (),
        redundancy: Callable[[datetime], Mapping[str, Redundancy]] = lambda _: {},
        carries: Mapping[str, Collection[str]] | None = None,
    ) -> None:
        self._devices = devices
        self._clock = clock
        self._facts = {host.name: host for host in facts}
        self._settings = settings or ObservedSettings()
        self._whole_host = frozenset(whole_host)
        self._redundancy = redundancy
        self._carries = carries or {}
        self._picture = Cluster(clock.now())

    def inventory(self) -> Cluster:
        now = self._clock.now()
        rows = self._rows(now)
        sets = self._redundancy(now - timedelta(seconds=self._settings.silent_after_s))
        parts = _components(rows, self._whole_host)
        components = tuple(_in_set(self._declared(part), sets) for part in parts)
        hosts = self._hosts(rows, now)
        before = self._picture
        changed = (hosts, components) != (before.hosts, before.components)
        self._picture = Cluster(now, before.generation + changed, hosts, components)
        return self._picture

    def workloads(self) -> tuple[Workload, ...]:
        return ()

    def check(self, move: Move) -> None:
        raise MoveRefused(f"{move.source} is only watched: no placement service is configured for it")

    def expect(self, move: Move) -> None:
        """No move ever waits."""

    def start(self, move: Move) -> None:
        self.check(move)

    def poll(self, move: Move) -> MoveProgress:
        return MoveProgress(MoveState.FAILED, text=f"{move.source} is only watched: move {move.id} never started")

    def cancel(self, move: Move) -> None:
        """Nothing ever runs, so nothing is to be cancelled."""

    def cordon(self, host: str, why: str, until: datetime) -> None:  # noqa: ARG002 - the protocol's
        raise CordonRefused(f"{host} is only watched: no placement service is configured for it")

    def uncordon(self, host: str) -> None:
        """Nothing is ever cordoned, so nothing is to be lifted."""

    def _declared(self, part: Component) -> Component:
        patterns = self._carries.get(part.host, ())
        carries = any(fnmatchcase(name, pattern) for name in (part.device, part.id) for pattern in patterns)
        return replace(part, whole_host=True) if carries else part

    def _rows(self, now: datetime) -> list[Mapping[str, Any]]:
        """The newest place of each device that is not forgotten, in a steady order."""
        since = now - timedelta(seconds=self._settings.forgotten_after_s)
        newest: dict[str, Mapping[str, Any]] = {}
        for row in self._devices().to_pylist():
            known = newest.get(row["component"])
            if row["last_seen"] >= since and (known is None or known["last_seen"] <= row["last_seen"]):
                newest[row["component"]] = row
        return [newest[component] for component in sorted(newest)]

    def _hosts(self, rows: list[Mapping[str, Any]], now: datetime) -> tuple[Host, ...]:
        seen: dict[str, datetime] = {}
        for row in rows:
            seen[row["host"]] = max(row["last_seen"], seen.get(row["host"], row["last_seen"]))
        return tuple(self._host(name, seen.get(name), now) for name in sorted({*seen, *self._facts}))

    def _host(self, name: str, seen: datetime | None, now: datetime) -> Host:
        silent_after = timedelta(seconds=self._settings.silent_after_s)
        heard = seen is not None and now - seen <= silent_after
        state = HostState.UP if heard else HostState.UNKNOWN
        fact = self._facts.get(name, Host(name))
        return replace(fact, state=state, can_receive=False, driver=self.name)


def _components(rows: list[Mapping[str, Any]], whole_host: Collection[Kind]) -> tuple[Component, ...]:
    """Parts in which no VM's dependence is proven, but for the kinds of `whole_host`: nothing is known of VMs here.

    Every host has a CPU, memory and power, whether or not anything there tells of them: where such a kind shows no
    part, one stands for it, so that its risk is unknown and not merely absent.
    """
    shown = [
        Component(
            row["component"],
            Kind(row["kind"]),
            row["host"],
            row["device"],
            row["model"] or "",
            whole_host=row["kind"] in whole_host,
        )
        for row in rows
        if row["kind"] in COMPONENT_KINDS
    ]
    told = {(part.host, part.kind) for part in shown}
    hosts = sorted({row["host"] for row in rows})
    untold = [
        Component(component_id(kind, host, ""), kind, host, device=str(kind), whole_host=kind in whole_host)
        for host in hosts
        for kind in (Kind.CPU, Kind.MEMORY, Kind.POWER)
        if (host, kind) not in told
    ]
    return tuple(sorted((*shown, *untold), key=lambda part: part.id))


def _in_set(part: Component, sets: Mapping[str, Redundancy]) -> Component:
    """The part with the set to which it belongs; one of which nothing is told stands in for none."""
    found = sets.get(part.id)
    return replace(part, group=found.group, spares=found.spares) if found else part
