"""Versions of the installed packages, as dpkg's file or `rpm` tells them; read anew when something was installed."""

import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping

from forewarn.collect.smart import Run, Runner
from forewarn.collect.tree import Tree

DPKG = "var/lib/dpkg/status"
RPM = ("var/lib/rpm/rpmdb.sqlite", "usr/lib/sysimage/rpm/rpmdb.sqlite", "var/lib/rpm/Packages")


class Packages:
    """The packages of one host whose names fit `wanted`."""

    def __init__(self, tree: Tree, wanted: re.Pattern[str], timeout_s: float, run: Run | None = None) -> None:
        self._tree, self._wanted, self._timeout_s, self._run = tree, wanted, timeout_s, run or Runner()
        self._stamp: tuple[str, float] | None = None
        self._versions: dict[str, str] = {}

    def versions(self) -> Mapping[str, str]:
        """Version by package; empty where neither dpkg nor rpm keeps any."""
        stamp = next(filter(None, map(self._modified, (DPKG, *RPM))), None)
        if stamp is not None and stamp != self._stamp:
            found = parse_dpkg(self._tree.words(DPKG)) if stamp[0] == DPKG else parse_rpm(self._rpm())
            self._versions = {name: version for name, version in found if self._wanted.fullmatch(name)}
            self._stamp = stamp
        return self._versions

    def _modified(self, file: str) -> tuple[str, float] | None:
        try:
            return file, self._tree.path(file).stat().st_mtime
        except OSError:
            return None

    def _rpm(self) -> str:
        program = shutil.which("rpm")
        if program is None:
            return ""
        asked = [program, "--root", str(self._tree.path("")), "-qa", "--queryformat", "%{NAME} %{EVR}\n"]
        try:
            return self._run(asked, self._timeout_s).decode("utf-8", "replace")
        except (OSError, subprocess.SubprocessError):
            return ""


def parse_dpkg(text: str) -> Iterator[tuple[str, str]]:
    r"""Name and version of each package that is installed, in dpkg's `status`.

    >>> list(parse_dpkg("Package: lvm2\nStatus: install ok installed\nVersion: 2.03.16-2\n"))
    [('lvm2', '2.03.16-2')]
    """
    for block in text.split("\n\n"):
        fields = dict(re.findall(r"^(Package|Status|Version): (.*)$", block, re.MULTILINE))
        if fields.get("Status", "").endswith(" installed") and "Package" in fields and "Version" in fields:
            yield fields["Package"], fields["Version"]


def parse_rpm(text: str) -> Iterator[tuple[str, str]]:
    """Name and version of each package in what `rpm -qa` printed, one in a line."""
    for line in text.splitlines():
        name, _, version = line.strip().partition(" ")
        if name and version:
            yield name, version
