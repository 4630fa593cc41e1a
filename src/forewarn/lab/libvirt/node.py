"""A node of the laboratory: network, host name, mounts, processes, control groups and a root file system of its own.

What runs in a node sees either the machine's files (`run`, for what belongs to Forewarn) or the node's own Debian
(`run_inside`, for libvirt and the tools of networks). In both, /run, /dev, /sys and the host's name are the node's.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from forewarn.clock import Clock
from forewarn.errors import LaboratoryError
from forewarn.lab.commands import run
from forewarn.lab.libvirt import cgroups
from forewarn.lab.libvirt.processes import ProcessId, children, identify, spawn, wait

NAMESPACES = ("--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
READY_S = 30.0
REMOVED_S = 10.0
# Enters the control groups, then waits until whoever raises the node has written down its number: should that one die
# before, nothing is left.
ENTER = """
for file in $1; do echo $$ >"$file" || exit 1; done
shift
read -r go || exit 0
exec "$@"
"""
UNSHARE = ("unshare", "--fork", "--kill-child", "--propagation", "private", "--mount-proc", *NAMESPACES)


@dataclass(frozen=True)
class NodePlan:
    """What makes a node: its name, where its files are, its Debian, what is mounted there, and what it runs first."""

    laboratory: str
    name: str
    folder: Path
    image: Path
    binds: Mapping[str, Path] = field(default_factory=dict)
    """By a path of the node's Debian, without the first slash, the folder that is mounted there."""
    service: tuple[str, ...] = ()

    @property
    def group(self) -> str:
        return f"forewarn-lab-{self.laboratory}-{self.name}"


class Node:
    """A node that runs, or that has been switched off, in which case `process` is none that lives."""

    def __init__(self, plan: NodePlan, outer: ProcessId, clock: Clock) -> None:
        self.plan, self.outer, self._clock = plan, outer, clock

    @property
    def number(self) -> int:
        """The number of the node's first process, as this machine counts. Raises LaboratoryError where it is off."""
        found = children(self.outer.number) if self.outer.alive else []
        if not found:
            raise LaboratoryError(f"{self.plan.name} is switched off")
        return found[0]

    @property
    def alive(self) -> bool:
        return self.outer.alive

    def entered(self, command: Sequence[str | Path], inside: bool = False) -> list[str]:
        """The command by which `command` runs in this node: `inside` its own Debian, or among the machine's files."""
        chroot = ["chroot", self.plan.folder / "root", "env", f"PATH={PATH}"] if inside else []
        words = ["nsenter", "--target", self.number, *NAMESPACES, "--", *chroot, *command]
        return [str(word) for word in words]

    def run(self, *command: str | Path, timeout_s: float = 60.0) -> str:
        """What a command among the machine's files prints, run in this node."""
        return run(self.entered(command), timeout_s)

    def run_inside(self, *command: str | Path, timeout_s: float = 60.0, text: str = "") -> str:
        """What a command of the node's own Debian prints."""
        return run(self.entered(command, inside=True), timeout_s, text=text)

    def start(
        self, command: Sequence[str | Path], output: IO[bytes], environment: Mapping[str, str] | None = None
    ) -> "Running":
        """Start a lasting process among the machine's files. It dies with the node at the latest."""
        started = subprocess.Popen(
            self.entered(command),
            env={**os.environ, **(environment or {})},
            start_new_session=True,
            stderr=output,
            stdin=subprocess.DEVNULL,
            stdout=output,
        )
        return Running(started, self._clock)

    def kill(self) -> None:
        """Switch it off as a power cut does: everything in it is gone at once."""
        for number in children(self.outer.number) if self.outer.alive else ():
            identify(number).kill(self._clock)
        self.outer.kill(self._clock)

    def remove(self) -> None:
        """Leave nothing of it, once it is killed. One that was never written down ends by itself."""
        group = self.plan.group
        wait(lambda: cgroups.remove(group), self._clock, REMOVED_S, f"the processes of {group} to end")
        shutil.rmtree(self.plan.folder, ignore_errors=True)


class Running:
    """A process that was started in a node."""

    def __init__(self, outer: "subprocess.Popen[bytes]", clock: Clock) -> None:
        self._outer, self._clock = outer, clock

    @property
    def number(self) -> int | None:
        """Its number as this machine counts; none once it has ended."""
        found = children(self._outer.pid) if self._outer.poll() is None else []
        return found[0] if found else None

    def poll(self) -> int | None:
        """Its exit code, none while it runs."""
        return self._outer.poll()

    def end(self, signal_number: int = signal.SIGTERM, timeout_s: float = 30.0) -> int:
        """Tell it to end, and wait until it has; returns its exit code. One that does not listen is killed."""
        wait(lambda: self.number or self.poll() is not None, self._clock, timeout_s, "a process in a node")
        if number := self.number:
            os.kill(number, signal_number)
        try:
            return self._outer.wait(timeout_s)
        except subprocess.TimeoutExpired:
            if number := self.number:
                os.kill(number, signal.SIGKILL)
            return self._outer.wait(timeout_s)


def raise_node(plan: NodePlan, clock: Clock, record: Callable[[Node], None]) -> Node:
    """Raise a node; `record` is told the id of its outermost process before anything lasting is made."""
    for name in ("root", "dev", "run", "log"):
        (plan.folder / name).mkdir(parents=True, exist_ok=True)
    (plan.folder / "hostname").write_text(f"{plan.name}\n")
    script = plan.folder / "plan.json"
    script.write_text(json.dumps(_told(plan)))
    entries = " ".join(map(str, cgroups.make(plan.group)))
    inner = [sys.executable, "-m", "forewarn.lab.libvirt.inside", str(script)]
    command = ["sh", "-c", ENTER, "node", entries, *UNSHARE, *inner]
    outer, stdin = spawn(command, plan.folder / "log" / "node.out")
    node = Node(plan, outer, clock)
    try:
        record(node)
        os.write(stdin, b"go\n")
    finally:
        os.close(stdin)
    wait(lambda: _waiting(node), clock, READY_S, f"{plan.name} to be set up")
    cgroups.leave(outer.number)
    return node


def _waiting(node: Node) -> bool:
    """Whether the node's first process only waits, which it does once all mounts are made."""
    if not node.outer.alive:
        last = (node.plan.folder / "log" / "node.out").read_text(errors="replace").strip().splitlines()[-1:]
        raise LaboratoryError(f"{node.plan.name} could not be raised: {''.join(last) or 'it said nothing'}")
    return any(_program(number) == "sleep" for number in children(node.outer.number))


def _program(number: int) -> str:
    try:
        return Path(f"/proc/{number}/comm").read_text().strip()
    except OSError:
        return ""


def _told(plan: NodePlan) -> dict[str, object]:
    return {
        "binds": {where: str(what) for where, what in plan.binds.items()},
        "folder": str(plan.folder),
        "image": str(plan.image),
        "name": plan.name,
        "service": list(plan.service),
        "unified": cgroups.unified(),
    }
