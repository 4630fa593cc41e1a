"""Guests of the laboratory: what one is, what its console tells, and how one is started or taken out of the cupboard.

A booted guest is saved once and kept in the cache; from then on it runs again within a second, counting on from where
it was saved.
"""

import hashlib
import re
import shutil
import tempfile
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from forewarn.clock import Clock
from forewarn.errors import LaboratoryError
from forewarn.lab.commands import locked, run
from forewarn.lab.libvirt.host import Host, Shelf
from forewarn.lab.libvirt.network import guest_address, guest_mac
from forewarn.lab.libvirt.processes import wait
from forewarn.lab.settings import LabSettings

BOOT_S = 120.0
SAVED_AT = 5  # beats that a guest has made when it is saved
BEAT = re.compile(r"^BEAT count=(\d+) gap_ms=(\d+) rounds=(\d+) disk=(\d+) (\w+)\r?$", re.MULTILINE)


@dataclass(frozen=True)
class Guest:
    """A guest, and how hard it makes it to move it."""

    name: str
    number: int
    """From 1 to 150, by which it gets its address in the laboratory's network; two guests have different ones."""
    memory_mib: int = 96
    written_mib: int = 8
    """How much of the memory it writes, over and over; at most a third of it."""
    write_mib_per_s: float = 4.0
    disk_mib: int = 0
    """Size of its disk, 0 for none."""
    disk_shared: bool = True
    """Whether the disk lies where all hosts see it, or on the host alone and moves with the guest."""
    vcpus: int = 1
    metadata: str = ""
    """What stands in its `<metadata>`, as XML."""

    @property
    def uuid(self) -> str:
        return f"f0f0f0f0-0000-4000-8000-{self.number:012d}"

    @property
    def disk(self) -> str:
        """The path of its disk, as libvirt on a host sees it."""
        return f"/lab/{'shared' if self.disk_shared else 'local'}/{self.name}.img"

    def xml(self) -> str:
        """What libvirt is told. Paths are the same on all hosts and in all laboratories."""
        words = f"memory_mib={self.written_mib} write_mib_per_s={self.write_mib_per_s:g}"
        words += f" disk={'/dev/vda' if self.disk_mib else 'none'} address={guest_address(self.number)}/24"
        console = f"/lab/console/{self.name}.log"
        disk = f"""
    <disk type='file' device='disk'><driver name='qemu' type='raw' cache='none'/><source file={quoteattr(self.disk)}/>
      <target dev='vda' bus='virtio'/></disk>"""
        return f"""<domain type='qemu'>
  <name>{escape(self.name)}</name><uuid>{self.uuid}</uuid><metadata>{self.metadata}</metadata>
  <memory unit='MiB'>{self.memory_mib}</memory><vcpu>{self.vcpus}</vcpu>
  <os><type arch='x86_64' machine='pc'>hvm</type><kernel>/lab/guest/vmlinuz</kernel><initrd>/lab/guest/initrd</initrd>
    <cmdline>console=ttyS0 quiet panic=1 {words}</cmdline></os>
  <features><acpi/><tcg><tb-cache unit='MiB'>32</tb-cache></tcg></features>
  <on_poweroff>destroy</on_poweroff><on_reboot>destroy</on_reboot><on_crash>destroy</on_crash>
  <devices><emulator>/usr/bin/qemu-system-x86_64</emulator>{disk if self.disk_mib else ""}
    <interface type='bridge'><mac address='{guest_mac(self.number)}'/><source bridge='br0'/><model type='virtio'/>
    </interface>
    <controller type='usb' model='none'/><memballoon model='virtio'><stats period='1'/></memballoon>
    <serial type='file'><source path={quoteattr(console)} append='on'/><target port='0'/></serial>
  </devices>
</domain>
"""


@dataclass(frozen=True)
class Beat:
    """One line of a guest's console; see `guest/witness.c`."""

    count: int
    gap_ms: int
    rounds: int
    disk: int
    word: str

    @property
    def ok(self) -> bool:
        """Whether all that the guest read back was what it had written."""
        return self.word == "ok"


def beats(console: str) -> list[Beat]:
    r"""The lines of a console that are beats.

    >>> beats("GUEST up\nBEAT count=7 gap_ms=21 rounds=3 disk=0 ok\r\nBEAT cou")[0].count
    7
    """
    return [Beat(int(m[1]), int(m[2]), int(m[3]), int(m[4]), m[5]) for m in BEAT.finditer(console)]


def flaws(console: str) -> list[str]:
    """What is wrong with a guest by its console: counts that jump, what it read back wrong, or what its kernel said."""
    seen = beats(console)
    found = [
        f"{before.count} was followed by {after.count}"
        for before, after in pairwise(seen)
        if after.count != before.count + 1
    ]
    found += [f"{beat.word} was not what had been written, at {beat.count}" for beat in seen if not beat.ok][:1]
    found += re.findall(
        r"^.*(?:BUG:|Oops|Out of memory|segfault|Kernel panic|GUEST witness ended).*$", console, re.MULTILINE
    )[:1]
    return found


class Cupboard:
    """Starts guests on hosts, and keeps those that have booted."""

    def __init__(self, shelf: Shelf, settings: LabSettings, clock: Clock) -> None:
        self._shelf, self._settings, self._clock = shelf, settings, clock

    def console(self, name: str) -> str:
        """What a guest wrote on its console, on whichever hosts it was."""
        path = self._shelf.console / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def boot(self, host: Host, guest: Guest) -> None:
        """Start a guest from nothing and wait for its first beat: some seconds."""
        self._fresh(guest)
        if guest.disk_mib:
            with self._disk(host, guest).open("wb") as file:
                file.truncate(guest.disk_mib << 20)
        self._create(host, guest)
        self._await(guest, 1)

    def take_out(self, host: Host, guest: Guest) -> None:
        """Start a guest as it was saved, and wait for its next beat; one that never was is booted and saved first."""
        kept = self._shelf.saved / self._key(guest)
        with locked(self._shelf.saved / "lock"):
            if not kept.exists():
                self._save(host, guest, kept)
        self._fresh(guest)
        if guest.disk_mib:
            run(["cp", "--sparse=always", kept / "disk", self._disk(host, guest)])
        host.virsh("restore", f"/lab/saved/{kept.name}/state")
        self._await(guest, 1)

    def _key(self, guest: Guest) -> str:
        """What names a saved guest: all that it was made from."""
        built = (self._shelf.guest.name, guest.xml(), guest.disk_mib, SAVED_AT)
        return f"{guest.name}-{hashlib.sha256(repr(built).encode()).hexdigest()[:12]}"

    def _save(self, host: Host, guest: Guest, kept: Path) -> None:
        self.boot(host, guest)
        self._await(guest, SAVED_AT)
        draft = Path(tempfile.mkdtemp(prefix="draft-", dir=self._shelf.saved))
        try:
            host.virsh("save", guest.name, f"/lab/saved/{draft.name}/state")
            if guest.disk_mib:
                run(["cp", "--sparse=always", self._disk(host, guest), draft / "disk"])
            draft.rename(kept)
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    def _create(self, host: Host, guest: Guest) -> None:
        host.node.run_inside(
            *("virsh", "--quiet", "-c", "qemu:///system", "create", "/dev/stdin"), text=guest.xml(), timeout_s=120.0
        )

    def _fresh(self, guest: Guest) -> None:
        """An empty console. Raises LaboratoryError where the guest cannot be as it is asked."""
        if guest.written_mib * 3 > guest.memory_mib:
            raise LaboratoryError(f"{guest.name} writes {guest.written_mib} MiB: give it three times that as memory")
        (self._shelf.console / f"{guest.name}.log").write_bytes(b"")

    def _disk(self, host: Host, guest: Guest) -> Path:
        return (self._shelf.shared if guest.disk_shared else host.local) / Path(guest.disk).name

    def _await(self, guest: Guest, count: int) -> None:
        def told() -> bool:
            console = self.console(guest.name)
            if found := flaws(console):
                raise LaboratoryError(f"the guest {guest.name} did not come up: {found[0]}")
            return len(beats(console)) >= count

        wait(told, self._clock, BOOT_S, f"the guest {guest.name}")
