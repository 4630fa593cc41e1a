"""What libvirt's documents say of a guest: its make, its ties to its host, and what its owner declared."""

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forewarn.domain.inventory import Criticality
from forewarn.drivers.libvirt.documents import LENGTH_MAX, numbers, root, size_bytes
from forewarn.drivers.libvirt.guests import Disk, Guest, Source, parse_guest
from forewarn.errors import InventoryError

FIXTURES = Path(__file__).parents[1] / "fixtures/libvirt"
WEB = (FIXTURES / "guest.xml").read_text()
GIB = 2**30


def guest(devices: str = "", body: str = "", kind: str = "kvm") -> Guest:
    return parse_guest(
        f"<domain type='{kind}'><uuid>u</uuid><name>n</name><memory unit='MiB'>96</memory>{body}"
        f"<devices>{devices}</devices></domain>"
    )


def declared(metadata: str) -> Guest:
    return guest(body=f"<metadata xmlns:f='urn:forewarn:vm'>{metadata}</metadata>")


def test_a_guest_is_read_with_its_size_and_its_make() -> None:
    web = parse_guest(WEB)
    assert (web.uuid, web.name, web.virt_type) == ("7f2c1b0a-8f1e-4d5e-9c43-0b1e5a7d0001", "web-1", "kvm")
    assert (web.vcpus, web.memory_max_bytes, web.memory_bytes) == (4, 8 * GIB, 4 * GIB)
    assert (web.arch, web.machine, web.emulator) == ("x86_64", "pc-q35-10.0", "/usr/bin/qemu-system-x86_64")
    assert (web.cpu_mode, web.cpu_model) == ("custom", "Skylake-Server-IBRS")
    assert web.loader == "/usr/share/OVMF/OVMF_CODE_4M.fd"


def test_pinning_is_the_cpus_and_strict_nodes_that_it_may_use() -> None:
    web = parse_guest(WEB)
    assert web.pinned_cpus == {0, 1, 3, 5}
    assert web.pinned_nodes == {1}
    assert web.huge_pages_bytes == {2 * 2**20}
    assert guest(body="<memoryBacking><hugepages/></memoryBacking>").huge_pages_bytes == {0}
    assert guest().pinned_cpus == guest().pinned_nodes == guest().huge_pages_bytes == frozenset()


def test_a_disk_is_read_with_its_whole_chain() -> None:
    disks = {disk.target: disk for disk in parse_guest(WEB).disks}
    assert [source.path for source in disks["vda"].chain] == [
        "/srv/shared/web-1.qcow2",
        "/var/lib/libvirt/images/base.qcow2",
    ]
    assert disks["vdb"].chain == (Source("network", "vms/web-1-data", protocol="rbd", servers=("mon1", "mon2")),)
    assert disks["vdc"].chain == (Source("volume", "lun3", pool="san"),)
    assert disks["vdd"].chain == (Source("block", "/dev/vg/web"),)
    assert disks["vdd"].job == "copy"
    assert disks["sda"] == Disk("sda", "cdrom", (), readonly=True)


def test_an_interface_is_read_with_what_it_hangs_on() -> None:
    found = [(interface.kind, interface.source) for interface in parse_guest(WEB).interfaces]
    assert found == [("bridge", "br0"), ("network", "tenant"), ("direct", "eno1"), ("user", "")]


def test_where_its_uefi_variables_and_its_tpm_lie() -> None:
    web = parse_guest(WEB)
    assert web.nvram == Source("file", "/var/lib/libvirt/qemu/nvram/web-1_VARS.fd")
    assert web.vtpm == Source("file")
    inner = "<os><nvram type='network'><source protocol='rbd' name='vars'/></nvram></os>"
    assert guest(body=inner).nvram == Source("network", "vars", protocol="rbd")
    kept = "<tpm><backend type='emulator'><source type='dir' path='/srv/shared/tpm'/></backend></tpm>"
    assert guest(kept).vtpm == Source("file", "/srv/shared/tpm")
    assert guest().nvram is None
    assert guest().vtpm is None


def test_a_bare_guest_has_nothing_that_is_not_told() -> None:
    bare = parse_guest("<domain type='test'><uuid>u</uuid><name>n</name></domain>")
    assert bare == Guest("u", "n", "test")


PCI = "<address domain='0x0000' bus='0x3b' slot='0x00' function='0x1'/>"


@pytest.mark.parametrize(
    ("devices", "words"),
    [
        (f"<hostdev type='pci'><source>{PCI}</source></hostdev>", "the host's pci device 0000:3b:00.1 is passed"),
        ("<hostdev type='usb'><source><vendor id='0x1'/></source></hostdev>", "usb device of unknown address"),
        ("<hostdev type='mdev'><source><address uuid='c2'/></source></hostdev>", "mdev device uuid c2"),
        (f"<interface type='hostdev'><source>{PCI}</source></interface>", "the host's network device 0000:3b:00.1"),
        ("<filesystem><source dir='/export'/><target dir='data'/></filesystem>", "directory /export is shared into it"),
        ("<memory model='nvdimm'/>", "its nvdimm memory"),
        ("<memory model='virtio-pmem'/>", "its virtio-pmem memory"),
        ("<tpm><backend type='passthrough'/></tpm>", "the host's TPM is passed through"),
        ("<shmem name='s' role='peer'/>", "shares memory with another guest"),
    ],
)
def test_a_device_that_ties_a_guest_to_its_host_is_told(devices: str, words: str) -> None:
    (tie,) = guest(devices).ties
    assert words in tie


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("<launchSecurity type='sev'/>", "encrypted by the host's processor (sev)"),
        ("<cpu mode='host-passthrough' migratable='off'/>", "declared not migratable"),
        ("<cpu><feature policy='require' name='invtsc'/></cpu>", "invariant time stamp counter"),
    ],
)
def test_what_the_processor_ties_is_told(body: str, words: str) -> None:
    (tie,) = guest(body=body).ties
    assert words in tie


def test_what_does_not_tie_a_guest_is_not_told() -> None:
    timed = "<clock><timer name='tsc' frequency='2000000000'/></clock>"
    assert guest(body=f"<cpu><feature policy='require' name='invtsc'/></cpu>{timed}").ties == ()
    teamed = "<teaming type='transient' persistent='ua'/>"
    assert guest(f"<hostdev type='pci'>{teamed}</hostdev><interface type='hostdev'>{teamed}</interface>").ties == ()
    assert guest("<shmem name='s'/><memory model='dimm'/>").ties == ()


# --- metadata ---------------------------------------------------------------------------------------------------------


def test_what_the_owner_declares_is_read_beside_the_metadata_of_others() -> None:
    metadata = parse_guest(WEB).metadata
    assert metadata.criticality is Criticality.HIGH
    assert metadata.groups == {"licensed-db", "gpu-free"}
    assert (metadata.apart, metadata.stay, metadata.problem) == ("web", "", "")


def test_a_criticality_may_stand_alone() -> None:
    assert declared("<f:criticality> low </f:criticality>").metadata.criticality is Criticality.LOW
    assert declared("<f:stay>licence dongle</f:stay>").metadata.stay == "licence dongle"


def test_what_virsh_sets_without_our_prefix_inside_is_understood() -> None:
    assert declared("<f:vm><criticality>high</criticality></f:vm>").metadata.criticality is Criticality.HIGH


def test_the_metadata_of_others_says_nothing() -> None:
    other = declared("<n:vm xmlns:n='urn:other'><n:criticality>high</n:criticality></n:vm><plain/>")
    assert other.metadata == guest().metadata


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ("<f:criticality>urgent</f:criticality>", "'urgent', which is none of high, normal, low"),
        ("<f:criticality/>", "<criticality> must hold a text"),
        (f"<f:vm><f:stay>{'x' * 201}</f:stay></f:vm>", "<stay> must hold a text of 1 to 200"),
        ("<f:vm><f:stay>a<f:b/></f:stay></f:vm>", "<stay> must hold a text"),
        ("<f:vm><f:critical>high</f:critical></f:vm>", "<critical> is none of criticality, group, apart, stay"),
        ("<f:vm><o:stay xmlns:o='urn:o'>x</o:stay></f:vm>", "<{urn:o}stay> is none of"),
        ("<f:vm><f:apart>a</f:apart><f:apart>b</f:apart></f:vm>", "<apart> is given 2 times"),
        ("<f:vm><f:group>a</f:group><f:criticality>no</f:criticality></f:vm>", "'no', which is none of"),
    ],
)
def test_malformed_metadata_counts_for_nothing_and_says_why(metadata: str, words: str) -> None:
    found = declared(metadata).metadata
    assert words in found.problem
    assert (found.criticality, found.groups, found.apart, found.stay) == (None, frozenset(), "", "")


# --- documents --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no XML that can be read"),
        ("<domain>", "no XML that can be read"),
        ("<network/>", "is a <network>, not a <domain>"),
        ("<domain><memory unit='parsec'>1</memory></domain>", "'1' parsec, which is no size"),
        ("<domain><memory>much</memory></domain>", "'much' kib, which is no size"),
        ("<domain><vcpu>two</vcpu></domain>", "'two', no whole number"),
        ("<domain><vcpu cpuset='a-b'>2</vcpu></domain>", "no set of CPUs"),
        ("<domain><vcpu cpuset='0-999999999999'>2</vcpu></domain>", "beyond 65536"),
        (" " * (LENGTH_MAX + 1), "more than the 4000000 that are read"),
    ],
)
def test_a_document_that_is_none_is_refused_with_what_is_wrong(text: str, words: str) -> None:
    with pytest.raises(InventoryError) as found:
        parse_guest(text)
    assert words in str(found.value)


@given(st.integers(0, len(WEB) - 1), st.sampled_from(["", "<", "&", "'", "é", "<x>", "9" * 30]))
def test_a_damaged_document_is_read_or_refused_and_nothing_else(place: int, damage: str) -> None:
    with suppress(InventoryError):
        assert parse_guest(WEB[:place] + damage + WEB[place + 1 :]).vcpus >= 0


@pytest.mark.parametrize(
    ("unit", "factor"), [("b", 1), ("bytes", 1), ("KB", 1000), ("k", 1024), ("KiB", 1024), ("MB", 10**6), ("G", 2**30)]
)
def test_sizes_have_their_units(unit: str, factor: int) -> None:
    assert size_bytes(root(f"<memory unit='{unit}'>3</memory>", "memory", "it")) == 3 * factor


def test_a_set_of_cpus_is_read_in_its_order() -> None:
    assert numbers(" 1 , 3-5,^4, 4 ") == {1, 3, 4, 5}
    assert numbers("") == frozenset()
