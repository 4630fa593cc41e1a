"""The doctor names what keeps a host of libvirt from being reached, used safely, or joined to its telemetry."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from forewarn.assemble import libvirt_doctor
from forewarn.assemble.doctor import driver_findings
from forewarn.assemble.libvirt_doctor import REMARKS_MAX, libvirt_findings
from forewarn.assemble.placing import DriverKind, DriverSettings
from forewarn.assemble.site import SiteSettings
from forewarn.domain.finding import Finding, State
from forewarn.domain.inventory import Remark
from forewarn.drivers.libvirt.capabilities import Capabilities, Node, Pages
from forewarn.drivers.libvirt.guests import Guest
from forewarn.drivers.libvirt.picture import Picture, Seen
from forewarn.drivers.libvirt.settings import ConnectionSettings, HostSettings, LibvirtSettings
from forewarn.drivers.libvirt.storage import Pool, Storage
from forewarn.drivers.libvirt.words import Facts

BRISK = ConnectionSettings(open_s=0.5, call_s=0.5)


@pytest.fixture(autouse=True)
def binding() -> None:
    pytest.importorskip("libvirt", reason="the binding to libvirt is not installed (make setup says why)")


@pytest.fixture
def silent() -> Iterator[str]:
    """The URI of a host that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"qemu+tcp://127.0.0.1:{listener.getsockname()[1]}/system"


def settings(**uris: str) -> LibvirtSettings:
    return LibvirtSettings(hosts={name: HostSettings(uri) for name, uri in uris.items()}, connections=BRISK)


def told(findings: Iterator[Finding]) -> dict[State, list[str]]:
    found: dict[State, list[str]] = {}
    for finding in findings:
        assert finding.check == "libvirt"
        assert finding.remedy or finding.state is State.OK
        found.setdefault(finding.state, []).append(finding.text)
    return found


def of(picture: Picture, heard: set[str] | None = None) -> dict[State, list[str]]:
    return told(libvirt_doctor._host("h1", picture, "qemu:///system", heard, writing=False))


def test_a_host_that_answers_and_one_that_does_not_are_told_apart(silent: str) -> None:
    here = socket.gethostname().partition(".")[0]
    hosts = LibvirtSettings(
        hosts={here: HostSettings("test:///default"), "hung": HostSettings(silent)}, connections=BRISK
    )
    found = told(libvirt_findings(hosts, {here}, writing=True))
    assert f"{here} answers and may be written to: libvirt " in found[State.OK][0]
    assert "1 VMs run" in found[State.OK][0]
    assert "hung did not connect" in found[State.ERROR][0]
    assert State.WARNING not in found
    read = told(libvirt_findings(hosts, {here}, writing=False))
    assert "is only read" in read[State.OK][0]


def test_where_no_host_answers_each_is_told(silent: str) -> None:
    found = told(libvirt_findings(settings(one=silent, two=silent), writing=False))
    assert [text[:19] for text in found[State.ERROR]] == ["one did not connect", "two did not connect"]


def test_a_uri_that_is_none_and_no_hosts_at_all_are_errors() -> None:
    assert "is no URI" in told(libvirt_findings(settings(one="host1"), writing=False))[State.ERROR][0]
    assert told(libvirt_findings(settings(), writing=False)) == {
        State.ERROR: ["driver.kind is libvirt, and no host is named"]
    }


def test_a_controller_without_the_binding_is_told_so() -> None:
    program = (
        "import sys; sys.modules['libvirt'] = None\n"
        "from forewarn.assemble.libvirt_doctor import libvirt_findings\n"
        "from forewarn.drivers.libvirt.settings import HostSettings, LibvirtSettings\n"
        "hosts = LibvirtSettings(hosts={'h1': HostSettings('qemu:///system')})\n"
        "print(*(finding.text for finding in libvirt_findings(hosts, writing=False)))\n"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout == "driver.kind is libvirt, and its binding is not installed\n"


def test_a_host_that_calls_itself_otherwise_or_is_unknown_to_telemetry_is_told() -> None:
    assert of(Picture("h1.example.org"), {"h1"}).keys() == {State.OK}
    other = of(Picture("node7"), {"h1"})[State.WARNING]
    assert other == ["h1 calls itself node7: telemetry under that name is not joined to it"]
    assert of(Picture("h1"), {"h9"})[State.WARNING] == ["no telemetry of h1 is known: nothing warns of its failure"]
    assert State.WARNING not in of(Picture("h1"), None)


@pytest.mark.parametrize(
    ("qemu", "types", "guest", "bad"),
    [
        (7_002_022, {"qemu"}, "", True),
        (7_002_022, {"qemu", "kvm"}, "", False),
        (7_002_022, {"qemu", "kvm"}, "qemu", True),
        (7_002_022, {"qemu", "kvm"}, "kvm", False),
        (9_000_000, {"qemu"}, "qemu", False),
        (2, {"test"}, "", False),
    ],
)
def test_an_emulating_qemu_that_loses_writes_in_migrations_is_an_error(
    qemu: int, types: set[str], guest: str, bad: bool
) -> None:
    seen = {"u": Seen(Guest("u", "n", guest), 1, running=True)} if guest else {}
    picture = Picture("h1", 9_000_000, qemu, Facts(Capabilities(virt_types=frozenset(types))), guests=seen)
    found = of(picture).get(State.ERROR, [])
    assert ["loses guests' writes" in text for text in found] == [True] * bad


def test_a_host_is_told_with_what_it_is_made_of() -> None:
    nodes = (
        Node(0, 2**34, frozenset({0, 1}), (Pages(4096, 1), Pages(2**30, 3))),
        Node(1, 2**34, frozenset({2, 3}), (Pages(4096, 1),)),
    )
    able = Capabilities("x86_64", "Intel", "Skylake-Server-IBRS", microcode="33581318", nodes=nodes)
    facts = Facts(able, storage=Storage((Pool("images", "dir"), Pool("san", "iscsi"))))
    (text,) = of(Picture("h1", 11_003_000, 10_000_002, facts))[State.OK]
    assert text == (
        "h1 answers and is only read: libvirt 11.3.0, QEMU 10.0.2, 0 VMs run, 4 CPUs Skylake-Server-IBRS, "
        "microcode 33581318, 2 NUMA nodes, 3 GiB of huge pages, storage pools images, san"
    )


def test_hosts_of_different_versions_are_told_once() -> None:
    pictures = {
        "h1": Picture("h1", 1, 10_000_002),
        "h2": Picture("h2", 1, 9_002_000),
        "h3": Picture("h3", 1, 10_000_002),
    }
    (text,) = told(libvirt_doctor._apart(pictures))[State.NOTE]
    assert text.endswith("QEMU 9.2.0 on h2; QEMU 10.0.2 on h1, h3")
    assert told(libvirt_doctor._apart({"h1": pictures["h1"]})) == {}


def test_a_flood_of_remarks_is_cut_short() -> None:
    many = tuple(Remark("h1", f"remark {n}") for n in range(REMARKS_MAX + 3))
    found = told(libvirt_doctor._remarks(many))[State.WARNING]
    assert (len(found), found[-1]) == (REMARKS_MAX + 1, "3 more remarks of this kind")


def test_the_doctor_asks_the_placement_service_that_is_named(tmp_path: Path) -> None:
    named = replace(SiteSettings(), driver=DriverSettings(DriverKind.LIBVIRT), libvirt=settings(h1="test:///default"))
    assert [finding.check for finding in driver_findings(tmp_path, SiteSettings())] == ["driver"]
    assert {finding.check for finding in driver_findings(tmp_path, named)} == {"libvirt"}
