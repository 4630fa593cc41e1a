"""What befalls hosts beside the wearing out of parts: silence, maintenance, heat, odd readings, other people's hands.

Each happening is a frozen value with its times. `Happenings` lets them begin and end at the simulated driver, and
tells the world which hosts are silent and which readings are changed. Nothing here is drawn by chance.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import TypeAlias

from forewarn.domain.inventory import Component, HostState
from forewarn.drivers.simulated import SimulatedDriver

FOREVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Where:
    """Which hosts and parts are meant; an empty field means all. `hosts` are patterns: `host0*`."""

    hosts: tuple[str, ...] = ()
    rack: str = ""
    kind: str = ""
    device: str = ""
    model: str = ""

    def on(self, host: str, rack: str) -> bool:
        """Whether a host in this rack is meant."""
        named = not self.hosts or any(fnmatchcase(host, pattern) for pattern in self.hosts)
        return named and self.rack in ("", rack)

    def part(self, part: Component) -> bool:
        """Whether a part is meant, its host being so."""
        pairs = ((self.kind, str(part.kind)), (self.device, part.device), (self.model, part.model))
        return all(wanted in ("", found) for wanted, found in pairs)


@dataclass(frozen=True, slots=True)
class Silence:
    """The exporters of some hosts are not heard; the hosts are well and their counters count on."""

    where: Where
    starts: datetime
    ends: datetime


@dataclass(frozen=True, slots=True)
class Maintenance:
    """Somebody announces maintenance of hosts. With `boots` they show nothing meanwhile and come back rebooted.

    `amid` lets it begin between a plan and its first move, where the loop moves anything then.
    """

    where: Where
    starts: datetime
    ends: datetime = FOREVER
    boots: bool = False
    amid: bool = False


@dataclass(frozen=True, slots=True)
class Outage:
    """Hosts go down unannounced, with what runs on them; `amid` as in Maintenance."""

    where: Where
    starts: datetime
    ends: datetime = FOREVER
    amid: bool = False


@dataclass(frozen=True, slots=True)
class Readings:
    """Parts show other values than theirs: `adds` to what they show, or shows what it `sets`, by metric key."""

    where: Where
    starts: datetime
    ends: datetime = FOREVER
    adds: Mapping[str, float] = field(default_factory=dict)
    sets: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ElsewhereMove:
    """Another tool puts a VM on another host, once."""

    vm: str
    target: str
    starts: datetime
    ends: datetime = FOREVER


@dataclass(frozen=True, slots=True)
class PullBack:
    """Another tool puts a VM back `after_s` seconds after it was seen to have left its host, as often as `times`."""

    vm: str
    after_s: float
    starts: datetime
    times: int = 1
    ends: datetime = FOREVER


Happening: TypeAlias = Silence | Maintenance | Outage | Readings | ElsewhereMove | PullBack


def heat(where: Where, starts: datetime, ends: datetime, celsius: float) -> Readings:
    """Warmer air at the inlet: every sensor of the hosts shows as much more."""
    sensors = ("cpu_temperature", "disk_temperature", "psu_temperature")
    return Readings(where, starts, ends, adds=dict.fromkeys(sensors, celsius))


def feed_pulled(where: Where, starts: datetime, ends: datetime) -> Readings:
    """A power supply without its feed: it lives and its fan turns, fed by its twin, and it gives nothing."""
    dead = {"psu_input_volts": 0.0, "psu_output_volts": 0.0, "psu_amperes": 0.0, "psu_state": 2.0}
    return Readings(where, starts, ends, sets=dead)


def link_lost(where: Where, starts: datetime, ends: datetime) -> tuple[Readings, Readings]:
    """A NIC without carrier: one change of the carrier as it goes, another as it comes back."""
    gone = Readings(where, starts, ends, adds={"nic_carrier_changes": 1.0}, sets={"nic_up": 0.0, "nic_speed": 0.0})
    return gone, Readings(where, ends, FOREVER, adds={"nic_carrier_changes": 2.0})


@dataclass(frozen=True, slots=True)
class Fallen:
    """A host that an outage took down, and the VMs that went with it."""

    host: str
    interrupted: tuple[str, ...]


class Happenings:
    """The happenings of one world. `step` at each tick, `amid` before a move is checked."""

    def __init__(self, driver: SimulatedDriver, listed: Iterable[Happening]) -> None:
        self._driver = driver
        self._racks = {host.name: host.rack for host in driver.inventory().hosts}
        self._coming = sorted(listed, key=lambda happening: happening.starts)
        self._active: list[Happening] = []
        self._home: dict[str, str] = {}  # VM that is pulled back -> its host
        self._left: dict[str, datetime] = {}
        self._pulled: dict[str, int] = {}
        self._booted: set[str] = set()
        self._fallen: list[Fallen] = []

    def step(self, now: datetime) -> None:
        """Let begin and end what is due."""
        self._start(happening for happening in self._coming if self._due(happening, now))
        for happening in [happening for happening in self._active if happening.ends <= now]:
            self._active.remove(happening)
            self._end(happening)
        for happening in self._active:
            if isinstance(happening, PullBack):
                self._pull_back(happening, now)

    def amid(self, now: datetime) -> None:
        """Let begin what comes between a plan and its first move."""
        self._start(each for each in self._coming if getattr(each, "amid", False) and each.starts <= now)

    def booted(self) -> set[str]:
        """The hosts that have come back since the last call."""
        booted, self._booted = self._booted, set()
        return booted

    def fallen(self) -> list[Fallen]:
        """The hosts that went down since the last call."""
        fallen, self._fallen = self._fallen, []
        return fallen

    def off(self) -> frozenset[str]:
        """The hosts that are off now: they count nothing."""
        off = (
            each for each in self._active if isinstance(each, Outage) or (isinstance(each, Maintenance) and each.boots)
        )
        return frozenset(host for happening in off for host in self._hosts(happening.where))

    def silent(self) -> frozenset[str]:
        """The hosts that show nothing now."""
        silences = (each for each in self._active if isinstance(each, Silence))
        return self.off().union(host for happening in silences for host in self._hosts(happening.where))

    def readings(self, part: Component) -> Iterator[Readings]:
        """What changes the readings of a part now."""
        for each in self._active:
            if (
                isinstance(each, Readings)
                and each.where.on(part.host, self._racks[part.host])
                and each.where.part(part)
            ):
                yield each

    def _due(self, happening: Happening, now: datetime) -> bool:
        """What comes amid a plan waits for one until the next tick."""
        return happening.starts < now if getattr(happening, "amid", False) else happening.starts <= now

    def _hosts(self, where: Where) -> list[str]:
        return [host for host, rack in self._racks.items() if where.on(host, rack)]

    def _start(self, due: Iterable[Happening]) -> None:
        for happening in list(due):
            self._coming.remove(happening)
            self._active.append(happening)
            self._begin(happening)

    def _begin(self, happening: Happening) -> None:
        match happening:
            case Maintenance():
                for host in self._hosts(happening.where):
                    self._maintain(host, maintained=True)
            case Outage():
                for host in self._hosts(happening.where):
                    self._fallen.append(Fallen(host, self._driver.fail_host(host, "", f"{host} went down")))
            case ElsewhereMove():
                self._driver.move_elsewhere(happening.vm, happening.target)
            case PullBack():
                self._home[happening.vm] = self._host_of(happening.vm)
            case _:
                pass  # only readings change

    def _end(self, happening: Happening) -> None:
        match happening:
            case Maintenance():
                for host in self._hosts(happening.where):
                    self._maintain(host, maintained=False)
                    self._booted |= {host} if happening.boots else set()
            case Outage():
                for host in self._hosts(happening.where):
                    self._driver.repair_host(host)
                    self._booted.add(host)
            case _:
                pass  # nothing was changed that would have to be undone

    def _maintain(self, host: str, *, maintained: bool) -> None:
        if self._driver.inventory().host_by_name[host].state is not HostState.DOWN:
            self._driver.maintain(host, maintained)

    def _host_of(self, vm: str) -> str:
        return self._driver.inventory().vm_by_id[vm].host

    def _pull_back(self, happening: PullBack, now: datetime) -> None:
        vm, home = happening.vm, self._home[happening.vm]
        if self._host_of(vm) == home:
            self._left.pop(vm, None)
            return
        left = self._left.setdefault(vm, now)
        pulled = self._pulled.get(vm, 0)
        up = self._driver.inventory().host_by_name[home].state is not HostState.DOWN
        if up and now - left >= timedelta(seconds=happening.after_s) and pulled < happening.times:
            self._driver.move_elsewhere(vm, home)
            self._pulled[vm] = pulled + 1
