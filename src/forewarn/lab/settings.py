"""Where laboratories keep what they build and what they run."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class LabSettings:
    """The laboratories that `forewarn lab` raises on this machine."""

    folder: Path = Path("/var/lib/forewarn-lab")
    """Where running laboratories keep their files, a folder each; `forewarn lab down` removes it. Sockets lie in it, so
    the path must be short."""
    cache: Path = Path("/var/cache/forewarn-lab")
    """Where the hosts' root file system, the guest and saved guests are kept from one laboratory to the next. It may be
    deleted while no laboratory runs; it takes about 1 GB."""
    beside_guests: bool = False
    """Whether a laboratory may be raised where guests of somebody else run. They share the processors."""
    build_timeout_s: float = 600.0
    """How long one step of building may take, such as the download of all packages."""


@dataclass(frozen=True)
class LabTree:
    """The whole configuration of `forewarn lab`."""

    lab: LabSettings = field(default_factory=LabSettings)
