"""The driver of a site is the one that its settings name, with parts from telemetry joined by the hosts' names."""

import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from forewarn.assemble.placing import DriverKind, DriverSettings, Observe, place
from forewarn.assemble.site import Site, SiteSettings
from forewarn.clock import Clock, RealClock, SimulatedClock
from forewarn.decide.authority import AuthoritySettings
from forewarn.domain.authority import Mode
from forewarn.domain.inventory import Kind
from forewarn.domain.telemetry import Sample
from forewarn.drivers.libvirt.settings import HostSettings, LibvirtSettings
from forewarn.drivers.none import ObservedDriver
from forewarn.errors import ConfigurationError, CordonRefused
from forewarn.store.base import DEVICES
from tests.support import eventually

NOW = datetime(2026, 1, 5, tzinfo=UTC)
LIBVIRT = DriverSettings(DriverKind.LIBVIRT)
HERE = LibvirtSettings(hosts={"h1": HostSettings("test:///default")})


def devices(*parts: tuple[str, str]) -> pa.Table:
    rows = [
        {"component": f"{kind}:{host}/x", "kind": kind, "host": host, "device": "x", "model": None}
        | {"first_seen": NOW, "last_seen": NOW}
        for host, kind in parts
    ]
    return pa.Table.from_pylist(rows, schema=DEVICES)


def observing(clock: Clock, *parts: tuple[str, str]) -> Observe:
    """What telemetry shows of these parts."""
    shown = devices(*parts)
    return lambda whole_host, carries: ObservedDriver(lambda: shown, clock, whole_host=whole_host, carries=carries)


@pytest.fixture
def binding() -> None:
    pytest.importorskip("libvirt", reason="the binding to libvirt is not installed (make setup says why)")


def test_without_a_placement_service_hosts_are_what_telemetry_shows() -> None:
    clock = SimulatedClock(NOW)
    placing = place(DriverSettings(), LibvirtSettings(), observing(clock, ("h9", "cpu")), clock, writing=True)
    cluster = placing.driver.inventory()
    assert [host.name for host in cluster.hosts] == ["h9"]
    assert not any(part.whole_host for part in cluster.components)
    assert placing.metrics() == {}
    placing.close()


@pytest.mark.usefixtures("binding")
def test_hosts_and_vms_are_libvirts_and_their_parts_are_telemetrys() -> None:
    clock = SimulatedClock(NOW)
    shown = observing(clock, ("h1", "cpu"), ("h1", "disk"), ("h9", "cpu"))
    placing = place(LIBVIRT, HERE, shown, clock, writing=False)
    eventually(lambda: placing.driver.inventory().vms)  # a slow machine may not have told at the first look
    cluster = placing.driver.inventory()
    assert {host.name: host.driver for host in cluster.hosts} == {"h1": "libvirt", "h9": "none"}
    assert [(vm.name, vm.host) for vm in cluster.vms] == [("test", "h1")]
    reached = {(part.host, part.kind): part.whole_host for part in cluster.components}
    assert reached["h1", Kind.CPU]
    assert reached["h1", Kind.MEMORY]
    assert not reached["h1", Kind.DISK]
    assert placing.metrics()['forewarn_libvirt_connections_opened_total{host="h1"}'] == 1
    placing.close()


@pytest.mark.usefixtures("binding")
def test_a_part_that_the_operator_declares_carries_all_vms_of_its_host_alone() -> None:
    clock = SimulatedClock(NOW)
    observe = observing(clock, ("h1", "disk"), ("h1", "network"), ("h2", "disk"))

    def carried(*patterns: str) -> set[str]:
        hosts = {"h1": HostSettings("test:///default", carries=patterns), "h2": HostSettings("test:///default")}
        settings = LibvirtSettings(hosts=hosts)
        placing = place(LIBVIRT, settings, observe, clock, writing=False)
        parts = placing.driver.inventory().components
        placing.close()
        return {part.id for part in parts if part.whole_host and part.kind not in (Kind.CPU, Kind.MEMORY)}

    assert carried() == set()
    assert carried("x") == {"disk:h1/x", "network:h1/x"}
    assert carried("disk:*") == {"disk:h1/x"}
    assert carried("disk:h2/x") == set()


@pytest.mark.usefixtures("binding")
def test_a_cordon_of_a_former_process_is_shown_until_its_lease_ends() -> None:
    leases = {"h1": NOW + timedelta(minutes=1)}
    clock = SimulatedClock(NOW)
    placing = place(LIBVIRT, HERE, observing(clock), clock, lambda: leases, writing=True)
    assert placing.driver.inventory().host_by_name["h1"].cordoned
    clock.sleep(61.0)
    assert not placing.driver.inventory().host_by_name["h1"].cordoned
    with pytest.raises(CordonRefused):
        placing.driver.cordon("h9", "why", NOW)
    placing.close()


@pytest.mark.usefixtures("binding")
def test_a_site_moves_nothing_and_asks_read_only_where_no_mode_goes_beyond_observe(tmp_path: Path) -> None:
    dead = HostSettings("qemu+unix:///system?socket=/nowhere/libvirt-sock-ro")
    hosts = replace(HERE, hosts={**HERE.hosts, "h2": dead})
    settings = replace(SiteSettings(), driver=LIBVIRT, libvirt=hosts)
    clock = RealClock()
    site = Site(tmp_path, clock, settings)
    try:
        assert not site.acts
        site.take({"h1": [Sample("node_network_up", {"device": "eth0"}, 1.0)]}, clock.now())
        snapshot = site.control(site.driver()).cycle()
        assert [(vm.name, vm.host) for vm in snapshot.cluster.vms] == [("test", "h1")]
        assert {part.host for part in snapshot.cluster.components} == {"h1"}
        assert [line.host for line in snapshot.log if "h2 cannot be reached" in line.text] == ["h2"]
        assert 'forewarn_libvirt_calls_hanging{host="h1"}' in site.metrics()
    finally:
        site.close()
    moving = replace(settings, authority=AuthoritySettings(mode_max=Mode.AUTOMATIC))
    acting = Site(tmp_path / "acting", clock, moving)
    assert acting.acts
    acting.close()


def test_a_libvirt_without_hosts_is_refused() -> None:
    clock = SimulatedClock(NOW)
    with pytest.raises(ConfigurationError, match=r"no host is named under \[libvirt\.hosts\.NAME\]"):
        place(LIBVIRT, LibvirtSettings(), observing(clock), clock, writing=False)


def test_a_controller_without_the_binding_says_what_is_missing() -> None:
    program = (
        "import sys; sys.modules['libvirt'] = None\n"
        "from tests.unit.test_placing import *\n"
        "clock = SimulatedClock(NOW)\n"
        "try: place(LIBVIRT, HERE, observing(clock), clock, writing=False)\n"
        "except ConfigurationError as error: print(error)\n"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout == "driver.kind is libvirt, and its binding is not installed: see docs/install.md\n"
