"""Installed, run, released and removed as docs/install.md says, on this machine's own files: nothing is left of it.

All of it happens above an overlay of this machine's root, so that whatever is written anywhere falls into one folder,
and nothing that others do here is seen. It runs as root, whom no permission keeps from writing where it should not.
"""

import os
import re
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import ROOT
from tests.support import eventually

PAGE = (ROOT / "docs" / "install.md").read_text()
UNIT = (ROOT / "packaging" / "systemd" / "forewarn.service").read_text()
HOME = Path("/opt/forewarn")
STATE = Path("/var/lib/forewarn")
NEEDED = ("unshare", "nsenter", "mount", "chroot", "install", "userdel")
USER = (
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME=/root",
    "LC_ALL=C.UTF-8",
    "SYSTEMD_OFFLINE=1",
)
# What the tools for users keep of their last change, whoever it was for.
COPIES = {f"/etc/{name}-" for name in ("passwd", "group", "shadow", "gshadow", "subuid", "subgid")}
BACKUPS = {*COPIES, "/etc/.pwd.lock"}
# Settings for the environment: cycles and rounds short enough to see some.
BRISK = "FOREWARN_CONTROL__INTERVAL_S=2\\nFOREWARN_AGENT__INTERVAL_S=2\\n"
# Given a folder, and what is to be seen in the overlay but not written to: the checkout, the wheel, and the packages of
# the interpreter of the tests. Builds the overlay in the folder, with shared memory of its own, until its input ends.
HOLD = """set -e
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
for part in proc sys dev; do mount --rbind "/$part" "$1/root/$part"; done
mount -t tmpfs tmpfs "$1/root/dev/shm"
place=$1; shift
for part; do mkdir -p "$place/root$part"; mount --bind -o ro "$part" "$place/root$part"; done
echo ready
exec cat
"""


def block(title: str) -> list[str]:
    """The commands of one section of the page, in its order."""
    section = PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    return [line.strip() for line in section.splitlines() if line.startswith("    ")]


class Machine:
    """This machine with an overlay in place of its root; `changed` is what was written to it and still stands."""

    def __init__(self, pid: int, place: Path) -> None:
        inside = Path(f"/proc/{pid}/root") / place.relative_to("/")
        self.root, self.upper = inside / "root", inside / "upper"
        self.enter = ["nsenter", f"--target={pid}", "--mount", "chroot", str(place / "root"), "env", "-i", *USER]

    def at(self, path: Path) -> Path:
        return self.root / path.relative_to("/")

    def command(self, line: str) -> list[str]:
        return [*self.enter, "sh", "-c", f"cd {shlex.quote(str(ROOT))} && {line}"]

    def run(self, line: str) -> str:
        done = subprocess.run(self.command(line), capture_output=True, text=True)
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        return done.stdout

    def changed(self) -> set[str]:
        """Every path that this machine does not have, or has otherwise, by its type, owner, mode or content."""
        found = {f"/dev/shm/{path.name}" for path in (self.root / "dev/shm").iterdir()}
        for folder, folders, names in os.walk(self.upper):
            for path in (Path(folder, name) for name in [*folders, *names]):
                below = Path("/") / path.relative_to(self.upper)
                if differs(path, below):
                    found.add(str(below))
        return found


def differs(upper: Path, lower: Path) -> bool:
    ours = upper.lstat()
    if stat.S_ISCHR(ours.st_mode) and ours.st_rdev == 0:  # so an overlay marks what was removed
        return os.path.lexists(lower)
    if not os.path.lexists(lower):
        return True
    theirs = lower.lstat()
    if (ours.st_mode, ours.st_uid, ours.st_gid) != (theirs.st_mode, theirs.st_uid, theirs.st_gid):
        return True
    if upper.is_symlink():
        return upper.readlink() != lower.readlink()
    if upper.is_dir():  # one that was removed and made anew hides what this machine has in it
        return "trusted.overlay.opaque" in os.listxattr(upper) and any(lower.iterdir())
    return upper.read_bytes() != lower.read_bytes()


def within(path: str, *folders: Path) -> bool:
    return any(Path(path).is_relative_to(folder) for folder in folders)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    if os.geteuid() != 0 or not sys.platform.startswith("linux"):
        pytest.skip("needs root on Linux: it lays an overlay over the machine's own root")
    if missing := [name for name in NEEDED if shutil.which(name) is None]:
        pytest.skip(f"not found: {', '.join(missing)}")
    if HOME.exists() or STATE.exists() or Path("/etc/forewarn").exists():
        pytest.skip("Forewarn is installed on this machine")
    place = tmp_path / "place"
    place.mkdir()
    shown = [str(ROOT), sys.prefix, sysconfig.get_path("stdlib"), str(tmp_path / "dist")]
    (tmp_path / "dist").mkdir()
    holding = ["unshare", "--mount", "--propagation", "private", "sh", "-c", HOLD, "sh", str(place), *shown]
    with subprocess.Popen(holding, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "ready\n", "no overlay could be mounted here"
        yield Machine(holder.pid, place)


def install(machine: Machine, dist: Path) -> None:
    """The wheel of this checkout, in the folder of the page; its dependencies are those that the tests run with."""
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(dist)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = dist.iterdir()
    python = Path(sys.base_prefix, "bin", f"python3.{sys.version_info.minor}")
    machine.run(f"{python} -m venv {HOME}")
    packages = Path(
        machine.run(f"{HOME}/bin/python -c 'import sysconfig; print(sysconfig.get_path(\"purelib\"))'").strip()
    )
    machine.run(f"{HOME}/bin/pip install --quiet --no-deps --no-index {wheel}")
    machine.at(packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    found = machine.run(f"{HOME}/bin/python -c 'import forewarn; print(forewarn.__file__)'").strip()
    assert found == str(packages / "forewarn" / "__init__.py")


def follow(machine: Machine, lines: list[str]) -> None:
    """Runs commands of the page one after another, without what asks a systemd that runs, or one that is not here."""
    for line in lines:
        program = line.split()[0]
        needed = "systemd-sysusers" if program == "userdel" else program
        if not program.startswith(("systemd-", "systemctl", "userdel")) or shutil.which(needed):
            machine.run(line.replace(" --now ", " "))


@contextmanager
def running(machine: Machine, log: Path) -> Iterator[Callable[[], dict[str, Any]]]:
    """`forewarn up` as its unit starts it, but on any free port. Gives what asks it for its last snapshot, if any."""
    start = re.findall(r"^ExecStart=(.*)$", UNIT, re.MULTILINE)[0]
    command = machine.command(f"set -a && . /etc/forewarn/forewarn.env && exec {start} --port 0")
    with (
        log.open("w") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        assert process.stdout is not None
        try:
            shown, sign_in = (process.stdout.readline().split()[1:] for _ in range(2))
            with httpx.Client(base_url=shown[0], timeout=60) as client:
                assert client.post(sign_in[1]).status_code == 303

                def snapshot() -> dict[str, Any]:
                    answer = client.get("/api/v1/snapshot")
                    return answer.json() if answer.status_code == 200 else {}

                yield snapshot
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=90) == 0, log.read_text()


def test_what_was_installed_run_released_and_removed_leaves_nothing_behind(machine: Machine, tmp_path: Path) -> None:
    release, *removing, last = block("Remove")
    assert release.startswith(f"{HOME}/bin/forewarn release --all ")
    assert last.startswith(f"rm -rf {STATE} ")
    machine.run("mkdir -p /etc/systemd/system")
    before = machine.changed()

    install(machine, tmp_path / "dist")
    follow(machine, block("The units"))
    machine.run("mkdir -p /etc/forewarn")  # which is systemd's to make, where it is
    follow(machine, block("Settings"))
    machine.run(f"printf '{BRISK}' >>/etc/forewarn/forewarn.env")
    installed = machine.changed() - before
    assert {"/etc/systemd/system/forewarn.service", "/etc/forewarn/forewarn.toml"} <= installed

    with running(machine, tmp_path / "log") as snapshot:
        first = eventually(snapshot, deadline=180)["time"]
        eventually(lambda: snapshot()["time"] > first, deadline=60)
        machine.run(release)
        eventually(lambda: "Forewarn is removed" in snapshot()["paused"], deadline=60)
    while_it_ran = machine.changed() - before - installed
    assert str(STATE / "decision.json") in while_it_ran
    assert {path for path in while_it_ran if not within(path, STATE, HOME)} == set()

    machine.run(f"{HOME}/bin/pip uninstall --quiet --yes forewarn")
    program = {path for path in machine.changed() if path.startswith(f"{HOME}/")}
    assert {path for path in program if Path(path).name.startswith("forewarn")} == set()
    follow(machine, removing)
    left = machine.changed() - before - BACKUPS
    assert {path for path in left if not within(path, STATE)} == set()
    follow(machine, [last])
    assert machine.changed() - before - BACKUPS == set()
