"""Who may do what: every route against every role, and every way to show who one is."""

import re
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from fastapi.routing import APIRoute

from forewarn.domain.people import Principal, Role
from forewarn.errors import ConfigurationError
from forewarn.state.credentials import NewToken
from forewarn.web.auth import Needs
from forewarn.web.settings import WebSettings
from tests.people import CLOSED, SHELF, House, house, routes
from tests.shown import serving

ASK = {"kind": "pause", "reason": "a drill"}
# What anybody may ask for: whether the loop is alive, and how to get in and out.
FOR_ALL = {"/api/v1/health", "/login", "/login/{code}", "/logout"}
SAMPLES = {"name": "host03", "key": "k0", "token": "4711", "code": "fwl_x"}
ROUTES = [route for route in routes() if route.path not in FOR_ALL]


def role_of(route: APIRoute) -> Role | None:
    """The role that stands before a handler."""
    found = [d.call.role for d in route.dependant.dependencies if isinstance(d.call, Needs)]
    return found[0] if len(found) == 1 else None


def refused(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def asked(client: httpx.Client, route: APIRoute) -> int:
    """The status of an empty question to a route; a stream is left as soon as it has begun."""
    path = re.sub(r"\{(\w+)[^}]*\}", lambda found: SAMPLES[found[1]], route.path)
    method = next(iter(route.methods or ("GET",)))
    with client.stream(method, path, json=None if method == "GET" else {}) as answer:
        return answer.status_code


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with house(tmp_path_factory.mktemp("closed")) as running:
        yield running


# --- roles --------------------------------------------------------------------------------------------


def test_every_route_states_one_role() -> None:
    assert len(ROUTES) > 20
    assert [f"{route.methods} {route.path}" for route in ROUTES if role_of(route) is None] == []


def test_what_anybody_may_ask_for_is_still_there() -> None:
    assert {route.path for route in routes()} >= FOR_ALL


@pytest.mark.parametrize("role", [None, *Role])
def test_every_route_lets_in_its_roles_and_nobody_else(closed: House, role: Role | None) -> None:
    wrong = []
    with closed.as_role(role) as client:
        for route in ROUTES:
            status, needed = asked(client, route), role_of(route)
            page = not route.path.startswith(("/api/v1", "/figures", "/openapi"))
            if role is None:
                fits = status == (303 if page else 401)
            elif needed is not None and Principal("x", role).may(needed):
                fits = status not in (303, 401, 403) and status < 500
            else:
                fits = status == 403
            if not fits:
                wrong.append(f"{route.methods} {route.path}: {status}")
    assert wrong == []


def test_pages_and_files_for_signing_in_are_shown_to_anybody(closed: House) -> None:
    with closed.as_role(None) as client:
        paths = ("/login", "/login/fwl_x", "/static/app.css", "/static/mark.svg", "/api/v1/health")
        assert [client.get(path).status_code for path in paths] == [200] * len(paths)


def test_a_page_leads_to_the_sign_in_page_and_a_part_of_one_does_not(closed: House) -> None:
    with closed.as_role(None) as client:
        page, part = client.get("/hosts/host03?component=x"), client.get("/?part=grid")
    assert (page.status_code, page.headers["location"]) == (303, "/login?next=%2Fhosts%2Fhost03%3Fcomponent%3Dx")
    assert refused(part) == (401, "unauthenticated")


# --- tokens -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shown", ["Bearer fw_unknown", "Bearer", "", "Basic YTpi", "Bearer fws_x"])
def test_a_token_that_is_none_is_not_let_in(tmp_path: Path, shown: str) -> None:
    with (
        house(tmp_path, WebSettings(port=0), roles=()) as running,
        running.as_role(None, Authorization=shown) as client,
    ):
        answer = client.get("/api/v1/hosts")
    assert refused(answer) == (401, "unauthenticated")
    assert answer.headers["www-authenticate"] == "Bearer"


def test_a_token_ends_when_it_expires_or_is_revoked(tmp_path: Path) -> None:
    with house(tmp_path) as running, running.as_role(Role.VIEWER) as client:
        assert client.get("/api/v1/hosts").status_code == 200
        running.credentials.revoke(running.credentials.tokens()[0][-1].id)
        assert refused(client.get("/api/v1/hosts")) == (401, "unauthenticated")
        _, short = running.credentials.make_token(NewToken("short", Role.VIEWER, days=1), "root")
        client.headers["Authorization"] = f"bearer {short}"
        assert client.get("/api/v1/hosts").status_code == 200
        running.clock.sleep(86_400)
        assert refused(client.get("/api/v1/hosts")) == (401, "unauthenticated")


def test_a_token_with_a_role_needs_no_mark_of_our_pages(closed: House) -> None:
    with closed.as_role(Role.OPERATOR) as client:
        taken = client.post("/api/v1/requests", json=ASK)
    assert (taken.status_code, taken.json()["who"]) == (201, "the operator")


def test_an_admin_makes_lists_and_revokes_tokens(tmp_path: Path) -> None:
    with house(tmp_path) as running, running.as_role(Role.ADMIN) as admin, running.as_role(None) as other:
        made = admin.post("/api/v1/tokens", json={"name": "bob", "role": "viewer", "days": 3, "reason": "new here"})
        assert made.status_code == 201, made.text
        token = made.json()["token"]
        listed = admin.get("/api/v1/tokens", params={"limit": 1}).json()
        assert (listed["items"][0]["name"], listed["total"]) == ("bob", 5)
        assert token not in admin.get("/api/v1/tokens").text
        other.headers["Authorization"] = f"Bearer {token}"
        assert other.get("/api/v1/hosts").status_code == 200
        path, why = f"/api/v1/tokens/{made.json()['id']}", {"reason": "left"}
        ended = admin.request("DELETE", path, json=why)
        assert (ended.status_code, ended.json()["state"]) == (200, "revoked")
        assert other.get("/api/v1/hosts").status_code == 401
        assert refused(admin.request("DELETE", path, json=why)) == (404, "not_found")


@pytest.mark.parametrize(
    "body",
    [
        {"name": "bob", "role": "viewer"},
        {"name": "bob", "role": "viewer", "reason": " "},
        {"name": "bob", "role": "viewer", "reason": "x" * 501},
        {"name": "bob", "role": "emperor", "reason": "why"},
        {"name": "", "role": "viewer", "reason": "why"},
        {"name": "bob", "role": "agent", "reason": "why"},
        {"name": "bob", "role": "viewer", "days": 99_999, "reason": "why"},
    ],
)
def test_a_token_of_no_sense_is_refused_with_its_code(closed: House, body: dict[str, object]) -> None:
    with closed.as_role(Role.ADMIN) as admin:
        answer = admin.post("/api/v1/tokens", json=body)
    assert answer.status_code == 422
    assert answer.json()["error"]["code"] in ("invalid_request", "credential")


@pytest.mark.parametrize("offset", [0, 2**62, 2**70])
def test_any_page_of_tokens_and_audit_can_be_asked_for(closed: House, offset: int) -> None:
    with closed.as_role(Role.ADMIN) as admin:
        answers = [admin.get(f"/api/v1/{name}", params={"offset": offset}) for name in ("tokens", "audit")]
    assert [answer.status_code for answer in answers] == [200, 200]


def test_who_has_lost_the_right_to_look_does_not_go_on_looking(tmp_path: Path) -> None:
    settings = replace(CLOSED, stream_s=0.2, keep_alive_s=0.05)
    with house(tmp_path, settings) as running, running.as_role(Role.VIEWER) as client:
        with client.stream("GET", "/api/v1/events") as stream:
            running.credentials.revoke(running.credentials.tokens()[0][-1].id)
            assert b"still here" in b"".join(stream.iter_raw())  # it ends by itself
        assert refused(client.get("/api/v1/events")) == (401, "unauthenticated")


# --- nearness -----------------------------------------------------------------------------------------


def test_while_nobody_has_a_token_this_machine_may_look_and_ask(tmp_path: Path) -> None:
    with house(tmp_path, WebSettings(port=0), roles=(Role.AGENT,)) as running, running.as_role(None) as client:
        assert client.get("/api/v1/hosts").status_code == 200
        assert client.post("/api/v1/requests", json=ASK).json()["who"] == "dashboard at 127.0.0.1"
        for name in ("tokens", "audit"):
            assert refused(client.get(f"/api/v1/{name}")) == (401, "unauthenticated")


def test_with_the_first_token_everybody_must_show_who_they_are(tmp_path: Path) -> None:
    with house(tmp_path, WebSettings(port=0), roles=()) as running, running.as_role(None) as client:
        assert client.get("/api/v1/hosts").status_code == 200
        running.credentials.make_token(NewToken("ann", Role.VIEWER), "root")
        assert refused(client.get("/api/v1/hosts")) == (401, "unauthenticated")
        assert refused(client.post("/api/v1/requests", json=ASK)) == (401, "unauthenticated")


def test_who_comes_through_a_proxy_of_this_machine_is_not_near(tmp_path: Path) -> None:
    with house(tmp_path, WebSettings(port=0), roles=()) as running:
        answer = httpx.get(f"{running.address}/api/v1/hosts", headers={"X-Forwarded-For": "192.0.2.7"})
    assert refused(answer) == (401, "unauthenticated")


def test_other_machines_are_listened_to_once_somebody_can_sign_in(tmp_path: Path) -> None:
    open_to_all = replace(CLOSED, host="0.0.0.0", sign_in=False)  # noqa: S104 - what is tried
    with pytest.raises(ConfigurationError, match="forewarn token add"), house(tmp_path, open_to_all, (Role.AGENT,)):
        pass
    with house(tmp_path, open_to_all, (Role.ADMIN,)) as running:
        port = running.address.rpartition(":")[2]
        assert httpx.get(f"http://127.0.0.1:{port}/api/v1/hosts").status_code == 401


# --- what is written down -----------------------------------------------------------------------------


def test_every_change_is_written_down_also_what_was_refused(tmp_path: Path) -> None:
    with house(tmp_path) as running:
        for role in (None, Role.VIEWER, Role.OPERATOR):
            with running.as_role(role) as client:
                client.post("/api/v1/requests", json=ASK)
        with running.as_role(Role.OPERATOR) as operator:
            operator.post("/api/v1/requests", json={"kind": "reboot", "reason": "x"})
        with running.as_role(Role.ADMIN) as admin:
            admin.post("/api/v1/tokens", json={"name": "bob", "role": "viewer", "reason": "new here"})
            admin.request("DELETE", "/api/v1/tokens/4711", json={"reason": "left"})
            admin.request("DELETE", "/api/v1/tokens/1", json={"reason": "left"})
            told = admin.get("/api/v1/audit").json()
        found = [(deed.who, deed.action, deed.why, deed.result) for deed in running.deeds()]
    assert found == [
        ("somebody at 127.0.0.1", "request", "", "unauthenticated"),
        ("the viewer", "request", "", "forbidden"),
        ("the operator", "request", "a drill", "done"),
        ("the operator", "request", "", "invalid_request"),
        ("the admin", "token.add", "new here", "done"),
        ("the admin", "token.revoke", "", "not_found"),
        ("the admin", "token.revoke", "left", "done"),
    ]
    assert [item["action"] for item in told["items"]] == [action for _, action, _, _ in reversed(found)]
    assert (told["total"], told["items"][0]["detail"]["name"]) == (7, "the viewer")


@pytest.mark.parametrize("role", [None, Role.AGENT])
def test_strangers_and_agents_cannot_flood_the_audit(tmp_path: Path, role: Role | None) -> None:
    with house(tmp_path, replace(CLOSED, sign_in_failures_max=3)) as running, running.as_role(role) as client:
        for _ in range(8):
            assert client.post("/api/v1/requests", json=ASK).status_code in (401, 403)
        assert len(running.deeds()) == 3
        with running.as_role(Role.VIEWER) as viewer:
            for _ in range(4):
                viewer.post("/api/v1/requests", json=ASK)
        assert len(running.deeds()) == 7


def test_looking_is_not_written_down(tmp_path: Path) -> None:
    with house(tmp_path) as running, running.as_role(Role.VIEWER) as client:
        client.get("/api/v1/hosts")
        client.get("/api/v1/tokens")
        assert running.deeds() == []


# --- https --------------------------------------------------------------------------------------------


def test_the_pages_are_served_over_https_with_a_certificate(tmp_path: Path) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    order = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=a -addext"
    command = ["openssl", *order.split(), "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("no openssl to make a certificate with")
    settings = replace(CLOSED, tls_cert=cert, tls_key=key)
    with house(tmp_path, settings) as running:
        assert running.address.startswith("https://127.0.0.1:")
        with httpx.Client(base_url=running.address, verify=ssl.create_default_context(cafile=cert)) as client:
            answer = client.post("/login", data={"token": running.tokens[Role.VIEWER]})
            assert "; Secure" in answer.headers["set-cookie"]
            assert client.get("/").status_code == 200


@pytest.mark.parametrize("settings", [{"tls_cert": Path("nowhere.pem")}, {"tls_cert": Path(__file__)}])
def test_a_certificate_that_is_none_refuses_to_start(settings: dict[str, Path]) -> None:
    with (
        pytest.raises(ConfigurationError, match="tls_cert"),
        serving(
            SHELF.read,
            settings=WebSettings(port=0, **settings),  # type: ignore[arg-type]  # only paths are given
        ),
    ):
        pass


def test_a_key_without_its_certificate_is_refused() -> None:
    with pytest.raises(ValueError, match="without tls_cert"):
        WebSettings(tls_key=Path("key.pem"))


def test_without_a_state_database_nobody_can_sign_in() -> None:
    with serving(SHELF.read, settings=CLOSED) as server, httpx.Client(base_url=server.address) as client:
        assert refused(client.get("/api/v1/hosts")) == (401, "unauthenticated")
        assert client.post("/login", data={"token": "fw_x"}).status_code == 503


@pytest.mark.parametrize(("role", "status"), [(Role.OPERATOR, 403), (Role.ADMIN, 201)])
def test_only_an_admin_may_ask_for_a_mode(closed: House, role: Role, status: int) -> None:
    wish = {"kind": "mode", "reason": "a trial", "args": {"mode": "recommend", "kind": "disk"}}
    with closed.as_role(role) as client:
        assert client.post("/api/v1/requests", json=wish).status_code == status
