"""A libvirt laboratory on this machine: raised, found again by whoever looks for it, and taken down without a trace.

What it is made of stands in one file from the moment it exists, so it can be taken down also when whoever raised it
died. Several laboratories stand side by side, each under its name.
"""

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from forewarn.clock import Clock
from forewarn.errors import LaboratoryError
from forewarn.lab.commands import locked
from forewarn.lab.libvirt import guest, image
from forewarn.lab.libvirt.guests import Cupboard
from forewarn.lab.libvirt.host import Host, Shelf, await_libvirt, configure, host_plan
from forewarn.lab.libvirt.network import SWITCH_ADDRESS, prepare_switch
from forewarn.lab.libvirt.node import Node, NodePlan, raise_node
from forewarn.lab.libvirt.processes import ProcessId
from forewarn.lab.machine import check, look
from forewarn.lab.settings import LabSettings

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,19}")
HOSTS_MAX = 9
SWITCH = "switch"
STATE_FILE = "laboratory.json"
NOBODY = ProcessId(0, "")  # a process that was never written down


@dataclass(frozen=True)
class Standing:
    """What is written down of a laboratory: its nodes by name, by their outermost processes, and what they are from."""

    name: str
    image: str
    guest: str
    hosts: int
    nodes: dict[str, ProcessId]
    others: tuple[ProcessId, ...] = ()
    """Further processes of this machine that belong to it."""


class Laboratory:
    """One laboratory. `raise_laboratory` makes it, `find` finds one that stands."""

    def __init__(self, settings: LabSettings, standing: Standing, clock: Clock) -> None:
        self.settings, self._standing, self._clock = settings, standing, clock
        self.shelf = _shelf(settings, standing)
        self.cupboard = Cupboard(self.shelf, settings, clock)

    @property
    def name(self) -> str:
        return self._standing.name

    @property
    def folder(self) -> Path:
        return self.shelf.folder

    @property
    def shared(self) -> Path:
        """What all hosts see as /lab/shared."""
        return self.shelf.shared

    @property
    def switch(self) -> Node:
        plan = NodePlan(self.name, SWITCH, self.folder / SWITCH, Path(self._standing.image))
        return Node(plan, self._standing.nodes.get(SWITCH, NOBODY), self._clock)

    @property
    def hosts(self) -> tuple[Host, ...]:
        """All hosts, also those that are switched off, in their order."""
        return tuple(self._host(number) for number in range(1, self._standing.hosts + 1))

    def host(self, name: str) -> Host:
        """The host of this name. Raises LaboratoryError where there is none."""
        for host in self.hosts:
            if host.name == name:
                return host
        raise LaboratoryError(
            f"the laboratory {self.name} has no host {name}; it has host01 to host{len(self.hosts):02d}"
        )

    def where(self, guest: str) -> tuple[str, ...]:
        """The hosts on which a guest runs, by name; more than one would be a disaster."""
        return tuple(host.name for host in self.hosts if host.node.alive and guest in host.guests())

    def power_on(self, name: str) -> Host:
        """Switch a host on again, as after a power cut: none of its guests run."""
        host = self.host(name)
        if host.node.alive:
            raise LaboratoryError(f"{name} is switched on")
        shutil.rmtree(host.plan.folder / "run", ignore_errors=True)
        self._start(host.number)
        await_libvirt([started := self.host(name)], self._clock)
        return started

    def own(self, process: ProcessId) -> None:
        """Write down a process of this machine that is to end with the laboratory."""
        self._note(others=(*self._standing.others, process))

    def down(self) -> None:
        """End everything and leave nothing behind, also of nodes that were never written down."""
        for process in self._standing.others:
            process.kill(self._clock)
        nodes = [*(host.node for host in self.hosts), self.switch]
        for node in nodes:
            node.kill()
        for node in nodes:
            node.remove()
        shutil.rmtree(self.folder)

    def _host(self, number: int) -> Host:
        plan = host_plan(self.name, number, self.shelf, Path(self._standing.image))
        process = self._standing.nodes.get(plan.name, NOBODY)
        return Host(plan, number, self.switch, Node(plan, process, self._clock), self._clock)

    def _raise(self) -> None:
        """Make everything that is written down but the nodes, and then those."""
        for folder in (self.shelf.shared, self.shelf.console):
            folder.mkdir(parents=True)
        plan = NodePlan(self.name, SWITCH, self.folder / SWITCH, Path(self._standing.image))
        plan.folder.mkdir()
        (plan.folder / "hosts").write_text("127.0.0.1 localhost\n")
        prepare_switch(raise_node(plan, self._clock, self._record))
        for number in range(1, self._standing.hosts + 1):
            self._start(number)
        await_libvirt(list(self.hosts), self._clock)

    def _start(self, number: int) -> None:
        plan = self._host(number).plan
        names = {host.name: host.address for host in self.hosts} | {"controller": SWITCH_ADDRESS}
        configure(plan, number, names)
        raise_node(plan, self._clock, self._record)
        self._host(number).cable.plug()

    def _record(self, node: Node) -> None:
        self._note(nodes={**self._standing.nodes, node.plan.name: node.outer})

    def _note(self, **changes: Any) -> None:
        self._standing = replace(self._standing, **changes)
        draft = self.folder / f"{STATE_FILE}.draft"
        draft.write_text(json.dumps(asdict(self._standing)))
        draft.replace(self.folder / STATE_FILE)


def raise_laboratory(name: str, hosts: int, settings: LabSettings, clock: Clock) -> Laboratory:
    """Raise a laboratory of `hosts` hosts; what it is made of is built first where it is not kept.

    Raises LaboratoryError where this machine is none for it, or where it fails, and leaves nothing of it then.
    """
    check(look(), settings)
    if not NAME.fullmatch(name):
        raise LaboratoryError(f"{name!r} is no name of a laboratory: small letters, digits and dashes, at most 20")
    if not 1 <= hosts <= HOSTS_MAX:
        raise LaboratoryError(f"a laboratory has 1 to {HOSTS_MAX} hosts, not {hosts}")
    settings.cache.mkdir(parents=True, exist_ok=True)
    standing = Standing(name, str(image.root_folder(settings)), str(guest.guest_folder(settings)), hosts, {})
    with locked(settings.folder / "lock"):
        laboratory = Laboratory(settings, standing, clock)
        try:
            laboratory.folder.mkdir(mode=0o755)
        except FileExistsError as error:
            raise LaboratoryError(f"the laboratory {name} stands already: forewarn lab down --name {name}") from error
        laboratory._note()
    (settings.cache / "saved").mkdir(exist_ok=True)
    try:
        laboratory._raise()
    except BaseException:
        laboratory.down()
        raise
    return laboratory


def find(name: str, settings: LabSettings, clock: Clock) -> Laboratory:
    """The laboratory of this name. Raises LaboratoryError where none stands."""
    try:
        told = json.loads((settings.folder / name / STATE_FILE).read_text())
    except OSError as error:
        raise LaboratoryError(f"no laboratory {name} stands on this machine") from error
    nodes = {node: ProcessId(**process) for node, process in told.pop("nodes").items()}
    others = tuple(ProcessId(**process) for process in told.pop("others"))
    return Laboratory(settings, Standing(**told, nodes=nodes, others=others), clock)


def standing(settings: LabSettings) -> Iterator[str]:
    """The names of all laboratories on this machine."""
    if settings.folder.is_dir():
        yield from sorted(path.name for path in settings.folder.iterdir() if (path / STATE_FILE).exists())


def _shelf(settings: LabSettings, standing: Standing) -> Shelf:
    saved = settings.cache / "saved"
    return Shelf(settings.folder / standing.name, Path(standing.guest), saved)
