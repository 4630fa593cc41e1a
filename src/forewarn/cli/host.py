"""What runs on a machine: the agent of a host, or everything at once."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from forewarn import config
from forewarn.cli.common import STATE_FOLDER, ConfigFile, StateFolder

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


def up(
    folder: StateFolder = STATE_FOLDER,
    port: Annotated[int | None, typer.Option(help="Port of the dashboard; 0 takes a free one.")] = None,
    config_file: ConfigFile = None,
) -> None:
    """Run agent, controller, stores and dashboard on this machine; nothing is moved unless that is configured."""
    from forewarn.assemble import up as assembly
    from forewarn.assemble.stopping import until_signal

    settings = config.load(assembly.UpSettings, config_file, os.environ)
    if port is not None:
        settings = replace(settings, web=replace(settings.web, port=port))
    with until_signal() as clock:
        assembly.up(folder, clock, settings, typer.echo)
