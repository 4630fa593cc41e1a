"""Reads `scenario.toml`: a small cluster, the faults and events that befall it, and the moves that shall break."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from forewarn.domain.inventory import Kind
from forewarn.sim.faults import Course, Fault
from forewarn.sim.happenings import (
    FOREVER,
    ElsewhereMove,
    Happening,
    Maintenance,
    Outage,
    PullBack,
    Readings,
    Silence,
    Where,
    feed_pulled,
    heat,
    link_lost,
)


@dataclass(frozen=True)
class FaultLine:
    """A fault in seconds from the start; the fields are those of `sim.faults.Fault`."""

    host: str
    kind: str
    device: str
    course: str
    starts_s: float
    peaks_s: float
    ends_s: float
    mode: str = ""
    severity: float = 1.0

    def fault(self, start: datetime) -> Fault:
        starts, peaks, ends = (start + timedelta(seconds=s) for s in (self.starts_s, self.peaks_s, self.ends_s))
        course = Course(self.course)
        return Fault(self.host, Kind(self.kind), self.device, course, starts, peaks, ends, self.mode, self.severity)


@dataclass(frozen=True)
class FailingMove:
    """The next move of this VM breaks off half-way, with this text."""

    vm: str
    text: str


@dataclass(frozen=True)
class EventLine:
    """A happening in seconds from the start; `what` names it, and says which of the other fields count."""

    what: str
    starts_s: float
    ends_s: float | None = None
    hosts: tuple[str, ...] = ()  # patterns
    rack: str = ""
    kind: str = ""
    device: str = ""
    model: str = ""
    boots: bool = False
    amid: bool = False
    celsius: float = 0.0
    adds: Mapping[str, float] = field(default_factory=dict)
    sets: Mapping[str, float] = field(default_factory=dict)
    vm: str = ""
    target: str = ""
    after_s: float = 0.0
    times: int = 1

    def happenings(self, start: datetime) -> tuple[Happening, ...]:
        starts = start + timedelta(seconds=self.starts_s)
        ends = FOREVER if self.ends_s is None else start + timedelta(seconds=self.ends_s)
        where = Where(tuple(self.hosts), self.rack, self.kind, self.device, self.model)
        found: Happening
        match self.what:
            case "silence":
                found = Silence(where, starts, ends)
            case "maintenance":
                found = Maintenance(where, starts, ends, self.boots, self.amid)
            case "outage":
                found = Outage(where, starts, ends, self.amid)
            case "readings":
                found = Readings(where, starts, ends, self.adds, self.sets)
            case "heat":
                found = heat(where, starts, ends, self.celsius)
            case "feed_pulled":
                found = feed_pulled(where, starts, ends)
            case "link_lost":
                return link_lost(where, starts, ends)
            case "moved_elsewhere":
                found = ElsewhereMove(self.vm, self.target, starts)
            case "pulled_back":
                found = PullBack(self.vm, self.after_s, starts, self.times)
            case _:
                raise ValueError(f"no event is called {self.what!r}")
        return (found,)


@dataclass(frozen=True)
class Scenario:
    purpose: str
    seed: int
    hosts: int
    vms: int
    minutes: float
    faults: tuple[FaultLine, ...] = ()
    events: tuple[EventLine, ...] = ()
    moves_failing: tuple[FailingMove, ...] = ()
    interval_s: float = 15.0
    moves: bool = True
    mode_until_s: float | None = None  # until when moves are made; None for always
    hosts_per_rack: int = 8
    utilization: float = 0.6
    history_days: int = 30


def read(path: Path) -> Scenario:
    table: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    table["faults"] = tuple(FaultLine(**line) for line in table.get("faults", ()))
    table["events"] = tuple(EventLine(**line) for line in table.get("events", ()))
    table["moves_failing"] = tuple(FailingMove(**line) for line in table.get("moves_failing", ()))
    return Scenario(**table)
