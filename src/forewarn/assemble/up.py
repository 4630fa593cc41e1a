"""Everything on one machine: agent, controller, embedded stores and dashboard. Nothing moves unless that is configured.

Where no placement service is configured, the inventory is what telemetry shows, and there are no VMs in it.
"""

import socket
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from forewarn.assemble.site import Site, SiteSettings, sources_sentence
from forewarn.clock import RealClock
from forewarn.collect import agent
from forewarn.collect.agent import AgentSettings
from forewarn.collect.base import Round
from forewarn.domain.situation import LogLine, Severity
from forewarn.drivers.none import ObservedDriver
from forewarn.web.app import create_app
from forewarn.web.server import serve

Say = Callable[[str], None]


@dataclass(frozen=True)
class UpSettings(SiteSettings):
    """The whole configuration of a machine that runs everything."""

    agent: AgentSettings = field(default_factory=AgentSettings)


def up(folder: Path, clock: RealClock, settings: UpSettings, say: Say) -> None:
    """Collect, forecast and show until the clock is stopped; everything is kept in `folder`."""
    with ExitStack() as stack:
        site = Site(folder, clock, settings)
        stack.callback(site.close)
        site.memory.log.append([LogLine(clock.now(), Severity.NOTICE, sources_sentence(site.forecaster))])
        control = site.control(ObservedDriver(site.store.devices, clock))
        app = create_app(
            settings.web,
            site.memory.snapshot.read,
            site.store,
            site.database,
            clock,
            take=site.take,
            record=site.record,
        )
        server = serve(app, settings.web)
        stack.callback(server.stop)
        stack.callback(start_agent(site, settings.agent, clock, socket.gethostname() or "this-machine"))
        say(f"Dashboard: {server.address}   (mode {settings.control.mode}; Ctrl-C ends it)")
        control.run(lambda: clock.stopped)


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

    return end
