"""On which terms a VM is moved between libvirt hosts, and where it is not moved at all."""

from dataclasses import replace

import pytest

from forewarn.domain.inventory import Criticality, Kind
from forewarn.drivers.libvirt.guests import Disk, Guest, Source
from forewarn.drivers.libvirt.move_settings import GIB, How, Link, MoveSettings, ThrottleSettings
from forewarn.drivers.libvirt.settings import LibvirtSettings
from forewarn.drivers.libvirt.storage import Pool, Storage
from forewarn.errors import MoveRefused
from tests.moves import move

libvirt = pytest.importorskip("libvirt", reason="the binding to libvirt is not installed (make setup says why)")

from forewarn.drivers.libvirt.terms import Standing, Terms, terms  # noqa: E402

SHARED = Disk("vda", "disk", (Source("file", "/srv/shared/a.raw"),))
LOCAL = Disk("vdb", "disk", (Source("file", "/var/vms/b.raw"),))
CEPH = Disk("vdc", "disk", (Source("network", "pool/c", protocol="rbd", servers=("ceph1",)),))
POOL = Pool("vms", "dir", "/var/vms")
KEPT = Standing(persistent=True, autostart=True, qemu=10_000_000, disk_bytes={"vda": 5 * GIB, "vdb": 10 * GIB})
LINKS = (Link("a", "eth0", "10.0.0.1"), Link("a", "eth1", "10.1.0.1", "second"), Link("b", "eth0", "10.0.0.2"))
SECOND = Link("b", "eth1", "fd00::2", "second")
TO_B = "qemu+tls://b/system"


def agreed(
    *disks: Disk,
    moving: object = None,
    standing: Standing = KEPT,
    uri: str = TO_B,
    copy: bool = False,
    **moves: object,
) -> Terms:
    libvirt_settings = LibvirtSettings(
        shared_directories=("/srv/shared",),
        copy_disks=copy,
        moves=MoveSettings(**moves),  # type: ignore[arg-type]
    )
    guest = Guest("u", "web-name", memory_max_bytes=GIB, disks=disks)
    storage = Storage((POOL,), libvirt_settings)
    one = move() if moving is None else moving
    return terms(one, guest, storage, standing, uri, libvirt_settings.moves)  # type: ignore[arg-type]


def has(found: Terms, flag: str) -> bool:
    return bool(found.flags & getattr(libvirt, f"VIR_MIGRATE_{flag}"))


def because(part: Kind, device: str = "") -> object:
    return replace(move(), kind=part, device=device)


def test_a_vm_without_disks_moves_live_persistent_and_undefined_at_its_source() -> None:
    found = agreed()
    assert all(has(found, flag) for flag in ("LIVE", "PERSIST_DEST", "UNDEFINE_SOURCE", "AUTO_CONVERGE"))
    assert not any(has(found, flag) for flag in ("UNSAFE", "NON_SHARED_DISK", "POSTCOPY", "PARALLEL", "TLS"))


def test_a_transient_vm_stays_transient() -> None:
    found = agreed(standing=replace(KEPT, persistent=False))
    assert not has(found, "PERSIST_DEST")
    assert not has(found, "UNDEFINE_SOURCE")


def test_only_disks_that_the_operator_declared_shared_go_without_libvirts_proof() -> None:
    assert has(agreed(SHARED), "UNSAFE")
    assert not has(agreed(CEPH), "UNSAFE")
    assert not has(agreed(SHARED), "NON_SHARED_DISK")


def test_a_local_disk_is_refused_unless_copying_is_allowed() -> None:
    with pytest.raises(MoveRefused, match=r"web-name cannot leave a: disk vdb .*libvirt\.copy_disks"):
        agreed(LOCAL)


def test_a_local_disk_is_copied_alone_and_its_size_lengthens_the_deadline() -> None:
    found = agreed(SHARED, LOCAL, moving=because(Kind.CPU), copy=True, deadline_s_per_gib=60.0)
    assert has(found, "NON_SHARED_DISK")
    assert found.copied == ("vdb",)
    assert found.parameters[libvirt.VIR_MIGRATE_PARAM_MIGRATE_DISKS] == ["vdb"]
    assert found.deadline_s == 11 * 60


def test_nothing_is_copied_from_a_host_whose_disk_may_fail_unless_that_is_allowed() -> None:
    with pytest.raises(MoveRefused, match=r"disk vdb of web-name is on a alone, where a disk may fail"):
        agreed(LOCAL, copy=True)
    assert agreed(LOCAL, copy=True, copy_from_suspected_disk=True).copied == ("vdb",)


@pytest.mark.parametrize(
    ("how", "peer", "managed"),
    [(How.EITHER, TO_B, True), (How.PEER_TO_PEER, TO_B, False), (How.MANAGED, "", True)],
)
def test_who_leads_is_a_setting(how: How, peer: str, managed: bool) -> None:
    found = agreed(how=how)
    assert (found.peer_uri, found.managed) == (peer, managed)


def test_a_target_known_here_by_a_socket_is_no_peer() -> None:
    here = "qemu+unix:///system?socket=/run/b"
    assert agreed(uri=here).peer_uri == ""
    with pytest.raises(MoveRefused, match=r"set libvirt\.moves\.peer_uri"):
        agreed(uri=here, how=How.PEER_TO_PEER)
    assert agreed(uri=here, peer_uri="qemu+tcp://{host}/system").peer_uri == "qemu+tcp://b/system"


def test_a_move_goes_over_the_first_link_that_both_hosts_have() -> None:
    found = agreed(links=LINKS, peer_uri="qemu+tls://{address}/system")
    assert found.parameters[libvirt.VIR_MIGRATE_PARAM_URI] == "tcp://10.0.0.2"
    assert found.peer_uri == "qemu+tls://10.0.0.2/system"


def test_a_suspected_link_is_avoided_where_there_is_another() -> None:
    found = agreed(moving=because(Kind.NETWORK, "eth0"), links=(*LINKS, SECOND))
    assert found.parameters[libvirt.VIR_MIGRATE_PARAM_URI] == "tcp://[fd00::2]"


@pytest.mark.parametrize("links", [(), LINKS], ids=["none is known", "no other reaches the target"])
def test_a_move_over_the_suspected_link_is_refused(links: tuple[Link, ...]) -> None:
    with pytest.raises(MoveRefused, match=r"the network link eth0 of a may carry the migration itself"):
        agreed(moving=because(Kind.NETWORK, "eth0"), links=links)


def test_a_suspected_link_of_unknown_name_may_be_any() -> None:
    with pytest.raises(MoveRefused, match=r"the network link that may fail of a"):
        agreed(moving=because(Kind.NETWORK), links=(*LINKS, SECOND))


@pytest.mark.parametrize(
    ("rank", "ceiling", "first"), [(Criticality.HIGH, 10, 10), (Criticality.NORMAL, 50, 20), (Criticality.LOW, 80, 20)]
)
def test_each_class_is_slowed_down_to_its_own_ceiling(rank: Criticality, ceiling: int, first: int) -> None:
    throttle = ThrottleSettings(high_max=10, normal_max=50, low_max=80)
    found = agreed(moving=replace(move(), criticality=rank), throttle=throttle)
    assert found.throttle_max == ceiling
    assert found.parameters[libvirt.VIR_MIGRATE_PARAM_AUTO_CONVERGE_INITIAL] == first


def test_a_ceiling_of_nothing_never_slows_down() -> None:
    found = agreed(throttle=ThrottleSettings(high_max=0))
    assert not has(found, "AUTO_CONVERGE")
    assert libvirt.VIR_MIGRATE_PARAM_AUTO_CONVERGE_INITIAL not in found.parameters


def test_a_ceiling_past_what_qemu_does_is_no_setting() -> None:
    with pytest.raises(ValueError, match="low_max must be within 0 and 99"):
        ThrottleSettings(low_max=100)


def test_bandwidth_is_asked_in_whole_mebibytes() -> None:
    assert agreed(bandwidth_bytes_per_s=4.4 * 2**20).parameters[libvirt.VIR_MIGRATE_PARAM_BANDWIDTH] == 4
    assert agreed(bandwidth_bytes_per_s=10.0).parameters[libvirt.VIR_MIGRATE_PARAM_BANDWIDTH] == 1
    assert libvirt.VIR_MIGRATE_PARAM_BANDWIDTH not in agreed().parameters


def test_several_connections_are_used_where_both_qemus_can() -> None:
    found = agreed(parallel_connections=4)
    assert has(found, "PARALLEL")
    assert found.parameters[libvirt.VIR_MIGRATE_PARAM_PARALLEL_CONNECTIONS] == 4
    old = agreed(parallel_connections=4, standing=replace(KEPT, qemu=3_001_000))
    assert not has(old, "PARALLEL")
    assert libvirt.VIR_MIGRATE_PARAM_PARALLEL_CONNECTIONS not in old.parameters


def test_post_copy_is_for_the_kinds_of_parts_that_are_named() -> None:
    found = agreed(moving=because(Kind.POWER), post_copy_for=(Kind.POWER,), parallel_connections=4)
    assert has(found, "POSTCOPY")
    assert found.post_copy
    assert not has(found, "PARALLEL")
    assert not has(agreed(post_copy_for=(Kind.POWER,)), "POSTCOPY")
    assert not agreed(LOCAL, moving=because(Kind.POWER), post_copy_for=(Kind.POWER,), copy=True).post_copy


def test_memory_goes_encrypted_where_that_is_set() -> None:
    assert has(agreed(tls=True), "TLS")
