"""What may be asked of the control loop over the API, and what was asked."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from forewarn.domain.situation import Snapshot
from forewarn.state.requests import RequestKind
from tests.shown import Shelf, serving

GOOD: tuple[tuple[str, dict[str, str]], ...] = (
    ("pause", {}),
    ("pause", {"running": "abort"}),
    ("resume", {}),
    ("abort_move", {"move": "m001"}),
    ("approve", {"vm": "vm-001", "source": "host03"}),
    ("clear_breaker", {}),
    ("open_window", {"kind": "freeze", "hosts": "host0*", "ends_at": "2026-01-06T00:00:00+01:00"}),
    ("close_window", {"window": "3"}),
    ("train", {"kind": "disk"}),
)
# Nearness alone makes nobody an admin.
ADMINS: tuple[tuple[str, dict[str, str]], ...] = (
    ("mode", {"mode": "observe"}),
    ("mode", {"mode": "automatic", "kind": "disk", "action": "move", "until": "2026-01-06T00:00Z", "override": "yes"}),
    ("release", {}),
    ("promote", {"kind": "disk", "version": "0123abcd"}),
    ("roll_back", {"kind": "disk"}),
)
BAD: tuple[tuple[str, dict[str, Any]], ...] = (
    ("pause", {"running": "kill"}),
    ("resume", {"at": "once"}),
    ("abort_move", {}),
    ("abort_move", {"move": ""}),
    ("abort_move", {"move": 7}),
    ("approve", {"vm": "vm-001"}),
    ("approve", {"vm": "vm-001", "source": "x" * 201}),
    ("mode", {}),
    ("mode", {"mode": "reckless"}),
    ("mode", {"mode": "observe", "kind": "host"}),
    ("mode", {"mode": "observe", "until": "tomorrow"}),
    ("mode", {"mode": "observe", "until": "2026-01-06T00:00:00"}),
    ("mode", {"mode": "automatic", "override": "perhaps"}),
    ("open_window", {"hosts": "*"}),
    ("open_window", {"hosts": "*", "starts_at": "2026-01-06T00:00Z", "ends_at": "2026-01-05T00:00Z"}),
    ("close_window", {"window": "the last"}),
    ("train", {"kind": "host"}),
    ("promote", {"kind": "disk", "version": "the best"}),
    ("roll_back", {}),
)


def asked(client: httpx.Client, kind: str, args: dict[str, Any]) -> httpx.Response:
    return client.post("/api/v1/requests", json={"kind": kind, "reason": "a drill", "args": args})


def test_every_kind_of_request_is_tried_here() -> None:
    assert {kind for kind, _ in GOOD + ADMINS} == set(RequestKind)


@pytest.mark.parametrize(("kind", "args"), GOOD)
def test_a_request_is_taken_with_its_arguments(client: httpx.Client, kind: str, args: dict[str, str]) -> None:
    answer = asked(client, kind, args)
    assert answer.status_code == 201, answer.text
    assert {**answer.json(), "id": 0, "made_at": ""} == {
        "id": 0, "kind": kind, "reason": "a drill", "who": answer.json()["who"], "made_at": "", "args": args,
        "state": "waiting", "taken_at": None,
    }  # fmt: skip


@pytest.mark.parametrize(("kind", "args"), ADMINS)
def test_what_only_an_admin_may_ask_for_is_refused_to_whoever_is_merely_near(
    client: httpx.Client, kind: str, args: dict[str, str]
) -> None:
    answer = asked(client, kind, args)
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden")


@pytest.mark.parametrize(("kind", "args"), BAD)
def test_arguments_that_could_never_be_carried_out_are_refused(
    client: httpx.Client, kind: str, args: dict[str, Any]
) -> None:
    answer = asked(client, kind, args)
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "invalid_request")


def test_requests_are_listed_newest_first_until_the_loop_has_taken_them(busy: Snapshot, tmp_path: Path) -> None:
    with serving(Shelf(busy).read, folder=tmp_path) as server, httpx.Client(base_url=server.address) as client:
        asked(client, "pause", {})
        asked(client, "abort_move", {"move": "m001"})
        listed = client.get("/api/v1/requests").json()
        first = client.get("/api/v1/requests", params={"limit": 1}).json()
    assert [(item["kind"], item["state"]) for item in listed] == [("abort_move", "waiting"), ("pause", "waiting")]
    assert listed[0]["args"] == {"move": "m001"}
    assert first == listed[:1]


def test_what_allows_and_what_holds_back_is_told(client: httpx.Client, busy: Snapshot) -> None:
    body = client.get("/api/v1/standing").json()
    assert (body["furthest"], body["paused"]) == ("automatic", "")
    assert body["standing"]["grants"][0]["kind"] == "disk"
    assert body["standing"]["evidence"][0]["precision_low"] == 0.62
    assert body["standing"]["budgets"][0] == {"name": "moves_per_source", "used": 1.0, "limit": 2.0, "held": 17}
    assert len(body["standing"]["windows"]) == len(busy.standing.windows)
