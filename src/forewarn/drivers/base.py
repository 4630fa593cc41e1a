"""What a driver does. Reading and writing are two protocols, so that whoever may only look holds nothing that moves."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from forewarn.domain.inventory import Cluster
from forewarn.domain.plan import Move, MoveState
from forewarn.domain.situation import Workload

MIB = 1024**2


@dataclass(frozen=True, slots=True)
class Copying:
    """What the hypervisor says of a running copy; 0 where it does not say."""

    total_bytes: int = 0
    left_bytes: int = 0  # of this round
    dirty_bytes_per_s: float = 0.0
    rounds: int = 0
    downtime_ms: float = 0.0  # expected
    throttle_percent: int = 0  # how far the guest is slowed down so that the copy can end

    def __str__(self) -> str:
        slowed = f", slowed down by {self.throttle_percent} %" if self.throttle_percent else ""
        return (
            f"round {self.rounds}, {self.left_bytes / MIB:.0f} of {self.total_bytes / MIB:.0f} MiB left, dirtying "
            f"{self.dirty_bytes_per_s / MIB:.1f} MiB/s{slowed}"
        )


@dataclass(frozen=True, slots=True)
class MoveProgress:
    """How a migration stands, as the placement service sees it. `state` is RUNNING or final."""

    state: MoveState
    progress: float = 0.0  # 0..1 of the first copy
    downtime_ms: float = 0.0  # measured, once final
    text: str = ""
    duration_s: float = 0.0  # measured, once final; 0 where the service does not say
    copying: Copying | None = None  # while it runs, where the service says more
    left_behind: str = ""  # by a VM that has arrived, for people to know of


class Inventory(Protocol):
    """The reading half of a driver: harmless."""

    name: str

    def inventory(self) -> Cluster:
        """A picture of the cluster now. Raises DriverUnavailable."""
        ...

    def workloads(self) -> tuple[Workload, ...]:
        """What the VMs do, as far as the placement service knows."""
        ...


class Mover(Protocol):
    """The writing half of a driver."""

    def check(self, move: Move) -> None:
        """Raise MoveRefused, with the reason, if this move could not start now."""
        ...

    def expect(self, move: Move) -> None:
        """A move waits for its turn: what helps to foretell it may be measured now. Returns at once, never fails."""
        ...

    def start(self, move: Move) -> None:
        """Start a live migration and return at once. Raises MoveRefused or DriverUnavailable; then nothing runs."""
        ...

    def poll(self, move: Move) -> MoveProgress:
        """How the move stands, judged by where the VM is. A move that the driver never knew is FAILED."""
        ...

    def cancel(self, move: Move) -> None:
        """Ask the placement service to abort; the outcome comes by `poll`. The VM stays where it was."""
        ...


class Cordoner(Protocol):
    """What keeps new VMs away from a host. It never touches the VMs that are there."""

    def cordon(self, host: str, why: str, until: datetime) -> None:
        """Let no new VM come to `host`, at most until then. Raises CordonRefused or DriverUnavailable.

        Repeated for a host that Forewarn has cordoned, it sets the new end. A host that somebody else has cordoned is
        refused: whose mark it is must stay clear.
        """
        ...

    def uncordon(self, host: str) -> None:
        """Lift Forewarn's own cordon, and only that; nothing happens where there is none. Raises DriverUnavailable."""
        ...


class Driver(Inventory, Mover, Cordoner, Protocol):
    """A whole driver."""


class Watched:
    """The reading half of a driver and nothing else: whoever holds it has no way to move or cordon anything."""

    def __init__(self, driver: Inventory) -> None:
        self.name = driver.name
        self.inventory = driver.inventory
        self.workloads = driver.workloads
