"""What hosts of libvirt offer, what guests need of them, and what keeps a guest where it is."""

from dataclasses import replace
from pathlib import Path

import pytest

from forewarn.drivers.libvirt.capabilities import (
    DomainCapabilities,
    Network,
    Pages,
    completed,
    parse_bridges,
    parse_capabilities,
    parse_domain_capabilities,
    parse_links,
    parse_network,
)
from forewarn.drivers.libvirt.guests import Disk, Guest, Source, parse_guest
from forewarn.drivers.libvirt.metadata import Metadata
from forewarn.drivers.libvirt.movable import immovable_because
from forewarn.drivers.libvirt.settings import ConnectionSettings, HostSettings, LibvirtSettings
from forewarn.drivers.libvirt.storage import Pool, Storage, parse_pool
from forewarn.drivers.libvirt.words import Facts, needs, offers
from forewarn.errors import InventoryError

FIXTURES = Path(__file__).parents[1] / "fixtures/libvirt"
ABLE = parse_capabilities((FIXTURES / "capabilities.xml").read_text())
MORE = parse_domain_capabilities((FIXTURES / "domain_capabilities.xml").read_text())
WEB = parse_guest((FIXTURES / "guest.xml").read_text())
SETTINGS = LibvirtSettings(shared_directories=("/srv/shared/",))
NFS, LOCAL, SAN = (
    Pool("nfs", "netfs", "/srv/nfs"),
    Pool("images", "dir", "/var/lib/images"),
    Pool("san", "iscsi", "/dev"),
)
STORAGE = Storage((NFS, LOCAL, SAN), SETTINGS)
FACTS = Facts(ABLE, MORE, (Network("tenant", "virbr5"),), frozenset({"br0"}), frozenset({"eno1"}), STORAGE)
OWN = HostSettings("qemu:///system")
PLAIN = Guest("u", "n", "kvm", machine="pc-q35-10.0", arch="x86_64")


def file(path: str) -> Disk:
    return Disk("vda", "disk", (Source("file", path),))


def test_a_host_is_read_with_its_nodes_pages_and_processor() -> None:
    assert (ABLE.arch, ABLE.cpu_vendor, ABLE.cpu_model) == ("x86_64", "Intel", "Skylake-Server-IBRS")
    assert ABLE.cpu_features == {"ds", "acpi"}
    assert ABLE.cpus == {0, 1, 2, 3}
    assert (ABLE.memory_bytes, ABLE.microcode) == (32 * 2**30, "33581318")
    assert ABLE.nodes[0].pages == (Pages(4096, 3670016), Pages(2 * 2**20, 1024))
    assert ABLE.huge_pages == {2 * 2**20}
    assert ABLE.machines == {"pc-i440fx-10.0", "pc", "pc-q35-10.0", "pc-i440fx-9.2"}
    assert ABLE.virt_types == {"qemu", "kvm"}
    assert ABLE.archs == {"x86_64", "i686"}


def test_a_host_that_tells_no_topology_is_one_node() -> None:
    bare = parse_capabilities("<capabilities><host><cpu><arch>aarch64</arch></cpu></host></capabilities>")
    one = completed(bare, 4, 2**33)
    assert one.cpus == {0, 1, 2, 3}
    assert (one.memory_bytes, one.arch, one.huge_pages) == (2**33, "aarch64", frozenset())
    assert completed(ABLE, 99, 2**40) is ABLE


def test_models_that_the_processor_cannot_give_are_not_offered() -> None:
    assert (
        DomainCapabilities(frozenset({"Skylake-Server-IBRS"}), frozenset({"/usr/share/OVMF/OVMF_CODE_4M.fd"})) == MORE
    )


def test_networks_pools_bridges_and_links_are_read() -> None:
    nat = "<network><name>default</name><forward mode='nat'/><bridge name='virbr0'/></network>"
    assert parse_network(nat) == Network("default", "virbr0", "nat")
    assert parse_network("<network><name>alone</name></network>") == Network("alone")
    pool = "<pool type='netfs'><name>nfs</name><target><path>/srv/nfs</path></target></pool>"
    assert parse_pool(pool) == NFS
    assert parse_pool("<pool type='rbd'><name>ceph</name></pool>") == Pool("ceph", "rbd")
    interfaces = ["<interface type='bridge' name='br0'/>", "<interface type='ethernet' name='eth0'/>"]
    assert parse_bridges(interfaces) == {"br0"}
    link = "<device><capability type='net'><interface>eth0</interface><link state='down'/></capability></device>"
    assert parse_links([link, "<device><capability type='pci'/></device>"]) == {"eth0": 0.0}


def test_a_host_without_a_readable_topology_says_so() -> None:
    with pytest.raises(InventoryError, match="the id of a NUMA node is 'x'"):
        parse_capabilities(
            "<capabilities><host><topology><cells><cell id='x'/></cells></topology></host></capabilities>"
        )


def test_a_host_offers_what_libvirt_tells_and_what_the_operator_adds_without_what_it_lacks() -> None:
    own = HostSettings(
        "qemu:///system", groups=("licensed-db",), offers=("bridge:br9",), lacks=("storage:/srv/shared",)
    )
    offered = offers(FACTS, own)
    assert {
        "arch:x86_64", "virt:kvm", "machine:pc-q35-10.0", "machine:pc", "emulator:/usr/bin/qemu-system-x86_64",
        "cpu:Skylake-Server-IBRS", "firmware:/usr/share/OVMF/OVMF_CODE_4M.fd", "hugepages:2048", "pcpu:3", "node:1",
        "bridge:br0", "bridge:virbr5", "bridge:br9", "network:tenant", "link:eno1", "pool:san", "storage:/srv/nfs",
        "storage:/var/lib/images", "group:licensed-db",
    } <= offered  # fmt: skip
    assert "cpu:EPYC-Milan" not in offered
    assert "storage:/srv/shared" not in offered
    assert "storage:/srv/shared" in offers(FACTS, OWN)
    assert "hugepages:1048576" not in offered


def test_a_guest_needs_what_it_uses() -> None:
    assert needs(WEB, FACTS, offers(FACTS, OWN)) == {
        "arch:x86_64", "virt:kvm", "machine:pc-q35-10.0", "emulator:/usr/bin/qemu-system-x86_64",
        "cpu:Skylake-Server-IBRS", "firmware:/usr/share/OVMF/OVMF_CODE_4M.fd", "hugepages:2048",
        "pcpu:0", "pcpu:1", "pcpu:3", "pcpu:5", "node:1", "bridge:br0", "network:tenant", "link:eno1",
        "storage:/srv/shared", "pool:san", "group:licensed-db", "group:gpu-free",
    }  # fmt: skip


def test_what_no_host_of_its_kind_can_tell_is_left_to_the_check_before_a_move() -> None:
    """A read-only connection hides models and firmware; a libvirt without its interface driver, the bridges."""
    blind = replace(FACTS, domain_capabilities=DomainCapabilities(), bridges=None)
    wanted = needs(WEB, blind, offers(blind, OWN))
    assert not {word for word in wanted if word.startswith(("firmware:", "bridge:", "cpu:"))}
    assert {"network:tenant", "machine:pc-q35-10.0", "storage:/srv/shared"} <= wanted
    told = offers(blind, HostSettings("qemu:///system", offers=("bridge:br0",)))
    assert "bridge:br0" in needs(WEB, blind, told)


def test_a_guest_that_is_shown_the_whole_processor_needs_the_very_same() -> None:
    whole = replace(PLAIN, cpu_mode="host-passthrough")
    (word,) = [word for word in needs(whole, FACTS, offers(FACTS, OWN)) if word.startswith("cpu:")]
    assert word in offers(FACTS, OWN)
    other = replace(FACTS, capabilities=replace(ABLE, cpu_features=frozenset({"ds"})))
    assert word not in offers(other, OWN)
    assert not [w for w in needs(replace(whole, virt_type="qemu"), FACTS, offers(FACTS, OWN)) if w.startswith("cpu:")]


def test_huge_pages_of_no_size_are_those_that_the_host_has() -> None:
    huge = replace(PLAIN, huge_pages_bytes=frozenset({0}))
    assert "hugepages:2048" in needs(huge, FACTS, offers(FACTS, OWN))


# --- storage and what can move ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "shared"),
    [
        (Source("file", "/srv/shared/a.raw"), True),
        (Source("file", "/srv/shared2/a.raw"), False),
        (Source("file", "/srv/shared/../local/a.raw"), False),
        (Source("file", "/srv/nfs/sub/a.raw"), True),
        (Source("file", "/var/lib/images/a.raw"), False),
        (Source("volume", "a", pool="san"), True),
        (Source("volume", "a", pool="images"), False),
        (Source("volume", "a", pool="nowhere"), False),
        (Source("block", "/dev/vg/a"), False),
        (Source("block", "/dev/disk/by-path/ip-10.0.0.1:3260-iscsi-iqn.x-lun-1"), True),
        (Source("block", "/dev/disk/by-path/pci-0000:00:1f.2-ata-1"), False),
        (Source("network", "vms/a", protocol="rbd", servers=("mon1",)), True),
        (Source("network", "a", protocol="nbd", servers=("localhost",)), False),
        (Source("network", "a", protocol="nbd", servers=("/run/nbd.sock",)), False),
        (Source("network", "a", protocol="ssh", servers=("nas",)), False),
        (Source("nvme"), False),
    ],
)
def test_whether_storage_is_shared_follows_the_settings(source: Source, shared: bool) -> None:
    assert STORAGE.is_shared(source) is shared


def test_a_pool_below_dev_makes_no_local_disk_shared() -> None:
    assert "/dev" not in STORAGE.shared_directories
    assert STORAGE.shared_directories == ("/srv/shared", "/srv/nfs")


def test_a_guest_on_shared_storage_can_move() -> None:
    assert immovable_because(replace(PLAIN, disks=(file("/srv/shared/a"), file("/srv/nfs/b"))), STORAGE) == ""
    empty = Disk("sda", "cdrom", (), readonly=True)
    assert immovable_because(replace(PLAIN, disks=(empty,)), STORAGE) == ""


@pytest.mark.parametrize(
    ("disk", "words"),
    [
        (file("/var/lib/images/a"), "disk vda (/var/lib/images/a) is on its host alone, and copying is not allowed"),
        (Disk("sda", "cdrom", (Source("file", "/iso/d.iso"),), True), "the medium /iso/d.iso in drive sda"),
        (Disk("vda", "disk", (Source("block", "/dev/vg/a"),)), "disk vda (/dev/vg/a) is on its host alone"),
        (Disk("sdb", "lun", (Source("file", "/x"),)), "disk sdb (/x) is on its host alone"),
        (Disk("vda", "disk", (Source("volume", "a", pool="images"),)), "volume a of pool images"),
        (replace(file("/srv/shared/a"), job="copy"), "a block job (copy) runs on disk vda"),
        (
            Disk("vda", "disk", (Source("file", "/srv/shared/a"), Source("file", "/base/b"))),
            "disk vda (/base/b) is on its host alone",
        ),
    ],
)
def test_a_disk_that_keeps_a_guest_is_named(disk: Disk, words: str) -> None:
    assert words in immovable_because(replace(PLAIN, disks=(disk,)), STORAGE)


def test_a_local_disk_may_be_copied_where_that_is_allowed_and_a_pool_takes_it() -> None:
    copying = Storage(STORAGE.pools, replace(SETTINGS, copy_disks=True))
    assert immovable_because(replace(PLAIN, disks=(file("/var/lib/images/a"),)), copying) == ""
    assert "in no pool" in immovable_because(replace(PLAIN, disks=(file("/home/a"),)), copying)
    facts = replace(FACTS, storage=copying)
    moved = replace(PLAIN, disks=(file("/var/lib/images/a"),))
    assert "storage:/var/lib/images" in needs(moved, facts, offers(facts, OWN))


def test_local_variables_of_uefi_and_a_local_tpm_keep_a_guest_unless_the_operator_says_otherwise() -> None:
    local = replace(PLAIN, nvram=Source("file", "/var/lib/libvirt/qemu/nvram/n.fd"), vtpm=Source("file"))
    why = immovable_because(local, STORAGE)
    assert "its UEFI variables are on its host alone (/var/lib/libvirt/qemu/nvram/n.fd)" in why
    assert "the state of its TPM is on its host alone" in why
    allowed = Storage((), replace(SETTINGS, local_nvram_moves=True, local_vtpm_moves=True))
    assert immovable_because(local, allowed) == ""
    shared = replace(PLAIN, nvram=Source("file", "/srv/shared/n.fd"), vtpm=Source("file", "/srv/shared/tpm"))
    assert immovable_because(shared, STORAGE) == ""


def test_every_reason_is_told_once() -> None:
    kept = replace(PLAIN, metadata=Metadata(stay="a dongle"), ties=("the host's TPM is passed through",) * 2)
    assert immovable_because(kept, STORAGE, ("a backup of it is running",)) == (
        "its owner keeps it here: a dongle; the host's TPM is passed through; a backup of it is running"
    )


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"look_s": 0.0}, "look_s must be above 0"),
        ({"dirty_rate_s": 61}, "dirty_rate_s must be within 0 and 60"),
        ({"shared_directories": ("srv",)}, "must be a whole path"),
        ({"shared_directories": ("/",)}, "under which every local disk lies"),
    ],
)
def test_a_setting_that_would_mislead_is_refused(wrong: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        LibvirtSettings(**wrong)  # type: ignore[arg-type]  # each is of its setting's type


def test_a_deadline_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="call_s must be above 0"):
        ConnectionSettings(call_s=0.0)
