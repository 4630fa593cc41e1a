"""Builds the agent of one host: it collects when a Prometheus scrapes it, or once for whoever asks on the terminal.

Where it is told an address to push to, it collects by itself too.
"""

import random
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from forewarn import config
from forewarn.clock import RealClock
from forewarn.collect import exposition, listen
from forewarn.collect.agent import Agent, AgentSettings, build_collectors
from forewarn.collect.agent import once as collected_once
from forewarn.collect.base import Round
from forewarn.collect.changes import tell_stop
from forewarn.collect.listen import ListenSettings
from forewarn.collect.push import Pusher, PushSettings, warn_of_readers
from forewarn.collect.transport import HttpPost
from forewarn.errors import ConfigurationError


@dataclass(frozen=True)
class AgentTree:
    """The whole configuration of an agent."""

    agent: AgentSettings = field(default_factory=AgentSettings)
    listen: ListenSettings = field(default_factory=ListenSettings)
    push: PushSettings = field(default_factory=PushSettings)


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
    """Answer scrapes, and push where that is configured, until the clock is stopped."""
    with ExitStack() as stack:
        agent = _pushing(tree, clock, stack) if tree.push.url else _scraped(tree, clock)
        page = exposition.Page()
        server = listen.server(lambda: page.write(agent().samples), tree.listen)
        stack.callback(server.server_close)
        stack.callback(_started(server.serve_forever, "scrapes").join)
        stack.callback(server.shutdown)
        while not clock.stopped:
            clock.sleep(3600.0)


def _scraped(tree: AgentTree, clock: RealClock) -> Callable[[], Round]:
    """An agent that collects when it is asked. It notices no changes, since nobody would be told."""
    settings = replace(tree.agent, folder=None)
    return Agent(build_collectors(settings, clock), lambda _: None, clock, settings).round


def _pushing(tree: AgentTree, clock: RealClock, stack: ExitStack) -> Callable[[], Round]:
    """An agent that collects at its own beat and pushes; whoever scrapes gets a round of its own."""
    warn_of_readers(tree.push.token_file)
    host = tree.push.host or socket.gethostname()
    post = HttpPost(tree.push.timeout_s, tree.push.ca_file)
    pusher = Pusher(tree.push, host, post, clock, random.Random())  # noqa: S311 - spreads tries, no secret
    stack.callback(pusher.close)
    settings = replace(tree.agent, folder=tree.agent.folder or tree.push.folder)
    stack.callback(told_to_stop, settings)
    agent = Agent((*build_collectors(settings, clock), pusher), pusher.take, clock, settings)
    for run, name in ((agent.run, "rounds"), (pusher.run, "push")):
        stack.callback(_started(lambda run=run: run(lambda: clock.stopped), name).join)  # type: ignore[misc]
    stack.callback(clock.stop)  # they end, also where nothing can be listened on

    def scraped() -> Round:
        found = agent.round()
        pusher.take(Round((), found.events))
        return found

    return scraped


def told_to_stop(settings: AgentSettings) -> None:
    """Leave word for the next start that this end was asked for: a reboot that follows is no crash."""
    if settings.folder is not None:
        with suppress(OSError):  # without the word the next boot counts as unasked, and says how sure that is
            tell_stop(settings.root, settings.folder)


def _started(run: Callable[[], None], name: str) -> threading.Thread:
    thread = threading.Thread(target=run, name=name)
    thread.start()
    return thread


def _address(settings: ListenSettings, text: str) -> ListenSettings:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit():
        raise ConfigurationError(f"--listen takes HOST:PORT, such as 127.0.0.1:9778, not {text!r}")
    return replace(settings, host=host.strip("[]"), port=int(port))
