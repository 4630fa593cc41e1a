"""Whether a laboratory may be raised on this machine, and if not, the one sentence that says why."""

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import which

from forewarn.errors import LaboratoryError
from forewarn.lab.commands import search_path
from forewarn.lab.settings import LabSettings

PACKAGES = {"debootstrap": "debootstrap", "apt-get": "apt", "unshare": "util-linux", "nsenter": "util-linux"}
GUESTS = ("qemu-system-", "qemu-kvm", "kvm", "cloud-hypervisor", "firecracker", "VBoxHeadless")
MARK = "etc/forewarn-lab"  # stands in the root file system of each laboratory's hosts, whoever raised it


@dataclass(frozen=True)
class Machine:
    """What counts of a machine."""

    system: str
    distributions: tuple[str, ...]
    """Its own name in os-release and those of which it is a kind."""
    architecture: str
    user: int
    missing: tuple[str, ...] = ()
    """Programs that are needed and are not there."""
    guests: tuple[str, ...] = ()
    """Guests that run and that belong to no laboratory."""


def look(root: Path = Path("/"), needed: Sequence[str] = tuple(PACKAGES)) -> Machine:
    """This machine, or one of which a copy of `/etc` and `/proc` lies at `root`."""
    return Machine(
        platform.system(),
        _distributions(root / "etc/os-release"),
        platform.machine(),
        os.geteuid(),
        tuple(name for name in needed if which(name, path=search_path()) is None),
        tuple(_guests(root / "proc")),
    )


def refusal(machine: Machine, settings: LabSettings) -> str:
    """Why no laboratory may be raised there; empty where it may."""
    if machine.system != "Linux" or "debian" not in machine.distributions:
        return "a libvirt laboratory is raised on Debian, which this machine does not run"
    if machine.architecture != "x86_64":
        return f"a libvirt laboratory is raised on x86_64, and this machine is {machine.architecture}"
    if machine.user != 0:
        return "a libvirt laboratory needs root: run this as root, best on a machine made for it"
    if machine.missing:
        package = PACKAGES.get(machine.missing[0], machine.missing[0])
        return f"a libvirt laboratory needs {machine.missing[0]}: install the package {package}"
    if machine.guests and not settings.beside_guests:
        why = f"this machine runs guests of somebody else ({machine.guests[0]})"
        return f"{why}: raise the laboratory elsewhere, or set lab.beside_guests"
    return ""


def check(machine: Machine, settings: LabSettings) -> None:
    """Raise LaboratoryError where no laboratory may be raised."""
    if why := refusal(machine, settings):
        raise LaboratoryError(why)


def _distributions(file: Path) -> tuple[str, ...]:
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ()
    told = dict(line.split("=", 1) for line in lines if "=" in line)
    return tuple(name for key in ("ID", "ID_LIKE") for name in told.get(key, "").strip("\"'").split())


def _guests(processes: Path) -> list[str]:
    """Programs that run guests, but for those whose root file system bears a laboratory's mark."""
    found = []
    for process in sorted(path for path in processes.iterdir() if path.name.isdigit()):
        try:
            program = (process / "exe").readlink().name
            if program.startswith(GUESTS) and not (process / "root" / MARK).exists():
                found.append(f"{program}, process {process.name}")
        except OSError:  # it has ended, or is the kernel's own
            continue
    return found
