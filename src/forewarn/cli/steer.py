"""What people ask of a controller on its machine: modes, pauses, approvals, windows, the breaker, a release of all."""

import os
from datetime import datetime
from typing import Annotated

import typer

from forewarn.cli.common import STATE_FOLDER, ConfigFile, Reason, StateFolder
from forewarn.clock import RealClock

window_app = typer.Typer(help="Times in which hosts are left alone: maintenance and freezes.", no_args_is_help=True)
breaker_app = typer.Typer(help="The breaker that stops everything.", no_args_is_help=True)


def _ask(folder: StateFolder, config_file: ConfigFile, asked: str, reason: str, **args: str) -> None:
    from forewarn.assemble import steer
    from forewarn.state.requests import RequestKind

    with steer.desk(folder, config_file, os.environ) as desk:
        made = desk.ask(RequestKind(asked), reason, args)
    typer.echo(f"Asked (request {made.id}): the controller answers in its log at its next cycle.")


def mode(
    wanted: Annotated[str, typer.Argument(metavar="MODE", help="observe, recommend or automatic.")],
    reason: Reason,
    aggregate: Annotated[str, typer.Option(help="Only for the hosts of this aggregate.")] = "",
    kind: Annotated[str, typer.Option(help="Only for cpu, memory, disk, network or power.")] = "",
    action: Annotated[str, typer.Option(help="Only for cordon or move.")] = "",
    until: Annotated[str, typer.Option(help="When it ends: a time, or 90m, 4h, 7d from now.")] = "",
    override: Annotated[bool, typer.Option("--override", help="Hold it without evidence of this site.")] = False,
    folder: StateFolder = STATE_FOLDER,
    config_file: ConfigFile = None,
) -> None:
    """Say how far Forewarn may go by itself, for everything or for a scope."""
    ends = _moment(until).isoformat() if until else ""
    overriding = "yes" if override else ""
    scope = {"aggregate": aggregate, "kind": kind, "action": action}
    _ask(folder, config_file, "mode", reason, mode=wanted, until=ends, override=overriding, **scope)


def pause(
    reason: Reason,
    abort: Annotated[bool, typer.Option("--abort", help="Also end what runs; else it goes on to its end.")] = False,
    folder: StateFolder = STATE_FOLDER,
    config_file: ConfigFile = None,
) -> None:
    """Let no move start until `forewarn resume`."""
    _ask(folder, config_file, "pause", reason, running="abort" if abort else "drain")


def resume(reason: Reason, folder: StateFolder = STATE_FOLDER, config_file: ConfigFile = None) -> None:
    """Let moves start again."""
    _ask(folder, config_file, "resume", reason)


def abort(
    move: Annotated[str, typer.Argument(help="The move's id, as the migrations page shows it.")],
    reason: Reason,
    folder: StateFolder = STATE_FOLDER,
    config_file: ConfigFile = None,
) -> None:
    """End one move that runs; its VM stays where it was."""
    _ask(folder, config_file, "abort_move", reason, move=move)


def approve(
    vm: Annotated[str, typer.Argument(help="The VM's id.")],
    source: Annotated[str, typer.Option("--from", help="The host that it may leave.")],
    reason: Reason,
    folder: StateFolder = STATE_FOLDER,
    config_file: ConfigFile = None,
) -> None:
    """Approve that a VM leaves its host, where the mode is `recommend`."""
    _ask(folder, config_file, "approve", reason, vm=vm, source=source)


@breaker_app.command("clear")
def breaker_clear(reason: Reason, folder: StateFolder = STATE_FOLDER, config_file: ConfigFile = None) -> None:
    """Let things move again after the breaker has tripped."""
    _ask(folder, config_file, "clear_breaker", reason)


@window_app.command("open")
def window_open(
    until: Annotated[str, typer.Option(help="When it ends: a time, or 90m, 4h, 7d from now.")],
    reason: Reason,
    hosts: Annotated[str, typer.Option(help="Pattern of the hosts that it is for.")] = "*",
    kind: Annotated[str, typer.Option(help="maintenance or freeze.")] = "maintenance",
    start: Annotated[str, typer.Option("--from", help="When it starts; now, where it is not named.")] = "",
    folder: StateFolder = STATE_FOLDER,
    config_file: ConfigFile = None,
) -> None:
    """Announce maintenance of hosts, or a freeze."""
    ends = _moment(until).isoformat()
    starts = _moment(start).isoformat() if start else ""
    _ask(folder, config_file, "open_window", reason, kind=kind, hosts=hosts, starts_at=starts, ends_at=ends)


@window_app.command("close")
def window_close(
    number: Annotated[int, typer.Argument(help="Its number, as the log told it when it was opened.")],
    reason: Reason,
    folder: StateFolder = STATE_FOLDER,
    config_file: ConfigFile = None,
) -> None:
    """End a window before its time."""
    _ask(folder, config_file, "close_window", reason, window=str(number))


def release(
    reason: Reason,
    everything: Annotated[bool, typer.Option("--all", help="Needed: there is no release of a part.")] = False,
    folder: StateFolder = STATE_FOLDER,
    config_file: ConfigFile = None,
) -> None:
    """Undo everything that Forewarn has set on hosts, and only that; a controller that runs is paused."""
    from forewarn.assemble import steer
    from forewarn.errors import ConfigurationError

    if not everything:
        raise ConfigurationError("say --all: everything that Forewarn has set is released, or nothing")
    with steer.desk(folder, config_file, os.environ) as desk:
        for text in desk.release(steer.cordoner(desk.kept.clock), reason):
            typer.echo(text)


def _moment(text: str) -> datetime:
    from forewarn.assemble import steer

    return steer.moment(text, RealClock().now())
