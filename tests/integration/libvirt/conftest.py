"""A laboratory of three hosts for the whole run, and guests of it that are gone again after each test."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("libvirt", reason="the binding to libvirt is not installed (make setup says why)")

from forewarn.clock import RealClock
from forewarn.drivers.libvirt.connections import Connections
from forewarn.errors import DriverUnavailable, VmGone
from forewarn.lab.libvirt.guests import Guest
from forewarn.lab.libvirt.host import Host
from forewarn.lab.libvirt.laboratory import Laboratory, find, raise_laboratory, standing
from forewarn.lab.machine import look, refusal
from forewarn.lab.settings import LabSettings
from tests.laboratories import traces

SETTINGS = LabSettings(beside_guests=True)  # tests of several checkouts run at once on a developer's machine


@pytest.fixture(scope="session")
def settings() -> LabSettings:
    """Where laboratories of these tests are kept. Skips where none can be raised, and says why."""
    if os.environ.get("LAB") == "0":
        pytest.skip("LAB=0: no laboratory is raised")
    if why := refusal(look(), SETTINGS):
        pytest.skip(why)
    return SETTINGS


@pytest.fixture(scope="session")
def raised(settings: LabSettings) -> Iterator[Callable[..., Laboratory]]:
    """Raises laboratories; whichever stand at the end are taken down, and nothing may be left of any."""
    names: list[str] = []

    def raise_one(hosts: int = 3, name: str = "test") -> Laboratory:
        names.append(f"{name}-{os.getpid()}")
        return raise_laboratory(names[-1], hosts, settings, RealClock())

    yield raise_one
    for name in set(names) & set(standing(settings)):
        find(name, settings, RealClock()).down()
    assert [trace for name in names for trace in traces(settings, name)] == []


@pytest.fixture(scope="session")
def standing_laboratory(raised: Callable[..., Laboratory]) -> Laboratory:
    """Three hosts that serve the whole run."""
    return raised()


@pytest.fixture
def laboratory(standing_laboratory: Laboratory) -> Iterator[Laboratory]:
    """The laboratory as each test finds it: three hosts switched on, whole cables, no guests."""
    yield standing_laboratory
    _tidied(standing_laboratory)


@pytest.fixture
def running(laboratory: Laboratory) -> Callable[..., Host]:
    """Lets a guest run on a host, as it was saved."""

    def run(guest: Guest, host: str = "host01") -> Host:
        found = laboratory.host(host)
        laboratory.cupboard.take_out(found, guest)
        return found

    return run


def _tidied(laboratory: Laboratory) -> None:
    _mended(laboratory)
    connections = Connections({host.name: host.uri for host in laboratory.hosts}, writing=True)
    for host in laboratory.hosts:
        if host.node.alive:
            try:
                connections.call(host.name, _cleared, "be emptied")
            except (DriverUnavailable, VmGone):
                host.power_off()
        if not host.node.alive:
            laboratory.power_on(host.name)
        _emptied(host.local)
    connections.close()
    _emptied(laboratory.shared)


def _mended(laboratory: Laboratory) -> None:
    """Whole cables, asked for with one look at the switch."""
    ports = laboratory.switch.run_inside("sh", "-c", "tc qdisc show; ip -oneline link show up")
    for host in laboratory.hosts:
        if host.node.alive and (" tbf " in ports or f"{host.cable.port}@" not in ports):
            host.cable.mend()
            host.cable.slow(None)


def _cleared(connection: Any) -> None:
    """No guest runs there, and none is defined."""
    for domain in connection.listAllDomains():
        persistent = domain.isPersistent()
        if domain.isActive():
            domain.destroy()
        if persistent:
            domain.undefine()


def _emptied(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()
