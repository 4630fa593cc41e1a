"""The versions of a site's models, and which of them serves."""

import json
import os
from typing import Annotated

import typer

from forewarn.cli.common import STATE_FOLDER, ConfigFile, Json, Reason, StateFolder

app = typer.Typer(help="The models of this site: their versions, and which of them serves.", no_args_is_help=True)
Kind = Annotated[str, typer.Argument(metavar="KIND", help="cpu, memory, disk, network or power.")]
VersionName = Annotated[str, typer.Argument(metavar="VERSION", help="Its name, as `forewarn models list` shows it.")]


@app.command("list")
def list_all(folder: StateFolder = STATE_FOLDER, config_file: ConfigFile = None, as_json: Json = False) -> None:
    """List every version of every kind, the champion marked."""
    from forewarn.assemble import life

    found = life.listed(folder, config_file, os.environ)
    typer.echo(json.dumps(found) if as_json else life.list_text(found))


@app.command("show")
def show(
    kind: Kind,
    version: VersionName,
    folder: StateFolder = STATE_FOLDER,
    config_file: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Show what a version says of itself, and what it was judged to be worth."""
    from forewarn.assemble import life

    found = life.shown(folder, config_file, os.environ, kind, version)
    typer.echo(json.dumps(found) if as_json else life.show_text(found))


@app.command("promote")
def promote(
    kind: Kind, version: VersionName, reason: Reason, folder: StateFolder = STATE_FOLDER, config_file: ConfigFile = None
) -> None:
    """Let a version serve; the controller reads it whole first, and says in its log what came of it."""
    _ask(folder, config_file, "promote", kind, reason, version)


@app.command("roll-back")
def roll_back(kind: Kind, reason: Reason, folder: StateFolder = STATE_FOLDER, config_file: ConfigFile = None) -> None:
    """Let the version that served before this one serve again."""
    _ask(folder, config_file, "roll_back", kind, reason)


@app.command("train")
def train(kind: Kind, reason: Reason, folder: StateFolder = STATE_FOLDER, config_file: ConfigFile = None) -> None:
    """Let the controller learn from this site's own history, and judge what came of it against the champion."""
    _ask(folder, config_file, "train", kind, reason)


def _ask(folder: StateFolder, config_file: ConfigFile, asked: str, kind: str, reason: str, version: str = "") -> None:
    from forewarn.assemble import life

    number = life.ask(folder, config_file, os.environ, asked, reason, kind, version)
    typer.echo(f"Asked (request {number}): the controller answers in its log.")
