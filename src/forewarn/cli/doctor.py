"""The doctor: what is readable, permitted, mapped and in time, what is missing, and how to mend it."""

import importlib.util
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forewarn import config
from forewarn.cli.common import ConfigFile, Json, StateFolder
from forewarn.clock import RealClock
from forewarn.collect.agent import AgentSettings
from forewarn.domain.finding import Finding, State, exit_code
from forewarn.errors import ConfigurationError, ForewarnError

if TYPE_CHECKING:
    from forewarn.assemble.site import SiteSettings

CONTROLLER_NEEDS = ("duckdb", "fastapi", "numpy", "pyarrow", "sqlalchemy", "xgboost")


def doctor(
    folder: StateFolder = Path("/var/lib/forewarn"),
    host_only: Annotated[bool, typer.Option("--host-only", help="Look at this host only, at no controller.")] = False,
    as_json: Json = False,
    config_file: ConfigFile = None,
) -> None:
    """Say what is readable, permitted and in time, what is missing, and how to mend it; changes nothing.

    Exit code 0: all is fine; 1: something stays unknown that this machine could tell; 2: something is wrong.
    """
    found = list(_findings(folder, config_file, host_only))
    code = exit_code(found)
    if as_json:
        told = {"exit_code": code, "findings": [asdict(finding) for finding in found]}
        typer.echo(json.dumps(told))
    else:
        typer.echo("\n".join(_lines(found)))
    raise typer.Exit(code)


def _findings(folder: Path, config_file: Path | None, host_only: bool) -> Iterator[Finding]:
    from forewarn.collect.doctor.examination import examine
    from forewarn.collect.doctor.host import host_findings

    try:
        agent, controller = _settings(config_file)
    except ConfigurationError as problem:
        yield Finding("configuration", State.ERROR, str(problem), "`forewarn config --init` prints a right one")
        agent, controller = AgentSettings(), None
        host_only = True
    else:
        yield Finding("configuration", State.OK, "every setting is known", place=str(config_file or ""))
    clock = RealClock()
    try:
        yield from host_findings(examine(agent, clock))
    except ForewarnError as problem:
        yield Finding("collectors", State.ERROR, str(problem), "see the section [agent] of the configuration")
    if host_only:
        return
    if controller is None:
        text = "no controller is set up here: the checks of store, models and driver are left out"
        yield Finding("controller", State.NOTE, text, "docs/install.md says how to install one")
        return
    from forewarn.assemble.doctor import controller_findings

    yield from controller_findings(folder, controller, clock.now())


def _settings(path: Path | None) -> "tuple[AgentSettings, SiteSettings | None]":
    """The agent's settings, and the controller's where one is installed and the file is not that of an agent.

    Raises ConfigurationError for a file that is right for neither.
    """
    from forewarn.assemble.agent import AgentTree

    if any(importlib.util.find_spec(name) is None for name in CONTROLLER_NEEDS):
        return config.load(AgentTree, path, os.environ).agent, None
    from forewarn.assemble.up import UpSettings

    try:
        whole = config.load(UpSettings, path, os.environ)
    except ConfigurationError as wrong:
        try:
            return config.load(AgentTree, path, os.environ).agent, None
        except ConfigurationError:
            raise wrong from None
    return whole.agent, whole


def _lines(found: Iterable[Finding]) -> Iterator[str]:
    """The report, grouped by check, and at its end how many of each state."""
    groups: dict[str, list[Finding]] = {}
    for finding in found:
        groups.setdefault(finding.check, []).append(finding)
    for check, findings in groups.items():
        yield check
        for finding in findings:
            place = f"  [{finding.place}]" if finding.place.startswith(("/", "http")) else ""
            yield f"  {finding.state:8} {finding.text}{place}"
            if finding.remedy:
                yield f"{'':11}-> {finding.remedy}"
    counts = Counter(finding.state for findings in groups.values() for finding in findings)
    yield "\n" + ", ".join(f"{counts[state]} {state}" for state in State)
