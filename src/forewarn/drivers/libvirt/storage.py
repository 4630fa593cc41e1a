"""Whether what a guest keeps is reached from another host: pools, directories, devices, network disks. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import PurePosixPath

from forewarn.drivers.libvirt.documents import attribute, root, text_of
from forewarn.drivers.libvirt.guests import Source
from forewarn.drivers.libvirt.settings import LibvirtSettings

ITSELF = ("localhost", "127.", "::1", "/")  # how a server or socket that is the host itself begins


@dataclass(frozen=True, slots=True)
class Pool:
    """A storage pool that is active. `path` is the directory in which its volumes appear; not all types have one."""

    name: str
    type: str  # dir, netfs, rbd, ...
    path: str = ""


def parse_pool(text: str) -> Pool:
    """Read a `<pool>`. Raises InventoryError."""
    tree = root(text, "pool", "a storage pool")
    return Pool(text_of(tree.find("name")), attribute(tree, "type"), text_of(tree.find("target/path")))


@dataclass(frozen=True)
class Storage:
    """The storage that a host has, judged by the settings."""

    pools: tuple[Pool, ...] = ()
    settings: LibvirtSettings = field(default_factory=LibvirtSettings)

    @cached_property
    def pool_by_name(self) -> Mapping[str, Pool]:
        return {pool.name: pool for pool in self.pools}

    @cached_property
    def shared_directories(self) -> tuple[str, ...]:
        """Those that the operator names, then those of shared pools that hold files."""
        pools = (pool.path for pool in self.pools if pool.type in self.settings.shared_pools)
        files = (path for path in pools if path and not within(path, "/dev"))
        return tuple(dict.fromkeys((*map(_plain, self.settings.shared_directories), *map(_plain, files))))

    def offers(self) -> Iterator[str]:
        """What the host offers: directories that are shared or a pool's, and pools by name."""
        for directory in self.shared_directories:
            yield f"storage:{directory}"
        for pool in self.pools:
            yield f"pool:{pool.name}"
            if pool.path:
                yield f"storage:{_plain(pool.path)}"

    def need(self, source: Source) -> str:
        """The word for what a target must offer to reach or take this image; empty where every host reaches it."""
        if source.kind == "volume":
            return f"pool:{source.pool}"
        if source.kind == "file":
            return next((f"storage:{place}" for place in self._places() if within(source.path, place)), "")
        return ""

    def is_shared(self, source: Source) -> bool:
        """Whether every host reaches the image alike, as far as the settings say."""
        settings = self.settings
        if source.kind == "network":
            elsewhere = not any(server.startswith(ITSELF) for server in source.servers)
            return source.protocol in settings.shared_protocols and elsewhere
        if source.kind == "volume":
            pool = self.pool_by_name.get(source.pool)
            return pool is not None and pool.type in settings.shared_pools
        if source.kind == "block" and any(fnmatchcase(source.path, known) for known in settings.shared_devices):
            return True
        return any(within(source.path, place) for place in self.shared_directories)

    def _places(self) -> Iterable[str]:
        """Directories from the most to the least telling: shared ones, then those of local pools."""
        return (*self.shared_directories, *(_plain(pool.path) for pool in self.pools if pool.path))


def _plain(path: str) -> str:
    """A directory's path without a slash at its end."""
    return str(PurePosixPath(path))


def within(path: str, directory: str) -> bool:
    """Whether a path lies below a directory. One with `..` in it lies nowhere: where it leads is not written there.

    >>> within("/srv/shared/a.raw", "/srv/shared"), within("/srv/shared2/a.raw", "/srv/shared")
    (True, False)
    """
    return ".." not in PurePosixPath(path).parts and PurePosixPath(path).is_relative_to(directory)
