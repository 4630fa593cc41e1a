"""The whole driver over real hosts: the public contract, and a host that is drained by the executor."""

from collections.abc import Callable

import pytest

pytest.importorskip("libvirt", reason="the binding to libvirt is not installed (make setup says why)")

from forewarn.clock import RealClock
from forewarn.domain.inventory import Component, Kind
from forewarn.lab.libvirt.guests import Guest
from forewarn.lab.libvirt.host import Host
from forewarn.lab.libvirt.laboratory import Laboratory
from forewarn.testing import Patience, check_driver
from tests.integration.libvirt.moving import MIB, driver_of, goes_on, libvirt_settings, move_of

pytestmark = pytest.mark.integration

GUEST = Guest("vm-a", 1, disk_mib=16)
CPU = Component("cpu:host01/cpu", Kind.CPU, "host01", "cpu", whole_host=True)


def test_the_driver_keeps_the_contract(laboratory: Laboratory, running: Callable[..., Host]) -> None:
    running(GUEST)
    driver = driver_of(libvirt_settings(laboratory, bandwidth_bytes_per_s=24 * MIB))
    check_driver(driver, move_of(GUEST, "host01", "host02"), RealClock().sleep, Patience(step_s=0.2, steps_max=600))
    goes_on(laboratory, GUEST)
