"""What a guest is made of, read from libvirt's domain XML. Pure.

Of a running guest the live document is read: it names the disks' whole chains, and the machine type as QEMU runs it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from forewarn.drivers.libvirt.documents import (
    Element,
    attribute,
    number,
    numbers,
    root,
    size_bytes,
    text_of,
)
from forewarn.drivers.libvirt.metadata import Metadata, parse_metadata


@dataclass(frozen=True, slots=True)
class Source:
    """What lies behind a disk, or behind one image of its chain. `kind` is libvirt's: file, block, network, volume."""

    kind: str
    path: str = ""  # of a file, device or directory; of a network disk its name there
    pool: str = ""  # of a volume
    protocol: str = ""  # of a network disk
    servers: tuple[str, ...] = ()  # likewise; a socket's path where it is one


@dataclass(frozen=True, slots=True)
class Disk:
    """A disk or a drive with removable media. `chain` starts with what is written to; empty for an empty drive."""

    target: str  # vda
    device: str  # disk, cdrom, floppy, lun
    chain: tuple[Source, ...] = ()
    readonly: bool = False
    job: str = ""  # copy or active-commit while such a block job mirrors it


@dataclass(frozen=True, slots=True)
class Interface:
    """A network interface. `source` is the bridge, network or device that its kind needs."""

    kind: str  # bridge, network, direct, hostdev, ...
    source: str = ""


@dataclass(frozen=True, slots=True)
class Guest:
    """One domain as libvirt describes it."""

    uuid: str
    name: str
    virt_type: str = ""
    vcpus: int = 1
    memory_max_bytes: int = 0
    memory_bytes: int = 0  # that the balloon leaves it
    arch: str = ""
    machine: str = ""
    emulator: str = ""
    loader: str = ""
    nvram: Source | None = None
    cpu_mode: str = ""  # custom, host-model, host-passthrough, maximum; empty for the machine's default
    cpu_model: str = ""
    pinned_cpus: frozenset[int] = frozenset()
    pinned_nodes: frozenset[int] = frozenset()  # that it may take memory of, strictly
    huge_pages_bytes: frozenset[int] = frozenset()  # sizes; 0 for the host's default size
    disks: tuple[Disk, ...] = ()
    interfaces: tuple[Interface, ...] = ()
    ties: tuple[str, ...] = ()  # to its host, in words: "the host's pci device 0000:3b:00.0"
    vtpm: Source | None = None  # where the state of its emulated TPM lies
    metadata: Metadata = field(default_factory=Metadata)


def parse_guest(text: str) -> Guest:
    """Read a `<domain>`. Raises InventoryError; malformed metadata of ours is none, it is told in `metadata`."""
    tree = root(text, "domain", "a domain")
    devices = tree.find("devices")
    devices = Element("devices") if devices is None else devices
    machine, cpu = tree.find("os/type"), tree.find("cpu")
    return Guest(
        uuid=text_of(tree.find("uuid")),
        name=text_of(tree.find("name")),
        virt_type=tree.get("type", ""),
        vcpus=number(text_of(tree.find("vcpu"), "1"), "a number of virtual CPUs"),
        memory_max_bytes=size_bytes(tree.find("memory")),
        memory_bytes=size_bytes(tree.find("currentMemory")) or size_bytes(tree.find("memory")),
        arch=attribute(machine, "arch"),
        machine=attribute(machine, "machine"),
        emulator=text_of(devices.find("emulator")),
        loader=text_of(tree.find("os/loader")),
        nvram=_nvram(tree.find("os/nvram")),
        cpu_mode=attribute(cpu, "mode") or ("custom" if cpu is not None and cpu.find("model") is not None else ""),
        cpu_model=text_of(tree.find("cpu/model")),
        pinned_cpus=_pinned_cpus(tree),
        pinned_nodes=_pinned_nodes(tree),
        huge_pages_bytes=_huge_pages(tree),
        disks=tuple(map(_disk, devices.findall("disk"))),
        interfaces=tuple(map(_interface, devices.findall("interface"))),
        ties=tuple(_ties(tree, devices)),
        vtpm=_vtpm(devices),
        metadata=parse_metadata(tree.find("metadata")),
    )


def _source(kind: str, source: Element | None) -> Source:
    if source is None:
        return Source(kind)
    if kind == "network":
        hosts = source.findall("host")
        servers = tuple(attribute(host, "name") or attribute(host, "socket") for host in hosts)
        return Source(kind, source.get("name", ""), protocol=source.get("protocol", ""), servers=servers)
    if kind == "volume":
        return Source(kind, source.get("volume", ""), pool=source.get("pool", ""))
    names = ("file", "dev", "dir", "path")
    return Source(kind, next((source.get(name, "") for name in names if source.get(name)), ""))


def _chain(disk: Element) -> Iterator[Source]:
    """The disk's source and those of its backing images; a cleared medium has none."""
    image: Element | None = disk
    kind = disk.get("type", "file")
    while image is not None:
        source = image.find("source")
        found = _source(kind, source)
        if found.path or found.pool:
            yield found
        image = image.find("backingStore")
        kind = attribute(image, "type") or "file"


def _disk(disk: Element) -> Disk:
    target = disk.find("target")
    return Disk(
        target=attribute(target, "dev"),
        device=disk.get("device", "disk"),
        chain=tuple(_chain(disk)),
        readonly=disk.find("readonly") is not None,
        job=attribute(disk.find("mirror"), "job"),
    )


def _interface(interface: Element) -> Interface:
    kind, source = interface.get("type", ""), interface.find("source")
    named = {"bridge": "bridge", "network": "network", "direct": "dev"}.get(kind, "")
    return Interface(kind, attribute(source, named) if named else "")


def _nvram(nvram: Element | None) -> Source | None:
    if nvram is None:
        return None
    inner = nvram.find("source")
    return Source("file", text_of(nvram)) if inner is None else _source(nvram.get("type", "file"), inner)


def _vtpm(devices: Element) -> Source | None:
    backend = devices.find("tpm/backend[@type='emulator']")
    if backend is None:
        return None
    source = backend.find("source")
    return Source("file", attribute(source, "path"))


def _pinned_cpus(tree: Element) -> frozenset[int]:
    pins = [pin.get("cpuset", "") for tag in ("vcpupin", "emulatorpin", "iothreadpin") for pin in tree.iter(tag)]
    return numbers(",".join([attribute(tree.find("vcpu"), "cpuset"), *pins]))


def _pinned_nodes(tree: Element) -> frozenset[int]:
    strict = [node for node in tree.findall("numatune/*") if node.get("mode", "strict") == "strict"]
    return numbers(",".join(node.get("nodeset", "") for node in strict))


def _huge_pages(tree: Element) -> frozenset[int]:
    backing = tree.find("memoryBacking/hugepages")
    if backing is None:
        return frozenset()
    sizes = frozenset(_page_size(page) for page in backing.findall("page"))
    return sizes or frozenset({0})


def _page_size(page: Element) -> int:
    sized = Element("page", {"unit": page.get("unit", "KiB")})
    sized.text = page.get("size", "")
    return size_bytes(sized)


# --- what ties a guest to its host ----------------------------------------------------------------------------


def _ties(tree: Element, devices: Element) -> Iterator[str]:
    """Why it cannot leave, read off its devices alone."""
    for device in devices.findall("hostdev"):
        if attribute(device.find("teaming"), "type") != "transient":
            yield f"the host's {device.get('type', '')} device {_address(device)} is passed through"
    for interface in devices.findall("interface"):
        if interface.get("type") == "hostdev" and attribute(interface.find("teaming"), "type") != "transient":
            yield f"the host's network device {_address(interface)} is passed through"
    for shared in devices.findall("filesystem"):
        place = attribute(shared.find("source"), "dir") or attribute(shared.find("target"), "dir")
        yield f"the host's directory {place} is shared into it"
    for kind in ("nvdimm", "virtio-pmem"):
        if devices.find(f"memory[@model='{kind}']") is not None:
            yield f"a file of its host is its {kind} memory"
    if devices.find("tpm/backend[@type='passthrough']") is not None:
        yield "the host's TPM is passed through"
    if devices.find("shmem[@role='peer']") is not None:
        yield "it shares memory with another guest"
    yield from _processor_ties(tree)


def _processor_ties(tree: Element) -> Iterator[str]:
    if (security := tree.find("launchSecurity")) is not None:
        yield f"its memory is encrypted by the host's processor ({security.get('type', '')})"
    if attribute(tree.find("cpu"), "migratable") == "off":
        yield "its CPU is declared not migratable"
    timed = tree.find("clock/timer[@name='tsc'][@frequency]") is not None
    if not timed and tree.find("cpu/feature[@name='invtsc'][@policy='require']") is not None:
        yield "it requires an invariant time stamp counter (invtsc) without a frequency"


def _address(device: Element) -> str:
    """Where a passed-through device sits: `0000:3b:00.0` for PCI, else what the source says."""
    address = device.find("source/address")
    if address is None:
        address = device.find("source")
    parts = {} if address is None else address.attrib
    if {"domain", "bus", "slot", "function"} <= parts.keys():
        places = [parts[name].removeprefix("0x") for name in ("domain", "bus", "slot", "function")]
        return f"{places[0]}:{places[1]}:{places[2]}.{places[3]}"
    return " ".join(f"{name} {value}" for name, value in parts.items()) or "of unknown address"
