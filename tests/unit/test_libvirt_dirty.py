"""When a VM's dirty rate is measured and when not, told with libvirt's own test driver, which has no rates itself."""

import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

pytest.importorskip("libvirt", reason="the binding to libvirt is not installed (make setup says why)")

import libvirt

from forewarn.clock import SimulatedClock
from forewarn.drivers.libvirt.connections import Connections
from forewarn.drivers.libvirt.dirty import MEASURED, MIB, DirtyRates
from forewarn.drivers.libvirt.settings import LibvirtSettings
from tests.support import eventually

# The guest that libvirt's own test driver has; it cannot measure, so its answers are given here.
GUEST = "6695eb01-f6a4-8304-79aa-97f2502e193f"
OTHER = "6695eb01-f6a4-8304-79aa-97f2502e1940"


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


def test_a_guest_on_which_a_job_runs_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(libvirt.virDomain, "jobStats", lambda _: {"type": libvirt.VIR_DOMAIN_JOB_UNBOUNDED})
    monkeypatch.setattr(libvirt.virDomain, "startDirtyRateCalc", lambda *told: asked.append(told))
    connections = Connections({"a": "test:///default"}, writing=True)
    rates = DirtyRates(LibvirtSettings(), connections, SimulatedClock(datetime(2026, 1, 5, tzinfo=UTC)))
    assert rates.sample("a", GUEST) is None
    assert asked == []
    connections.close()


BODY = "<memory>8192</memory><os><type>hvm</type></os>"
TWO = f"""<node>
<domain type='test'><name>one</name><uuid>{GUEST}</uuid>{BODY}</domain>
<domain type='test'><name>other</name><uuid>{OTHER}</uuid>{BODY}</domain>
</node>"""


def test_a_move_waits_for_the_end_of_a_measurement_and_no_more_are_made_at_once_than_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.xml").write_text(TWO)
    goes_on, asked = threading.Event(), list[str]()

    def start(domain: libvirt.virDomain, *_: object) -> None:
        asked.append(domain.UUIDString())
        goes_on.wait(30)

    stats = {"dirtyrate.calc_status": MEASURED, "dirtyrate.megabytes_per_second": 3}
    monkeypatch.setattr(libvirt.virDomain, "jobStats", lambda _: {"type": libvirt.VIR_DOMAIN_JOB_NONE})
    monkeypatch.setattr(libvirt.virDomain, "startDirtyRateCalc", start)
    monkeypatch.setattr(libvirt.virConnect, "domainListGetStats", lambda *_: [(None, stats)])
    connections = Connections({"a": f"test://{tmp_path / 'a.xml'}"}, writing=True)
    settings = LibvirtSettings(dirty_rates_at_once=1)
    rates = DirtyRates(settings, connections, SimulatedClock(datetime(2026, 1, 5, tzinfo=UTC)))
    rates.begin("a", GUEST)
    rates.begin("a", GUEST)
    rates.begin("a", OTHER)
    rates.await_quiet(OTHER)  # which is not measured
    waiting = threading.Thread(target=rates.await_quiet, args=(GUEST,))
    waiting.start()
    eventually(lambda: asked == [GUEST])
    assert waiting.is_alive()
    goes_on.set()
    waiting.join(30)
    assert not waiting.is_alive()
    assert rates.known() == {GUEST: 3.0 * MIB}
    rates.begin("a", GUEST)  # it was measured a moment ago
    rates.await_quiet(GUEST)
    assert asked == [GUEST]
    connections.close()
