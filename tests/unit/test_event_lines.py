"""Events on the wire: what is taken, and what is refused in words."""

import json
from datetime import UTC, datetime

import pytest

from forewarn.domain.events import ChangeEvent, ChangeKind, FailureEvent, LabelState
from forewarn.domain.inventory import Kind
from forewarn.errors import EventError
from forewarn.event_lines import Event, Limits, decode, encode, export, read_failures

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
FAILED = FailureEvent(NOON, "host03", Kind.DISK, "disk:A", "kernel log", "I/O error", 0.5)
GOOD = {"event": "change", "time": NOON.isoformat(), "host": "host03", "kind": "boot"}


def line(**changes: object) -> bytes:
    return json.dumps({**GOOD, **changes}).encode()


def test_what_is_written_is_read_back() -> None:
    events: list[Event] = [ChangeEvent(NOON, "host03", ChangeKind.BOOT, "", "a", "b"), FAILED]
    assert decode(encode(events), Limits()) == events


def test_what_became_of_a_failure_is_not_the_agents_to_say() -> None:
    judged = FailureEvent(NOON, "host03", Kind.DISK, "disk:A", "x", "y", state=LabelState.CONFIRMED)
    assert [event.state for event in decode(encode([judged]), Limits()) if isinstance(event, FailureEvent)] == ["open"]


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        (b"{", "malformed", "line 1 is no JSON"),
        (b"\xff\xfe", "malformed", "line 1 is no JSON"),
        (b"[" * 100_000, "malformed", "line 1 is no JSON"),
        (b"[]", "malformed", "no JSON object"),
        (line(event="rumour"), "invalid_request", "neither 'change' nor 'failure'"),
        (line(source="x"), "invalid_request", "no field 'source'"),
        (line(host=""), "invalid_request", "host is missing"),
        (line(host=3), "invalid_request", "host is no text"),
        (line(after="a\nb"), "invalid_request", "after is no text on one line"),
        (line(after="x" * 2001), "invalid_request", "2001 characters"),
        (line(kind="rain"), "invalid_request", "rain"),
        (line(time="noon"), "invalid_request", "ISO 8601"),
        (line(time="2026-01-05T12:00:00"), "invalid_request", "with a zone"),
        (line(time=5), "invalid_request", "with a zone"),
        (line(event="failure", kind="disk", confidence=2), "invalid_request", "from 0 to 1"),
        (line(event="failure", kind="disk", confidence=True), "invalid_request", "from 0 to 1"),
        (line() + b"\n" + line() + b"\n" + line(), "too_large", "3 events"),
    ],
)
def test_what_is_wrong_is_refused_in_words_and_a_code(body: bytes, code: str, words: str) -> None:
    with pytest.raises(EventError, match=words) as refused:
        decode(body, Limits(events_max=2))
    assert refused.value.code == code


def test_exported_failures_are_read_back_with_what_became_of_them() -> None:
    refuted = FailureEvent(NOON, "host03", Kind.DISK, "disk:A", "ann", "clicked", state=LabelState.REFUTED)
    assert read_failures(export([FAILED, refuted]), Limits()) == ([FAILED, refuted], [])


def test_a_person_vouches_for_what_they_import_and_every_bad_line_is_named() -> None:
    good = {"time": NOON.isoformat(), "host": "host03", "kind": "disk", "component": "disk:A", "text": "dead"}
    lines = [
        json.dumps(good),
        "",
        "no json",
        json.dumps({**good, "text": " "}),
        json.dumps({**good, "state": "guessed"}),
        json.dumps({**GOOD}),
        json.dumps({**good, "confidence": 0.5}),
    ]
    events, wrong = read_failures("\n".join(lines).encode(), Limits())
    assert [event.state for event in events] == [LabelState.CONFIRMED, LabelState.OPEN]
    assert [sentence.partition(":")[0].removesuffix(" is no JSON") for sentence in wrong] == [
        "line 3", "line 4", "line 5", "line 6",
    ]  # fmt: skip
    assert "a change is no failure" in wrong[-1]
