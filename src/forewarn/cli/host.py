"""What runs on a machine: the agent of a host, the server that agents push to, or both at once."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forewarn import config
from forewarn.cli.common import STATE_FOLDER, ConfigFile, StateFolder

if TYPE_CHECKING:
    from forewarn.assemble.up import Say, UpSettings
    from forewarn.clock import RealClock

agent_app = typer.Typer()


@agent_app.callback(invoke_without_command=True)
def agent(
    context: typer.Context,
    once: Annotated[bool, typer.Option("--once", help="Collect once, print the exposition text, and end.")] = False,
    smartctl_json: Annotated[
        Path | None, typer.Option(help="Read recorded `smartctl --json` outputs from this folder, not drives.")
    ] = None,
    listen: Annotated[str, typer.Option(help="Serve /metrics at HOST:PORT.")] = "",
    config_file: ConfigFile = None,
) -> None:
    """Collect this host's telemetry under the names of node_exporter and smartctl_exporter."""
    if context.invoked_subcommand:
        return
    from forewarn.assemble import agent as assembly

    tree = assembly.read(config_file, os.environ, smartctl_json, listen)
    if once:
        typer.echo(assembly.once(tree), nl=False)
        return
    from forewarn.assemble.agent_process import become

    become(config_file, smartctl_json, listen)


Port = Annotated[int | None, typer.Option(help="Port of the dashboard; 0 takes a free one.")]


def up(folder: StateFolder = STATE_FOLDER, port: Port = None, config_file: ConfigFile = None) -> None:
    """Run agent, controller, stores and dashboard on this machine; nothing is moved unless that is configured."""
    from forewarn.assemble import up as assembly

    _run(assembly.up, folder, port, config_file)


def serve(folder: StateFolder = STATE_FOLDER, port: Port = None, config_file: ConfigFile = None) -> None:
    """Run controller, stores and dashboard, without an agent: hosts' agents push here, or a Prometheus does."""
    from forewarn.assemble import up as assembly

    _run(assembly.serve, folder, port, config_file)


def _run(
    whole: "Callable[[Path, RealClock, UpSettings, Say], None]",
    folder: Path,
    port: int | None,
    config_file: Path | None,
) -> None:
    """Run it with the settings as they stand, until a signal."""
    from forewarn.assemble.stopping import until_signal
    from forewarn.assemble.up import UpSettings

    settings = config.load(UpSettings, config_file, os.environ)
    if port is not None:
        settings = replace(settings, web=replace(settings.web, port=port))
    with until_signal() as clock:
        whole(folder, clock, settings, typer.echo)
