"""What happened between two answers of a BMC: failures and changes, each told once. Pure, but for `Past`'s file.

At the first look nothing is news: neither the event log, which may be years old, nor the state of a supply. A log that
was cleared, and a BMC that started anew and does not know the time, are recognized. That a supply lost its input is a
change, and no failure of the supply; nor is what the supply itself says of it meanwhile.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from forewarn.collect.bmc.answer import Answer, Entry, Supply, supply_of
from forewarn.domain.events import ChangeEvent, ChangeKind, FailureEvent
from forewarn.domain.inventory import Kind, component_id

SEL, BMC = "SEL", "BMC"
_OLD = timedelta(days=1)  # an entry that claims to be older than the last look by more was written by a wrong clock


@dataclass(frozen=True, slots=True)
class Template:
    """A family of entries that tell of a failure, by sensor and event together."""

    pattern: re.Pattern[str]
    kind: Kind
    confidence: float


def _template(pattern: str, kind: Kind, confidence: float) -> Template:
    return Template(re.compile(pattern, re.IGNORECASE), kind, confidence)


# Words are ipmitool's for the events of IPMI 2.0, table 42-3. Corrected errors, limits and lost inputs are no failures.
TEMPLATES = (
    _template(r"power supply.*(?<!predictive )failure detected", Kind.POWER, 0.9),
    _template(r"uncorrectable (?:ecc|memory)", Kind.MEMORY, 0.9),
    _template(r"memory.*(?:configuration error|critical overtemperature)", Kind.MEMORY, 0.5),
    _template(r"processor.*(?:ierr|thermal trip|machine check|frb\d)", Kind.CPU, 0.8),
    _template(r"drive.*(?<!predictive )(?:drive fault|failed array)", Kind.DISK, 0.8),
    _template(
        r"(?:bus fatal error|fatal nmi|pci serr|pci perr|run-?time critical stop|os critical stop)", Kind.HOST, 0.5
    ),
)


@dataclass(frozen=True)
class Past:
    """What was known of a BMC at the last answer."""

    newest: str = ""  # the key of the newest entry of its log; empty for an empty log
    looked_at: str = ""  # when the log was read last; empty: never
    supplies: dict[str, dict[str, Any]] = field(default_factory=dict)
    firmware: str = ""
    started: str = ""
    resets: int = 0

    def to_json(self) -> str:
        """As it is kept between two runs."""
        return json.dumps({name: getattr(self, name) for name in self.__dataclass_fields__})

    @classmethod
    def from_row(cls, row: Any) -> "Past":
        """What was kept; nothing where that is damaged."""
        try:
            supplies = {str(name): dict(told) for name, told in row["supplies"].items()}
            texts = {name: str(row[name]) for name in ("newest", "looked_at", "firmware", "started")}
            if texts["looked_at"]:
                datetime.fromisoformat(texts["looked_at"])
            return cls(**texts, supplies=supplies, resets=int(row["resets"]))
        except (ValueError, TypeError, KeyError, AttributeError):
            return cls()


def compare(past: Past, answer: Answer, now: datetime) -> tuple[Past, list[ChangeEvent | FailureEvent]]:
    """What is news in an answer, and what to remember of it. Hosts are left open."""
    told: list[ChangeEvent | FailureEvent] = []
    new = list(_new_entries(past, answer, now))
    unfed = {supply.name for supply in answer.supplies if supply.input_lost}
    for entry in new:
        told += (event for event in _failures(entry, now) if event.component not in map(_power, unfed))
    for supply in answer.supplies:
        told += _supply_news(past.supplies.get(supply.name), supply, bool(new), now)
    if past.firmware and answer.firmware and past.firmware != answer.firmware:
        told.append(ChangeEvent(now, "", ChangeKind.FIRMWARE, "bmc", past.firmware, answer.firmware))
    return _remembered(past, answer, _reset(past, answer, new), now), told


def _new_entries(past: Past, answer: Answer, now: datetime) -> Iterator[Entry]:
    """The entries that were added since the last look; where the newest of then is gone, the log was cleared."""
    if answer.log is None or not past.looked_at:
        return
    keys = [entry.key for entry in answer.log]
    start = keys.index(past.newest) + 1 if past.newest in keys else 0
    since = datetime.fromisoformat(past.looked_at) - _OLD
    for entry in answer.log[start:]:
        if entry.time is None or since <= entry.time <= now + _OLD:
            yield entry


def _failures(entry: Entry, now: datetime) -> Iterator[FailureEvent]:
    if not entry.asserted:
        return
    said = f"{entry.sensor}: {entry.event}"
    for template in TEMPLATES:
        if template.pattern.search(f"{entry.sensor} {entry.event}"):
            supply = supply_of(entry.sensor.removeprefix("Power Supply ")) or supply_of(entry.sensor)
            component = _power(supply) if template.kind is Kind.POWER and supply else ""
            time = min(entry.time, now) if entry.time else now
            yield FailureEvent(time, "", template.kind, component, SEL, said, template.confidence)
            return


def _power(supply: str) -> str:
    return component_id(Kind.POWER, "", supply)


def _supply_news(
    before: dict[str, Any] | None, supply: Supply, logged: bool, now: datetime
) -> Iterator[ChangeEvent | FailureEvent]:
    if before is None:
        return
    component = _power(supply.name)
    if (
        supply.failed and not supply.input_lost and before.get("failed") is False and not logged
    ):  # else the log has told of it, and when
        yield FailureEvent(now, "", Kind.POWER, component, BMC, f"{supply.name} reports a failure", 0.9)
    if None not in (supply.input_lost, before.get("input_lost")) and supply.input_lost != before["input_lost"]:
        words = ("lost", "present") if before["input_lost"] else ("present", "lost")
        yield ChangeEvent(now, "", ChangeKind.POWER_INPUT, component, *words)
    for kind, name in ((ChangeKind.PART, "serial"), (ChangeKind.FIRMWARE, "firmware")):
        old, new = str(before.get(name, "")), str(getattr(supply, name))
        if old and new and old != new:
            yield ChangeEvent(now, "", kind, component, old, new)


def _reset(past: Past, answer: Answer, new: list[Entry]) -> bool:
    """Whether the BMC started anew since the last look, as it says itself or as its clock shows."""
    if past.started and answer.started:
        return past.started != answer.started
    cleared = bool(answer.log) and bool(past.newest) and all(entry.key != past.newest for entry in answer.log or ())
    return cleared and any(entry.time is None for entry in new)


def _remembered(past: Past, answer: Answer, reset: bool, now: datetime) -> Past:
    kept = dict(past.supplies)
    for supply in answer.supplies:
        row = {name: getattr(supply, name) for name in ("failed", "input_lost", "serial", "firmware")}
        row["failed"] = None if supply.input_lost else supply.failed  # news, should it fail with its input back
        old = kept.get(supply.name, {})
        kept[supply.name] = {name: old.get(name) if value in (None, "") else value for name, value in row.items()}
    read = answer.log is not None
    return replace(
        past,
        newest=(answer.log[-1].key if answer.log else "") if read else past.newest,
        looked_at=now.isoformat() if read else past.looked_at,
        supplies=kept,
        firmware=answer.firmware or past.firmware,
        started=answer.started or past.started,
        resets=past.resets + reset,
    )
