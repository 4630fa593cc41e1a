"""Moves that go wrong: the guest counts on at its source, and the end is told for what it was."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict

import pytest

pytest.importorskip("libvirt", reason="the binding to libvirt is not installed (make setup says why)")

from forewarn.domain.inventory import Criticality, Kind
from forewarn.domain.plan import MoveState
from forewarn.drivers.libvirt.move_settings import How, ThrottleSettings
from forewarn.lab.libvirt.guests import Guest
from forewarn.lab.libvirt.host import Host
from forewarn.lab.libvirt.laboratory import Laboratory
from tests.integration.libvirt.moving import (
    MIB,
    arrives,
    count_of,
    define,
    defined_on,
    driver_of,
    end_of,
    goes_on,
    libvirt_settings,
    move_of,
    starts_at_boot,
    under_way,
)
from tests.support import eventually

pytestmark = pytest.mark.integration

GUEST = Guest("vm-a", 1, disk_mib=16)
CALM = Guest("vm-m", 5, disk_mib=16, write_mib_per_s=0.5)
SLOW = 2.0 * MIB

# A controller in a process of its own: starts one move, says so, and waits to be killed.
CONTROLLER = """
import json, os, sys
from forewarn.clock import RealClock
from forewarn.drivers.libvirt.move_settings import How
from forewarn.lab.libvirt.guests import Guest
from forewarn.lab.libvirt.laboratory import find
from forewarn.lab.settings import LabSettings
from tests.integration.libvirt.moving import driver_of, libvirt_settings, move_of, under_way
laboratory = find(sys.argv[1], LabSettings(), RealClock())
driver = driver_of(libvirt_settings(laboratory, How(sys.argv[3]), **json.loads(sys.argv[4])))
move = move_of(Guest(**json.loads(sys.argv[2])), "host01", "host02")
driver.start(move)
under_way(driver, move)
print("under way", flush=True)
sys.stdin.read()
"""


def stayed(laboratory: Laboratory, guest: Guest = GUEST) -> None:
    assert laboratory.where(guest.name) == ("host01",)
    goes_on(laboratory, guest)


def begin_and_die(laboratory: Laboratory, guest: Guest, how: How, bandwidth_bytes_per_s: float) -> None:
    """Start a move from a process that is killed while memory is being sent."""
    moves = {"bandwidth_bytes_per_s": bandwidth_bytes_per_s}
    said = (laboratory.name, json.dumps(asdict(guest)), how, json.dumps(moves))
    with subprocess.Popen(
        [sys.executable, "-c", CONTROLLER, *said], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as controller:
        assert controller.stdout is not None
        assert controller.stdout.readline() == "under way\n"
        os.kill(controller.pid, signal.SIGKILL)


@pytest.mark.parametrize("how", [How.PEER_TO_PEER, pytest.param(How.MANAGED, marks=pytest.mark.nightly)])
def test_a_target_that_loses_power_leaves_the_guest_at_its_source(
    laboratory: Laboratory, running: Callable[..., Host], how: How
) -> None:
    source = running(GUEST)
    define(source, GUEST)
    driver = driver_of(libvirt_settings(laboratory, how, bandwidth_bytes_per_s=SLOW))
    move = move_of(GUEST, "host01", "host02")
    driver.start(move)
    under_way(driver, move)
    laboratory.host("host02").power_off()
    progress = end_of(driver, move)
    assert progress.state is MoveState.FAILED
    assert progress.text
    assert starts_at_boot(source, GUEST)
    stayed(laboratory)


@pytest.mark.nightly
def test_a_managed_move_whose_target_lost_its_daemon_ends_at_the_deadline(
    laboratory: Laboratory, running: Callable[..., Host]
) -> None:
    running(GUEST)
    settings = libvirt_settings(
        laboratory,
        How.MANAGED,
        bandwidth_bytes_per_s=SLOW,
        deadline_s_min=8.0,
        deadline_s_per_gib=1.0,
        abort_s=10.0,
        target_silent_s=100.0,
    )
    driver = driver_of(settings)
    move = move_of(GUEST, "host01", "host02")
    driver.start(move)
    under_way(driver, move)
    laboratory.host("host02").kill_libvirt()
    progress = end_of(driver, move, 60)
    assert (progress.state, progress.text) == (MoveState.FAILED, "it had not ended after 8 s")
    assert progress.duration_s < 8 + 10 + 5
    assert [host.name for host in laboratory.hosts if host.answers() and GUEST.name in host.guests()] == ["host01"]
    goes_on(laboratory, GUEST)
    laboratory.host("host02").power_off()


def test_a_move_outlives_its_controller_and_is_found_again(
    laboratory: Laboratory, running: Callable[..., Host]
) -> None:
    source = running(CALM)
    define(source, CALM)
    begin_and_die(laboratory, CALM, How.PEER_TO_PEER, bandwidth_bytes_per_s=5 * MIB)
    driver, move = driver_of(libvirt_settings(laboratory)), move_of(CALM, "host01", "host02")
    assert not driver.poll(move).state.final
    assert end_of(driver, move).state is MoveState.SUCCEEDED
    assert laboratory.where(CALM.name) == defined_on(laboratory, CALM) == ("host02",)
    assert starts_at_boot(laboratory.host("host02"), CALM)
    goes_on(laboratory, CALM)


def test_a_move_that_a_former_controller_started_can_be_cancelled(
    laboratory: Laboratory, running: Callable[..., Host]
) -> None:
    running(GUEST)
    begin_and_die(laboratory, GUEST, How.PEER_TO_PEER, bandwidth_bytes_per_s=SLOW)
    driver, move = driver_of(libvirt_settings(laboratory)), move_of(GUEST, "host01", "host02")
    driver.cancel(move)
    assert end_of(driver, move).state is MoveState.CANCELLED
    stayed(laboratory)


@pytest.mark.nightly
def test_a_managed_move_ends_with_its_controller_and_the_guest_stays(
    laboratory: Laboratory, running: Callable[..., Host]
) -> None:
    running(CALM)
    begin_and_die(laboratory, CALM, How.MANAGED, bandwidth_bytes_per_s=5 * MIB)
    driver, move = driver_of(libvirt_settings(laboratory)), move_of(CALM, "host01", "host02")
    assert end_of(driver, move).state is MoveState.FAILED
    stayed(laboratory, CALM)


@pytest.mark.nightly
def test_hosts_whose_daemons_cannot_reach_each_other_are_managed_from_here(
    laboratory: Laboratory, running: Callable[..., Host]
) -> None:
    running(GUEST)
    unheard = "qemu+tcp://{address}:1/system"  # nobody listens there
    move = move_of(GUEST, "host01", "host02")
    alone = driver_of(libvirt_settings(laboratory, How.PEER_TO_PEER, peer_uri=unheard))
    alone.start(move)
    progress = end_of(alone, move)
    assert progress.state is MoveState.FAILED
    assert "Connection refused" in progress.text
    arrives(driver_of(libvirt_settings(laboratory, How.EITHER, peer_uri=unheard)), move)
    assert laboratory.where(GUEST.name) == ("host02",)
    goes_on(laboratory, GUEST)


@pytest.mark.nightly
def test_a_guest_that_would_have_to_be_slowed_down_too_far_stays(
    laboratory: Laboratory, running: Callable[..., Host]
) -> None:
    busy = Guest("vm-w", 9, memory_mib=128, written_mib=32, write_mib_per_s=24)
    running(busy)
    throttle = ThrottleSettings(normal_max=25, first=20, step=10)
    driver = driver_of(libvirt_settings(laboratory, bandwidth_bytes_per_s=8 * MIB, throttle=throttle))
    move = move_of(busy, "host01", "host02")
    assert move.criticality is Criticality.NORMAL
    driver.start(move)
    progress = end_of(driver, move, 180)
    assert progress.state is MoveState.FAILED
    assert "slowed down by 30 %, more than the 25 % of class normal" in progress.text
    stayed(laboratory, busy)


@pytest.mark.nightly
def test_a_guest_that_does_not_converge_ends_by_post_copy_where_that_is_allowed(
    laboratory: Laboratory, running: Callable[..., Host]
) -> None:
    busy = Guest("vm-w", 9, memory_mib=128, written_mib=32, write_mib_per_s=24)
    running(busy)
    unthrottled = ThrottleSettings(normal_max=0)
    settings = libvirt_settings(
        laboratory,
        bandwidth_bytes_per_s=16 * MIB,
        throttle=unthrottled,
        post_copy_for=(Kind.CPU,),
        post_copy_after_rounds=2,
    )
    arrives(driver_of(settings), move_of(busy, "host01", "host02"))
    assert laboratory.where(busy.name) == ("host02",)
    goes_on(laboratory, busy)


def test_a_move_goes_over_a_slow_link_within_its_bandwidth(
    laboratory: Laboratory, running: Callable[..., Host]
) -> None:
    source = running(GUEST)
    source.cable.slow(80)
    driver = driver_of(libvirt_settings(laboratory, bandwidth_bytes_per_s=6 * MIB))
    move = move_of(GUEST, "host01", "host02")
    driver.start(move)
    sent = under_way(driver, move)
    assert sent.copying is not None
    progress = end_of(driver, move, 180)
    assert progress.state is MoveState.SUCCEEDED
    assert progress.duration_s > 0.7 * sent.copying.total_bytes * 0.8 / (6 * MIB)  # a fifth of the guest may be zeroes
    goes_on(laboratory, GUEST)


def test_a_source_that_loses_its_daemon_is_asked_again_once_it_answers(
    laboratory: Laboratory, running: Callable[..., Host]
) -> None:
    source = running(GUEST)
    driver = driver_of(libvirt_settings(laboratory, bandwidth_bytes_per_s=SLOW))
    move = move_of(GUEST, "host01", "host02")
    driver.start(move)
    under_way(driver, move)
    source.kill_libvirt()
    before = count_of(laboratory, GUEST)
    eventually(lambda: count_of(laboratory, GUEST) > before, deadline=30)
    source.start_libvirt()
    assert end_of(driver, move).state is MoveState.FAILED
    stayed(laboratory)


@pytest.mark.nightly
def test_a_source_that_dies_once_its_guest_has_left_is_not_waited_for(
    laboratory: Laboratory, running: Callable[..., Host]
) -> None:
    source = running(GUEST)
    driver = driver_of(libvirt_settings(laboratory))
    move = move_of(GUEST, "host01", "host02")
    driver.start(move)
    eventually(lambda: laboratory.where(GUEST.name) == ("host02",), deadline=60)
    goes_on(laboratory, GUEST)
    source.power_off()
    progress = end_of(driver, move)
    assert progress.state is MoveState.SUCCEEDED
    assert progress.left_behind.startswith("host01 does not answer: whether it still has a definition of the VM")
    goes_on(laboratory, GUEST)
