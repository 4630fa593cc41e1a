"""Builds the driver of a site from its settings: the placement service that is named, beside what telemetry shows.

The service gives hosts and VMs, telemetry their parts, joined by the hosts' names. Hosts that telemetry alone knows are
watched.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from forewarn.clock import Clock
from forewarn.decide.criticality import infer
from forewarn.domain.inventory import Kind
from forewarn.drivers.base import Driver
from forewarn.drivers.joined import JoinedDriver
from forewarn.drivers.libvirt.settings import LibvirtSettings
from forewarn.drivers.none import ObservedDriver
from forewarn.errors import ConfigurationError

# Whatever a VM does, it does on its host's processors and in its memory. Its disks and links may be others', or spared.
ON_EVERY_PATH = (Kind.CPU, Kind.MEMORY)


class DriverKind(StrEnum):
    """The placement services that there are."""

    NONE = "none"
    LIBVIRT = "libvirt"


@dataclass(frozen=True)
class DriverSettings:
    """Which placement service knows the VMs."""

    kind: DriverKind = DriverKind.NONE
    """The placement service: none (hosts as telemetry shows them, no VMs, nothing moves) or libvirt (the hosts of
    `libvirt.hosts`)."""


@dataclass(frozen=True)
class Placing:
    """A driver, what it counts about itself (by the samples' names with their labels), and what lets it go."""

    driver: Driver
    metrics: Callable[[], Mapping[str, float]] = dict
    close: Callable[[], None] = lambda: None


Observe = Callable[[Collection[Kind], Mapping[str, Collection[str]]], ObservedDriver]
"""Gives the driver that shows telemetry's hosts. Every VM of a host depends on parts of these kinds, and on those that
match these patterns of its name or id, by host."""


def place(
    settings: DriverSettings,
    libvirt: LibvirtSettings,
    observe: Observe,
    clock: Clock,
    leases: Callable[[], Mapping[str, datetime]] = dict,
    *,
    writing: bool,
) -> Placing:
    """The driver that the settings name. Where not `writing` it can move nothing, and libvirt is asked read-only.

    `leases` tells the hosts that Forewarn has cordoned, and until when. Raises ConfigurationError.
    """
    if settings.kind is DriverKind.NONE:
        return Placing(observe((), {}))
    if not libvirt.hosts:
        raise ConfigurationError("driver.kind is libvirt, and no host is named under [libvirt.hosts.NAME]")
    try:
        from forewarn.drivers.libvirt.driver import LibvirtDriver
    except ImportError as error:
        text = "driver.kind is libvirt, and its binding is not installed: see docs/install.md"
        raise ConfigurationError(text) from error
    driver = LibvirtDriver(libvirt, clock, infer, leases, writing=writing)
    carries = {name: host.carries for name, host in libvirt.hosts.items()}
    return Placing(JoinedDriver([driver, observe(ON_EVERY_PATH, carries)]), driver.metrics, driver.close)
