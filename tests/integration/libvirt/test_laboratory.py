"""The laboratory itself: raised, hurt in every way that it offers, and gone without a trace."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from forewarn.clock import RealClock
from forewarn.errors import LaboratoryError
from forewarn.lab.libvirt.guests import Guest, beats, flaws
from forewarn.lab.libvirt.host import Host
from forewarn.lab.libvirt.laboratory import Laboratory, find, standing
from forewarn.lab.settings import LabSettings
from tests.laboratories import traces
from tests.support import eventually

GUEST = Guest("vm-a", 1, disk_mib=16)


def counted(laboratory: Laboratory, guest: str) -> int:
    """How many beats stand on a guest's console; none of them may be wrong."""
    console = laboratory.cupboard.console(guest)
    assert flaws(console) == []
    return len(beats(console))


def counts_on(laboratory: Laboratory, guest: str, past: int) -> None:
    eventually(lambda: counted(laboratory, guest) > past, deadline=30)


def test_a_guest_counts_on_wherever_it_is_moved(laboratory: Laboratory, running: Callable[..., Host]) -> None:
    here = running(GUEST)
    for target in ("host02", "host03", "host01"):
        before = counted(laboratory, "vm-a")
        here.virsh("migrate", "--live", "--p2p", "vm-a", laboratory.host(target).peer_uri)
        here = laboratory.host(target)
        assert laboratory.where("vm-a") == (target,)
        counts_on(laboratory, "vm-a", before + 5)
    last = beats(laboratory.cupboard.console("vm-a"))[-1]
    assert last.ok
    assert last.rounds > 1
    assert last.disk == last.count


def test_a_host_without_power_loses_its_guests_and_comes_back(
    laboratory: Laboratory, running: Callable[..., Host]
) -> None:
    running(GUEST)
    counts = counted(laboratory, "vm-a")
    laboratory.host("host01").power_off()
    assert laboratory.where("vm-a") == ()
    with pytest.raises(LaboratoryError, match="host01 is switched off"):
        laboratory.host("host01").virsh("list")
    back = laboratory.power_on("host01")
    assert back.guests() == ()
    assert counted(laboratory, "vm-a") <= counts + 2
    running(GUEST)
    back.virsh("migrate", "--live", "--p2p", "vm-a", laboratory.host("host02").peer_uri)
    assert laboratory.where("vm-a") == ("host02",)


def test_a_cut_cable_ends_a_migration_and_the_guest_stays(laboratory: Laboratory, running: Callable[..., Host]) -> None:
    here = running(GUEST)
    here.cable.slow(20)
    command = here.node.entered(
        ["virsh", "-c", "qemu:///system", "migrate", "--live", "--p2p", "vm-a", "qemu+tcp://host02/system"], inside=True
    )
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as moving:
        eventually(lambda: "Memory processed" in here.virsh("domjobinfo", "vm-a"), deadline=30)
        here.cable.cut()
        _, said = moving.communicate(timeout=60)
    assert moving.returncode == 1, said
    before = counted(laboratory, "vm-a")
    assert laboratory.where("vm-a") == ("host01",)
    counts_on(laboratory, "vm-a", before + 3)


def test_whoever_only_looks_cannot_change_anything(laboratory: Laboratory, running: Callable[..., Host]) -> None:
    here = running(GUEST)
    socket = "qemu+unix:///system?socket=/run/libvirt/libvirt-sock-ro"
    assert "vm-a" in here.node.run_inside("virsh", "-c", socket, "--readonly", "list", "--name")
    with pytest.raises(LaboratoryError, match=r"read only|forbidden"):
        here.node.run_inside("virsh", "-c", socket, "--readonly", "destroy", "vm-a")
    assert laboratory.where("vm-a") == ("host01",)
    assert Path(here.uri_read_only.partition("socket=")[2]).is_socket()


def test_libvirt_that_dies_alone_finds_its_guests_again(laboratory: Laboratory, running: Callable[..., Host]) -> None:
    here = running(GUEST)
    here.kill_libvirt()
    eventually(lambda: not here.answers())
    before = counted(laboratory, "vm-a")
    counts_on(laboratory, "vm-a", before)
    here.start_libvirt()
    assert here.guests() == ("vm-a",)


def test_a_process_in_a_host_sees_the_hosts_own_name_network_and_libvirt(laboratory: Laboratory) -> None:
    host = laboratory.host("host02")
    ask = "import os, socket; print(socket.gethostname(), os.path.exists('/dev/kvm'), os.path.exists('/run/libvirt'))"
    assert host.node.run(sys.executable, "-c", ask).split() == ["host02", "False", "True"]
    assert set(host.node.run("ls", "/sys/class/net").split()) == {"br0", "eth0", "lo"}
    assert "host03" in host.node.run("getent", "hosts", "10.77.0.3")


def test_two_laboratories_stand_side_by_side(
    raised: Callable[..., Laboratory], laboratory: Laboratory, running: Callable[..., Host], settings: LabSettings
) -> None:
    running(GUEST)
    other = raised(hosts=2, name="other")
    assert other.where("vm-a") == ()
    other.cupboard.take_out(other.host("host01"), GUEST)
    other.host("host01").virsh("migrate", "--live", "--p2p", "vm-a", "qemu+tcp://host02/system")
    assert other.where("vm-a") == ("host02",)
    assert laboratory.where("vm-a") == ("host01",)
    other.down()
    assert traces(settings, other.name) == []
    before = counted(laboratory, "vm-a")
    counts_on(laboratory, "vm-a", before)


@pytest.mark.parametrize("made", ["switch", "host02"])
def test_a_laboratory_can_be_taken_down_after_whoever_raised_it_was_killed(
    settings: LabSettings, raised: Callable[..., Laboratory], made: str
) -> None:
    raised(hosts=1, name="other").down()  # so that what follows is quick, and its name is looked after
    name = f"other-{os.getpid()}"
    code = f"""
from forewarn.clock import RealClock
from forewarn.lab.libvirt.laboratory import raise_laboratory
from forewarn.lab.settings import LabSettings
raise_laboratory({name!r}, 3, LabSettings(), RealClock())
"""
    with subprocess.Popen([sys.executable, "-c", code]) as raising:
        eventually((settings.folder / name / made).exists, deadline=60)
        raising.send_signal(signal.SIGKILL)
    assert name in standing(settings)
    find(name, settings, RealClock()).down()
    assert name not in standing(settings)
    assert traces(settings, name) == []
