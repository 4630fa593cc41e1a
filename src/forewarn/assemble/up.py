"""Controller, embedded stores and dashboard on one machine (`serve`), and an agent of its own beside them (`up`).

Nothing moves unless that is configured. Where no placement service is configured (`driver.kind`), the inventory is what
telemetry shows, without VMs.
"""

import socket
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from forewarn.assemble.agent import told_to_stop
from forewarn.assemble.bmc import BmcWatch, check
from forewarn.assemble.silences import start_reading
from forewarn.assemble.site import Site, SiteSettings, sources_sentence
from forewarn.clock import RealClock
from forewarn.collect import agent
from forewarn.collect.agent import AgentSettings
from forewarn.collect.base import Round
from forewarn.collect.bmc.settings import BmcSettings
from forewarn.domain.people import Principal, Role
from forewarn.domain.situation import LogLine, Severity
from forewarn.state.audit import Deed

Say = Callable[[str], None]


@dataclass(frozen=True)
class UpSettings(SiteSettings):
    """The whole configuration of a machine that runs everything."""

    agent: AgentSettings = field(default_factory=AgentSettings)
    bmc: BmcSettings = field(default_factory=BmcSettings)
    """The BMCs that this server asks itself."""


def up(folder: Path, clock: RealClock, settings: UpSettings, say: Say) -> None:
    """Collect, forecast and show until the clock is stopped; everything is kept in `folder`."""
    name = socket.gethostname() or "this-machine"
    _run(folder, clock, settings, say, "forewarn up", lambda site: start_agent(site, settings.agent, clock, name))


def serve(folder: Path, clock: RealClock, settings: UpSettings, say: Say) -> None:
    """The same without an agent: this machine is none of the hosts, unless an agent on it pushes as others do."""
    _run(folder, clock, settings, say, "forewarn serve", lambda _: lambda: None)


def _run(
    folder: Path,
    clock: RealClock,
    settings: UpSettings,
    say: Say,
    command: str,
    begin: Callable[[Site], Callable[[], None]],
) -> None:
    """Forecast and show until the clock is stopped; `begin` starts what else runs, and returns what ends it."""
    if settings.web.sign_in is None:
        settings = replace(settings, web=replace(settings.web, sign_in=True))
    check(settings.bmc)
    with ExitStack() as stack:
        site = Site(folder, clock, settings)
        stack.callback(site.close)
        site.memory.log.append([LogLine(clock.now(), Severity.NOTICE, sources_sentence(site.forecaster))])
        control = site.control(site.driver())
        site.upkeep.begin()
        server = site.serve()
        stack.callback(server.stop)
        stack.callback(site.start_upkeep(lambda: clock.stopped))
        stack.callback(clock.stop)  # comes first, so that nothing waits for a thread that sleeps
        stack.callback(start_reading(settings.alerts, site.memory.orders.windows, clock))
        stack.callback(begin(site))
        if settings.bmc.targets:
            watch = BmcWatch(settings.bmc, site, folder / "bmc", clock)
            site.meters.append(watch.metrics)
            stack.callback(watch.start())
        say(f"Dashboard: {server.address}   (mode {settings.authority.mode}; Ctrl-C ends it)")
        if settings.web.sign_in:
            say(sign_in_sentence(site, server.address, command))
        control.run(lambda: clock.stopped)


def sign_in_sentence(site: Site, address: str, command: str) -> str:
    """An address that signs one browser in as an admin, once and soon: who sees this terminal, may."""
    console = Principal("console", Role.ADMIN)
    code = site.credentials.make_login(console, command)
    site.audit.record(Deed(command, Role.ADMIN, "login.make", target=console.name, why="printed at the start"))
    minutes = site.credentials.settings.login_s / 60
    return f"Sign in: {address}/login/{code}   (once, within {minutes:.0f} minutes)"


def start_agent(site: Site, settings: AgentSettings, clock: RealClock, name: str) -> Callable[[], None]:
    """Start this machine's agent under `name`, straight into the site's store; returns what ends it.

    Its first round is taken before this returns, so that the first cycle finds the machine.
    """

    def take(found: Round) -> None:
        site.take({name: found.samples}, clock.now())
        site.record(found.named(name).events)

    if settings.folder is None:
        settings = replace(settings, folder=site.folder / "agent")
    own = agent.Agent(agent.build_collectors(settings, clock), take, clock, settings)
    take(own.round())
    thread = threading.Thread(target=own.run, args=(lambda: clock.stopped,), name="agent")
    thread.start()

    def end() -> None:
        clock.stop()
        thread.join()
        told_to_stop(settings)

    return end
