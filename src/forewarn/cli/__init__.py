"""The command line. It parses, calls what `assemble` builds, prints, and turns every Forewarn error into one sentence.

Heavy parts are imported inside the commands that need them: `forewarn agent` runs on every host and stays light.
"""

import logging
import sys
from typing import Annotated

import typer

from forewarn.cli import alert, demo, doctor, failures, host, lab, life, models, people, settings, steer
from forewarn.errors import ForewarnError

app = typer.Typer(
    name="forewarn",
    help="Moves virtual machines off a host before its hardware fails.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
STEERING = (steer.mode, steer.pause, steer.resume, steer.abort, steer.approve, steer.release)
for command in (host.up, host.serve, demo.demo, demo.plan, doctor.doctor, models.train, models.evaluate, *STEERING):
    app.command()(command)
app.add_typer(settings.app, name="config")
app.add_typer(failures.app, name="failures")
app.add_typer(steer.window_app, name="window")
app.add_typer(steer.breaker_app, name="breaker")
app.add_typer(alert.app, name="alert")
app.add_typer(life.app, name="models")
app.add_typer(lab.app, name="lab")
app.add_typer(people.app, name="token")
host.agent_app.command("enroll")(people.enroll)
app.add_typer(host.agent_app, name="agent")


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
    logging.getLogger("alembic").setLevel(logging.WARNING)  # tells of every step that it does not take
