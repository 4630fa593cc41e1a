"""Network interfaces: traffic, errors and drops, and the state of the link.

Names and labels are node_exporter's (collectors `netdev` and `netclass`). Only interfaces that are hardware are
parts that can fail, so virtual ones (bridges, bonds, VLANs, guests' taps) are left out unless asked for.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from forewarn.collect.tree import Tree, parse_number, pattern
from forewarn.domain.telemetry import Sample
from forewarn.errors import SourceAbsent

INTERFACES = "sys/class/net"
BYTES_PER_MEGABIT = 125_000.0
# The columns of /proc/net/dev after the name, in order, as node_exporter names them.
COLUMNS = (
    *(f"receive_{word}" for word in ("bytes", "packets", "errs", "drop", "fifo", "frame", "compressed", "multicast")),
    *(f"transmit_{word}" for word in ("bytes", "packets", "errs", "drop", "fifo", "colls", "carrier", "compressed")),
)
# Files of /sys/class/net/* with plain numbers, and what node_exporter calls them.
NUMBERS = (
    ("carrier", "node_network_carrier"),
    ("carrier_changes", "node_network_carrier_changes_total"),
    ("carrier_down_count", "node_network_carrier_down_changes_total"),
    ("carrier_up_count", "node_network_carrier_up_changes_total"),
    ("mtu", "node_network_mtu_bytes"),
    ("tx_queue_len", "node_network_transmit_queue_length"),
)
FLAG_UP = 1  # IFF_UP: whether the administrator wants it up


@dataclass(frozen=True)
class NetworkSettings:
    """Which interfaces are watched."""

    ignored: str = r"lo|veth.*|tap.*|vnet.*|tun.*|docker.*|virbr.*|cali.*|ovs-.*|br-.*"
    """Regular expression over whole interface names to leave out. By default the loopback, containers' and guests'
    interfaces, of which a hypervisor has hundreds."""

    virtual: bool = False
    """Whether interfaces without hardware behind them (below `/sys/devices/virtual`) are watched too. Off, because they
    carry the address of the hardware below them and cannot fail by themselves."""


def parse_net_dev(text: str) -> Iterator[tuple[str, tuple[float | None, ...]]]:
    """Each interface of `/proc/net/dev` with its sixteen counters. A counter may stand right behind the colon."""
    for line in text.splitlines():
        name, colon, counters = line.partition(":")
        if colon:
            yield name.strip(), tuple(map(parse_number, counters.split()))


class NetworkCollector:
    """How the network interfaces of this host do."""

    name = "network"

    def __init__(self, root: Path = Path("/"), settings: NetworkSettings | None = None) -> None:
        self._tree = Tree(root)
        self._settings = settings or NetworkSettings()
        self._ignored = pattern("network.ignored", self._settings.ignored)

    def collect(self) -> Iterator[Sample]:
        """Read every interface once; raises SourceAbsent where none is watched."""
        rows = [
            (name, counters)
            for name, counters in parse_net_dev(self._tree.text("proc/net/dev") or "")
            if self._is_watched(name)
        ]
        if not rows:
            raise SourceAbsent("no network interface to watch: /proc/net/dev names none that is hardware")
        for name, counters in rows:
            for column, count in zip(COLUMNS, counters, strict=False):
                if count is not None:
                    yield Sample(f"node_network_{column}_total", {"device": name}, count)
            yield from self._link(name)
        yield from self._tree.report(self.name, (("netdev", True), ("netclass", bool(self._tree.names(INTERFACES)))))

    def _is_watched(self, name: str) -> bool:
        if self._ignored.fullmatch(name):
            return False
        place = self._tree.path(f"{INTERFACES}/{name}").resolve().parts  # .../devices/virtual/net/lo
        return self._settings.virtual or place[-3:-1] != ("virtual", "net")

    def _link(self, name: str) -> Iterator[Sample]:
        folder, labels = f"{INTERFACES}/{name}", {"device": name}
        state = self._tree.words(f"{folder}/operstate")
        if not state:
            return
        yield Sample("node_network_info", self._identity(name, state), 1.0)
        yield Sample("node_network_up", labels, float(state == "up"))
        for file, metric in NUMBERS:
            value = self._tree.number(f"{folder}/{file}")
            if value is not None:
                yield Sample(metric, labels, value)
        speed = self._tree.number(f"{folder}/speed")
        if speed is not None and speed >= 0:  # -1 is "unknown", also of most virtual cards
            yield Sample("node_network_speed_bytes", labels, speed * BYTES_PER_MEGABIT)

    def _identity(self, name: str, state: str) -> dict[str, str]:
        """Who it is. A card in a bond shows the bond's address, the same for all: its own is told by the bond."""
        folder = f"{INTERFACES}/{name}"
        flags = self._tree.number(f"{folder}/flags", base=16)
        own = self._tree.words(f"{folder}/bonding_slave/perm_hwaddr")
        return {
            "address": own or self._tree.words(f"{folder}/address"),
            "adminstate": "unknown" if flags is None else "up" if int(flags) & FLAG_UP else "down",
            "broadcast": self._tree.words(f"{folder}/broadcast"),
            "device": name,
            "duplex": self._tree.words(f"{folder}/duplex"),
            "ifalias": self._tree.words(f"{folder}/ifalias"),
            "operstate": state,
        }
