"""The command line. It parses, calls what `assemble` builds, prints, and turns every Forewarn error into one sentence.

Heavy parts are imported inside the commands that need them: `forewarn agent` runs on every host and stays light.
"""

import json
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from forewarn import config
from forewarn.clock import RealClock
from forewarn.errors import ForewarnError

app = typer.Typer(
    name="forewarn",
    help="Moves virtual machines off a host before its hardware fails.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
config_app = typer.Typer(help="The settings: a sample file, and a check of one.", no_args_is_help=True)
app.add_typer(config_app, name="config")

DEMO_FOLDER = "forewarn-demo-"  # how the names of folders begin in which demonstrations keep their files

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", envvar="FOREWARN_CONFIG", help="The configuration, a TOML file.")
]


def main() -> None:
    """Run the command line; a Forewarn error becomes one sentence on stderr and exit code 1."""
    try:
        app()
    except ForewarnError as error:
        typer.echo(f"forewarn: {error}", err=True)
        sys.exit(1)


@app.callback()
def _start(verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log more, on stderr.")] = False) -> None:
    level = logging.INFO if verbose else logging.WARNING
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")


@contextmanager
def _until_signal() -> Iterator[RealClock]:
    """A real clock that SIGTERM and SIGINT stop: whatever sleeps on it wakes, and ends cleanly."""
    clock = RealClock()
    signals = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, lambda *_: clock.stop()) for number in signals]
    try:
        yield clock
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)


# --- on a host --------------------------------------------------------------------------------------------------------


@app.command()
def agent(
    once: Annotated[bool, typer.Option("--once", help="Collect once, print the exposition text, and end.")] = False,
    smartctl_json: Annotated[
        Path | None, typer.Option(help="Read recorded `smartctl --json` outputs from this folder, not drives.")
    ] = None,
    listen: Annotated[str, typer.Option(help="Serve /metrics at HOST:PORT.")] = "",
    config_file: ConfigFile = None,
) -> None:
    """Collect this host's telemetry under the names of node_exporter and smartctl_exporter."""
    from forewarn.assemble import agent as assembly

    tree = assembly.read(config_file, os.environ, smartctl_json, listen)
    if once:
        typer.echo(assembly.once(tree), nl=False)
        return
    with _until_signal() as clock:
        typer.echo(f"Metrics: http://{tree.listen.host}:{tree.listen.port}/metrics", err=True)
        assembly.serve(tree, clock)


# --- the demonstration ------------------------------------------------------------------------------------------------


@app.command()
def demo(
    once: Annotated[bool, typer.Option("--once", help="Run on a virtual clock, without waiting, and end.")] = False,
    as_json: Json = False,
    seed: Annotated[int, typer.Option(help="Seed of the simulated cluster and of its faults.")] = 7,
    observe: Annotated[bool, typer.Option("--observe", help="Move nothing: only look and propose.")] = False,
    port: Annotated[int | None, typer.Option(help="Port of the dashboard; 0 takes a free one.")] = None,
    config_file: ConfigFile = None,
) -> None:
    """Run a simulated cluster with this machine as one more host, and the dashboard; nothing real is moved."""
    from forewarn.assemble import demo as assembly
    from forewarn.assemble.site import SiteSettings

    settings = assembly.DemoSettings(seed=seed, moves=not observe)
    site = config.load(SiteSettings, config_file, os.environ)
    if port is not None:
        site = replace(site, web=replace(site.web, port=port))
    say = (lambda text: typer.echo(text, err=True)) if as_json else typer.echo
    stopping = nullcontext(RealClock()) if once else _until_signal()  # without waiting, a signal just ends it
    with tempfile.TemporaryDirectory(prefix=DEMO_FOLDER) as name, stopping as clock:
        folder = Path(name)
        report = assembly.run_once(folder, settings, site) if once else assembly.run(folder, clock, settings, site, say)
    if as_json:
        typer.echo(json.dumps(report.numbers()))
    else:
        typer.echo("\n".join(report.sentences()))
    raise typer.Exit(1 if report.vms_lost else 0)


# --- decisions --------------------------------------------------------------------------------------------------------


@app.command()
def plan(
    snapshot: Annotated[
        Path | None,
        typer.Option(help="A decision as the loop leaves it, `decision.json` of its folder; else a running demo's."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show what is done now and why, and every option that was rejected; exit code 2 if moves are proposed."""
    from forewarn.assemble import decisions

    made = decisions.decide(snapshot or decisions.newest(Path(tempfile.gettempdir()), DEMO_FOLDER, RealClock().now()))
    typer.echo(decisions.as_json(made) if as_json else decisions.as_text(made))
    raise typer.Exit(2 if made.moves else 0)


# --- models -----------------------------------------------------------------------------------------------------------

Recorded = Annotated[Path, typer.Option("--from", help="A recording: drive intervals or Backblaze's daily snapshots.")]
KindOption = Annotated[str, typer.Option("--kind", help="Kind of component: disk.")]


@app.command()
def train(
    recording: Recorded,
    out: Annotated[str, typer.Option(help="Where the model goes: an empty folder, or any fsspec URL.")],
    kind: KindOption = "disk",
    until: Annotated[str, typer.Option(help="Learn from rows before this day (UTC) only; YYYY-MM-DD.")] = "",
    learned_from: Annotated[str, typer.Option(help="What the model says that it learned from.")] = "",
    source: Annotated[str, typer.Option(help="Whom the model cites for the recording.")] = "",
    as_json: Json = False,
) -> None:
    """Fit a failure model on recorded history and write it."""
    from forewarn.assemble import models

    order = models.Order(kind, recording, out, until, learned_from, source)
    with _progress() as say:
        made = models.train(order, say)
    typer.echo(models.as_json(made) if as_json else models.training_sentence(made, out))


@app.command()
def evaluate(
    recording: Recorded,
    model: Annotated[str, typer.Option(help="Folder or fsspec URL of the model.")],
    kind: KindOption = "disk",
    since: Annotated[
        str, typer.Option(help="First day of the rows (UTC), YYYY-MM-DD; earlier ones feed features.")
    ] = "",
    until: Annotated[str, typer.Option(help="Day before which the rows end (UTC), YYYY-MM-DD.")] = "",
    rows: Annotated[str, typer.Option(help="weekly (Mondays 00:00 UTC) or daily.")] = "weekly",
    predictions: Annotated[Path | None, typer.Option(help="Write every forecast to this Parquet file.")] = None,
    as_json: Json = False,
) -> None:
    """Judge a model on recorded history: was it right, and was it right as often as it said?"""
    from forewarn.assemble import models

    question = models.Question(kind, recording, model, since, until, rows, predictions)
    with _progress() as say:
        found = models.evaluate(question, say)
    typer.echo(json.dumps(found.numbers()) if as_json else models.evaluation_text(found))


@contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """What goes on, on one line of stderr where somebody looks, and as lines of the log where nobody does."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield logging.getLogger(__name__).info
        return
    with console.status("reading") as status:
        yield status.update


# --- settings ---------------------------------------------------------------------------------------------------------


@config_app.command("init")
def config_init() -> None:
    """Print a configuration with every setting at its default, explained."""
    from forewarn.assemble.site import SiteSettings

    typer.echo(config.sample(SiteSettings), nl=False)


@config_app.command("check")
def config_check(path: Annotated[Path, typer.Argument(help="The TOML file.")]) -> None:
    """Read a configuration and say whether it is right."""
    from forewarn.assemble.site import SiteSettings

    config.load(SiteSettings, path, os.environ)
    typer.echo(f"{path} is right.")
