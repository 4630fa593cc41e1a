"""What may reach the application, and the headers that every answer bears."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from fastapi import Request

from forewarn.clock import SimulatedClock
from forewarn.domain.people import Role
from forewarn.web.auth import Gate, Unauthenticated
from forewarn.web.settings import WebSettings
from tests.shown import NOW

ASK = {"kind": "pause", "reason": "a drill"}
URLS = ("/", "/migrations", "/hosts/host03", "/api", "/api/v1/hosts", "/nowhere", "/static/app.css", "/openapi.json")


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


@pytest.mark.parametrize("url", URLS)
def test_every_answer_forbids_foreign_content_frames_and_guessing(client: httpx.Client, url: str) -> None:
    headers = client.get(url).headers
    policy = headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "script-src" not in policy
    assert "unsafe-eval" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert "server" not in headers


def test_only_pages_with_charts_may_set_styles_in_markup(client: httpx.Client) -> None:
    allowed = {url: "'unsafe-inline'" in client.get(url).headers["content-security-policy"] for url in URLS}
    assert [url for url, may in allowed.items() if may] == ["/hosts/host03"]


@pytest.mark.parametrize("name", ["evil.example", "127.0.0.1.evil.example:80", "", "[::2]:80"])
def test_another_name_of_the_host_is_refused(client: httpx.Client, name: str) -> None:
    assert code(client.get("/api/v1/hosts", headers={"Host": name})) == (400, "host_not_allowed")


@pytest.mark.parametrize("name", ["localhost", "localhost:8460", "127.0.0.1:1", "[::1]:8460", "[::1]"])
def test_loopback_by_any_name_is_answered(client: httpx.Client, name: str) -> None:
    assert client.get("/api/v1/health", headers={"Host": name}).status_code == 200


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_what_a_plain_form_could_send_is_no_request(client: httpx.Client, kind: str) -> None:
    answer = client.post("/api/v1/requests", content=b'{"kind":"pause","reason":"x"}', headers={"Content-Type": kind})
    assert code(answer) == (415, "unsupported_media_type")


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_a_request_from_a_foreign_page_is_refused(client: httpx.Client, headers: dict[str, str]) -> None:
    assert code(client.post("/api/v1/requests", json=ASK, headers=headers)) == (403, "forbidden_origin")


def test_a_request_from_our_own_page_is_taken(client: httpx.Client) -> None:
    headers = {"Origin": str(client.base_url).rstrip("/"), "Sec-Fetch-Site": "same-origin"}
    assert client.post("/api/v1/requests", json=ASK, headers=headers).status_code == 201


@pytest.mark.parametrize("address", [("192.0.2.7", 4000), None])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_who_asks_from_another_machine_is_not_let_in_by_nearness(method: str, address: tuple[str, int] | None) -> None:
    headers = [(b"host", b"localhost"), (b"content-type", b"application/json")]
    scope: dict[str, Any] = {"type": "http", "method": method, "path": "/", "headers": headers, "client": address}
    gate = Gate(WebSettings(), None, SimulatedClock(NOW))
    with pytest.raises(Unauthenticated):
        gate.admit(Request(scope), Role.VIEWER)


def test_a_body_past_the_limit_is_refused_unread(client: httpx.Client) -> None:
    body = {"kind": "pause", "reason": "x" * 20_000}
    assert code(client.post("/api/v1/requests", json=body)) == (413, "too_large")


def test_a_body_of_unknown_size_is_refused(client: httpx.Client) -> None:
    sent = client.post("/api/v1/requests", content=iter([b"{}"]), headers={"Content-Type": "application/json"})
    assert code(sent) == (411, "length_required")


@pytest.mark.parametrize("make", [lambda u: u + "/static/../app.py", lambda u: u + "/static/%2e%2e/app.py"])
def test_no_file_outside_the_static_folder_is_served(client: httpx.Client, make: Callable[[str], str]) -> None:
    assert client.get(make("")).status_code == 404
