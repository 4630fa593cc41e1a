"""Who may ask: tokens of people, programs and agents."""

import json
import os
from typing import Annotated

import typer

from forewarn.cli.common import STATE_FOLDER, ConfigFile, Json, Reason, StateFolder
from forewarn.domain.people import Role
from forewarn.errors import CredentialRefused

app = typer.Typer(help="The tokens with which people, programs and agents show who they are.", no_args_is_help=True)
_PATTERN = "*?["


@app.command("add")
def token_add(
    name: Annotated[str, typer.Argument(help="The person or the program.")],
    role: Annotated[Role, typer.Option(help="What it may do.")],
    reason: Reason,
    days: Annotated[int | None, typer.Option(help="Days that it holds; 0: until it is revoked.")] = None,
    folder: StateFolder = STATE_FOLDER,
    config_file: ConfigFile = None,
) -> None:
    """Make a token and print it, once. For agents see `forewarn agent enroll`."""
    from forewarn.assemble import people
    from forewarn.state.credentials import NewToken

    if role is Role.AGENT:
        raise CredentialRefused("an agent's token is bound to its host: use `forewarn agent enroll HOST`")
    with people.registry(folder, config_file, os.environ, create=True) as tokens:
        made, secret = tokens.add(NewToken(name, role, days=days), reason)
    until = f"until {made.expires_at:%Y-%m-%d}" if made.expires_at else "until it is revoked"
    typer.echo(f"Token {made.id} of {made.principal.name}, {role}, holds {until}. It is shown this once:", err=True)
    typer.echo(secret)


@app.command("list")
def token_list(folder: StateFolder = STATE_FOLDER, as_json: Json = False, config_file: ConfigFile = None) -> None:
    """List the tokens, without their secrets."""
    from forewarn.assemble import people

    with people.registry(folder, config_file, os.environ) as tokens:
        rows = [people.as_dict(token, tokens.clock) for token in tokens.everything()]
    if as_json:
        typer.echo(json.dumps(rows))
        return
    for row in rows or ({},):
        typer.echo(_line(row) if row else "There are no tokens.")


@app.command("revoke")
def token_revoke(
    token: Annotated[int, typer.Argument(help="Its number in `forewarn token list`.")],
    reason: Reason,
    folder: StateFolder = STATE_FOLDER,
    config_file: ConfigFile = None,
) -> None:
    """End a token at once, and the sessions that were opened with it."""
    from forewarn.assemble import people

    with people.registry(folder, config_file, os.environ) as tokens:
        ended = tokens.revoke(token, reason)
    typer.echo(f"Token {ended.id} of {ended.principal.name} holds no more.")


def enroll(
    reason: Reason,
    host: Annotated[str, typer.Argument(help="The host on which the agent runs.")] = "",
    hosts: Annotated[
        list[str] | None,
        typer.Option("--hosts", help="Instead: a pattern of hosts, such as 'rack1-*'; may be repeated."),
    ] = None,
    days: Annotated[int | None, typer.Option(help="Days that the token holds; 0: until it is revoked.")] = None,
    folder: StateFolder = STATE_FOLDER,
    config_file: ConfigFile = None,
) -> None:
    """Make the token with which an agent speaks for its host, or a collecting Prometheus for many; printed once."""
    from forewarn.assemble import people
    from forewarn.state.credentials import NewToken

    if bool(host) == bool(hosts):
        raise CredentialRefused("name one host, or patterns of hosts with --hosts")
    if any(letter in host for letter in _PATTERN):
        raise CredentialRefused(f"{host!r} is a pattern: name it with --hosts")
    patterns = tuple(hosts or [host])
    with people.registry(folder, config_file, os.environ, create=True) as tokens:
        new = NewToken(f"agent of {', '.join(patterns)}", Role.AGENT, patterns, days)
        made, secret = tokens.add(new, reason)
    said = f"Token {made.id} speaks for {', '.join(patterns)}. It is shown this once, for the agent's configuration:"
    typer.echo(said, err=True)
    typer.echo(people.agent_lines(secret))


def _line(row: dict[str, object]) -> str:
    hosts = row["hosts"]
    about = f" for {', '.join(hosts)}" if isinstance(hosts, list) and hosts else ""
    until = f" until {str(row['expires_at'])[:10]}" if row["expires_at"] else ""
    return f"{row['id']:>5}  {row['state']:8}  {row['role']:8}  {row['name']}{about}{until}, made by {row['made_by']}"
