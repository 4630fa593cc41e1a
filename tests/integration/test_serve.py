"""`forewarn serve` over hosts of libvirt: what it shows of those that answer and of those that do not."""

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

pytest.importorskip("libvirt", reason="the binding to libvirt is not installed (make setup says why)")

from tests.support import eventually

SETTINGS = """
[driver]
kind = "libvirt"
[control]
interval_s = 1.0
[libvirt.hosts.good]
uri = "test:///default"
[libvirt.hosts.shut]
uri = "qemu+tcp://127.0.0.1:{port}/system"
"""


@pytest.fixture
def client(tmp_path: Path) -> Iterator[httpx.Client]:
    """Asks the running server, signed in by the address that it printed."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]  # where nothing listens once this is closed
    (tmp_path / "forewarn.toml").write_text(SETTINGS.format(port=port))
    kept = ("--state", str(tmp_path / "state"), "--config", str(tmp_path / "forewarn.toml"))
    command = [sys.executable, "-m", "forewarn", "serve", "--port", "0", *kept]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        shown, sign_in = (process.stdout.readline().split()[1:] for _ in range(2))
        try:
            with httpx.Client(base_url=shown[0], timeout=30) as asking:
                assert asking.post(sign_in[1]).status_code == 303
                eventually(lambda: asking.get("/api/v1/snapshot").status_code == 200, deadline=30)
                yield asking
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=30) == 0


def test_hosts_are_shown_with_their_hypervisors_and_one_that_never_answered_with_the_reason(
    client: httpx.Client,
) -> None:
    hosts = {host["name"]: host for host in client.get("/api/v1/hosts").json()["items"]}
    assert set(hosts) == {"good", "shut"}  # this machine is none of them
    good, shut = hosts["good"], hosts["shut"]
    assert (good["state"], good["unheard_because"], shut["state"], shut["seen_at"]) == ("up", "", "unknown", None)
    assert "shut cannot be reached at qemu+tcp://127.0.0.1" in shut["unheard_because"]
    assert shut["hypervisor"] is None
    assert good["hypervisor"]["service"].startswith("libvirt ")
    assert [pool["name"] for pool in good["hypervisor"]["pools"]] == ["default-pool"]
    assert [network["bridge"] for network in good["hypervisor"]["networks"]] == ["virbr0"]
    assert sum(node["cpus"] for node in good["hypervisor"]["nodes"]) == 16

    page = client.get("/hosts/good").text
    assert "<dt>NUMA node 0</dt><dd>8 CPUs, 2.0 GiB" in page
    assert "<dt>Pool default-pool</dt><dd>dir /default-pool</dd>" in page
    assert "unreachable" not in page
    page = client.get("/hosts/shut").text
    assert '<span class="tag down">unreachable</span>' in page
    assert "<dt>Not heard by its placement service</dt><dd>shut cannot be reached at" in page
    assert "Which VMs run here is not known." in page
    assert "No VM runs here." not in page
    fleet = client.get("/").text
    assert "1 host does not answer the placement service" in fleet
    assert "shut (never)" in fleet
