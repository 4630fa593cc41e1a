"""The settings: a sample file, a check of one, and what holds here."""

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from forewarn import config
from forewarn.cli.common import ConfigFile, Json
from forewarn.errors import ConfigurationError

app = typer.Typer(help="The settings: what holds here, a sample file, and a check of one.")

Out = Annotated[Path | None, typer.Option("--out", help="Write the sample to this new file.")]


@app.callback(invoke_without_command=True)
def config_shown(
    context: typer.Context,
    init: Annotated[bool, typer.Option("--init", help="Print a sample with every setting, explained.")] = False,
    out: Out = None,
    as_json: Json = False,
    config_file: ConfigFile = None,
) -> None:
    """Show every setting as it holds, and whether it comes from the default, the file or the environment."""
    if context.invoked_subcommand:
        return
    if out is not None and not init:
        raise ConfigurationError("--out goes with --init: it names the file for the sample")
    if init:
        _write_sample(out)
        return
    found = config.effective(whole_tree(), config_file, os.environ)
    if as_json:
        typer.echo(json.dumps([{**asdict(one.setting), "value": one.value, "source": one.source} for one in found]))
    else:
        typer.echo("\n".join(f"{one.setting.path} = {one.value or '(none)'}   # {one.source}" for one in found))


@app.command("init")
def config_init(out: Out = None) -> None:
    """Print a configuration with every setting at its default, explained; or write it to a new file."""
    _write_sample(out)


@app.command("check")
def config_check(path: Annotated[Path, typer.Argument(help="The TOML file.")]) -> None:
    """Read a configuration, of a controller or of an agent, and say whether it is right."""
    typer.echo(f"{path} is right{_checked(path)}.")


def whole_tree() -> type:
    """The settings of everything that may run on this machine: of the agent alone where no controller is installed."""
    from forewarn.assemble.agent import AgentTree

    try:
        from forewarn.assemble.up import UpSettings
    except ImportError:
        return AgentTree
    return UpSettings


def _checked(path: Path) -> str:
    """What the file is right for; a file that is right for nothing is judged as the controller's."""
    from forewarn.assemble.agent import AgentTree

    try:
        config.load(whole_tree(), path, os.environ)
    except ConfigurationError as wrong:
        try:
            config.load(AgentTree, path, os.environ)
        except ConfigurationError:
            raise wrong from None
        return " for an agent"
    return ""


def _write_sample(out: Path | None) -> None:
    text = config.sample(whole_tree())
    if out is None:
        typer.echo(text, nl=False)
        return
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise ConfigurationError(f"cannot write {out}: its folder cannot be made ({problem.strerror})") from problem
    try:
        with out.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise ConfigurationError(f"{out} exists already: name a new file, or move it away") from None
    except OSError as problem:
        raise ConfigurationError(f"cannot write {out}: {problem.strerror}") from problem
    typer.echo(f"{out} holds every setting at its default, commented out.")
