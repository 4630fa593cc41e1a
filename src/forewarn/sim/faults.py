"""How parts wear out and fail: the physics of each kind's decline, and a schedule of faults drawn from a seed.

The schedule is drawn from the cluster as it is in the beginning, so it does not depend on what moves. More than a third
of failures show no sign before, and some declines come to nothing. Times are accelerated; the quantities that a decline
moves, and how far, follow what failing parts have shown in the field. What the forecaster looks at is not known here.
"""

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from forewarn.domain.inventory import Cluster, Component, Criticality, Kind
from forewarn.sim.signals import DRIVES


class Course(StrEnum):
    """How a fault goes."""

    DECLINE = "decline"  # shows signs, then fails
    SUDDEN = "sudden"  # fails without any sign
    FALSE_ALARM = "false_alarm"  # shows signs and never fails
    DARK = "dark"  # the host's exporters fall silent; its hardware is well


@dataclass(frozen=True, slots=True)
class Effect:
    """What a decline adds to a quantity at its worst, at severity 1.

    Nothing happens before `onset` (a share of the decline); then it grows with the `power` of time, in `bursts` steps
    where set, and ripples by that share of itself. `lasting` effects stay when the cause is gone.
    """

    key: str
    amount: float
    onset: float = 0.0
    power: float = 1.6
    bursts: int = 0
    ripple: float = 0.0
    lasting: bool = True


@dataclass(frozen=True, slots=True)
class Mode:
    """One way in which a kind of part wears out."""

    name: str
    weight: int
    effects: tuple[Effect, ...]
    nvme: bool = False


def _gauge(key: str, amount: float, *, onset: float = 0.0, power: float = 1.2, ripple: float = 0.0) -> Effect:
    return Effect(key, amount, onset, power, ripple=ripple, lasting=False)


_MEDIA = (
    Effect("smart_197", 160.0, lasting=False),
    Effect("smart_198", 140.0, onset=0.1, lasting=False),
    Effect("smart_5", 1400.0, onset=0.05),
    Effect("smart_196", 220.0, onset=0.05),
    Effect("smart_187", 60.0),
    Effect("smart_188", 9.0, onset=0.3),
    Effect("disk_io_errors", 40.0, onset=0.4),
    Effect("disk_read_seconds", 30.0, onset=0.2),
    _gauge("disk_temperature", 4.0),
    Effect("smart_status", -1.0, onset=0.85, bursts=1, lasting=False),
)
_MECHANICS = (
    Effect("smart_187", 90.0),
    Effect("smart_189", 40.0),
    Effect("smart_10", 6.0, onset=0.4),
    Effect("smart_197", 40.0, lasting=False),
    Effect("smart_198", 40.0, onset=0.1, lasting=False),
    Effect("smart_5", 500.0, onset=0.2),
    Effect("disk_io_errors", 60.0, onset=0.3),
    Effect("disk_read_seconds", 60.0, onset=0.2),
    _gauge("disk_temperature", 6.0),
)
_CELLS = (
    Effect("nvme_media_errors", 120.0),
    _gauge("nvme_available_spare", -75.0),
    _gauge("nvme_percentage_used", 18.0),
    Effect("nvme_critical_warning", 4.0, onset=0.4, bursts=1, lasting=False),  # bit 2: reliability is degraded
    Effect("disk_io_errors", 30.0, onset=0.4),
    Effect("smart_status", -1.0, onset=0.7, bursts=1, lasting=False),
)
_OVERHEATING = (
    _gauge("cpu_temperature", 38.0),
    Effect("cpu_core_throttles", 900.0, onset=0.35),
    Effect("cpu_package_throttles", 300.0, onset=0.45),
    _gauge("cpu_frequency", -1.6e9, onset=0.35),
)

MODES: Mapping[Kind, tuple[Mode, ...]] = {
    Kind.DISK: (
        Mode("media", 3, _MEDIA),
        Mode("mechanics", 1, _MECHANICS),
        Mode("cells", 1, _CELLS, nvme=True),
    ),
    Kind.MEMORY: (
        Mode("row", 2, (Effect("dimm_corrected", 5000.0, power=1.8, bursts=9),)),
        Mode("cell", 1, (Effect("dimm_corrected", 1500.0, power=1.4, bursts=14),)),
    ),
    Kind.CPU: (Mode("cooling", 1, _OVERHEATING),),
    Kind.NETWORK: (
        Mode(
            "optics",
            2,
            (
                Effect("nic_receive_errors", 60000.0),
                Effect("nic_frame_errors", 58000.0),
                Effect("nic_receive_drops", 4000.0, onset=0.2),
                Effect("nic_carrier_changes", 12.0, onset=0.4, bursts=6),
            ),
        ),
        Mode(
            "flapping",
            1,
            (
                Effect("nic_carrier_changes", 40.0, onset=0.1, bursts=20),
                Effect("nic_receive_errors", 9000.0),
                Effect("nic_transmit_errors", 3000.0, onset=0.2),
            ),
        ),
    ),
    Kind.POWER: (
        Mode(
            "capacitors",
            2,
            (
                _gauge("psu_output_volts", -1.4, ripple=0.35),
                _gauge("psu_temperature", 28.0),
                Effect("psu_state", 1.0, onset=0.45, bursts=1, lasting=False),
                Effect("psu_state", 1.0, onset=0.85, bursts=1, lasting=False),
            ),
        ),
        Mode(
            "fan",
            1,
            (
                _gauge("psu_fan_speed", -5600.0),
                _gauge("psu_temperature", 42.0, onset=0.1),
                _gauge("psu_output_volts", -0.5, onset=0.5, ripple=0.3),
                Effect("psu_state", 1.0, onset=0.4, bursts=1, lasting=False),
            ),
        ),
    ),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong at one place, fully drawn before it starts.

    Signs show from `starts`; at `peaks` the part fails, or a false alarm is at its worst; at `ends` the part has been
    replaced or the cause has gone.
    """

    host: str
    kind: Kind
    device: str
    course: Course
    starts: datetime
    peaks: datetime
    ends: datetime
    mode: str = ""
    severity: float = 1.0

    @property
    def fails(self) -> bool:
        return self.course in (Course.DECLINE, Course.SUDDEN)

    def later(self, span: timedelta) -> "Fault":
        """The same fault, begun later."""
        return replace(self, starts=self.starts + span, peaks=self.peaks + span, ends=self.ends + span)


def additions(fault: Fault, now: datetime) -> Iterator[tuple[str, float]]:
    """Metric keys and what the fault adds to them at `now`; nothing where it shows no sign."""
    if fault.course not in (Course.DECLINE, Course.FALSE_ALARM) or not fault.starts <= now < fault.ends:
        return
    span_s = max(1e-6, (fault.peaks - fault.starts).total_seconds())
    progress = min(1.0, (now - fault.starts).total_seconds() / span_s)
    fading = 1.0
    if now > fault.peaks:
        fading = (fault.ends - now).total_seconds() / max(1e-6, (fault.ends - fault.peaks).total_seconds())
    mode = next(mode for mode in MODES[fault.kind] if mode.name == fault.mode)
    for effect in mode.effects:
        grown = _grown(effect, progress if effect.bursts == 0 else _stepped(progress, effect))
        wave = 1.0 + effect.ripple * math.sin(now.timestamp() * 2.1)
        scale = fault.severity if effect.bursts != 1 else float(fault.severity >= _SEVERE)
        yield effect.key, effect.amount * grown * wave * scale * (1.0 if effect.lasting else fading)


_SEVERE = 0.6  # below it no sensor changes its state and no drive gives itself up


def _grown(effect: Effect, progress: float) -> float:
    beyond = max(0.0, progress - effect.onset) / (1.0 - effect.onset)
    return float(beyond**effect.power)


def _stepped(progress: float, effect: Effect) -> float:
    """Progress that goes in steps from the onset on: errors come in bursts."""
    beyond = max(0.0, progress - effect.onset) / (1.0 - effect.onset)
    return effect.onset + (1.0 - effect.onset) * math.ceil(beyond * effect.bursts) / effect.bursts


@dataclass(frozen=True, slots=True)
class FaultSettings:
    """How often and how fast parts wear out in the demonstration. Times are seconds, multiplied by `pace`."""

    pace: float = 1.0
    """Multiplies every time here: 1 suits somebody who watches, more suits longer cycles."""
    first_s: float = 30.0
    """When the first decline starts: the first cycles show a healthy cluster."""
    first_decline_s: tuple[float, float] = (60.0, 75.0)
    """How long the first decline takes, so that within two minutes a part declines, VMs move and the host fails."""
    between_s: tuple[float, float] = (25.0, 85.0)
    """Time from one fault's start to the next one's."""
    decline_s: tuple[float, float] = (40.0, 90.0)
    """How long a part declines before it fails; weeks for a real disk, minutes for a real DIMM."""
    down_s: tuple[float, float] = (90.0, 180.0)
    """How long a failed part waits for its replacement."""
    sudden_share: float = 0.4
    """Share of failures without any sign. Published: 35 % of failed drives show nothing in SMART before."""
    sudden_share_min: float = 0.36
    """The drawn share is held above this at all times, so that no run is kinder than the field."""
    false_share: float = 0.15
    """Share of faults that are declines without a failure."""
    spared_share: float = 0.2
    """Share of faults that hit parts whose failure does not take their host down."""
    severity: tuple[float, float] = (0.7, 1.5)
    """How far a decline goes, against what MODES says."""
    false_severity: tuple[float, float] = (0.3, 0.8)
    """How far a decline goes that never ends in a failure."""


# Which parts fail how often, among those that take their host down: disks lead in every published record of outages.
_KIND_WEIGHTS: Mapping[Kind, float] = {
    Kind.DISK: 0.44,
    Kind.MEMORY: 0.24,
    Kind.POWER: 0.13,
    Kind.NETWORK: 0.12,
    Kind.CPU: 0.07,
}


def fatal(part: Component) -> bool:
    """Whether the part's failure takes its host down."""
    return part.whole_host and part.spares == 0


@dataclass
class Schedule:
    """Draws faults in the order of their start, without end. One host has one fault at a time."""

    seed: int
    cluster: Cluster
    start: datetime
    settings: FaultSettings = field(default_factory=FaultSettings)

    def __post_init__(self) -> None:
        self._rng = random.Random(f"faults {self.seed}")
        self._busy_until = dict.fromkeys((host.name for host in self.cluster.hosts), self.start)
        self._failures = self._sudden = 0

    def __iter__(self) -> Iterator[Fault]:
        first = self._first_part()
        starts = self.start + self._scaled(self.settings.first_s)
        if first is not None:
            yield self._fault(first, Course.DECLINE, starts, self.settings.first_decline_s)
        while self.cluster.components:
            starts = max(starts + self._between(self.settings.between_s), min(self._busy_until.values()))
            part = self._draw_part(starts)
            yield self._fault(part, self._draw_course(part), starts, self.settings.decline_s)

    def _scaled(self, seconds: float) -> timedelta:
        return timedelta(seconds=seconds * self.settings.pace)

    def _between(self, bounds_s: tuple[float, float]) -> timedelta:
        return self._scaled(self._rng.uniform(*bounds_s))

    def _first_part(self) -> Component | None:
        """A disk whose failure takes down a host with critical VMs: the first thing that a newcomer sees."""
        critical = {vm.host for vm in self.cluster.vms if vm.criticality == Criticality.HIGH}
        parts = [part for part in self.cluster.components if fatal(part) and part.host in critical]
        disks = [part for part in parts if part.kind == Kind.DISK and not _nvme(part)]
        return self._rng.choice(disks or parts) if parts else None

    def _draw_part(self, starts: datetime) -> Component:
        free = {host for host, until in self._busy_until.items() if until <= starts}
        parts = [part for part in self.cluster.components if part.host in free]
        spared = self._rng.random() < self.settings.spared_share
        chosen = [part for part in parts if fatal(part) != spared] or parts
        kinds = sorted({part.kind for part in chosen})
        (kind,) = self._rng.choices(kinds, weights=[_KIND_WEIGHTS[kind] for kind in kinds])
        return self._rng.choice([part for part in chosen if part.kind == kind])

    def _draw_course(self, part: Component) -> Course:
        if self._rng.random() < self.settings.false_share:
            return Course.FALSE_ALARM
        sudden = self._rng.random() < self.settings.sudden_share
        if fatal(part):
            behind = self._sudden < self.settings.sudden_share_min * (self._failures + 1)
            sudden = sudden or behind
            self._failures += 1
            self._sudden += sudden
        return Course.SUDDEN if sudden else Course.DECLINE

    def _fault(self, part: Component, course: Course, starts: datetime, decline_s: tuple[float, float]) -> Fault:
        false = course == Course.FALSE_ALARM
        peaks = starts + self._between(decline_s)
        ends = peaks + self._between(self.settings.down_s)
        self._busy_until[part.host] = ends + self._scaled(self.settings.down_s[0])
        bounds = self.settings.false_severity if false else self.settings.severity
        mode, severity = draw_mode(self._rng, part), self._rng.uniform(*bounds)
        return Fault(part.host, part.kind, part.device, course, starts, peaks, ends, mode, severity)


def _nvme(part: Component) -> bool:
    return part.kind == Kind.DISK and not DRIVES[part.model].attributes


def draw_mode(rng: random.Random, part: Component) -> str:
    """A way in which this part may wear out."""
    modes: Sequence[Mode] = [mode for mode in MODES[part.kind] if mode.nvme == _nvme(part)]
    (mode,) = rng.choices(modes, weights=[mode.weight for mode in modes])
    return mode.name
