"""The inventory over libvirt: its own test driver answers, silent and closed sockets stand for hosts that do not."""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from forewarn.clock import RealClock
from forewarn.decide.criticality import infer
from forewarn.domain.inventory import Cluster, Criticality, Host, HostState
from forewarn.drivers.libvirt.picture import Picture
from forewarn.drivers.libvirt.settings import ConnectionSettings, HostSettings, LibvirtSettings
from forewarn.drivers.libvirt.words import needs
from forewarn.errors import DriverUnavailable
from tests.support import eventually

libvirt = pytest.importorskip("libvirt", reason="the binding to libvirt is not installed (make setup says why)")

from forewarn.drivers.libvirt.connections import Connections  # noqa: E402
from forewarn.drivers.libvirt.inventory import LibvirtInventory  # noqa: E402
from forewarn.drivers.libvirt.looks import Look  # noqa: E402

BRISK = ConnectionSettings(open_s=0.5, call_s=0.5)
UUID = "6695eb01-f6a4-8304-79aa-97f2502e19{:02d}"


def node(folder: Path, name: str, *guests: str) -> str:
    """The URI of a host of libvirt's test driver that runs these guests."""
    path = folder / f"{name}.xml"
    path.write_text(f"<node>{''.join(guests)}</node>")
    return f"test://{path}"


def guest(number: int, name: str, metadata: str = "", devices: str = "") -> str:
    return (
        f"<domain type='test'><name>{name}</name><uuid>{UUID.format(number)}</uuid><memory unit='MiB'>512</memory>"
        f"<vcpu>2</vcpu><metadata xmlns:f='urn:forewarn:vm'>{metadata}</metadata><os><type>hvm</type></os>"
        f"<devices>{devices}</devices></domain>"
    )


@pytest.fixture
def silent() -> Iterator[str]:
    """The URI of a host that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"qemu+tcp://127.0.0.1:{listener.getsockname()[1]}/system"


def closed() -> str:
    """The URI of a host where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"qemu+tcp://127.0.0.1:{listener.getsockname()[1]}/system"


def inventory_of(
    hosts: dict[str, str], retry_s: float = 0.01, facts_s: float = 300.0, round_s: float = 10.0, stopped: bool = False
) -> LibvirtInventory:
    settings = LibvirtSettings(
        hosts={name: HostSettings(uri, rack=f"rack-{name}", aggregates=("all",)) for name, uri in hosts.items()},
        connections=BRISK,
        retry_s=retry_s,
        facts_s=facts_s,
        round_s=round_s,
        stopped=stopped,
    )
    return LibvirtInventory(settings, Connections(hosts, BRISK), RealClock(), infer)


def host(cluster: Cluster, name: str) -> Host:
    return cluster.host_by_name[name]


def awaited(watched: LibvirtInventory, name: str, state: HostState) -> Cluster:
    """The first picture that shows a host in this state."""
    pictures: list[Cluster] = []

    def shown() -> bool:
        pictures.append(watched.inventory())
        return host(pictures[-1], name).state is state

    eventually(shown)
    return pictures[-1]


def test_a_host_is_shown_with_what_it_has_and_offers() -> None:
    cluster = inventory_of({"a": "test:///default"}).inventory()
    a = host(cluster, "a")
    assert (a.state, a.rack, a.aggregates, a.driver, a.seen_at) == (HostState.UP, "rack-a", ("all",), "libvirt", None)
    assert (a.cpus, a.memory_bytes) == (16 * 4.0, 6 * 2**30 - 2**30)
    assert {"network:default", "pool:default-pool", "arch:i686"} <= a.offers
    (vm,) = cluster.vms
    assert (vm.name, vm.host, vm.vcpus, vm.memory_bytes) == ("test", "a", 2, 8 * 2**30)
    assert vm.immovable_because.startswith("disk vda (/guest/diskimage1) is on its host alone")
    assert cluster.remarks == ()


def test_a_host_that_does_not_answer_hides_no_other_and_is_named(silent: str) -> None:
    watched = inventory_of({"good": "test:///default", "hung": silent, "shut": closed()})
    cluster = watched.inventory()
    assert [(each.name, each.state) for each in cluster.hosts] == [
        ("good", HostState.UP),
        ("hung", HostState.UNKNOWN),
        ("shut", HostState.UNKNOWN),
    ]
    assert len(cluster.vms) == 1
    said = {remark.host: remark.text for remark in cluster.remarks}
    assert "hung did not connect at qemu+tcp" in said["hung"]
    assert "shut cannot be reached at qemu+tcp" in said["shut"]
    assert "good" not in said
    assert {each.name: (each.standing, each.unheard_because, each.seen_at) for each in cluster.hosts} == {
        "good": ("up", "", None),
        "hung": ("unreachable", said["hung"], None),
        "shut": ("unreachable", said["shut"], None),
    }
    watched.close()


def test_nobody_waits_again_for_a_host_that_did_not_answer_the_last_time(silent: str) -> None:
    clock = RealClock()
    watched = inventory_of({"good": "test:///default", "hung": silent}, retry_s=1e-9)
    watched.inventory()
    started = clock.monotonic()
    cluster = watched.inventory()
    assert clock.monotonic() - started < BRISK.open_s / 2
    assert host(cluster, "hung").state is HostState.UNKNOWN
    watched.close()


def test_a_host_that_falls_silent_is_shown_as_last_seen_with_its_age_until_it_is_back(tmp_path: Path) -> None:
    uri = node(tmp_path, "b", guest(1, "web-1"))
    hosts = {"a": "test:///default", "b": uri}
    watched = inventory_of(hosts)
    first = watched.inventory()
    assert {vm.name for vm in first.vms} == {"test", "web-1"}
    watched._connections.close()
    path = tmp_path / "b.xml"
    kept = path.read_text()
    path.unlink()
    second = awaited(watched, "b", HostState.UNKNOWN)
    gone = host(second, "b")
    assert gone.seen_at is not None
    assert first.time - second.time < second.time - gone.seen_at
    assert (gone.standing, gone.unheard_because) == ("unreachable", second.remarks[0].text)
    assert "b cannot be reached" in gone.unheard_because or "is no address" in gone.unheard_because
    assert (gone.cpus, gone.offers) == (host(first, "b").cpus, host(first, "b").offers)
    assert {vm.name: vm.host for vm in second.vms} == {"test": "a", "web-1": "b"}
    assert [remark.host for remark in second.remarks] == ["b"]
    assert second.generation > first.generation
    path.write_text(kept)
    back = awaited(watched, "b", HostState.UP)
    assert (host(back, "b").seen_at, host(back, "b").unheard_because) == (None, "")
    assert back.remarks == ()


def test_where_no_host_ever_answered_there_is_no_inventory() -> None:
    with pytest.raises(DriverUnavailable, match="no libvirt host answers: a cannot be reached"):
        inventory_of({"a": closed()}).inventory()
    with pytest.raises(DriverUnavailable, match=r"none is configured in libvirt\.hosts"):
        inventory_of({}).inventory()


def test_an_unchanged_cluster_keeps_its_generation_and_its_vms() -> None:
    watched = inventory_of({"a": "test:///default"})
    first, second = watched.inventory(), watched.inventory()
    assert first.generation == second.generation
    assert first.vms[0] is second.vms[0]


def test_facts_are_asked_again_when_they_are_old() -> None:
    watched = inventory_of({"a": "test:///default"}, facts_s=0.0)
    watched.inventory()
    assert watched.inventory().hosts == watched.inventory().hosts


def test_what_an_owner_declares_counts_and_what_is_malformed_is_told_for_that_vm_alone(tmp_path: Path) -> None:
    uri = node(
        tmp_path,
        "a",
        guest(1, "db-1", "<f:vm><f:criticality>high</f:criticality><f:stay>a dongle</f:stay></f:vm>"),
        guest(2, "test-2", "<f:criticality>urgent</f:criticality>"),
        guest(3, "test-3"),
    )
    cluster = inventory_of({"a": uri}).inventory()
    found = {vm.name: vm for vm in cluster.vms}
    assert found["db-1"].criticality is Criticality.HIGH
    assert found["db-1"].immovable_because == "its owner keeps it here: a dongle"
    assert found["test-2"].criticality is Criticality.NORMAL
    assert found["test-3"].criticality is Criticality.LOW
    assert [(remark.vm, remark.host) for remark in cluster.remarks] == [(UUID.format(2), "a")]


def test_a_vm_that_runs_on_two_hosts_is_told(tmp_path: Path) -> None:
    uris = {name: node(tmp_path, name, guest(1, "web-1")) for name in ("a", "b")}
    cluster = inventory_of(uris).inventory()
    assert [vm.immovable_because for vm in cluster.vms] == ["it runs on a and on b at once"]


def test_the_last_look_at_a_vm_can_be_asked_for() -> None:
    watched = inventory_of({"a": "test:///default"})
    (vm,) = watched.inventory().vms
    seen = watched.seen(vm.id)
    assert seen is not None
    assert seen.guest.name == "test"
    assert watched.seen("nobody") is None
    assert watched.workloads() == ()  # the test driver counts nothing
    picture, problem = watched.pictures()["a"]
    assert picture is not None
    assert (picture.libvirt_version // 1_000_000 >= 9, problem) == (True, "")


def test_a_dirty_rate_is_never_measured_over_a_read_only_connection() -> None:
    watched = inventory_of({"a": "test:///default"})
    (vm,) = watched.inventory().vms
    assert watched.dirty.sample("a", vm.id) is None
    assert watched.dirty.known() == {}


def failing(code: int, origin: int) -> Callable[..., object]:
    """A call of libvirt's that fails."""

    def call(*_: object) -> object:
        error = libvirt.libvirtError("on purpose")
        error.err = (code, origin, "on purpose", 2, None, None, None, -1, -1)
        raise error

    return call


class Instead:
    """Something of libvirt's in which some calls answer otherwise; all else is the real one's."""

    def __init__(self, real: object, **calls: Callable[..., object]) -> None:
        self._real, self._calls = real, calls

    def __getattr__(self, name: str) -> object:
        return self._calls.get(name) or getattr(self._real, name)


def looked(uri: str, before: Picture, calls: Callable[[object], dict[str, Callable[..., object]]]) -> Picture:
    """A look at a host some of whose calls answer otherwise."""
    connections = Connections({"a": uri}, BRISK)
    look = Look("a", LibvirtSettings(), before, {}, whole=not before.guests)
    return connections.call("a", lambda c: look(Instead(c, **calls(c))), "tell its VMs")


def test_what_libvirt_on_a_host_has_no_driver_for_is_told_once_and_is_no_need_of_its_guests() -> None:
    absent = failing(libvirt.VIR_ERR_NO_SUPPORT, libvirt.VIR_FROM_NONE)
    lists = ("listAllNetworks", "listAllInterfaces", "listAllDevices", "listAllStoragePools")
    picture = looked("test:///default", Picture(), lambda _: dict.fromkeys(lists, absent))
    (remark,) = picture.remarks
    assert "lists no network devices and no bridges and no networks and no storage pools" in remark.text
    assert "libvirt.hosts.a.offers" in remark.text
    assert (picture.facts.networks, picture.facts.bridges) == (None, None)
    (seen,) = picture.guests.values()
    assert not {word for word in needs(seen.guest, picture.facts, frozenset()) if word.startswith("network:")}
    again = looked("test:///default", picture, lambda _: {})
    assert again.remarks == (remark,)  # facts are kept, with what is to be said of them


def test_a_network_that_cannot_be_read_is_told_and_hides_no_guest() -> None:
    def odd(*_: object) -> list[object]:
        return [Instead(None, XMLDesc=lambda _flags: "<pool/>")]

    picture = looked("test:///default", Picture(), lambda _: {"listAllNetworks": odd})
    assert picture.remarks[0].text == "a: a network is a <pool>, not a <network>"
    assert len(picture.guests) == 1


def test_a_lost_connection_ends_the_look() -> None:
    lost = failing(libvirt.VIR_ERR_RPC, libvirt.VIR_FROM_RPC)
    for call in ("listAllNetworks", "getDomainCapabilities", "listAllDomains"):
        with pytest.raises(DriverUnavailable, match="a lost the connection"):
            looked("test:///default", Picture(), lambda _, call=call: {call: lost})  # type: ignore[misc]


@pytest.mark.parametrize("document", ["<domain>", "<network/>"])
def test_a_guest_that_cannot_be_read_is_shown_as_last_seen_or_by_its_name_alone(document: str) -> None:
    def unread(connection: Any) -> dict[str, Callable[..., object]]:
        def listed(*flags: int) -> list[object]:
            return [Instead(domain, XMLDesc=lambda _flags: document) for domain in connection.listAllDomains(*flags)]

        return {"listAllDomains": listed}

    first = looked("test:///default", Picture(), unread)
    (seen,) = first.guests.values()
    assert (seen.guest.name, seen.guest.disks, seen.running) == ("test", (), True)
    assert "a domain is" in seen.unread
    assert [remark.text for remark in first.remarks] == [f"VM test on a: {seen.unread}"]
    known = looked("test:///default", Picture(), lambda _: {})
    (later,) = looked("test:///default", known, unread).guests.values()
    assert len(later.guest.disks) == 1
    assert later.unread == seen.unread


def test_a_guest_whose_description_breaks_the_connection_ends_the_look() -> None:
    def broken(connection: Any) -> dict[str, Callable[..., object]]:
        lost = failing(libvirt.VIR_ERR_RPC, libvirt.VIR_FROM_RPC)

        def listed(*flags: int) -> list[object]:
            return [Instead(domain, XMLDesc=lost) for domain in connection.listAllDomains(*flags)]

        return {"listAllDomains": listed}

    with pytest.raises(DriverUnavailable, match="a lost the connection"):
        looked("test:///default", Picture(), broken)


class Meddled:
    """A connection on which somebody ends or starts a guest right after it was listed; all else is the real one's."""

    def __init__(self, connection: object, name: str) -> None:
        self._connection, self._name = connection, name

    def __getattr__(self, name: str) -> object:
        return getattr(self._connection, name)

    def listAllDomains(self, *flags: int) -> list[object]:  # noqa: N802 - libvirt's name
        listed: list[object] = self._connection.listAllDomains(*flags)  # type: ignore[attr-defined]
        domain: Any = self._connection.lookupByName(self._name)  # type: ignore[attr-defined]
        if domain.isActive():
            domain.destroy()
            domain.undefine()
        else:
            domain.create()
        return listed


def test_a_guest_that_starts_while_its_host_is_asked_is_missing_from_no_picture(tmp_path: Path) -> None:
    uri = node(tmp_path, "a", guest(1, "web-1"))
    connections = Connections({"a": uri}, BRISK, writing=True)

    def look(connection: Any) -> Picture:
        connection.lookupByName("web-1").destroy()
        return Look("a", LibvirtSettings(), Picture(), {}, whole=True)(Meddled(connection, "web-1"))

    (seen,) = connections.call("a", look, "tell its VMs").guests.values()
    assert seen.guest.name == "web-1"
    connections.close()


def test_a_guest_that_ends_while_its_host_is_asked_is_told_and_hides_no_other(tmp_path: Path) -> None:
    uri = node(tmp_path, "a", guest(1, "web-1"), guest(2, "web-2"))
    connections = Connections({"a": uri}, BRISK, writing=True)
    look = Look("a", LibvirtSettings(), Picture(), {}, whole=True)
    picture = connections.call("a", lambda c: look(Meddled(c, "web-1")), "tell its VMs")
    assert [seen.guest.name for seen in picture.guests.values()] == ["web-2"]
    (remark,) = picture.remarks
    assert (remark.host, remark.vm) == ("a", UUID.format(1))
    assert remark.text == "VM web-1 left a while it was asked"


class Vanished:
    """A storage pool or the like that was listed and is gone."""

    def __init__(self, code: int) -> None:
        self.XMLDesc = failing(code, libvirt.VIR_FROM_NONE)

    def name(self) -> str:
        return "net_eth9"


@pytest.mark.parametrize(
    ("call", "code"),
    [
        ("listAllStoragePools", libvirt.VIR_ERR_NO_STORAGE_POOL),
        ("listAllNetworks", libvirt.VIR_ERR_NO_NETWORK),
        ("listAllInterfaces", libvirt.VIR_ERR_NO_INTERFACE),
        ("listAllDevices", libvirt.VIR_ERR_NO_NODE_DEVICE),
    ],
)
def test_what_vanishes_between_its_list_and_its_document_takes_no_host_with_it(call: str, code: int) -> None:
    picture = looked("test:///default", Picture(), lambda _: {call: lambda *_: [Vanished(code)]})
    assert [seen.guest.name for seen in picture.guests.values()] == ["test"]
    assert call.removeprefix("listAll").lower() not in " ".join(remark.text for remark in picture.remarks)
