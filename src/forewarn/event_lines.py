"""Events as lines of JSON: how an agent tells a server of failures and changes. Pure.

The reader takes what strangers send: it knows each field, its type and its length, and raises nothing but EventError.
"""

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from forewarn.domain.events import ChangeEvent, ChangeKind, FailureEvent, LabelState
from forewarn.domain.inventory import Kind
from forewarn.errors import EventError

CONTENT_TYPE = "application/x-ndjson"
Event = ChangeEvent | FailureEvent


@dataclass(frozen=True)
class Limits:
    """What a body of events may hold."""

    events_max: int = 1000
    """Events in one body."""
    text_chars_max: int = 2000
    """Length of any text of an event."""


def encode(events: Iterable[Event]) -> bytes:
    r"""One line for each event.

    >>> event = ChangeEvent(datetime(2026, 1, 1, tzinfo=UTC), "host03", ChangeKind.KERNEL, "", "6.1", "6.12")
    >>> decode(encode([event]), Limits()) == [event]
    True
    """
    return b"".join(json.dumps(_row(event), ensure_ascii=True).encode() + b"\n" for event in events)


def _row(event: Event) -> dict[str, Any]:
    row = {**asdict(event), "time": event.time.isoformat()}
    row.pop("state", None)  # what became of a failure is not the agent's to say
    return {"event": "change" if isinstance(event, ChangeEvent) else "failure", **row}


def export(failures: Iterable[FailureEvent]) -> bytes:
    """Failures as `read_failures` takes them: one line each, with what became of it."""
    rows = ({**_row(failure), "state": failure.state} for failure in failures)
    return b"".join(json.dumps(row, ensure_ascii=True).encode() + b"\n" for row in rows)


def read_failures(body: bytes, limits: Limits) -> tuple[list[FailureEvent], list[str]]:
    """The failures in lines that a person vouches for, and a sentence for each line that is none.

    As what agents send, but `event` may be left out, and `state` says what became of the failure: confirmed, where it
    is left out and the confidence is 1, else open. Never raises.
    """
    events, wrong = [], []
    for number, line in enumerate(body.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            events.append(_failure(_parsed(line, number), f"line {number}", limits))
        except EventError as error:
            wrong.append(str(error))
    return events, wrong


def _failure(row: dict[str, Any], place: str, limits: Limits) -> FailureEvent:
    state = row.pop("state", None)
    event = _event({"event": "failure", **row}, place, limits)
    if not isinstance(event, FailureEvent):
        raise EventError(f"{place}: a change is no failure")
    if not event.text.strip():
        raise EventError(f"{place}: text is missing: say what was seen")
    if state is None:
        return replace(event, state=LabelState.CONFIRMED if event.confidence == 1 else LabelState.OPEN)
    if state not in set(LabelState):
        raise EventError(f"{place}: state is none of {', '.join(LabelState)}")
    return replace(event, state=LabelState(state))


def decode(body: bytes, limits: Limits) -> list[Event]:
    """The events in a body.

    Raises EventError: `malformed` for what is no JSON, `too_large` for too many lines, `invalid_request` for a field
    that is missing, unknown, of another type or too long.
    """
    lines = [line for line in body.split(b"\n") if line.strip()]
    if len(lines) > limits.events_max:
        raise EventError(f"{len(lines)} events; at most {limits.events_max} are taken at once", "too_large")
    return [_event(_parsed(line, number), f"line {number}", limits) for number, line in enumerate(lines, 1)]


def _parsed(line: bytes, number: int) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise EventError(f"line {number} is no JSON: {error}", "malformed") from error
    if not isinstance(row, dict):
        raise EventError(f"line {number} is no JSON object", "malformed")
    return row


_CHANGE = {"time", "host", "kind", "component", "before", "after"}
_FAILURE = {"time", "host", "kind", "component", "source", "text", "confidence"}


def _event(row: dict[str, Any], place: str, limits: Limits) -> Event:
    what = row.pop("event", None)
    if what not in ("change", "failure"):
        raise EventError(f"{place}: event is neither 'change' nor 'failure'")
    if unknown := sorted(row.keys() - (_CHANGE if what == "change" else _FAILURE)):
        raise EventError(f"{place}: an event has no field {unknown[0][:40]!r}")
    time = _time(row.pop("time", None), place)
    confidence = _confidence(row.pop("confidence", 1.0), place)
    texts = {name: _text(name, value, place, limits.text_chars_max) for name, value in row.items()}
    host, kind = texts.pop("host", ""), texts.pop("kind", "")
    if not host:
        raise EventError(f"{place}: host is missing")
    try:
        if what == "change":
            return ChangeEvent(time, host, ChangeKind(kind), **texts)
        given = {"component": "", "source": "", "text": "", **texts}
        return FailureEvent(time, host, Kind(kind), **given, confidence=confidence, state=LabelState.OPEN)
    except ValueError as error:
        raise EventError(f"{place}: {error}") from error


def _time(value: object, place: str) -> datetime:
    try:
        time = datetime.fromisoformat(value) if isinstance(value, str) else None
        if time is not None and time.tzinfo is not None:
            return time.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise EventError(f"{place}: time is not one of ISO 8601") from error
    raise EventError(f"{place}: time is not one of ISO 8601 with a zone")


def _confidence(value: object, place: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or not 0 <= value <= 1:
        raise EventError(f"{place}: confidence is no number from 0 to 1")
    return float(value)


def _text(name: str, value: object, place: str, chars_max: int) -> str:
    if not isinstance(value, str) or not value.isprintable():
        raise EventError(f"{place}: {name} is no text on one line")
    if len(value) > chars_max:
        raise EventError(f"{place}: {name} has {len(value)} characters; at most {chars_max} are taken")
    return value
