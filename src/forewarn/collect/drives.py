"""Which drive stands behind a name of the kernel, for those who hear of drives by name only."""

import re

from forewarn.collect.disk import parse_serial_page, parse_udev
from forewarn.collect.tree import Tree
from forewarn.domain.inventory import Kind, component_id

_PARTITION = re.compile(r"((?:nvme\d+n|mmcblk)\d+)p\d+|((?:s|v|xv|h)d[a-z]+)\d+")
_VOLUME = re.compile(r"(?:dm-|md|loop|zram|ram|sr|nbd|rbd|drbd|zd)\d.*")
_PORT = re.compile(r"ata\d+")
_CONTROLLER = re.compile(r"nvme\d+")


def drive_id(tree: Tree, name: str) -> str:
    """The id of the drive that the kernel calls `name`, also by a partition; empty for what is no drive.

    By its serial number where udev or sysfs tells it, else by its place on this host, without the host's name. A name
    such as `ata3` is a port: the drive is what hangs on it, if one drive alone does.
    """
    if _PORT.fullmatch(name):
        name = _behind(tree, name)
    if not name or _VOLUME.fullmatch(name):
        return ""
    found = _PARTITION.fullmatch(name)
    drive = next(filter(None, found.groups())) if found else name
    return component_id(Kind.DISK, "", re.sub(r"(nvme\d+)n\d+", r"\1", drive), serial(tree, drive))


def _behind(tree: Tree, port: str) -> str:
    """The drive on a port of an ATA controller; empty where there is none or are several."""
    names = tree.names("sys/block")
    found = [name for name in names if port in tree.path(f"sys/block/{name}/device").resolve().parts]
    return found[0] if len(found) == 1 else ""


def serial(tree: Tree, drive: str) -> str:
    """The serial number of a drive, empty where nothing tells it."""
    if _CONTROLLER.fullmatch(drive):
        return tree.words(f"sys/class/nvme/{drive}/serial")
    block = f"sys/block/{drive}"
    udev = parse_udev(tree.words(f"run/udev/data/b{tree.words(f'{block}/dev')}")) if tree.has(f"{block}/dev") else {}
    page = tree.raw(f"{block}/device/vpd_pg80") if tree.has(f"{block}/device/vpd_pg80") else None
    told = udev.get("ID_SCSI_SERIAL") or udev.get("ID_SERIAL_SHORT") or (parse_serial_page(page) if page else "")
    return told or tree.words(f"{block}/device/serial") or tree.words(f"{block}/serial")
