"""Tokens on the command line: made, listed, revoked, and written down."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from forewarn import cli
from forewarn.clock import RealClock
from forewarn.domain.people import Role
from forewarn.errors import CredentialRefused, StateError
from forewarn.state.credentials import Credentials, Use
from forewarn.state.database import Database

RUN = CliRunner()
WHY = ("--reason", "a test")


def run(folder: Path, *command: str) -> Result:
    return RUN.invoke(cli.app, [*command, "--state", str(folder)], catch_exceptions=False)


def listed(folder: Path) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(run(folder, "token", "list", "--json").stdout)
    return found


def recognised(folder: Path, secret: str) -> tuple[Role, tuple[str, ...]] | None:
    database = Database(f"sqlite:///{folder / 'state.sqlite'}", RealClock())
    found = Credentials(database).recognise(secret, Use.TOKEN)
    database.close()
    return (found.principal.role, found.principal.hosts) if found else None


def test_a_token_is_printed_once_and_listed_without_its_secret(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    made = run(folder, "token", "add", "ann", "--role", "operator", "--days", "3", *WHY)
    secret = made.stdout.strip()
    assert recognised(folder, secret) == (Role.OPERATOR, ())
    assert "Token 1 of ann, operator, holds until" in made.stderr
    (row,) = listed(folder)
    assert (row["id"], row["name"], row["role"], row["state"]) == (1, "ann", "operator", "valid")
    shown = run(folder, "token", "list").stdout
    assert "ann until " in shown
    assert secret not in shown


def test_a_revoked_token_is_not_recognised_any_more(tmp_path: Path) -> None:
    secret = run(tmp_path, "token", "add", "ann", "--role", "viewer", *WHY).stdout.strip()
    assert "Token 1 of ann holds no more." in run(tmp_path, "token", "revoke", "1", *WHY).stdout
    assert recognised(tmp_path, secret) is None
    assert [row["state"] for row in listed(tmp_path)] == ["revoked"]
    for number in ("1", "4711", str(2**70)):
        with pytest.raises(CredentialRefused, match=f"no token {number}"):
            run(tmp_path, "token", "revoke", number, *WHY)


@pytest.mark.parametrize(
    ("who", "hosts"), [(("h1",), ("h1",)), (("--hosts", "rack1-*", "--hosts", "h9"), ("rack1-*", "h9"))]
)
def test_an_agent_is_enrolled_for_its_hosts_with_the_lines_that_it_needs(
    tmp_path: Path, who: tuple[str, ...], hosts: tuple[str, ...]
) -> None:
    made = run(tmp_path, "agent", "enroll", *who, *WHY)
    assert made.stdout.startswith("[push]\nurl = ")
    secret = made.stdout.rpartition("token = ")[2].strip().strip('"')
    assert recognised(tmp_path, secret) == (Role.AGENT, hosts)
    assert f"speaks for {', '.join(hosts)}" in made.stderr
    assert f"for {', '.join(hosts)}" in run(tmp_path, "token", "list").stdout


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("agent", "enroll"), "name one host"),
        (("agent", "enroll", "h1", "--hosts", "h*"), "name one host"),
        (("agent", "enroll", "h*"), "with --hosts"),
        (("token", "add", "a", "--role", "agent"), "forewarn agent enroll"),
        (("token", "add", " ", "--role", "admin"), "1 to 200"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence(tmp_path: Path, command: tuple[str, ...], said: str) -> None:
    with pytest.raises(CredentialRefused, match=said):
        run(tmp_path, *command, *WHY)


@pytest.mark.parametrize(
    "command", [("token", "add", "a", "--role", "admin"), ("token", "revoke", "1"), ("agent", "enroll", "h1")]
)
def test_nothing_is_changed_without_a_reason(tmp_path: Path, command: tuple[str, ...]) -> None:
    assert run(tmp_path, *command).exit_code == 2
    with pytest.raises(CredentialRefused, match="say why"):
        run(tmp_path, *command, "--reason", " ")


def test_the_audit_names_the_user_of_the_system_and_no_secret(tmp_path: Path) -> None:
    secret = run(tmp_path, "token", "add", "ann", "--role", "admin", *WHY).stdout.strip()
    run(tmp_path, "token", "revoke", "1", *WHY)
    text = (tmp_path / "audit.jsonl").read_text()
    rows = [json.loads(line) for line in text.splitlines()]
    assert [(row["action"], row["target"], row["why"], row["result"]) for row in rows] == [
        ("token.add", "token 1", "a test", "done"),
        ("token.revoke", "token 1", "a test", "done"),
    ]
    assert all(row["who"].startswith("operator ") and row["who"].endswith(" of the OS") for row in rows)
    assert secret not in text


def test_no_list_is_made_where_nothing_is_kept(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="does not exist"):
        run(tmp_path / "nowhere", "token", "list")
    assert not (tmp_path / "nowhere").exists()
    with pytest.raises(StateError, match="cannot make"):
        run(Path("/proc/nowhere"), "token", "add", "a", "--role", "admin", *WHY)


def test_a_folder_without_tokens_says_so(tmp_path: Path) -> None:
    assert run(tmp_path, "token", "list").stdout == "There are no tokens.\n"
