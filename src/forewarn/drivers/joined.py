"""Several placement services as one driver: inventories are merged, each move goes to the service that has its source.

The first driver that names a host owns it. A service that does not answer leaves the whole inventory unavailable: in a
partial one its VMs would look deleted.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Protocol, TypeVar

from forewarn.domain.inventory import Cluster, Host
from forewarn.domain.plan import Move, MoveState
from forewarn.domain.situation import Workload
from forewarn.drivers.base import Driver, MoveProgress
from forewarn.errors import CordonRefused, MoveRefused


class _Identified(Protocol):
    @property
    def id(self) -> str: ...


T = TypeVar("T", bound=_Identified)


class JoinedDriver:
    """One driver made of several. The generation is the sum of theirs, so it grows with each of them."""

    def __init__(self, drivers: Sequence[Driver]) -> None:
        if not drivers:
            raise ValueError("a joined driver needs at least one driver")
        self.name = "+".join(driver.name for driver in drivers)
        self._drivers = tuple(drivers)
        self._owner: dict[str, Driver] = {}

    def inventory(self) -> Cluster:
        clusters = [driver.inventory() for driver in self._drivers]
        owner: dict[str, Driver] = {}
        hosts: list[Host] = []
        for driver, cluster in zip(self._drivers, clusters, strict=True):
            hosts.extend(host for host in cluster.hosts if host.name not in owner)
            for host in cluster.hosts:
                owner.setdefault(host.name, driver)
        self._owner = owner
        return Cluster(
            time=min(cluster.time for cluster in clusters),
            generation=sum(cluster.generation for cluster in clusters),
            hosts=tuple(hosts),
            components=_first(part for cluster in clusters for part in cluster.components),
            vms=_first(vm for cluster in clusters for vm in cluster.vms),
            remarks=tuple(remark for cluster in clusters for remark in cluster.remarks),
        )

    def workloads(self) -> tuple[Workload, ...]:
        found = {load.vm: load for driver in reversed(self._drivers) for load in driver.workloads()}
        return tuple(found.values())

    def check(self, move: Move) -> None:
        self._route(move).check(move)

    def expect(self, move: Move) -> None:
        owner = self._find(move.source)
        if owner is not None:
            owner.expect(move)

    def start(self, move: Move) -> None:
        self._route(move).start(move)

    def poll(self, move: Move) -> MoveProgress:
        owner = self._find(move.source)
        if owner is None:
            return MoveProgress(MoveState.FAILED, text=f"no placement service knows {move.source} any more")
        return owner.poll(move)

    def cancel(self, move: Move) -> None:
        owner = self._find(move.source)
        if owner is not None:
            owner.cancel(move)

    def cordon(self, host: str, why: str, until: datetime) -> None:
        owner = self._find(host)
        if owner is None:
            raise CordonRefused(f"no placement service knows a host {host!r}")
        owner.cordon(host, why, until)

    def uncordon(self, host: str) -> None:
        owner = self._find(host)
        if owner is not None:
            owner.uncordon(host)

    def _find(self, host: str) -> Driver | None:
        if host not in self._owner:
            self.inventory()
        return self._owner.get(host)

    def _route(self, move: Move) -> Driver:
        source, target = self._find(move.source), self._find(move.target)
        if source is None or target is None:
            missing = move.source if source is None else move.target
            raise MoveRefused(f"no placement service knows a host {missing!r}")
        if source is not target:
            raise MoveRefused(f"{move.source} and {move.target} belong to different placement services")
        return source


def _first(items: Iterable[T]) -> tuple[T, ...]:
    """The first item of each id, in order."""
    found: dict[str, T] = {}
    for item in items:
        found.setdefault(item.id, item)
    return tuple(found.values())
