"""The failures of a site: what people saw, and whether forecasts came true."""

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from forewarn.cli.common import STATE_FOLDER, ConfigFile, Json, Reason, StateFolder
from forewarn.clock import RealClock

app = typer.Typer(help="Failures that were seen, and forecasts that came true or did not.", no_args_is_help=True)
Part = Annotated[str, typer.Argument(help="The part's id, such as disk:Z3001G6W.")]


@app.command("add")
def add(
    reason: Reason,
    component: Annotated[str, typer.Option(help="The part that failed, such as disk:Z3001G6W.")] = "",
    host: Annotated[str, typer.Option(help="The host in which it sat, or which failed.")] = "",
    kind: Annotated[str, typer.Option(help="cpu, memory, disk, network, power or host; else the part tells.")] = "",
    at: Annotated[str, typer.Option(help="When; now, where it is not named.")] = "",
    folder: StateFolder = STATE_FOLDER,
    config_file: ConfigFile = None,
) -> None:
    """Write down a failure that somebody saw."""
    from forewarn.assemble import steer

    with steer.desk(folder, config_file, os.environ) as desk:
        event = steer.failure(host, component, kind, at, reason, RealClock().now())
        desk.add_failure(event)
    typer.echo(f"Written down: {event.component or event.host} failed at {event.time:%Y-%m-%d %H:%M} UTC.")


@app.command("import")
def import_all(
    file: Annotated[
        Path, typer.Argument(help="JSON lines: time, host, kind; component, text, source, confidence, state.")
    ],
    reason: Reason,
    folder: StateFolder = STATE_FOLDER,
    config_file: ConfigFile = None,
) -> None:
    """Take over failures from a file, such as another system's tickets: all of them, or none where a line is wrong."""
    from forewarn.assemble import steer

    with steer.desk(folder, config_file, os.environ) as desk:
        new, known = desk.import_failures(file, reason)
    typer.echo(f"Imported: {new} failures{f'; {known} were written down already' if known else ''}.")


@app.command("export")
def export(folder: StateFolder = STATE_FOLDER, config_file: ConfigFile = None) -> None:
    """Print every failure that is known as a line of JSON, as `failures import` takes them."""
    from forewarn import event_lines
    from forewarn.assemble import steer

    with steer.desk(folder, config_file, os.environ) as desk:
        events, _ = desk.list_failures()
    typer.echo(event_lines.export(events), nl=False)


@app.command("confirm")
def confirm(
    component: Part, reason: Reason, folder: StateFolder = STATE_FOLDER, config_file: ConfigFile = None
) -> None:
    """Say that a part did fail, or was about to: its forecast was right."""
    _judge("confirmed", component, reason, folder, config_file)


@app.command("refute")
def refute(component: Part, reason: Reason, folder: StateFolder = STATE_FOLDER, config_file: ConfigFile = None) -> None:
    """Say that a part is sound: its forecast was wrong."""
    _judge("refuted", component, reason, folder, config_file)


@app.command("list")
def list_all(folder: StateFolder = STATE_FOLDER, as_json: Json = False, config_file: ConfigFile = None) -> None:
    """Show every failure that is known, and the latest forecasts with what became of them."""
    from forewarn.assemble import steer

    with steer.desk(folder, config_file, os.environ) as desk:
        events, judged = desk.list_failures()
    if as_json:
        told = {"failures": [asdict(event) for event in events], "forecasts": [asdict(line) for line in judged]}
        typer.echo(json.dumps(told, default=str))
        return
    for event in events:
        what = event.component or event.host
        typer.echo(f"{event.time:%Y-%m-%d %H:%M}  failure   {what}  {event.state}  {event.text}  ({event.source})")
    for line in judged:
        said = f"p={line.probability:.3g}, over {line.threshold:.3g}, due {line.due_at:%Y-%m-%d %H:%M}"
        typer.echo(f"{line.made_at:%Y-%m-%d %H:%M}  forecast  {line.component}  {line.state}  {said}  {line.because}")


def _judge(state: str, component: str, reason: str, folder: StateFolder, config_file: ConfigFile) -> None:
    from forewarn.assemble import steer
    from forewarn.domain.events import LabelState

    with steer.desk(folder, config_file, os.environ) as desk:
        failures, forecast = desk.judge(component, LabelState(state), reason)
    told = ["the latest forecast"] if forecast else []
    told += [f"{failures} failure{'s' if failures > 1 else ''}"] if failures else []
    typer.echo(f"{component}: {' and '.join(told)} {state}.")
