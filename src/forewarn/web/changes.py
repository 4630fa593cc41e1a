"""What changed on screen from one snapshot to the next, as server-sent events. Pure.

Each event's `id` is the version of the snapshot that it leads to, so whoever was cut off asks for what it missed.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from forewarn.domain.plan import Outcome
from forewarn.domain.situation import LogLine, Snapshot
from forewarn.web.fleet import Cell, Fleet, Row
from forewarn.web.migrations import rows_of
from forewarn.web.words import clock_time


@dataclass(frozen=True, slots=True)
class Event:
    """One server-sent event."""

    name: str
    body: Any
    version: str

    def encoded(self) -> bytes:
        """The event as it goes over the wire. JSON escapes line ends, so no text can forge a second event."""
        text = json.dumps(self.body, ensure_ascii=True, separators=(",", ":"))
        return f"id: {self.version}\nevent: {self.name}\ndata: {text}\n\n".encode()


def version_of(fleet: Fleet | None) -> str:
    """Tells any two snapshots apart, also those of another run of the controller."""
    if fleet is None:
        return "none"
    return f"{fleet.snapshot.cycle}-{fleet.snapshot.time.timestamp():.6f}"


def changes_between(before: Fleet | None, after: Fleet) -> tuple[Event, ...]:
    """The events that bring a page from `before` to `after`: `cycle` always, the others where something changed."""
    version = version_of(after)
    events = [Event("cycle", cycle_body(after.snapshot, after), version)]
    if before is None or before.layout != after.layout:
        events.append(Event("layout", {"layout": after.layout}, version))
        bodies: list[tuple[str, list[dict[str, Any]]]] = []
    else:
        bodies = [
            ("cells", [cell_body(cell) for cell in _new(before.cells, after.cells)]),
            ("hosts", [row_body(row) for row in _changed_rows(before.rows, after.rows)]),
        ]
    bodies.append(("log", new_lines(before.snapshot.log if before else (), after.snapshot.log)))
    bodies.append(("moves", _moves(before, after)))
    events += [Event(name, body, version) for name, body in bodies if body]
    return tuple(events)


def _new(before: Sequence[Cell], after: Sequence[Cell]) -> Iterable[Cell]:
    """Cells that differ from the ones in the same place; both have the same layout."""
    return (new for old, new in zip(before, after, strict=True) if old != new)


def _changed_rows(before: Sequence[Row], after: Sequence[Row]) -> Iterable[Row]:
    return (new for old, new in zip(before, after, strict=True) if row_body(old) != row_body(new))


def cycle_body(snapshot: Snapshot, fleet: Fleet) -> dict[str, Any]:
    """The head of every page."""
    return {
        "cycle": snapshot.cycle,
        "time": snapshot.time.isoformat(),
        "sentence": snapshot.sentence,
        "mode": snapshot.mode,
        "paused": snapshot.paused,
        "counts": asdict(fleet.counts),
    }


def cell_body(cell: Cell) -> dict[str, Any]:
    """A changed cell: all that its place on the grid shows."""
    return {"key": cell.key, "level": cell.level, "label": cell.label, "moving": cell.moving, "ratio": cell.ratio}


def row_body(row: Row) -> dict[str, Any]:
    """A changed row, without its cells."""
    return {
        "key": row.key,
        "name": row.host.name,
        "state": row.host.state,
        "standing": row.host.standing,
        "cordoned": row.host.cordoned,
        "vms": row.vms,
        "vms_high": row.vms_high,
        "vms_interrupted": row.vms_interrupted,
        "moving_out": row.moving_out,
        "moving_in": row.moving_in,
        "worst": row.worst_words,
        "worst_level": row.worst.level if row.worst else "lu",
    }


def new_lines(before: Sequence[LogLine], after: Sequence[LogLine]) -> list[dict[str, Any]]:
    """The lines of `after` (newest first) that stand before the newest one of `before`, oldest first."""
    known = set(before)
    lines = [line for line in after if line not in known]
    return [line_body(line) for line in reversed(lines)]


def line_body(line: LogLine) -> dict[str, Any]:
    """One line of the log."""
    return {
        "time": line.time.isoformat(),
        "clock": clock_time(line.time),
        "severity": line.severity,
        "text": line.text,
        "host": line.host,
    }


def _moves(before: Fleet | None, after: Fleet) -> list[dict[str, Any]]:
    known: set[Outcome] = set(before.snapshot.moves) if before else set()
    changed = [outcome for outcome in after.snapshot.moves if outcome not in known]
    return [
        {
            "id": row.outcome.move.id,
            "key": row.key,
            "vm": row.outcome.move.vm_name,
            "source": row.outcome.move.source,
            "target": row.outcome.move.target,
            "state": row.outcome.state,
            "percent": row.percent,
        }
        for row in rows_of(after.snapshot, changed)
    ]
