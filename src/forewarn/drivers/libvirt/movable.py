"""Whether a guest can leave its host, and if not why: read off its document, its storage and its jobs. Pure.

It says what libvirt or QEMU would refuse, and what would harm the guest though they would not, before anything is
called.
"""

from collections.abc import Iterator

from forewarn.drivers.libvirt.guests import Disk, Guest, Source
from forewarn.drivers.libvirt.settings import LibvirtSettings
from forewarn.drivers.libvirt.storage import Storage

REMOVABLE = ("cdrom", "floppy")


def immovable_because(guest: Guest, storage: Storage, jobs: tuple[str, ...] = ()) -> str:
    """The reasons for which it must stay, in a sentence; empty if it can move. `jobs` are those that run on it."""
    reasons = tuple(dict.fromkeys(_reasons(guest, storage, jobs)))
    return "; ".join(reasons)


def _reasons(guest: Guest, storage: Storage, jobs: tuple[str, ...]) -> Iterator[str]:
    if guest.metadata.stay:
        yield f"its owner keeps it here: {guest.metadata.stay}"
    yield from guest.ties
    for disk in guest.disks:
        yield from _of_disk(disk, storage)
    yield from _firmware(guest, storage)
    yield from jobs


def _of_disk(disk: Disk, storage: Storage) -> Iterator[str]:
    if disk.job:
        yield f"a block job ({disk.job}) runs on disk {disk.target}"
    local = [source for source in disk.chain if not storage.is_shared(source)]
    if not local:
        return
    place = _place(local[0])
    if disk.device in REMOVABLE:
        yield f"the medium {place} in drive {disk.target} is on its host alone; eject it"
    elif disk.device == "lun" or local[0].kind not in ("file", "volume"):
        yield f"disk {disk.target} ({place}) is on its host alone"
    elif not storage.settings.copy_disks:
        yield f"disk {disk.target} ({place}) is on its host alone, and copying is not allowed (libvirt.copy_disks)"
    elif any(not storage.need(source) for source in local):
        yield f"disk {disk.target} ({place}) is on its host alone and in no pool, so no target can take a copy"


def _firmware(guest: Guest, storage: Storage) -> Iterator[str]:
    settings: LibvirtSettings = storage.settings
    if guest.nvram and not settings.local_nvram_moves and not storage.is_shared(guest.nvram):
        yield f"its UEFI variables are on its host alone ({_place(guest.nvram)})"
    if guest.vtpm and not settings.local_vtpm_moves and not storage.is_shared(guest.vtpm):
        yield "the state of its TPM is on its host alone"


def _place(source: Source) -> str:
    """Where an image lies, in words."""
    if source.kind == "volume":
        return f"volume {source.path} of pool {source.pool}"
    return f"{source.protocol}:{source.path}" if source.protocol else source.path or source.kind
