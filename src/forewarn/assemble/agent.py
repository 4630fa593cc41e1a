"""Builds the agent of one host: it collects when a Prometheus scrapes it, or once for whoever asks on the terminal."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from forewarn import config
from forewarn.clock import RealClock
from forewarn.collect import exposition, listen
from forewarn.collect.agent import AgentSettings, build_collectors, collect_once
from forewarn.collect.agent import once as collected_once
from forewarn.collect.listen import ListenSettings
from forewarn.errors import ConfigurationError


@dataclass(frozen=True)
class AgentTree:
    """The whole configuration of an agent."""

    agent: AgentSettings = field(default_factory=AgentSettings)
    listen: ListenSettings = field(default_factory=ListenSettings)


def read(
    path: Path | None, environment: Mapping[str, str], recorded: Path | None = None, address: str = ""
) -> AgentTree:
    """The agent's settings; `recorded` and `address` (HOST:PORT) from the command line win."""
    tree = config.load(AgentTree, path, environment)
    if recorded is not None:
        tree = replace(tree, agent=replace(tree.agent, smart=replace(tree.agent.smart, recorded=recorded)))
    if address:
        tree = replace(tree, listen=_address(tree.listen, address))
    return tree


def once(tree: AgentTree) -> str:
    """One round of this host's telemetry as exposition text."""
    return collected_once(tree.agent)


def serve(tree: AgentTree, clock: RealClock) -> None:
    """Answer scrapes until the clock is stopped."""
    collectors, most = build_collectors(tree.agent, clock), tree.agent.samples_max
    server = listen.server(lambda: exposition.write(collect_once(collectors, clock, most)), tree.listen)
    thread = threading.Thread(target=server.serve_forever, name="scrapes")
    thread.start()
    try:
        while not clock.stopped:
            clock.sleep(3600.0)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _address(settings: ListenSettings, text: str) -> ListenSettings:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit():
        raise ConfigurationError(f"--listen takes HOST:PORT, such as 127.0.0.1:9778, not {text!r}")
    return replace(settings, host=host.strip("[]"), port=int(port))
