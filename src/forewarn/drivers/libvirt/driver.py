"""The driver for libvirt hosts: what it sees (`inventory`), what it moves (`mover`), and the cordons that it keeps.

Libvirt has no scheduler that could be told to leave a host alone. A cordon is therefore Forewarn's own: no VM is placed
there by Forewarn, and whoever places VMs can read it (`/api/v1/hosts`, the metric `forewarn_host_cordoned`). It ends by
itself with its lease, which stands in the state database, so that a controller that starts anew knows it.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime

from forewarn.clock import Clock
from forewarn.domain.inventory import Cluster
from forewarn.domain.plan import Move
from forewarn.domain.situation import Workload
from forewarn.drivers.base import MoveProgress
from forewarn.drivers.cordons import Marks
from forewarn.drivers.libvirt.connections import Connections
from forewarn.drivers.libvirt.gather import Judge
from forewarn.drivers.libvirt.inventory import LibvirtInventory
from forewarn.drivers.libvirt.mover import LibvirtMover
from forewarn.drivers.libvirt.settings import LibvirtSettings
from forewarn.drivers.libvirt.words import Facts
from forewarn.errors import CordonRefused


class LibvirtDriver:
    """The hosts of `settings`. With `writing` False every connection is read-only, and nothing can be moved.

    `judge` says how critical a VM is. `leases` tells the hosts that a cordon of Forewarn's holds, and until when, as
    the state database has them. Raises ConfigurationError for a URI that is none.
    """

    name = "libvirt"

    def __init__(
        self,
        settings: LibvirtSettings,
        clock: Clock,
        judge: Judge,
        leases: Callable[[], Mapping[str, datetime]] = dict,
        *,
        writing: bool = True,
    ) -> None:
        uris = {name: host.uri for name, host in settings.hosts.items()}
        self.connections = Connections(uris, settings.connections, writing=writing)
        self._clock, self._leases = clock, leases
        self._marks = Marks()
        self._inventory = LibvirtInventory(settings, self.connections, clock, judge)
        self._mover = LibvirtMover(
            settings, self.connections, clock, self._facts, self._cordoned, self._inventory.dirty.await_quiet
        )
        self._shown: frozenset[str] = frozenset()  # cordoned in the last picture
        self._changes = 0

    def inventory(self) -> Cluster:
        seen = self._inventory.inventory()
        cordoned = self._all_cordoned()
        self._changes += cordoned != self._shown
        self._shown = cordoned
        hosts = tuple(replace(host, cordoned=host.name in cordoned) for host in seen.hosts)
        return replace(seen, generation=seen.generation + self._changes, hosts=hosts)

    def workloads(self) -> tuple[Workload, ...]:
        return self._inventory.workloads()

    def check(self, move: Move) -> None:
        self._mover.check(move)

    def expect(self, move: Move) -> None:
        if move.vm not in self._mover.moving():
            self._inventory.dirty.begin(move.source, move.vm)

    def start(self, move: Move) -> None:
        self._mover.start(move)

    def poll(self, move: Move) -> MoveProgress:
        return self._mover.poll(move)

    def cancel(self, move: Move) -> None:
        self._mover.cancel(move)

    def cordon(self, host: str, why: str, until: datetime) -> None:  # noqa: ARG002 - the executor's journal keeps why
        if host not in self.connections.hosts:
            raise CordonRefused(f"{host} is no host of libvirt.hosts")
        self._marks.mark(host, until)

    def uncordon(self, host: str) -> None:
        self._marks.lift(host)

    def metrics(self) -> Mapping[str, float]:
        """What the connections count, by the samples' names with their labels."""
        return self.connections.metrics()

    def close(self) -> None:
        """Ask nothing more. What moves goes on; a process that starts anew follows it."""
        self._inventory.close()
        self.connections.close()

    def _cordoned(self, host: str) -> bool:
        return host in self._all_cordoned()

    def _all_cordoned(self) -> frozenset[str]:
        """By the marks of this process, and by the leases of those before it."""
        now = self._clock.now()
        self._marks.ended(now)
        marked = {host for host in self.connections.hosts if self._marks.marked(host)}
        return frozenset(marked | {host for host, until in self._leases().items() if until > now})

    def _facts(self, host: str) -> Facts | None:
        picture, _ = self._inventory.pictures().get(host, (None, ""))
        return picture.facts if picture else None
