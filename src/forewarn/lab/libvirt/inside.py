"""What runs first inside a node's namespaces: it mounts the node's own file systems and then only waits.

Run as `python -m forewarn.lab.libvirt.inside PLAN`, with PLAN a JSON file that `node.py` writes. Everything that a node
runs dies with this process, since it is the first of its process namespace; mounts go with the last of them.
"""

import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

DEVICES = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9), "tty": (5, 0)}
CONTROLLERS = ("cpu", "cpuacct", "memory", "cpuset", "blkio", "devices", "freezer")
CGROUPS = Path("/sys/fs/cgroup")


def main(plan: dict[str, Any]) -> None:
    """Set up the node and become a process that does nothing and reaps whatever is left to it."""
    folder, root = Path(plan["folder"]), Path(plan["folder"]) / "root"
    _run("hostname", plan["name"])
    _system()
    _cgroups(plan["unified"])
    _devices(folder / "dev")
    _bind(folder / "dev", Path("/dev"), deep=True)
    _root(Path(plan["image"]), root, folder, plan["binds"])
    for name in ("hosts", "hostname"):
        if (Path("/etc") / name).exists():
            _bind(folder / name, Path("/etc") / name)
    _bind(folder / "run", Path("/run"))
    if plan["service"]:
        log = os.open(folder / "log" / "service.out", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
        subprocess.Popen(
            ["chroot", str(root), *plan["service"]],
            env=environment,
            start_new_session=True,
            stderr=log,
            stdin=subprocess.DEVNULL,
            stdout=log,
        )
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # kept over the call below: the kernel then reaps by itself
    os.execvp("sleep", ["sleep", "infinity"])  # noqa: S606 - the node's first process, which is to do nothing


def _run(*words: str | Path) -> None:
    subprocess.run([str(word) for word in words], check=True)


def _bind(what: Path, where: Path, deep: bool = False) -> None:
    _run("mount", "--rbind" if deep else "--bind", what, where)


def _system() -> None:
    """/sys as this network namespace sees it. The old tree of cgroups goes first: libvirt would find its mounts."""
    if os.path.ismount(CGROUPS):
        _run("umount", "--recursive", CGROUPS)
    _run("mount", "-t", "sysfs", "sysfs", "/sys")


def _cgroups(unified: bool) -> None:
    """The node's own part of the control groups, as the only one to be seen."""
    if unified:
        _run("mount", "-t", "cgroup2", "cgroup2", CGROUPS)
        (CGROUPS / "init").mkdir(exist_ok=True)  # a group that has groups may hold no process
        (CGROUPS / "init" / "cgroup.procs").write_text("1")
        return
    _run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", CGROUPS)
    for name in CONTROLLERS:
        folder = CGROUPS / name
        folder.mkdir()
        mounted = subprocess.run(
            ["mount", "-t", "cgroup", "-o", name, "cgroup", str(folder)], check=False, stderr=subprocess.DEVNULL
        )
        if mounted.returncode:
            folder.rmdir()


def _devices(folder: Path) -> None:
    """A /dev without kvm, which libvirt would find and which cannot be relied on. Hiding it by a bind would do less."""
    _run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", folder)
    for name, number in {**DEVICES, "net/tun": (10, 200)}.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(*number))
        path.chmod(0o666)
    for name in ("pts", "shm"):
        (folder / name).mkdir()
    _run("mount", "-t", "devpts", "-o", "newinstance,ptmxmode=0666,mode=620", "devpts", folder / "pts")
    _run("mount", "-t", "tmpfs", "-o", "mode=1777", "tmpfs", folder / "shm")
    (folder / "ptmx").symlink_to("pts/ptmx")
    (folder / "fd").symlink_to("/proc/self/fd")
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        (folder / name).symlink_to(f"fd/{descriptor}")


def _root(image: Path, root: Path, folder: Path, binds: dict[str, str]) -> None:
    """The hosts' own Debian, not to be written to, with what is the node's own mounted over it."""
    _bind(image, root)
    _run("mount", "-o", "remount,bind,ro", root)
    for name in ("proc", "sys", "dev"):
        _bind(Path("/") / name, root / name, deep=True)
    _run("mount", "-t", "tmpfs", "-o", "mode=1777", "tmpfs", root / "tmp")
    for where, what in binds.items():
        _bind(Path(what), root / where)
    _bind(folder / "run", root / "run")
    _bind(folder / "hosts", root / "etc/hosts")


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
