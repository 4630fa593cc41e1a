"""The doctor's look at the hosts of libvirt: whether each is reached, may be used, is safe, and is known to telemetry.

It connects as the controller would (read-only where no mode goes beyond `observe`), asks once, and changes nothing.
"""

from collections.abc import Collection, Iterator, Mapping

from forewarn.clock import RealClock
from forewarn.decide.criticality import infer
from forewarn.domain.finding import Finding, State
from forewarn.domain.inventory import Remark
from forewarn.drivers.libvirt.picture import Picture, versions
from forewarn.drivers.libvirt.settings import LibvirtSettings
from forewarn.errors import ConfigurationError, DriverUnavailable

CHECK = "libvirt"
SAFE_QEMU = 9_000_000  # below it, emulated guests (TCG) lose writes of their memory in a live migration
REMARKS_MAX = 20


def libvirt_findings(
    settings: LibvirtSettings, heard: Collection[str] | None = None, *, writing: bool
) -> Iterator[Finding]:
    """What is found of every host. `heard` names the hosts that telemetry knows, None where that is not known."""
    if not settings.hosts:
        text = "driver.kind is libvirt, and no host is named"
        yield Finding(CHECK, State.ERROR, text, "name each under [libvirt.hosts.NAME]; docs/libvirt.md shows one")
        return
    try:
        pictures, remarks = _look(settings, writing=writing)
    except ImportError:
        text = "driver.kind is libvirt, and its binding is not installed"
        yield Finding(CHECK, State.ERROR, text, "install libvirt-python as docs/install.md says")
        return
    except ConfigurationError as problem:
        yield Finding(CHECK, State.ERROR, str(problem), "docs/libvirt.md names the forms of a URI")
        return
    for host, (picture, why) in pictures.items():
        uri = settings.hosts[host].uri
        if picture is None:
            yield Finding(CHECK, State.ERROR, why, "docs/libvirt.md says which rights are needed", uri)
        else:
            yield from _host(host, picture, uri, heard, writing=writing)
    yield from _remarks(remarks)
    yield from _apart({host: picture for host, (picture, _) in pictures.items() if picture})


def _look(
    settings: LibvirtSettings, *, writing: bool
) -> tuple[Mapping[str, tuple[Picture | None, str]], tuple[Remark, ...]]:
    """By host what it tells, or why it tells nothing; and what else is to be said of hosts and VMs."""
    from forewarn.drivers.libvirt.connections import Connections
    from forewarn.drivers.libvirt.inventory import LibvirtInventory

    uris = {name: host.uri for name, host in settings.hosts.items()}
    connections = Connections(uris, settings.connections, writing=writing)
    inventory = LibvirtInventory(settings, connections, RealClock(), infer)
    remarks: tuple[Remark, ...] = ()
    try:
        remarks = inventory.inventory().remarks
    except DriverUnavailable:
        pass  # each host says why
    finally:
        inventory.close()
        connections.close()
    pictures = inventory.pictures()
    return pictures, tuple(remark for remark in remarks if pictures[remark.host][0] is not None)


def _host(host: str, picture: Picture, uri: str, heard: Collection[str] | None, *, writing: bool) -> Iterator[Finding]:
    qemu, may = versions(picture.qemu_version), "may be written to" if writing else "is only read"
    running = sum(seen.running for seen in picture.guests.values())
    text = f"{host} answers and {may}: libvirt {versions(picture.libvirt_version)}, QEMU {qemu}, {running} VMs run"
    yield Finding(CHECK, State.OK, f"{text}, {_made_of(picture)}", place=uri)
    emulates = "kvm" not in picture.facts.capabilities.virt_types or any(
        seen.guest.virt_type == "qemu" for seen in picture.guests.values()
    )
    if emulates and picture.qemu_version < SAFE_QEMU and "qemu" in picture.facts.capabilities.virt_types:
        text = f"{host} emulates CPUs (TCG) with QEMU {qemu}, which loses guests' writes in live migrations"
        yield Finding(CHECK, State.ERROR, text, f"use KVM, or QEMU {versions(SAFE_QEMU)} or newer", uri)
    if picture.host_name.partition(".")[0] != host.partition(".")[0]:
        text = f"{host} calls itself {picture.host_name}: telemetry under that name is not joined to it"
        yield Finding(CHECK, State.WARNING, text, f"call it [libvirt.hosts.{picture.host_name}]", uri)
    if heard is not None and host not in heard:
        text = f"no telemetry of {host} is known: nothing warns of its failure"
        yield Finding(CHECK, State.WARNING, text, f"let its agent push as {host}, or name it as its agent does", uri)


def _made_of(picture: Picture) -> str:
    """A host's processor and memory, in words."""
    able = picture.facts.capabilities
    pages = sum(found.count * found.size_bytes for node in able.nodes for found in node.pages[1:])
    parts = (
        f"{len(able.cpus)} CPUs {able.cpu_model or able.arch or 'of unknown model'}",
        f"microcode {able.microcode}" if able.microcode else "",
        f"{len(able.nodes)} NUMA nodes" if len(able.nodes) > 1 else "",
        f"{pages / 2**30:.0f} GiB of huge pages" if pages else "",
        f"storage pools {', '.join(pool.name for pool in picture.facts.storage.pools) or 'none'}",
    )
    return ", ".join(filter(None, parts))


def _remarks(remarks: tuple[Remark, ...]) -> Iterator[Finding]:
    for remark in remarks[:REMARKS_MAX]:
        yield Finding(CHECK, State.WARNING, remark.text, "docs/libvirt.md says what is expected", remark.host)
    if len(remarks) > REMARKS_MAX:
        yield Finding(CHECK, State.WARNING, f"{len(remarks) - REMARKS_MAX} more remarks of this kind", "see the log")


def _apart(pictures: Mapping[str, Picture]) -> Iterator[Finding]:
    """What keeps VMs from moving in both directions."""
    by_version: dict[int, list[str]] = {}
    for host, picture in pictures.items():
        by_version.setdefault(picture.qemu_version, []).append(host)
    if len(by_version) > 1:
        said = "; ".join(f"QEMU {versions(number)} on {', '.join(by_version[number])}" for number in sorted(by_version))
        text = f"the hosts run different versions, and VMs of newer machine types cannot go to older ones: {said}"
        yield Finding(CHECK, State.NOTE, text, "bring all hosts to one version when it suits")
