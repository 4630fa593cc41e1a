"""Forewarn itself in a laboratory: a controller on this machine, and an agent on each host, as processes of the CLI.

They are configured by files and asked by commands and over HTTP, as an operator would; nothing of them is reached into.
"""

import os
import signal
import socket
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import requests

from forewarn.clock import Clock
from forewarn.errors import LaboratoryError
from forewarn.lab.commands import run
from forewarn.lab.drives import Bay
from forewarn.lab.libvirt.host import Host
from forewarn.lab.libvirt.laboratory import Laboratory
from forewarn.lab.libvirt.network import SWITCH_ADDRESS
from forewarn.lab.libvirt.processes import ProcessId, spawn, wait

AGGREGATE = "laboratory"  # the hosts for which the demonstration's override holds
REASON = "demonstration"
NAME = "controller"  # what the hosts call it
PORT = 8460  # at which the hosts reach it
READY_S = 120.0  # on a machine that is busy with other things
END_S = 30.0
CONTROLLER = """\
[driver]
kind = "libvirt"
[authority]
mode_max = "automatic"
[control]
interval_s = {interval_s}
[web]
port = {port}
allowed_hosts = ["127.0.0.1", "localhost", "{name}"]
[policy]
# Hosts here are no real machines: nothing tells of their processors, memory and power.
unknown_may_receive = ["cpu", "memory", "network", "power"]
[libvirt]
shared_directories = ["/lab/shared"]
[libvirt.moves]
peer_uri = "qemu+tcp://{{host}}/system"
watch_s = 0.5
"""
HOST = """\
[libvirt.hosts.{name}]
uri = "{uri}"
aggregates = ["{aggregate}"]
carries = ["sda"]
"""
AGENT = """\
[agent]
collectors = ["cpu", "memory", "network", "smart", "vms"]
interval_s = {interval_s}
[agent.smart]
command = "{smartctl}"
interval_s = {interval_s}
[push]
url = "http://{controller}:{port}/api/v1/write"
host = "{host}"
token_file = "{folder}/token"
folder = "{folder}/push"
retry_max_s = 5.0
"""


class Controller:
    """`forewarn serve` with the laboratory's hosts, and what is asked of it."""

    def __init__(self, laboratory: Laboratory, clock: Clock, port: int = 0, interval_s: float = 5.0) -> None:
        self._laboratory, self._clock = laboratory, clock
        self.folder = laboratory.folder / NAME
        self.port, self._interval_s = port or _free_port(), interval_s
        self._token = ""
        self._process: ProcessId | None = None

    @property
    def address(self) -> str:
        """Where its dashboard is."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def state(self) -> Path:
        """The folder in which it keeps everything."""
        return self.folder / "state"

    @property
    def said(self) -> str:
        """What it has printed so far."""
        path = self.folder / "output"
        return path.read_text(errors="replace") if path.exists() else ""

    @property
    def sign_in(self) -> str:
        """The address that signs a browser in, once; empty before it has been told."""
        return next((line.split()[2] for line in self.said.splitlines() if line.startswith("Sign in: ")), "")

    def start(self) -> None:
        """Write its configuration, start it, and wait until it has looked at the hosts once."""
        self.folder.mkdir(exist_ok=True)
        own = CONTROLLER.format(interval_s=self._interval_s, port=self.port, name=NAME)
        hosts = (HOST.format(name=h.name, uri=h.uri, aggregate=AGGREGATE) for h in self._laboratory.hosts)
        (self.folder / "controller.toml").write_text("".join((own, *hosts)))
        self._token = self.forewarn("token", "add", "laboratory", "--role", "viewer", "--reason", REASON).strip()
        self._process = self._spawn("output", "-m", "forewarn", "serve", *self._kept())
        relay = ("-m", "forewarn.lab.libvirt.relay", f"/proc/{self._laboratory.switch.number}/ns/net", SWITCH_ADDRESS)
        self._spawn("relay", *relay, str(PORT), str(self.port))
        wait(self._ready, self._clock, READY_S, "the controller")

    def forewarn(self, *words: str) -> str:
        """What a command of Forewarn prints, about this controller."""
        command = [sys.executable, "-m", "forewarn", *words, *self._kept()]
        return run(command, READY_S, environment=clean_environment())

    def ask(self, path: str) -> Any:
        """What its API answers. Raises LaboratoryError where it does not."""
        try:
            answer = requests.get(
                f"{self.address}/api/v1/{path}", headers={"Authorization": f"Bearer {self._token}"}, timeout=10.0
            )
            answer.raise_for_status()
        except requests.RequestException as error:
            raise LaboratoryError(f"the controller does not answer: {error}") from error
        return answer.json()

    def enroll(self) -> str:
        """The token with which agents speak for the laboratory's hosts."""
        names = [word for host in self._laboratory.hosts for word in ("--hosts", host.name)]
        lines = self.forewarn("agent", "enroll", *names, "--reason", REASON)
        return str(tomllib.loads(lines)["push"]["token"])

    def allow(self) -> None:
        """Let it move VMs by itself, on the laboratory's hosts alone, by an override that is logged."""
        scope = ("--aggregate", AGGREGATE, "--override", "--until", "1d")
        self.forewarn("mode", "automatic", *scope, "--reason", REASON)

    def stop(self) -> None:
        """Let it end cleanly."""
        process = self._process
        if process is not None and process.alive:
            os.kill(process.number, signal.SIGTERM)
            wait(lambda: not process.alive, self._clock, END_S, "the end of the controller")

    def _kept(self) -> tuple[str, ...]:
        return "--state", str(self.state), "--config", str(self.folder / "controller.toml")

    def _spawn(self, log: str, *words: str) -> ProcessId:
        """Start a process of this machine that ends with the laboratory at the latest."""
        started, stdin = spawn([sys.executable, *words], self.folder / log, clean_environment())
        os.close(stdin)
        self._laboratory.own(started)
        return started

    def _ready(self) -> bool:
        if self._process is not None and not self._process.alive:
            last = "".join(self.said.strip().splitlines()[-1:])
            raise LaboratoryError(f"the controller has ended: {last or 'it said nothing'}")
        try:
            return bool(self.ask("health"))
        except LaboratoryError:
            return False


def start_agent(token: str, host: Host, bay: Bay, interval_s: float = 5.0) -> None:
    """Start the agent of a host there; it asks `bay` in place of smartctl, and ends with the host."""
    folder = host.plan.folder / "agent"
    folder.mkdir(exist_ok=True)
    (folder / "token").touch(mode=0o600)
    (folder / "token").write_text(token)
    own = {"controller": NAME, "port": PORT, "host": host.name, "folder": folder, "smartctl": bay.program}
    configuration = folder / "agent.toml"
    configuration.write_text(AGENT.format(interval_s=interval_s, **own))
    command = host.node.entered([sys.executable, "-m", "forewarn", "agent", "--config", configuration])
    _, stdin = spawn(command, folder / "output", clean_environment())
    os.close(stdin)


def clean_environment() -> Mapping[str, str]:
    """This process's environment without settings of Forewarn: those of a laboratory are none of a controller's."""
    return {name: text for name, text in os.environ.items() if not name.startswith("FOREWARN_")}


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])
