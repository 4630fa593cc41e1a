"""The API as its callers see it, over a real socket."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import TypeAdapter

from forewarn.clock import SimulatedClock
from forewarn.domain.situation import Snapshot
from forewarn.errors import StateError
from forewarn.state.database import Database
from forewarn.state.requests import Requests
from forewarn.web.settings import WebSettings
from tests.shown import NOW, Shelf, serving

ADDRESSES = {"snapshot", "plan", "events", "health", "metrics", "requests", "tokens", "audit", "write"}
LISTS = ("hosts", "components", "forecasts", "vms", "moves", "log")


def got(client: httpx.Client, path: str, **params: Any) -> Any:
    answer = client.get(f"/api/v1/{path}", params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


def refused(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def test_the_snapshot_comes_whole(client: httpx.Client, busy: Snapshot) -> None:
    answer = client.get("/api/v1/snapshot")
    assert TypeAdapter(Snapshot).validate_json(answer.content) == busy


@pytest.mark.parametrize("name", LISTS)
def test_every_list_is_cut_into_pages_that_join_to_the_whole(client: httpx.Client, name: str) -> None:
    whole = got(client, name, limit=1000)
    assert len(whole["items"]) == whole["total"] > 10
    parts = [got(client, name, limit=7, offset=offset)["items"] for offset in range(0, whole["total"], 7)]
    assert [item for part in parts for item in part] == whole["items"]


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("params", [{"limit": 0}, {"limit": "many"}, {"offset": -1}])
def test_a_page_of_no_sense_is_refused(client: httpx.Client, name: str, params: dict[str, Any]) -> None:
    assert refused(client.get(f"/api/v1/{name}", params=params)) == (422, "invalid_request")


def test_hosts_come_riskiest_first_with_what_makes_them_so(client: httpx.Client) -> None:
    first, *others = got(client, "hosts")["items"]
    assert first["worst"]["times_threshold"] >= others[0]["worst"]["times_threshold"] > 1
    assert first["worst"]["horizon_s"] == 604800
    assert first["simulated"] is True
    assert next(host for host in others if host["name"] == "atlas")["simulated"] is False


def test_a_host_comes_with_its_components_forecasts_and_vms(client: httpx.Client, busy: Snapshot) -> None:
    detail = got(client, "hosts/host03")
    assert detail["host"]["name"] == "host03"
    assert len(detail["components"]) == len(detail["forecasts"]) == 15
    assert len(detail["vms"]) == len(busy.cluster.vms_by_host["host03"])


def test_a_host_that_is_not_there_is_not_found(client: httpx.Client) -> None:
    answer = client.get("/api/v1/hosts/nowhere")
    assert refused(answer) == (404, "not_found")
    assert "nowhere" in answer.json()["error"]["message"]


def test_components_can_be_chosen_by_kind_host_and_level(client: httpx.Client) -> None:
    found = got(client, "components", kind="disk", host="host03")["items"]
    assert {(item["kind"], item["host"]) for item in found} == {("disk", "host03")}
    unknown = got(client, "components", level="lu")["items"]
    assert unknown
    assert {item["probability"] for item in unknown} == {None}
    assert all(item["text"].startswith("unknown: ") for item in unknown)


def test_unknown_components_come_last(client: httpx.Client) -> None:
    times = [item["times_threshold"] for item in got(client, "components", limit=1000)["items"]]
    known = [value for value in times if value is not None]
    assert times == sorted(known, reverse=True) + [None] * (len(times) - len(known))
    assert None in times


@pytest.mark.parametrize(
    ("path", "params", "holds"),
    [
        ("forecasts", {"kind": "cpu"}, lambda item: item["kind"] == "cpu"),
        ("forecasts", {"component": "cpu:host03/cpu0"}, lambda item: item["host"] == "host03"),
        ("vms", {"criticality": "high"}, lambda item: item["criticality"] == "high"),
        ("vms", {"host": "host03"}, lambda item: item["host"] == "host03"),
        ("moves", {"state": "failed"}, lambda item: item["state"] == "failed"),
        ("log", {"severity": "warning"}, lambda item: item["severity"] == "warning"),
        ("log", {"host": "host24"}, lambda item: item["host"] == "host24"),
    ],
)
def test_lists_can_be_narrowed(
    client: httpx.Client, path: str, params: dict[str, str], holds: Callable[[dict[str, Any]], bool]
) -> None:
    found = got(client, path, limit=1000, **params)
    assert 0 < found["total"] < got(client, path)["total"]
    assert all(map(holds, found["items"]))


def test_the_plan_comes_as_it_was_made(client: httpx.Client) -> None:
    assert got(client, "plan")["id"] == "plan-412"


def test_health_is_fine_while_cycles_go_on(client: httpx.Client) -> None:
    body = got(client, "health")
    assert (body["status"], body["age_s"], body["cycle"]) == ("ok", 4.0, 412)


def test_health_fails_when_the_snapshot_is_stale_or_missing(busy: Snapshot) -> None:
    shelf, clock = Shelf(busy), SimulatedClock(NOW + timedelta(minutes=3))
    with serving(shelf.read, clock=clock) as server:
        stale = httpx.get(f"{server.address}/api/v1/health")
        shelf.snapshot = None
        missing = httpx.get(f"{server.address}/api/v1/health")
    assert (stale.status_code, stale.json()["status"]) == (503, "stale")
    assert (missing.status_code, missing.json()["status"]) == (503, "starting")


def test_before_the_first_cycle_lists_ask_for_patience() -> None:
    with serving(Shelf(None).read) as server:
        answer = httpx.get(f"{server.address}/api/v1/hosts")
        metrics = httpx.get(f"{server.address}/api/v1/metrics")
    assert refused(answer) == (503, "no_snapshot")
    assert int(answer.headers["retry-after"]) >= 1
    assert "forewarn_snapshot_present 0" in metrics.text


def test_a_damaged_snapshot_is_told_with_its_code() -> None:
    def read() -> Snapshot | None:
        raise StateError("snapshot.json is not a snapshot of this version; remove it")

    with serving(read) as server:
        answer = httpx.get(f"{server.address}/api/v1/hosts")
    assert refused(answer) == (503, "state")
    assert "remove it" in answer.json()["error"]["message"]


def test_metrics_are_in_the_text_format(client: httpx.Client) -> None:
    answer = client.get("/api/v1/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert "forewarn_risk{" in answer.text


def test_the_schema_names_every_address_and_the_shape_of_errors(client: httpx.Client) -> None:
    schema = client.get("/openapi.json").json()
    names = {path.removeprefix("/api/v1/").split("/")[0] for path in schema["paths"]}
    assert names == {*LISTS, *ADDRESSES, "requests", "standing"}
    assert "ErrorBody" in schema["components"]["schemas"]
    assert "FailureForecast" in schema["components"]["schemas"]


@pytest.mark.parametrize("path", ["/api/v1/nothing", "/api/v2/hosts", "/figures/k00"])
def test_an_unknown_address_is_told_as_json(client: httpx.Client, path: str) -> None:
    assert refused(client.get(path)) == (404, "not_found")


def test_a_wrong_method_is_told_as_json(client: httpx.Client) -> None:
    assert refused(client.request("DELETE", "/api/v1/hosts", headers={"content-length": "0"})) == (
        405,
        "method_not_allowed",
    )


def test_pages_are_cut_at_the_setting(busy: Snapshot) -> None:
    with serving(Shelf(busy).read, settings=WebSettings(port=0, page_size_max=10)) as server:
        body = httpx.get(f"{server.address}/api/v1/vms", params={"limit": 500}).json()
    assert (len(body["items"]), body["limit"], body["total"]) == (10, 10, 200)


def test_without_a_state_database_no_request_is_taken(busy: Snapshot) -> None:
    with serving(Shelf(busy).read) as server:
        answer = httpx.post(f"{server.address}/api/v1/requests", json={"kind": "pause", "reason": "a drill"})
    assert refused(answer) == (503, "no_state")


def test_a_request_is_written_down_for_the_loop(busy: Snapshot, tmp_path: Path) -> None:
    with serving(Shelf(busy).read, folder=tmp_path) as server:
        answer = httpx.post(f"{server.address}/api/v1/requests", json={"kind": "pause", "reason": " a drill "})
        assert answer.status_code == 201, answer.text
    database = Database(f"sqlite:///{tmp_path / 'state.sqlite'}")
    (waiting,) = Requests(database).waiting()
    database.close()
    assert (waiting.kind, waiting.why, waiting.who) == ("pause", "a drill", "dashboard at 127.0.0.1")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"kind": "pause"},
        {"kind": "pause", "reason": "   "},
        {"kind": "reboot", "reason": "because"},
        {"kind": "pause", "reason": "because", "force": True},
        {"kind": "pause", "reason": "x" * 501},
        ["pause"],
    ],
)
def test_a_request_that_lacks_its_reason_or_says_more_than_it_may_is_refused(client: httpx.Client, body: Any) -> None:
    assert refused(client.post("/api/v1/requests", json=body)) == (422, "invalid_request")
