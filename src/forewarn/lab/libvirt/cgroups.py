"""The control groups of a laboratory's nodes: in each of the machine's trees, whether it has one (v2) or many (v1)."""

import contextlib
import os
from pathlib import Path

from forewarn.lab.libvirt.inside import CGROUPS, CONTROLLERS

UNIFIED_CONTROLLERS = ("cpu", "cpuset", "io", "memory")


def unified() -> bool:
    """Whether this machine has the one tree of version 2, and not the many of version 1."""
    return (CGROUPS / "cgroup.controllers").exists()


def groups(name: str) -> list[Path]:
    """The folders of the group `name`, whether they exist or not."""
    if unified():
        return [CGROUPS / name]
    return [CGROUPS / controller / name for controller in CONTROLLERS if (CGROUPS / controller).is_dir()]


def make(name: str) -> list[Path]:
    """Make the group `name`; returns the files into which a process writes its number to enter it."""
    if unified():
        for controller in UNIFIED_CONTROLLERS:
            with contextlib.suppress(OSError):  # one that this machine lacks or does not hand down
                (CGROUPS / "cgroup.subtree_control").write_text(f"+{controller}")
    for folder in groups(name):
        folder.mkdir(exist_ok=True)
        for file in ("cpuset.cpus", "cpuset.mems"):
            if (folder / file).exists() and not unified():  # of version 1, where a group without these takes nobody
                (folder / file).write_text((folder.parent / file).read_text())
    return [folder / "cgroup.procs" for folder in groups(name)]


def leave(number: int) -> None:
    """Move a process out of its group where there is the one tree: a group with groups may hold no process there."""
    if unified():
        (CGROUPS / "cgroup.procs").write_text(str(number))


def remove(name: str) -> bool:
    """Remove the group `name` with all within it; False while somebody is still in it."""
    try:
        for group in groups(name):
            for folder, _, _ in os.walk(group, topdown=False):
                Path(folder).rmdir()
    except OSError:
        return False
    return True
