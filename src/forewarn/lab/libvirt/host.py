"""A host of the laboratory: a node in which libvirtd runs, reachable from this machine and from the other hosts."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from forewarn.clock import Clock
from forewarn.errors import LaboratoryError
from forewarn.lab.libvirt.network import Cable, host_address
from forewarn.lab.libvirt.node import Node, NodePlan
from forewarn.lab.libvirt.processes import wait

SERVICE = ("/usr/sbin/libvirtd", "--listen")
SOCKET_PATH_MAX = 107  # what the kernel takes
READY_S = 60.0
LIBVIRTD = """\
listen_tls = 0
listen_tcp = 1
listen_addr = "0.0.0.0"
auth_tcp = "none"
auth_unix_ro = "none"
auth_unix_rw = "none"
host_uuid = "{uuid}"
keepalive_interval = 2
keepalive_count = 3
log_outputs = "2:file:/var/log/libvirt/libvirtd.log"
"""
# A lost peer is noticed after six seconds; what lies in /lab/shared counts as shared storage, so libvirt's own check of
# what may be migrated holds.
QEMU = """\
user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
security_driver = "none"
namespaces = []
stdio_handler = "file"
keepalive_interval = 2
keepalive_count = 3
migration_address = "{address}"
migration_host = "{address}"
shared_filesystems = ["/lab/shared"]
"""


@dataclass(frozen=True)
class Shelf:
    """The folders of one laboratory that all its hosts see, under /lab."""

    folder: Path
    guest: Path
    saved: Path

    @property
    def shared(self) -> Path:
        return self.folder / "shared"

    @property
    def console(self) -> Path:
        return self.folder / "console"


class Host:
    """One host. It is switched on by `power_on` and off by `power_off`, which is no shutdown."""

    def __init__(self, plan: NodePlan, number: int, switch: Node, node: Node, clock: Clock) -> None:
        self.plan, self.number, self._switch, self.node, self._clock = plan, number, switch, node, clock

    @property
    def name(self) -> str:
        return self.plan.name

    @property
    def address(self) -> str:
        """Its address in the laboratory's network."""
        return host_address(self.number)

    @property
    def cable(self) -> Cable:
        return Cable(self._switch, self.node, self.number)

    @property
    def uri(self) -> str:
        """Where this machine's processes reach its libvirt."""
        return f"qemu+unix:///system?socket={self.plan.folder / 'run/libvirt/libvirt-sock'}"

    @property
    def uri_read_only(self) -> str:
        """The same for whoever only looks: a connection here cannot change anything."""
        return f"qemu+unix:///system?socket={self.plan.folder / 'run/libvirt/libvirt-sock-ro'}"

    @property
    def peer_uri(self) -> str:
        """Where the other hosts reach its libvirt."""
        return f"qemu+tcp://{self.name}/system"

    @property
    def local(self) -> Path:
        """The folder that only this host sees, as /lab/local."""
        return self.plan.folder / "local"

    def virsh(self, *words: str | Path, timeout_s: float = 120.0) -> str:
        """What `virsh` prints on this host."""
        return self.node.run_inside("virsh", "--quiet", "-c", "qemu:///system", *words, timeout_s=timeout_s)

    def answers(self) -> bool:
        """Whether its libvirt takes connections."""
        if not (self.plan.folder / "run/libvirt/libvirt-sock").exists():
            return False
        try:
            return bool(self.virsh("uri", timeout_s=10.0))
        except LaboratoryError:
            return False

    def guests(self) -> tuple[str, ...]:
        """The names of the guests that run here."""
        return tuple(sorted(self.virsh("list", "--name").split()))

    def kill_libvirt(self) -> None:
        """Let libvirtd alone die; its guests run on, which nobody sees."""
        self.node.run_inside("sh", "-c", "kill -9 $(cat /run/libvirtd.pid)")

    def start_libvirt(self) -> None:
        """Start libvirtd again after `kill_libvirt`; it finds the guests that run."""
        self.node.run_inside(*SERVICE, "--daemon")
        await_libvirt([self], self._clock)

    def power_off(self) -> None:
        """Cut its power: libvirt, guests and agents are gone at once."""
        self.node.kill()


def host_plan(laboratory: str, number: int, shelf: Shelf, image: Path) -> NodePlan:
    """What makes host `number`, from 1 on. Raises LaboratoryError where its socket's path would be too long."""
    name = f"host{number:02d}"
    folder = shelf.folder / name
    if len(str(folder / "run/libvirt/libvirt-sock-ro")) > SOCKET_PATH_MAX:
        raise LaboratoryError(f"{folder} is too long for sockets: choose a shorter lab.folder or name")
    own = {"etc/libvirt": "etc", "var/lib/libvirt": "lib", "var/log/libvirt": "log", "var/cache/libvirt": "cache"}
    binds = {where: folder / what for where, what in {**own, "lab/local": "local"}.items()}
    binds |= {
        "lab/shared": shelf.shared,
        "lab/console": shelf.console,
        "lab/guest": shelf.guest,
        "lab/saved": shelf.saved,
    }
    return NodePlan(laboratory, name, folder, image, binds, SERVICE)


def configure(plan: NodePlan, number: int, names: Mapping[str, str]) -> None:
    """Write what a host's libvirt and its name service read. `names` holds addresses by name."""
    for name in ("etc/qemu", "lib/images", "lib/qemu", "log/qemu", "cache/qemu", "local", "run/libvirt"):
        (plan.folder / name).mkdir(parents=True, exist_ok=True)
    own = {"address": host_address(number), "uuid": uuid.uuid5(uuid.NAMESPACE_DNS, f"{plan.name}.{plan.laboratory}")}
    (plan.folder / "etc/libvirtd.conf").write_text(LIBVIRTD.format(**own))
    (plan.folder / "etc/qemu.conf").write_text(QEMU.format(**own))
    lines = ["127.0.0.1 localhost", *(f"{address} {name}" for name, address in names.items())]
    (plan.folder / "hosts").write_text("\n".join(lines) + "\n")


def await_libvirt(hosts: list[Host], clock: Clock) -> None:
    """Until the libvirt of each host answers."""
    for host in hosts:
        wait(host.answers, clock, READY_S, f"libvirt on {host.name}")
