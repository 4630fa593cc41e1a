"""Who is told of alerts, and whether that works."""

import json
import os

import typer

from forewarn import config
from forewarn.cli.common import ConfigFile, Json
from forewarn.clock import RealClock

app = typer.Typer(help="Who is told of alerts.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Keeps `test` a command of its own, though it is the only one yet."""


@app.command("test")
def send_test(as_json: Json = False, config_file: ConfigFile = None) -> None:
    """Send a test to each receiver of alerts and say what happened; exit code 1 if one did not take it."""
    from forewarn.assemble.alerts import try_receivers
    from forewarn.assemble.up import UpSettings

    settings = config.load(UpSettings, config_file, os.environ)
    results = []
    for name, error in try_receivers(settings.alerts, settings.web, RealClock().now()):
        results.append({"receiver": name, "taken": not error, "error": error})
        if not as_json:
            typer.echo(f"{name}: {error or 'took the test'}")
    if as_json:
        typer.echo(json.dumps(results))
    raise typer.Exit(0 if all(result["taken"] for result in results) else 1)
