"""The root file system of the laboratory's hosts: Debian with libvirt and QEMU, made once and kept.

QEMU comes from backports: before 9.0 it lost writes of guests that were migrated without KVM. The tree is built under a
temporary name and renamed when it is whole, and its name bears a digest of the recipe, so a changed recipe builds anew.
"""

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from forewarn.lab.cache import built
from forewarn.lab.commands import run
from forewarn.lab.libvirt.packages import KEYRING, Apt, mirror
from forewarn.lab.machine import MARK
from forewarn.lab.settings import LabSettings

MEMORY_FREE = 4 << 30  # with so many bytes to spare the tree is built in memory, where dpkg's many syncs cost nothing


@dataclass(frozen=True)
class Recipe:
    """What the root file system is made from. Any change of it gives another digest."""

    suite: str = "bookworm"
    newer: str = "bookworm-backports"
    from_newer: str = "src:libvirt src:qemu src:seabios src:ipxe"
    packages: tuple[str, ...] = (
        *("libvirt-daemon", "libvirt-daemon-driver-qemu", "libvirt-clients"),
        *("libvirt-daemon-driver-interface", "libvirt-daemon-driver-network"),
        *("libvirt-daemon-driver-nodedev", "libvirt-daemon-driver-storage"),
        *("qemu-system-x86", "qemu-utils", "iproute2"),
    )
    folders: tuple[str, ...] = (
        *("lab/shared", "lab/local", "lab/console", "lab/guest", "lab/saved"),
        *("etc/libvirt", "var/lib/libvirt", "var/log/libvirt", "var/cache/libvirt"),
    )
    version: int = 1

    @property
    def digest(self) -> str:
        return hashlib.sha256(repr(self).encode()).hexdigest()[:12]

    @property
    def preferences(self) -> str:
        return f"Package: {self.from_newer}\nPin: release n={self.newer}\nPin-Priority: 990\n"


RECIPE = Recipe()


def apt(settings: LabSettings, folder: Path) -> Apt:
    """The apt that fetches everything of the laboratory, with its lists in `folder`."""
    return Apt(folder, (RECIPE.suite, RECIPE.newer), RECIPE.preferences, settings.build_timeout_s)


def root_folder(settings: LabSettings) -> Path:
    """The root file system, built first where there is none of this recipe: about a minute, with the network."""
    return built(settings.cache, f"root-{RECIPE.digest}", lambda draft: _build(settings, draft))


def _build(settings: LabSettings, draft: Path) -> Path:
    with _workshop(draft) as tree:
        _bootstrap(settings, tree)
        _install(settings, tree, draft / "apt")
        (tree / MARK).write_text(f"{RECIPE!r}\n")
        if tree.parent != draft:
            run(["cp", "--archive", tree, draft / "root"], settings.build_timeout_s)
    return draft / "root"


@contextmanager
def _workshop(draft: Path) -> Iterator[Path]:
    """Where the tree is built: in memory if there is enough, else where it will lie."""
    if os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") < MEMORY_FREE:
        yield draft / "root"
        return
    memory = draft / "memory"
    memory.mkdir()
    run(["mount", "-t", "tmpfs", "-o", "mode=755,size=3g", "tmpfs", memory])
    try:
        yield memory / "root"
    finally:
        run(["umount", "--lazy", memory])


def _bootstrap(settings: LabSettings, tree: Path) -> None:
    """The smallest Debian. Its downloads take the proxy that apt is set to, if it is."""
    proxy = run(["apt-config", "shell", "proxy", "Acquire::http::Proxy"]).strip().removeprefix("proxy=").strip("'")
    environment = {**os.environ, "http_proxy": proxy} if proxy else None
    command: list[str | Path] = [
        "debootstrap",
        "--variant=minbase",
        f"--keyring={KEYRING}",
        RECIPE.suite,
        tree,
        mirror(),
    ]
    run(command, settings.build_timeout_s, environment)


def _install(settings: LabSettings, tree: Path, folder: Path) -> None:
    """Libvirt and QEMU, without starting anything, and what the hosts need as places to mount on."""
    fetcher = apt(settings, folder)
    fetcher.prepare()
    fetcher.download_all(RECIPE.packages, tree / "var/lib/dpkg/status", tree / "var/cache/apt/archives")
    (tree / "etc/apt/sources.list").write_text((folder / "sources.list").read_text())
    (tree / "etc/apt/preferences").write_text(RECIPE.preferences)
    shutil.copytree(fetcher.lists, tree / "var/lib/apt/lists", dirs_exist_ok=True)
    (tree / "usr/sbin/policy-rc.d").write_text("#!/bin/sh\nexit 101\n")
    (tree / "usr/sbin/policy-rc.d").chmod(0o755)
    install = ["apt-get", "install", "--yes", "--no-download", "--no-install-recommends", *RECIPE.packages]
    run(["chroot", tree, *install], settings.build_timeout_s, {**os.environ, "DEBIAN_FRONTEND": "noninteractive"})
    shutil.rmtree(tree / "var/lib/apt/lists")
    for package in (tree / "var/cache/apt/archives").glob("*.deb"):
        package.unlink()
    for name in RECIPE.folders:
        (tree / name).mkdir(parents=True, exist_ok=True)
    (tree / "etc/hosts").touch()
