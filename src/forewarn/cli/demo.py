"""The demonstration, and the decisions that a running loop leaves behind."""

import json
import os
import tempfile
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from forewarn import config
from forewarn.assemble.stopping import until_signal
from forewarn.cli.common import ConfigFile, Json
from forewarn.clock import RealClock
from forewarn.decide.differences import compare
from forewarn.errors import ConfigurationError

DEMO_FOLDER = "forewarn-demo-"  # how the names of folders begin in which demonstrations keep their files


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
    stopping = nullcontext(RealClock()) if once else until_signal()  # without waiting, a signal just ends it
    with tempfile.TemporaryDirectory(prefix=DEMO_FOLDER) as name, stopping as clock:
        folder = Path(name)
        report = assembly.run_once(folder, settings, site) if once else assembly.run(folder, clock, settings, site, say)
    if as_json:
        typer.echo(json.dumps(report.numbers()))
    else:
        typer.echo("\n".join(report.sentences()))
    raise typer.Exit(1 if report.vms_lost else 0)


def plan(
    snapshot: Annotated[
        Path | None,
        typer.Option(help="A decision as the loop leaves it, `decision.json` of its folder; else a running demo's."),
    ] = None,
    policy: Annotated[
        Path | None, typer.Option(help="A configuration whose `[policy]` decides in place of the recorded one.")
    ] = None,
    diff: Annotated[
        bool, typer.Option("--diff", help="Show only what that policy does otherwise than the recorded one.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show what is done now and why, and every option that was rejected; exit code 2 if moves are proposed."""
    from forewarn.assemble import decisions
    from forewarn.assemble.up import UpSettings

    if diff and policy is None:
        raise ConfigurationError("--diff compares two policies: name the other one with --policy FILE")
    recorded = decisions.read(snapshot or decisions.newest(Path(tempfile.gettempdir()), DEMO_FOLDER, RealClock().now()))
    decision = decisions.under(recorded, config.load(UpSettings, policy).policy) if policy else recorded
    made, _ladder = decision.plan()
    if diff:
        found = compare(recorded.plan()[0], made)
        typer.echo(decisions.differences_as_json(found) if as_json else "\n".join(found.lines()))
    else:
        typer.echo(decisions.as_json(made) if as_json else decisions.as_text(made))
    raise typer.Exit(2 if made.moves or made.proposals else 0)
