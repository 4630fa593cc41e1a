"""Moves in the laboratory: the driver over its hosts, guests that are defined, and what a move did to them."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from forewarn.clock import RealClock
from forewarn.decide import criticality
from forewarn.domain.inventory import Criticality, Kind
from forewarn.domain.plan import PROACTIVE_FAILURE_AVOIDANCE, Move, MoveState
from forewarn.drivers.base import MoveProgress
from forewarn.drivers.libvirt.driver import LibvirtDriver
from forewarn.drivers.libvirt.move_settings import How, Link, MoveSettings
from forewarn.drivers.libvirt.settings import ConnectionSettings, HostSettings, LibvirtSettings
from forewarn.errors import TemporaryError
from forewarn.lab.libvirt.guests import Guest, beats, flaws
from forewarn.lab.libvirt.host import Host
from forewarn.lab.libvirt.laboratory import Laboratory
from forewarn.lab.libvirt.network import guest_address
from tests.support import eventually

MIB = 2**20
PEERS = "qemu+tcp://{address}/system"

# Sends an echo request each 20 ms until its input ends, and tells when each answer came, in seconds.
PING = """
import select, socket, struct, sys, time
wire = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
head = struct.pack("!BBHHH", 8, 0, 0xF7FF - 0x7777, 0, 0x7777)
due = time.monotonic()
while True:
    due += 0.02
    try:
        wire.sendto(head, (sys.argv[1], 0))
    except OSError:
        pass
    while (left := due - time.monotonic()) > 0:
        if select.select([wire], [], [], left)[0]:
            answer = wire.recv(200)
            if answer[20] == 0 and answer[26:28] == b"\\x77\\x77":
                print(f"{time.monotonic():.3f}", flush=True)
"""


def libvirt_settings(
    laboratory: Laboratory, how: How = How.EITHER, *, copy_disks: bool = False, open_s: float = 10.0, **moves: object
) -> LibvirtSettings:
    """The laboratory's hosts, as an operator would write them down."""
    bridge = ("bridge:br0",)  # libvirt cannot list bridges there
    hosts = {host.name: HostSettings(host.uri, offers=bridge) for host in laboratory.hosts}
    links = tuple(Link(host.name, "eth0", host.address) for host in laboratory.hosts)
    given = {"links": links, "peer_uri": PEERS, "watch_s": 0.2, **moves}
    return LibvirtSettings(
        hosts=hosts,
        connections=ConnectionSettings(open_s=open_s),
        shared_directories=("/lab/shared",),
        copy_disks=copy_disks,
        memory_kept_bytes=64 * MIB,
        dirty_rate_s=1,
        moves=MoveSettings(how=how, **given),  # type: ignore[arg-type]
    )


def driver_of(settings: LibvirtSettings, leases: Callable[[], Mapping[str, object]] = dict) -> LibvirtDriver:
    """A driver that has looked once, as the control loop does before it moves anything."""
    driver = LibvirtDriver(settings, RealClock(), criticality.infer, leases)  # type: ignore[arg-type]
    driver.inventory()
    return driver


def move_of(guest: Guest, source: str, target: str, kind: Kind = Kind.CPU, name: str = "", device: str = "") -> Move:
    return Move(
        id=name or f"{guest.name}-{source}-{target}",
        vm=guest.uuid,
        vm_name=guest.name,
        criticality=Criticality.NORMAL,
        source=source,
        target=target,
        component=f"{kind}:{source}/part",
        kind=kind,
        risk=0.2,
        threshold=0.1,
        rule=PROACTIVE_FAILURE_AVOIDANCE,
        reason="a part fails soon",
        device=device,
    )


def define(host: Host, guest: Guest) -> None:
    """Give a running guest a definition that its host starts at boot."""
    host.node.run_inside("virsh", "--quiet", "-c", "qemu:///system", "define", "/dev/stdin", text=guest.xml())
    host.virsh("autostart", guest.name)


def defined_on(laboratory: Laboratory, guest: Guest) -> tuple[str, ...]:
    """The hosts that know a definition of it."""
    return tuple(host.name for host in laboratory.hosts if guest.name in host.virsh("list", "--all", "--name").split())


def starts_at_boot(host: Host, guest: Guest) -> bool:
    return guest.name in host.virsh("list", "--all", "--autostart", "--name").split()


def count_of(laboratory: Laboratory, guest: Guest) -> int:
    """The beats of its console so far; nothing that it counted, wrote or read back may be wrong."""
    console = laboratory.cupboard.console(guest.name)
    assert flaws(console) == []
    return len(beats(console))


def goes_on(laboratory: Laboratory, guest: Guest, beats_more: int = 5) -> None:
    """It counts on from here, and nothing was lost."""
    before = count_of(laboratory, guest)
    eventually(lambda: count_of(laboratory, guest) >= before + beats_more, deadline=60)


def under_way(driver: LibvirtDriver, move: Move) -> MoveProgress:
    """Once memory is being sent."""

    def sending() -> MoveProgress | None:
        progress = driver.poll(move)
        assert not progress.state.final, progress
        return progress if progress.copying is not None and progress.copying.total_bytes > 0 else None

    found = eventually(sending, deadline=60)
    assert found is not None
    return found


def end_of(driver: LibvirtDriver, move: Move, deadline: float = 120.0) -> MoveProgress:
    """How the move ended. A host that does not answer at the moment is asked again."""

    def final() -> MoveProgress | None:
        try:
            progress = driver.poll(move)
        except TemporaryError:
            return None
        return progress if progress.state.final else None

    found = eventually(final, deadline=deadline, every=0.1)
    assert found is not None
    return found


def arrives(driver: LibvirtDriver, move: Move) -> MoveProgress:
    driver.start(move)
    progress = end_of(driver, move)
    assert progress.state is MoveState.SUCCEEDED, progress
    return progress


@dataclass(frozen=True)
class Pinged:
    """When a guest answered, by the clock of this machine."""

    file: Path

    @property
    def answers(self) -> list[float]:
        return [float(line) for line in self.file.read_text().split()]

    def longest_gap_ms(self) -> float:
        """The longest time without an answer."""
        return 1000.0 * max((after - before for before, after in pairwise(self.answers)), default=0.0)


@contextmanager
def pinged(laboratory: Laboratory, guest: Guest, folder: Path) -> Iterator[Pinged]:
    """Asks the guest from outside each 20 ms whether it is there."""
    found = Pinged(folder / "answers")
    with found.file.open("wb") as output:
        pinging = laboratory.switch.start([sys.executable, "-c", PING, guest_address(guest.number)], output)
        try:
            eventually(lambda: len(found.answers) > 5, deadline=30)
            yield found
            before = len(found.answers)
            eventually(lambda: len(found.answers) > before, deadline=30)
        finally:
            pinging.end()
