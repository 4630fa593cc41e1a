"""The demonstration in a laboratory: a drive declines, and real guests leave its host while they run.

Only the drive is not real (`drives.py`) and its decline is hurried. Agents, controller, forecasts, decisions and live
migrations are those of any site. `automatic` holds by an override that is logged, for the laboratory's hosts alone.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from forewarn.clock import Clock, RealClock
from forewarn.errors import LaboratoryError
from forewarn.lab.decline import Decline
from forewarn.lab.drives import Bay
from forewarn.lab.libvirt.controller import Controller, start_agent
from forewarn.lab.libvirt.guests import Guest, beats, flaws
from forewarn.lab.libvirt.laboratory import Laboratory

Say = Callable[[str], None]

METADATA = "<forewarn:criticality xmlns:forewarn='urn:forewarn:vm'>{}</forewarn:criticality>"
SOUND = ("HGST HMS5C4040ALE640", "WDC WD40EFRX-68WT0N0", "TOSHIBA MD04ABA400V", "HGST HDS5C4040ALE630")
ALIVE_S = 2.0  # within which a guest that runs has gone on counting
LOOK_S = 1.0


@dataclass(frozen=True)
class DemonstrationSettings:
    """How the demonstration is played."""

    step_s: float = 15.0
    """Seconds for which each reading of the declining drive stands."""

    interval_s: float = 5.0
    """Seconds between two rounds of an agent, and between two cycles of the controller."""

    patience_s: float = 300.0
    """Seconds after the last reading within which the critical guests must have left."""


@dataclass(frozen=True)
class GuestReport:
    """What became of a guest: where it is, how far it has counted, and what was wrong with it."""

    name: str
    critical: bool
    was: str
    now: tuple[str, ...]
    beats: int
    flaws: tuple[str, ...]


@dataclass(frozen=True)
class DemonstrationReport:
    """What the demonstration showed."""

    drive: str
    guests: tuple[GuestReport, ...]
    moves: int

    @property
    def critical_left(self) -> bool:
        """Whether every critical guest has left the failing host, runs once, and has lost nothing."""
        return all(
            len(guest.now) == 1 and guest.now != (guest.was,) and not guest.flaws
            for guest in self.guests
            if guest.critical and guest.was == FAILING
        )

    def sentences(self) -> Iterator[str]:
        """The report as lines for a person."""
        for guest in self.guests:
            kind = "critical" if guest.critical else "ordinary"
            state = "; ".join(guest.flaws) or f"counted {guest.beats} beats without a gap"
            yield f"{guest.name} ({kind}): {guest.was} -> {', '.join(guest.now) or 'nowhere'}, {state}"


FAILING = "host01"
GUESTS: tuple[tuple[str, Guest], ...] = (
    (FAILING, Guest("db", 1, disk_mib=16, metadata=METADATA.format("high"))),
    (FAILING, Guest("web", 2, metadata=METADATA.format("high"))),
    (FAILING, Guest("batch", 3, metadata=METADATA.format("low"))),
    ("host02", Guest("cache", 4, metadata=METADATA.format("normal"))),
)


class Demonstration:
    """A laboratory with guests, agents and a controller, and the decline that is played to it."""

    def __init__(
        self,
        laboratory: Laboratory,
        decline: Decline,
        clock: Clock,
        settings: DemonstrationSettings | None = None,
        port: int = 0,
    ) -> None:
        self.settings = settings or DemonstrationSettings()
        self.controller = Controller(laboratory, clock, port, self.settings.interval_s)
        self._laboratory, self._decline, self._clock = laboratory, decline, clock
        self._bays = {host.name: Bay(host.plan.folder / "drives") for host in laboratory.hosts}
        self._told = 0

    def start(self) -> None:
        """Put drives in, let guests, controller and agents run, and allow moves."""
        for (name, bay), model in zip(self._bays.items(), SOUND * 3, strict=False):
            sound = replace(self._decline, model=model, serial=f"SOUND-{name}", readings=self._decline.readings[:1])
            bay.insert(self._decline if name == FAILING else sound)
        for name, guest in GUESTS:
            self._laboratory.cupboard.take_out(self._laboratory.host(name), guest)
        self.controller.start()
        self.controller.allow()
        token = self.controller.enroll()
        for host in self._laboratory.hosts:
            start_agent(token, host, self._bays[host.name], self.settings.interval_s)

    def play(self, clock: RealClock, say: Say) -> None:
        """Play the decline, reading after reading, until the critical guests have left or patience ends."""
        for reading in self._decline.readings:
            raw = ", ".join(f"{number}: {value:,}" for number, value in reading.raw.items() if value)
            say(f"day {reading.day:.0f} of the drive: SMART {raw or 'without a sign'}")
            self._bays[FAILING].show(self._decline, reading)
            if self._watch(clock, say, self.settings.step_s):
                return
        self._watch(clock, say, self.settings.patience_s)

    def report(self) -> DemonstrationReport:
        """What has become of the guests, each of which must go on counting."""
        before = {guest.name: self._beats(guest.name) for _, guest in GUESTS}
        end = self._clock.monotonic() + ALIVE_S * 5
        while self._clock.monotonic() < end and any(self._beats(name) <= count for name, count in before.items()):
            self._clock.sleep(0.1)
        moves = self.controller.ask("moves")["items"]
        guests = tuple(self._guest(guest, was, before[guest.name]) for was, guest in GUESTS)
        drive = f"{self._decline.model} {self._decline.serial}, {self._decline.source}"
        return DemonstrationReport(drive, guests, sum(move["state"] == "succeeded" for move in moves))

    def tell(self, say: Say) -> None:
        """Say what the controller's log has gained."""
        try:
            lines = self.controller.ask("log?limit=500")["items"]
        except LaboratoryError:
            return
        for line in reversed(lines[: len(lines) - self._told]):
            say(f"{line['time'][11:19]}  {line['text']}")
        self._told = max(self._told, len(lines))

    def _watch(self, clock: RealClock, say: Say, seconds: float) -> bool:
        """Whether all critical guests have left the failing host within so many seconds, or nobody waits any more."""
        end = clock.monotonic() + seconds
        while clock.monotonic() < end and not clock.stopped:
            self.tell(say)
            if self._left():
                return True
            clock.sleep(LOOK_S)
        return clock.stopped

    def _left(self) -> bool:
        critical = {guest.name for was, guest in GUESTS if was == FAILING and _critical(guest)}
        return not critical & set(self._laboratory.host(FAILING).guests())

    def _guest(self, guest: Guest, was: str, before: int) -> GuestReport:
        console = self._laboratory.cupboard.console(guest.name)
        count, found = len(beats(console)), flaws(console)
        if count <= before:
            found.append("it has stopped counting")
        where = self._laboratory.where(guest.name)
        return GuestReport(guest.name, _critical(guest), was, where, count, tuple(found))

    def _beats(self, name: str) -> int:
        return len(beats(self._laboratory.cupboard.console(name)))


def _critical(guest: Guest) -> bool:
    return ">high<" in guest.metadata
