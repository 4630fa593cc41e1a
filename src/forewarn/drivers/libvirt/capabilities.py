"""What a host can do, read from libvirt's documents of capabilities, networks and interfaces. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from forewarn.drivers.libvirt.documents import Element, attribute, number, root, size_bytes, text_of

KIB = 1024


@dataclass(frozen=True, slots=True)
class Pages:
    """The pages of one size on a NUMA node."""

    size_bytes: int
    count: int


@dataclass(frozen=True, slots=True)
class Node:
    """One NUMA node."""

    id: int
    memory_bytes: int
    cpus: frozenset[int]
    pages: tuple[Pages, ...] = ()  # smallest first; the first size is the ordinary one


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a host is made of and what guests it can run, whatever runs there now."""

    arch: str = ""
    cpu_vendor: str = ""
    cpu_model: str = ""  # the named model that comes nearest
    cpu_features: frozenset[str] = frozenset()  # beyond that model
    microcode: str = ""
    nodes: tuple[Node, ...] = ()
    archs: frozenset[str] = frozenset()  # of guests
    machines: frozenset[str] = frozenset()  # machine types, by name and alias
    emulators: frozenset[str] = frozenset()  # paths
    virt_types: frozenset[str] = frozenset()  # kvm, qemu

    @property
    def cpus(self) -> frozenset[int]:
        """The ids of the host's CPUs."""
        return frozenset().union(*(node.cpus for node in self.nodes))

    @property
    def memory_bytes(self) -> int:
        return sum(node.memory_bytes for node in self.nodes)

    @property
    def huge_pages(self) -> frozenset[int]:
        """Sizes in bytes of the huge pages that are set aside."""
        return frozenset(pages.size_bytes for node in self.nodes for pages in node.pages[1:] if pages.count)


def parse_capabilities(text: str) -> Capabilities:
    """Read `virConnectGetCapabilities`. Raises InventoryError."""
    tree = root(text, "capabilities", "the host's capabilities")
    guests = tree.findall("guest/arch")
    return Capabilities(
        arch=text_of(tree.find("host/cpu/arch")),
        cpu_vendor=text_of(tree.find("host/cpu/vendor")),
        cpu_model=text_of(tree.find("host/cpu/model")),
        cpu_features=frozenset(attribute(feature, "name") for feature in tree.findall("host/cpu/feature")),
        microcode=attribute(tree.find("host/cpu/microcode"), "version"),
        nodes=tuple(map(_node, tree.findall("host/topology/cells/cell"))),
        archs=frozenset(arch.get("name", "") for arch in guests),
        machines=frozenset(text_of(machine) for arch in guests for machine in arch.iter("machine")),
        emulators=frozenset(text_of(emulator) for arch in guests for emulator in arch.iter("emulator")),
        virt_types=frozenset(domain.get("type", "") for arch in guests for domain in arch.findall("domain")),
    )


def _node(cell: Element) -> Node:
    pages = (
        Pages(number(found.get("size", ""), "a size of pages") * KIB, number(text_of(found), "a number of pages"))
        for found in cell.findall("pages")
    )
    return Node(
        id=number(cell.get("id", ""), "the id of a NUMA node"),
        memory_bytes=size_bytes(cell.find("memory")),
        cpus=frozenset(number(cpu.get("id", ""), "the id of a CPU") for cpu in cell.findall("cpus/cpu")),
        pages=tuple(sorted(pages, key=lambda found: found.size_bytes)),
    )


def completed(able: Capabilities, cpus: int, memory_bytes: int) -> Capabilities:
    """The same, with one node of these CPUs and this memory where libvirt tells no topology."""
    if able.nodes or not cpus:
        return able
    return replace(able, nodes=(Node(0, memory_bytes, frozenset(range(cpus))),))


@dataclass(frozen=True, slots=True)
class DomainCapabilities:
    """What libvirt says only to whoever may write: models that this host's CPU can give, and firmware."""

    cpu_models: frozenset[str] = frozenset()
    firmware: frozenset[str] = frozenset()  # paths of loaders


def parse_domain_capabilities(text: str) -> DomainCapabilities:
    """Read `virConnectGetDomainCapabilities`. Raises InventoryError."""
    tree = root(text, "domainCapabilities", "the host's domain capabilities")
    models = tree.findall("cpu/mode[@name='custom']/model")
    return DomainCapabilities(
        cpu_models=frozenset(text_of(model) for model in models if model.get("usable") == "yes"),
        firmware=frozenset(text_of(loader) for loader in tree.findall("os/loader/value")),
    )


@dataclass(frozen=True, slots=True)
class Network:
    """A virtual network of libvirt. `bridge` is empty where it has none of its own."""

    name: str
    bridge: str = ""
    mode: str = ""  # nat, route, bridge, hostdev, ...


def parse_network(text: str) -> Network:
    """Read a `<network>`. Raises InventoryError."""
    tree = root(text, "network", "a network")
    mode = attribute(tree.find("forward"), "mode")
    return Network(text_of(tree.find("name")), attribute(tree.find("bridge"), "name"), mode)


def parse_bridges(texts: Iterable[str]) -> frozenset[str]:
    """The names of those `<interface>` documents that are bridges. Raises InventoryError."""
    trees = [root(text, "interface", "a network interface") for text in texts]
    return frozenset(tree.get("name", "") for tree in trees if tree.get("type") == "bridge")


def parse_links(texts: Iterable[str]) -> dict[str, float]:
    """By network device of `<device>` documents: its speed in bytes per second, 0 where none is told.

    >>> nic = "<capability type='net'><interface>eth0</interface><link speed='10000' state='up'/></capability>"
    >>> parse_links([f"<device><name>net_eth0</name>{nic}</device>"])
    {'eth0': 1250000000.0}
    """
    found: dict[str, float] = {}
    for text in texts:
        device = root(text, "device", "a network device").find("capability[@type='net']")
        if device is not None and (name := text_of(device.find("interface"))):
            speed = attribute(device.find("link"), "speed")
            found[name] = int(speed) * 125_000.0 if speed.isdecimal() else 0.0
    return found
