"""The laboratory's network: a switch, which is a node of its own, and a cable from it to each host.

Every host has a bridge for its guests, so that they keep their addresses where they go. Nothing of it is seen in the
machine's own network. Cables can be cut and slowed.
"""

from dataclasses import dataclass

from forewarn.errors import LaboratoryError
from forewarn.lab.commands import run
from forewarn.lab.libvirt.node import Node

NET = "10.77.0"
SWITCH_ADDRESS = f"{NET}.254"
GUESTS_FROM = 100  # the last number of an address: hosts below, guests from here on
GUESTS_MAX = 150


def host_address(number: int) -> str:
    """The address of host `number`, from 1 on."""
    return f"{NET}.{number}"


def guest_address(number: int) -> str:
    """The address of guest `number`, from 1 on."""
    if not 1 <= number <= GUESTS_MAX:
        raise LaboratoryError(f"guests bear numbers from 1 to {GUESTS_MAX}, not {number}")
    return f"{NET}.{GUESTS_FROM + number}"


def guest_mac(number: int) -> str:
    """The hardware address of guest `number`."""
    return f"52:54:00:77:00:{number:02x}"


def prepare_switch(switch: Node) -> None:
    """The bridge that all cables end in."""
    _ip(
        switch,
        "link set lo up",
        "link add br0 address 02:00:00:77:02:00 type bridge",
        f"addr add {SWITCH_ADDRESS}/24 dev br0",
        "link set br0 up",
    )


@dataclass(frozen=True)
class Cable:
    """The cable between the switch and one host. Speeds hold in both directions."""

    switch: Node
    host: Node
    number: int

    @property
    def port(self) -> str:
        return f"port{self.number}"

    def plug(self) -> None:
        """Lay it, and give the host its address.

        A bridge takes the lowest address of what is in it, and all taps of guests look alike, so both ends and both
        bridges get fixed low ones: else two hosts may end up with the same.
        """
        if f"{self.port}@" in self.switch.run_inside("ip", "-o", "link"):
            _ip(self.switch, f"link del {self.port}")  # of a host that was switched off a moment ago
        end = f"peer name eth0 address 02:00:00:77:01:{self.number:02x} netns {self.host.number}"
        # The number above counts in this machine's processes, not in the switch's.
        command = f"link add {self.port} type veth {end}".split()
        root = f"--root={self.switch.plan.image}"
        run(["nsenter", f"--net=/proc/{self.switch.number}/ns/net", root, "ip", *command])
        _ip(self.switch, f"link set {self.port} master br0 up")
        _ip(
            self.host,
            "link set lo up",
            f"link add br0 address 02:00:00:77:00:{self.number:02x} type bridge",
            "link set eth0 master br0 up",
            f"addr add {host_address(self.number)}/24 dev br0",
            "link set br0 up",
        )

    def cut(self) -> None:
        """Nothing goes through any more."""
        _ip(self.switch, f"link set {self.port} down")

    def mend(self) -> None:
        """Undo `cut`."""
        _ip(self.switch, f"link set {self.port} up")

    def slow(self, mbit_per_s: float | None) -> None:
        """Let no more than so much through, in either direction; None lets through what the machine can."""
        for node, device in ((self.switch, self.port), (self.host, "eth0")):
            if mbit_per_s is None:
                if " tbf " in node.run_inside("tc", "qdisc", "show", "dev", device):
                    node.run_inside("tc", "qdisc", "del", "dev", device, "root")
            else:
                shape = f"tbf rate {mbit_per_s:g}mbit burst 64kb latency 50ms".split()
                node.run_inside("tc", "qdisc", "replace", "dev", device, "root", *shape)


def _ip(node: Node, *lines: str) -> None:
    """Run lines of `ip` in one go."""
    node.run_inside("ip", "-batch", "-", text="\n".join(lines) + "\n")
