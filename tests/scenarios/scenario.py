"""Reads `scenario.toml`: a small cluster, the faults that befall it, and the moves that shall break."""

import tomllib
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from forewarn.domain.inventory import Kind
from forewarn.sim.faults import Course, Fault


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
class Scenario:
    purpose: str
    seed: int
    hosts: int
    vms: int
    minutes: float
    faults: tuple[FaultLine, ...]
    moves_failing: tuple[FailingMove, ...] = ()
    interval_s: float = 15.0
    moves: bool = True


def read(path: Path) -> Scenario:
    table: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    table["faults"] = tuple(FaultLine(**line) for line in table.get("faults", ()))
    table["moves_failing"] = tuple(FailingMove(**line) for line in table.get("moves_failing", ()))
    return Scenario(**table)
