"""Packages of Debian, taken from the mirror that this machine's apt is set to, without touching what it has installed.

apt runs with lists and a status of its own; the machine's proxy and certificates hold, since its apt does the work.
"""

import os
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from forewarn.errors import LaboratoryError
from forewarn.lab.commands import run

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
SOURCES = Path("/etc/apt")


def mirror(folder: Path = SOURCES) -> str:
    """The address of the first Debian archive in the apt sources of `folder`. Raises LaboratoryError where none is."""
    for path in (folder / "sources.list", *sorted((folder / "sources.list.d").glob("*"))):
        if path.is_file() and (found := next(_mirrors(path), None)):
            return found
    raise LaboratoryError(
        "apt on this machine has no Debian archive among its sources; the laboratory is built from one"
    )


def _mirrors(path: Path) -> Iterator[str]:
    """Addresses in one file of sources that end as a Debian archive's do; those of security updates are left aside."""
    text = path.read_text(encoding="utf-8", errors="replace")
    if path.suffix == ".sources":
        found = re.findall(r"^URIs:\s*(.+)$", text, re.MULTILINE)
    else:
        found = re.findall(r"^deb\s+(?:\[[^\]]*\]\s*)?(\S+)\s+\S+\s+.*\bmain\b", text, re.MULTILINE)
    for address in (one for line in found for one in line.split()):
        if re.search(r"^https?://.*/debian/?$", address):
            yield address.rstrip("/")


@dataclass(frozen=True)
class Apt:
    """apt with lists of its own in `folder`, over `suites` of the mirror; `preferences` as in apt_preferences(5)."""

    folder: Path
    suites: tuple[str, ...]
    preferences: str
    timeout_s: float

    @property
    def lists(self) -> Path:
        return self.folder / "lists"

    def prepare(self) -> None:
        """Write the sources and read the mirror's lists."""
        shutil.rmtree(self.folder, ignore_errors=True)
        (self.lists / "partial").mkdir(parents=True)
        (self.folder / "archives" / "partial").mkdir(parents=True)
        address = mirror()
        lines = (f"deb [signed-by={KEYRING}] {address} {suite} main\n" for suite in self.suites)
        (self.folder / "sources.list").write_text("".join(lines))
        (self.folder / "preferences").write_text(self.preferences)
        (self.folder / "status").touch()
        self._run("apt-get", "update")

    def download_all(self, names: Sequence[str], status: Path, archives: Path) -> None:
        """Download `names` and what they depend on that `status`, a dpkg database, lacks."""
        (archives / "partial").mkdir(parents=True, exist_ok=True)
        self._run(
            *("apt-get", "install", "--yes", "--download-only", "--no-install-recommends"),
            *("-o", f"Dir::State::status={status}", "-o", f"Dir::Cache::archives={archives}", *names),
        )

    def unpacked(self, names: Iterable[str], folder: Path) -> None:
        """Unpack `names`, without what they depend on, into `folder`; nothing of them runs."""
        downloads = self.folder / "downloads"
        downloads.mkdir(exist_ok=True)
        self._run("apt-get", "download", *names, folder=downloads)
        for package in sorted(downloads.glob("*.deb")):
            run(["dpkg-deb", "-x", package, folder], self.timeout_s)
            package.unlink()

    def depended(self, name: str, pattern: str) -> str:
        """The first package on which `name` depends whose name matches `pattern`."""
        told = self._run("apt-cache", "depends", name)
        found = re.search(rf"Depends: ({pattern})$", told, re.MULTILINE)
        if found is None:
            raise LaboratoryError(f"the package {name} depends on nothing like {pattern}; is the mirror complete?")
        return found[1]

    def _run(self, program: str, *words: str, folder: Path | None = None) -> str:
        own = {
            "APT::Sandbox::User": "root",
            "Dir::Cache::archives": str(self.folder / "archives"),
            "Dir::Etc::preferences": str(self.folder / "preferences"),
            "Dir::Etc::preferencesparts": "/dev/null",
            "Dir::Etc::sourcelist": str(self.folder / "sources.list"),
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::State::lists": str(self.lists),
            "Dir::State::status": str(self.folder / "status"),
        }
        options = [word for key, value in own.items() for word in ("-o", f"{key}={value}")]
        inside = ["env", "--chdir", str(folder)] if folder else []
        return run(
            [*inside, program, "--quiet", *options, *words],
            self.timeout_s,
            {**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        )
