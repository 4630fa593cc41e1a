"""Signing in and out in a browser, and that no other page can act in its name."""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from forewarn.domain.people import Principal, Role
from tests.people import House, house

ASK = {"kind": "pause", "reason": "a drill"}
CONSOLE = Principal("console", Role.ADMIN)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[House]:
    with house(tmp_path) as found:
        yield found


@pytest.fixture
def visitor(running: House) -> Iterator[httpx.Client]:
    """Keeps cookies, follows no redirect, and says where its requests come from."""
    with running.as_role(None, Origin=running.address, **{"Sec-Fetch-Site": "same-origin"}) as client:
        yield client


def signed_in(visitor: httpx.Client, running: House, role: Role = Role.OPERATOR) -> httpx.Response:
    return visitor.post("/login", data={"token": running.tokens[role]})


def mark(visitor: httpx.Client) -> str:
    found = re.search(r'<meta name="csrf-token" content="(\w+)">', visitor.get("/").text)
    assert found
    return found[1]


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def test_a_token_opens_a_session_that_scripts_and_other_sites_cannot_use(visitor: httpx.Client, running: House) -> None:
    answer = signed_in(visitor, running)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("fw_session=fws_")
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(cookie.split("; "))
    assert "Secure" not in cookie
    page = visitor.get("/").text
    assert "<b>the operator</b>" in page
    assert "Sign out" in page
    assert "Pause moves" in page


def test_a_viewer_is_not_offered_to_pause(visitor: httpx.Client, running: House) -> None:
    signed_in(visitor, running, Role.VIEWER)
    assert "Pause moves" not in visitor.get("/").text


@pytest.mark.parametrize("shown", ["", "fw_unknown", "the agent's"])
def test_what_is_no_token_of_a_person_opens_no_session(visitor: httpx.Client, running: House, shown: str) -> None:
    answer = visitor.post("/login", data={"token": running.tokens[Role.AGENT] if shown == "the agent's" else shown})
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers
    assert "This token is not known here" in answer.text
    assert running.deeds()[-1].result == "unauthenticated"


@pytest.mark.parametrize(("after", "place"), [("/migrations?outcome=failed",) * 2, ("//evil.example", "/"), ("x", "/")])
def test_signing_in_leads_back_to_where_one_came_from_and_nowhere_else(
    visitor: httpx.Client, running: House, after: str, place: str
) -> None:
    answer = visitor.post("/login", data={"token": running.tokens[Role.VIEWER], "next": after})
    assert answer.headers["location"] == place


def test_looking_at_a_one_time_address_does_not_use_it_up(visitor: httpx.Client, running: House) -> None:
    address = f"/login/{running.credentials.make_login(CONSOLE, 'up')}"
    for _ in range(3):
        assert "Sign in here" in visitor.get(address).text
        assert visitor.head(address).status_code in (200, 405)
    assert visitor.post(address).status_code == 303
    assert "<b>console</b> admin" in visitor.get("/").text


def test_a_one_time_address_lets_in_once(visitor: httpx.Client, running: House) -> None:
    address = f"/login/{running.credentials.make_login(CONSOLE, 'up')}"
    assert visitor.post(address).status_code == 303
    visitor.cookies.clear()
    again = visitor.post(address)
    assert again.status_code == 401
    assert "was used already, or is too old" in again.text
    assert "set-cookie" not in again.headers


def test_a_one_time_address_grows_old(visitor: httpx.Client, running: House) -> None:
    address = f"/login/{running.credentials.make_login(CONSOLE, 'up')}"
    running.clock.sleep(301)
    assert visitor.post(address).status_code == 401


def test_a_session_changes_things_with_the_mark_of_its_own_page_only(visitor: httpx.Client, running: House) -> None:
    signed_in(visitor, running)
    right = mark(visitor)
    assert code(visitor.post("/api/v1/requests", json=ASK)) == (403, "forbidden_origin")
    assert code(visitor.post("/api/v1/requests", json=ASK, headers={"X-CSRF-Token": right[::-1]})) == (
        403,
        "forbidden_origin",
    )
    taken = visitor.post("/api/v1/requests", json=ASK, headers={"X-CSRF-Token": right})
    assert (taken.status_code, taken.json()["who"]) == (201, "the operator")
    signed_in(visitor, running)
    stale = visitor.post("/api/v1/requests", json=ASK, headers={"X-CSRF-Token": right})
    assert code(stale) == (403, "forbidden_origin")


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_a_foreign_page_cannot_act_sign_in_or_sign_out_even_with_the_mark(
    visitor: httpx.Client, running: House, headers: dict[str, str]
) -> None:
    signed_in(visitor, running)
    right = mark(visitor)
    asked = visitor.post("/api/v1/requests", json=ASK, headers={"X-CSRF-Token": right, **headers})
    assert code(asked) == (403, "forbidden_origin")
    assert visitor.post("/logout", data={"csrf": right}, headers=headers).status_code == 403
    assert visitor.post("/login", data={"token": running.tokens[Role.ADMIN]}, headers=headers).status_code == 403
    address = f"/login/{running.credentials.make_login(CONSOLE, 'up')}"
    assert visitor.post(address, headers=headers).status_code == 403
    assert "<b>the operator</b>" in visitor.get("/").text


def test_a_plain_form_of_a_session_is_no_request(visitor: httpx.Client, running: House) -> None:
    signed_in(visitor, running)
    headers = {"X-CSRF-Token": mark(visitor), "Content-Type": "text/plain"}
    answer = visitor.post("/api/v1/requests", content=b"{}", headers=headers)
    assert code(answer) in ((415, "unsupported_media_type"), (422, "invalid_request"))
    assert [deed.result for deed in running.deeds() if deed.action == "request"] != ["done"]


def test_signing_out_ends_the_session_for_whoever_has_its_cookie(visitor: httpx.Client, running: House) -> None:
    signed_in(visitor, running)
    cookie = visitor.cookies["fw_session"]
    assert visitor.post("/logout", data={"csrf": "no"}).status_code == 403
    left = visitor.post("/logout", data={"csrf": mark(visitor)})
    assert (left.status_code, left.headers["location"]) == (303, "/login")
    assert "fw_session" not in visitor.cookies
    visitor.cookies["fw_session"] = cookie
    assert visitor.get("/").status_code == 303
    assert visitor.post("/logout").status_code == 303


def test_signing_in_anew_ends_the_session_before(visitor: httpx.Client, running: House) -> None:
    signed_in(visitor, running)
    before = visitor.cookies["fw_session"]
    signed_in(visitor, running, Role.ADMIN)
    visitor.cookies.clear()
    visitor.cookies["fw_session"] = before
    assert visitor.get("/").status_code == 303


def test_a_session_nobody_used_has_ended(visitor: httpx.Client, running: House) -> None:
    signed_in(visitor, running)
    running.clock.sleep(28_801)
    assert visitor.get("/").status_code == 303


def test_who_guesses_must_wait_and_others_need_not(visitor: httpx.Client, running: House) -> None:
    for _ in range(10):
        assert visitor.post("/login", data={"token": "fw_guess"}).status_code == 401
    held = signed_in(visitor, running)
    assert held.status_code == 429
    assert 1 <= int(held.headers["retry-after"]) <= 300
    assert "Too many failed attempts" in held.text
    assert visitor.post(f"/login/{running.credentials.make_login(CONSOLE, 'up')}").status_code == 429
    other = {"X-Forwarded-For": "192.0.2.7"}
    assert visitor.post("/login", data={"token": running.tokens[Role.ADMIN]}, headers=other).status_code == 303
    running.clock.sleep(300)
    assert signed_in(visitor, running).status_code == 303


def test_who_shows_wrong_tokens_to_the_api_is_told_to_wait_and_valid_ones_go_on(running: House) -> None:
    with running.as_role(None, Authorization="Bearer fw_guess") as guessing, running.as_role(Role.VIEWER) as viewer:
        found = [guessing.get("/api/v1/hosts") for _ in range(11)]
        assert [answer.status_code for answer in found] == [401] * 10 + [429]
        assert code(found[-1]) == (429, "too_many_attempts")
        assert int(found[-1].headers["retry-after"]) >= 1
        assert viewer.get("/api/v1/hosts").status_code == 200


def test_getting_in_forgives_the_failures_before(visitor: httpx.Client, running: House) -> None:
    for _ in range(3):
        for _ in range(9):
            visitor.post("/login", data={"token": "fw_guess"})
        assert signed_in(visitor, running).status_code == 303


def test_signing_in_and_out_is_written_down(visitor: httpx.Client, running: House) -> None:
    visitor.post("/login", data={"token": "fw_guess"})
    signed_in(visitor, running)
    visitor.post("/logout", data={"csrf": mark(visitor)})
    visitor.post(f"/login/{running.credentials.make_login(CONSOLE, 'up')}")
    assert [(deed.who, deed.action, deed.result) for deed in running.deeds()] == [
        ("somebody at 127.0.0.1", "sign_in", "unauthenticated"),
        ("the operator", "sign_in", "done"),
        ("the operator", "sign_out", "done"),
        ("console", "sign_in", "done"),
    ]


def test_no_secret_is_left_in_any_file_nor_said(
    visitor: httpx.Client, running: House, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level("DEBUG")
    login = running.credentials.make_login(CONSOLE, "up")
    visitor.post(f"/login/{login}")
    visitor.post(f"/login/{login}")
    visitor.get(f"/login?next=/login/{login}")
    secrets = [visitor.cookies["fw_session"], login, *running.tokens.values()]
    signed_in(visitor, running)
    secrets.append(visitor.cookies["fw_session"])
    with running.as_role(Role.ADMIN) as admin:
        made = admin.post("/api/v1/tokens", json={"name": "bob", "role": "viewer", "reason": "new here"}).json()
        admin.post(f"/login/{login}", json=ASK)
        shown = admin.get("/api/v1/audit").text + admin.get("/api/v1/tokens").text + admin.get("/api/v1/snapshot").text
    secrets.append(made["token"])
    kept = b"".join(path.read_bytes() for path in running.folder.iterdir())
    ours = [record.getMessage() for record in caplog.records if not record.name.startswith("http")]
    said = "".join([*capfd.readouterr(), *ours, shown])
    assert [secret for secret in secrets if secret[5:].encode() in kept or secret[5:] in said] == []


def test_a_form_with_too_many_fields_is_empty(visitor: httpx.Client) -> None:
    assert visitor.post("/login", data={f"f{number}": "x" for number in range(50)}).status_code == 401
