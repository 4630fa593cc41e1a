"""Network interfaces: traffic, errors and drops, and the state of the link.

Names and labels are node_exporter's (collectors `netdev`, `netclass`, `bonding` and `ethtool`). What the card's driver
and optics tell comes from `ethtool.py`, the neighbour from `neighbors.py`. Only interfaces that are hardware are
parts that can fail, so virtual ones (bridges, bonds, VLANs, guests' taps) are left out unless asked for.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from forewarn.clock import Clock, RealClock
from forewarn.collect import ethtool
from forewarn.collect.aer import link_errors
from forewarn.collect.neighbors import neighbor_samples
from forewarn.collect.redundancy.sets import Member, Set
from forewarn.collect.smart import Run, Runner
from forewarn.collect.tool import Tool, nothing
from forewarn.collect.tree import Tree, parse_number, pattern
from forewarn.domain.inventory import Kind
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

    statistics: str = (
        r"(?i)(?!.*(queue|ring|tc|prio|vport|rss|channel|ch|[tr]x)_?\d)"
        r".*(err|crc|fcs|fec|symbol|discard|drop|missed|jabber|undersize|oversize|fragment|corrupt|timeout|link_down).*"
    )
    """Regular expression over whole names of the driver's own counters that are told; by default errors, drops and link
    losses of the whole card, not of its queues. Reading them needs no privilege."""

    statistics_max: int = 100
    """Most of those counters per card."""

    ethtool: str = "ethtool"
    """Name or path of ethtool, which tells advertised speeds and reads optics; the latter wants CAP_NET_ADMIN. Without
    it a link's speed is held against the highest that was seen."""

    lldpcli: str = "lldpcli"
    """Name or path of lldpcli, which tells the switch and port behind each card; it wants lldpd's group or root."""

    interval_s: float = 300.0
    """Seconds between two questions to ethtool and lldpcli; reading optics takes a slow bus some tenths of a second."""

    timeout_s: float = 10.0
    """Seconds that one command may take."""


def parse_net_dev(text: str) -> Iterator[tuple[str, tuple[float | None, ...]]]:
    """Each interface of `/proc/net/dev` with its sixteen counters. A counter may stand right behind the colon."""
    for line in text.splitlines():
        name, colon, counters = line.partition(":")
        if colon:
            yield name.strip(), tuple(map(parse_number, counters.split()))


Statistics = Callable[[str], Mapping[str, int]]


class NetworkCollector:
    """How the network interfaces of this host do.

    Below another root than `/` no driver and no command is asked: they would tell of another machine. `run` and
    `statistics` stand in for them.
    """

    name = "network"

    def __init__(
        self,
        root: Path = Path("/"),
        settings: NetworkSettings | None = None,
        clock: Clock | None = None,
        run: Run | None = None,
        statistics: Statistics | None = None,
    ) -> None:
        own = root == Path("/")
        self._tree, self._clock = Tree(root), clock or RealClock()
        self._settings = settings or NetworkSettings()
        self._ignored = pattern("network.ignored", self._settings.ignored)
        self._wanted = pattern("network.statistics", self._settings.statistics)
        self._run = run or (Runner() if own else nothing)
        self._statistics: Statistics = statistics or (ethtool.statistics if own else lambda _: {})
        self._tools: dict[tuple[str, ...], Tool] = {}
        self._fastest: dict[str, float] = {}  # the highest speed seen, of interfaces that are there

    def collect(self) -> Iterator[Sample]:
        """Read every interface once; raises SourceAbsent where none is watched."""
        rows = [
            (name, counters)
            for name, counters in parse_net_dev(self._tree.text("proc/net/dev") or "")
            if self._is_watched(name)
        ]
        if not rows:
            raise SourceAbsent("no network interface to watch: /proc/net/dev names none that is hardware")
        names = [name for name, _ in rows]
        self._fastest = {name: speed for name, speed in self._fastest.items() if name in names}
        for name, counters in rows:
            for column, count in zip(COLUMNS, counters, strict=False):
                if count is not None:
                    yield Sample(f"node_network_{column}_total", {"device": name}, count)
            yield from self._link(name)
        driver, module = list(self._drivers(names)), list(self._optics(names))
        bonds = list(self._bonds())
        heard = list(neighbor_samples(self._tool(self._settings.lldpcli, "-f", "json", "show", "neighbors").text()))
        yield from (*driver, *module, *bonds, *heard)
        found = (("netclass", self._tree.names(INTERFACES)), ("ethtool", driver), ("optics", module))
        more = (("bonding", bonds), ("lldp", heard))
        sources = (("netdev", True), *((source, bool(samples)) for source, samples in (*found, *more)))
        yield from self._tree.report(self.name, sources)

    def _tool(self, command: str, *arguments: str) -> Tool:
        """The command with its last answer."""
        key = (command, *arguments)
        if key not in self._tools:
            settings = self._settings
            self._tools[key] = Tool(key, self._clock, self._run, settings.interval_s, settings.timeout_s)
        return self._tools[key]

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
        identity = self._identity(name, state)
        yield Sample("node_network_info", identity, 1.0)
        yield Sample("node_network_up", labels, float(state == "up"))
        for file, metric in NUMBERS:
            value = self._tree.number(f"{folder}/{file}")
            if value is not None:
                yield Sample(metric, labels, value)
        for severity, count in link_errors(self._tree, f"{folder}/device"):
            yield Sample("forewarn_network_pci_errors_total", {**labels, "severity": severity}, count)
        speed = self._tree.number(f"{folder}/speed")
        if speed is not None and speed >= 0:  # -1 is "unknown", also of most virtual cards
            yield Sample("node_network_speed_bytes", labels, speed * BYTES_PER_MEGABIT)
        yield from self._degraded(name, identity, speed)

    def _degraded(self, name: str, identity: Mapping[str, str], speed: float | None) -> Iterator[Sample]:
        """Whether a link that is up runs below what it has shown or offers."""
        offered = ethtool.parse_advertised(self._tool(self._settings.ethtool, name).text())
        for bytes_per_s, mode, duplex in offered:
            labels = {"device": name, "mode": mode, "duplex": duplex}
            yield Sample("node_network_advertised_speed_bytes", labels, bytes_per_s)
        if identity["operstate"] != "up":
            return
        if identity["duplex"] in ("full", "half"):
            labels = {"device": name, "what": "duplex"}
            yield Sample("forewarn_network_link_degraded", labels, float(identity["duplex"] == "half"))
        if speed is not None and speed > 0:
            now = speed * BYTES_PER_MEGABIT
            best = max((now, self._fastest.get(name, 0.0), *(offer[0] for offer in offered)))
            self._fastest[name] = max(now, self._fastest.get(name, 0.0))
            labels = {"device": name, "what": "speed"}
            yield Sample("forewarn_network_link_degraded", labels, float(now < best))

    def _drivers(self, names: list[str]) -> Iterator[Sample]:
        for name in names:
            found = self._statistics(name)
            yield from ethtool.statistic_samples(name, found, self._wanted, self._settings.statistics_max)

    def _optics(self, names: list[str]) -> Iterator[Sample]:
        for name in names:
            yield from ethtool.optics_samples(name, self._tool(self._settings.ethtool, "--module-info", name).text())

    def _bonds(self) -> Iterator[Sample]:
        for bond in self._tree.words(f"{INTERFACES}/bonding_masters").split():
            links = self._tree.words(f"{INTERFACES}/{bond}/bonding/slaves").split()
            states = {link: self._tree.words(f"{INTERFACES}/{link}/bonding_slave/mii_status") for link in links}
            standing = sum(state == "up" for state in states.values())
            least = self._tree.number(f"{INTERFACES}/{bond}/bonding/min_links") or 1.0
            yield Sample("node_bonding_slaves", {"master": bond}, float(len(links)))
            yield Sample("node_bonding_active", {"master": bond}, float(standing))
            active = self._tree.words(f"{INTERFACES}/{bond}/bonding/active_slave")
            if active:
                yield Sample("forewarn_bonding_active_info", {"master": bond, "device": active}, 1.0)
            members = tuple(Member(link, "active" if state == "up" else "failed") for link, state in states.items())
            yield from Set(bond, members, max(0, standing - max(1, int(least))), Kind.NETWORK).samples()

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
