"""The settings: a sample file, and a check of one."""

import os
from pathlib import Path
from typing import Annotated

import typer

from forewarn import config

app = typer.Typer(help="The settings: a sample file, and a check of one.", no_args_is_help=True)


@app.command("init")
def config_init() -> None:
    """Print a configuration with every setting at its default, explained."""
    from forewarn.assemble.site import SiteSettings

    typer.echo(config.sample(SiteSettings), nl=False)


@app.command("check")
def config_check(path: Annotated[Path, typer.Argument(help="The TOML file.")]) -> None:
    """Read a configuration and say whether it is right."""
    from forewarn.assemble.site import SiteSettings

    config.load(SiteSettings, path, os.environ)
    typer.echo(f"{path} is right.")
