"""Dirty rates of VMs that leave while they are measured: libvirt then tells nothing of them, and that is no error."""

from datetime import UTC, datetime

import pytest

pytest.importorskip("libvirt", reason="the binding to libvirt is not installed (make setup says why)")

import libvirt

from forewarn.clock import SimulatedClock
from forewarn.drivers.libvirt.connections import Connections
from forewarn.drivers.libvirt.dirty import MEASURED, MIB, DirtyRates
from forewarn.drivers.libvirt.settings import LibvirtSettings

# The guest that libvirt's own test driver has; it cannot measure, so its answers are given here.
GUEST = "6695eb01-f6a4-8304-79aa-97f2502e193f"


@pytest.mark.parametrize(
    ("told", "rate"),
    [
        ([], None),
        ([{"dirtyrate.calc_status": MEASURED, "dirtyrate.megabytes_per_second": 3}], 3.0 * MIB),
    ],
)
def test_a_guest_that_left_while_it_was_measured_has_no_rate(
    monkeypatch: pytest.MonkeyPatch, told: list[dict[str, int]], rate: float | None
) -> None:
    monkeypatch.setattr(libvirt.virDomain, "jobStats", lambda _: {"type": libvirt.VIR_DOMAIN_JOB_NONE})
    monkeypatch.setattr(libvirt.virDomain, "startDirtyRateCalc", lambda *_: 0)
    monkeypatch.setattr(libvirt.virConnect, "domainListGetStats", lambda *_: [(None, stats) for stats in told])
    connections = Connections({"a": "test:///default"}, writing=True)
    rates = DirtyRates(LibvirtSettings(), connections, SimulatedClock(datetime(2026, 1, 5, tzinfo=UTC)))
    assert rates.sample("a", GUEST) == rate
    assert rates.known() == ({} if rate is None else {GUEST: rate})
    connections.close()
