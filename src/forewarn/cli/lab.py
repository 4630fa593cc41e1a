"""Laboratories on this machine: real hosts and real guests to try Forewarn on."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forewarn import config
from forewarn.assemble.stopping import until_signal
from forewarn.cli.common import ConfigFile, Json
from forewarn.clock import RealClock
from forewarn.lab.machine import check, look
from forewarn.lab.settings import LabSettings, LabTree

if TYPE_CHECKING:
    from forewarn.lab.libvirt.laboratory import Laboratory

app = typer.Typer(help="Real laboratories on this machine, for whoever wants to see VMs move.", no_args_is_help=True)


class LabKind(StrEnum):
    """What a laboratory is made of."""

    LIBVIRT = "libvirt"


Kind = Annotated[LabKind, typer.Argument(help="What it is made of.")]
Name = Annotated[str, typer.Option("--name", help="Its name; several stand side by side.")]
Hosts = Annotated[int, typer.Option("--hosts", help="How many hosts it has, from 1 to 9.")]


@dataclass(frozen=True)
class HostShown:
    """One host as it is told of."""

    name: str
    on: bool
    address: str
    uri: str
    uri_read_only: str
    peer_uri: str
    guests: tuple[str, ...]


@app.command()
def up(
    kind: Kind = LabKind.LIBVIRT,
    name: Name = "lab",
    hosts: Hosts = 3,
    as_json: Json = False,
    config_file: ConfigFile = None,
) -> None:
    """Raise a laboratory: hosts in namespaces, each with a libvirt of its own. Needs root on Debian.

    The first time builds what hosts are made of, in a minute or two; nothing is installed on this machine.
    """
    from forewarn.lab.libvirt.laboratory import raise_laboratory

    if not as_json:
        typer.echo(f"Raising the {kind} laboratory {name} ...", err=True)
    _show([raise_laboratory(name, hosts, _settings(config_file), RealClock())], as_json)


@app.command()
def demo(
    name: Name = "demo",
    hosts: Annotated[int, typer.Option("--hosts", help="How many hosts it has, from 2 to 9.")] = 3,
    recording: Annotated[
        Path | None,
        typer.Option(
            help="Play a drive that failed from this recording of drive intervals (Parquet), not a made-up one."
        ),
    ] = None,
    port: Annotated[int, typer.Option(help="Port of the dashboard; 0 takes a free one.")] = 0,
    step_s: Annotated[float, typer.Option(help="Seconds for which each reading of the drive stands.")] = 15.0,
    once: Annotated[bool, typer.Option("--once", help="End once the critical guests have left.")] = False,
    as_json: Json = False,
    config_file: ConfigFile = None,
) -> None:
    """Raise a laboratory, let a drive of one host decline, and watch its critical guests move away. Needs root.

    Exit code 1 if one of them has not left, or has lost anything.
    """
    from forewarn.lab import decline
    from forewarn.lab.libvirt.demonstration import Demonstration, DemonstrationSettings
    from forewarn.lab.libvirt.laboratory import raise_laboratory

    def say(text: str) -> None:
        typer.echo(text, err=as_json)

    drive = decline.recorded(recording) if recording else decline.made_up()
    with until_signal() as clock, ExitStack() as stack:
        say(f"Raising the laboratory {name} ...")
        laboratory = raise_laboratory(name, max(2, hosts), _settings(config_file), RealClock())
        stack.callback(laboratory.down)
        demonstration = Demonstration(laboratory, drive, RealClock(), DemonstrationSettings(step_s), port)
        stack.callback(demonstration.controller.stop)
        demonstration.start()
        say(f"Dashboard: {demonstration.controller.address}   (Ctrl-C ends the demonstration)")
        say(f"Sign in: {demonstration.controller.sign_in}")
        demonstration.play(clock, say)
        report = demonstration.report()
        for line in report.sentences():
            say(line)
        while not (once or clock.stopped):
            demonstration.tell(say)
            clock.sleep(1.0)
    if as_json:
        typer.echo(json.dumps(asdict(report)))
    raise typer.Exit(0 if report.critical_left else 1)


@app.command()
def down(
    kind: Kind = LabKind.LIBVIRT,
    name: Name = "lab",
    every: Annotated[bool, typer.Option("--all", help="Every laboratory of this machine.")] = False,
    as_json: Json = False,
    config_file: ConfigFile = None,
) -> None:
    """End a laboratory with all that runs in it, and leave nothing of it."""
    from forewarn.lab.libvirt.laboratory import find, standing

    settings = _settings(config_file)
    check(look(), replace(settings, beside_guests=True))
    names = [*standing(settings)] if every else [name]
    for one in names:
        find(one, settings, RealClock()).down()
    if as_json:
        typer.echo(json.dumps({"down": names}))
    else:
        typer.echo("\n".join(f"The {kind} laboratory {one} is gone." for one in names) or "No laboratory stands.")


@app.command()
def status(kind: Kind = LabKind.LIBVIRT, as_json: Json = False, config_file: ConfigFile = None) -> None:
    """Show the laboratories that stand on this machine, their hosts, and the guests on them."""
    from forewarn.lab.libvirt.laboratory import find, standing

    settings = _settings(config_file)
    found = [find(name, settings, RealClock()) for name in standing(settings)]
    if not found and not as_json:
        typer.echo(f"No {kind} laboratory stands.")
        return
    _show(found, as_json)


def _settings(path: Path | None) -> LabSettings:
    return config.load(LabTree, path, _own(os.environ)).lab


def _own(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that are a laboratory's, since those of a controller may well be set beside them."""
    return {name: text for name, text in environment.items() if name.startswith("FOREWARN_LAB__")}


def _show(laboratories: "list[Laboratory]", as_json: bool) -> None:
    told = [(one, [*_hosts(one)]) for one in laboratories]
    if as_json:
        listed = [{"name": one.name, "kind": LabKind.LIBVIRT, "hosts": [*map(asdict, hosts)]} for one, hosts in told]
        typer.echo(json.dumps({"laboratories": listed}))
        return
    for one, hosts in told:
        typer.echo(f"{one.name}:")
        for host in hosts:
            state = f"runs {', '.join(host.guests) or 'no guest'}" if host.on else "is switched off"
            typer.echo(f"  {host.name} {state}\n    {host.uri}")


def _hosts(laboratory: "Laboratory") -> Iterator[HostShown]:
    for host in laboratory.hosts:
        on = host.node.alive
        guests = host.guests() if on and host.answers() else ()
        yield HostShown(host.name, on, host.address, host.uri, host.uri_read_only, host.peer_uri, guests)
