"""Other ways to a host than its socket: a real sshd, and libvirtd's own TLS, each with a sign-in that is refused."""

import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from forewarn.clock import RealClock
from forewarn.decide.criticality import infer
from forewarn.domain.inventory import Cluster, HostState
from forewarn.drivers.libvirt.connections import Connections
from forewarn.drivers.libvirt.inventory import LibvirtInventory
from forewarn.drivers.libvirt.settings import HostSettings, LibvirtSettings
from forewarn.lab.commands import run, search_path
from forewarn.lab.libvirt.guests import Guest
from forewarn.lab.libvirt.host import Host
from forewarn.lab.libvirt.laboratory import Laboratory
from tests.support import eventually

pytestmark = [pytest.mark.integration, pytest.mark.slow]

GUEST = Guest("vm-a", 1, disk_mib=16)
SSHD = """
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
AuthorizedKeysFile {folder}/invited.pub
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
StrictModes no
UsePAM no
PidFile none
ForceCommand {folder}/shell
"""
# Whoever signs in finds the host's own Debian, as on any host.
SHELL = """#!/bin/sh
exec {entered} sh -c "${{SSH_ORIGINAL_COMMAND}}"
"""
LOOK = """
import sys
from forewarn.clock import RealClock
from forewarn.decide.criticality import infer
from forewarn.drivers.libvirt.connections import Connections
from forewarn.drivers.libvirt.inventory import LibvirtInventory
from forewarn.drivers.libvirt.settings import HostSettings, LibvirtSettings
from forewarn.errors import DriverUnavailable
hosts = {"host02": sys.argv[1]}
settings = LibvirtSettings(hosts={name: HostSettings(uri) for name, uri in hosts.items()})
try:
    found = LibvirtInventory(settings, Connections(hosts), RealClock(), infer).inventory()
    print([(host.name, host.standing) for host in found.hosts], [(vm.name, vm.host) for vm in found.vms])
except DriverUnavailable as error:
    print(error)
"""
TLS = """
listen_tls = 1
key_file = "/etc/libvirt/pki/server.key"
cert_file = "/etc/libvirt/pki/server.pem"
ca_file = "/etc/libvirt/pki/cacert.pem"
tls_allowed_dn_list = ["CN=operator"]
"""


def program(name: str) -> str:
    """Where a program of this machine is. Skips where it is missing, and says so."""
    found = shutil.which(name, path=search_path())
    if found is None:
        pytest.skip(f"{name} is not installed (.ci/packages installs it)")
    return found


def looked(hosts: dict[str, str]) -> Cluster:
    """The hosts as an inventory shows them that only looks."""
    settings = LibvirtSettings(hosts={name: HostSettings(uri) for name, uri in hosts.items()})
    connections = Connections(hosts)
    watched = LibvirtInventory(settings, connections, RealClock(), infer)
    try:
        return watched.inventory()
    finally:
        watched.close()
        connections.close()


@pytest.fixture
def ssh_port(laboratory: Laboratory, tmp_path: Path) -> Iterator[int]:
    """The port of an sshd on this machine behind which host02 is, for whoever has the key `invited`."""
    sshd = program("sshd")
    for name in ("host", "invited", "stranger"):
        run([program("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / name])
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = int(listener.getsockname()[1])
    entered = laboratory.host("host02").node.entered([], inside=True)
    (tmp_path / "shell").write_text(SHELL.format(entered=shlex.join(entered)))
    (tmp_path / "shell").chmod(0o755)
    (tmp_path / "sshd").write_text(SSHD.format(port=port, folder=tmp_path))
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    with (
        (tmp_path / "log").open("wb") as log,
        subprocess.Popen([sshd, "-D", "-e", "-f", tmp_path / "sshd"], stdout=log, stderr=log) as process,
    ):
        try:
            eventually(lambda: "listening" in (tmp_path / "log").read_text(), deadline=30)
            yield port
        finally:
            process.terminate()


def test_a_host_is_looked_at_over_ssh_and_one_that_refuses_the_key_is_told(
    running: Callable[..., Host], ssh_port: int, tmp_path: Path
) -> None:
    running(GUEST, "host02")

    def uri(key: str) -> str:
        return f"qemu+ssh://root@127.0.0.1:{ssh_port}/system?keyfile={tmp_path / key}&no_verify=1"

    cluster = looked({"host02": uri("invited"), "refused": uri("stranger")})
    assert {host.name: host.state for host in cluster.hosts} == {"host02": HostState.UP, "refused": HostState.UNKNOWN}
    assert [(vm.name, vm.host) for vm in cluster.vms] == [("vm-a", "host02")]
    refused = cluster.host_by_name["refused"]
    assert "refused cannot be reached at qemu+ssh://root@127.0.0.1" in refused.unheard_because
    assert "see that ssh lets this user in there without a password" in refused.unheard_because
    assert "Permission denied (publickey)" in refused.unheard_because


def certificate(folder: Path, name: str, authority: str) -> None:
    """A key, and a certificate of it for `name`, signed by `authority`, which signs itself."""
    openssl = program("openssl")
    key, signed, asked, more = (folder / f"{name}.{end}" for end in ("key", "pem", "csr", "ext"))
    request = (openssl, "req", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-subj", f"/CN={name}")
    if name == authority:
        run([*request, "-x509", "-days", "2", "-out", signed])
        return
    run([*request, "-out", asked])
    more.write_text(f"subjectAltName=DNS:{name}\n")
    by = ("-CA", folder / f"{authority}.pem", "-CAkey", folder / f"{authority}.key", "-CAcreateserial", "-days", "2")
    run([openssl, "x509", "-req", *by, "-in", asked, "-extfile", more, "-out", signed])


def bundle(folder: Path, name: str) -> Path:
    """What a client of libvirt signs in with, as it wants to find it."""
    place = folder / f"of-{name}"
    place.mkdir()
    for source, target in (("authority.pem", "cacert.pem"), (f"{name}.pem", "clientcert.pem")):
        shutil.copy(folder / source, place / target)
    shutil.copy(folder / f"{name}.key", place / "clientkey.pem")
    return place


@pytest.fixture
def secured(laboratory: Laboratory, tmp_path: Path) -> Iterator[Path]:
    """The folder of all certificates, once host02 listens, and takes that of `operator` alone."""
    for name in ("authority", "host02", "operator", "stranger"):
        certificate(tmp_path, name, "authority")
    host = laboratory.host("host02")
    configuration = host.plan.folder / "etc/libvirtd.conf"
    kept = configuration.read_text()
    pki = host.plan.folder / "etc/pki"
    pki.mkdir()
    for source, target in (("host02.key", "server.key"), ("host02.pem", "server.pem"), ("authority.pem", "cacert.pem")):
        shutil.copy(tmp_path / source, pki / target)
    configuration.write_text(kept.replace("listen_tls = 0\n", "") + TLS)
    host.kill_libvirt()
    try:
        host.start_libvirt()
        yield tmp_path
    finally:
        configuration.write_text(kept)
        host.kill_libvirt()
        host.start_libvirt()
        shutil.rmtree(pki)


def test_a_host_is_looked_at_over_tls_and_one_that_refuses_the_certificate_is_told(
    laboratory: Laboratory, running: Callable[..., Host], secured: Path
) -> None:
    running(GUEST, "host02")

    def look(name: str) -> str:
        """What a client of this name sees, from another host of the laboratory's network."""
        uri = f"qemu+tls://host02/system?pkipath={bundle(secured, name)}"
        return laboratory.host("host01").node.run(sys.executable, "-c", LOOK, uri).strip()

    assert look("operator") == "[('host02', 'up')] [('vm-a', 'host02')]"
    refused = look("stranger")
    assert "host02 cannot be reached at qemu+tls://host02" in refused
    assert "see that libvirtd listens there with TLS and takes this machine's certificate" in refused
