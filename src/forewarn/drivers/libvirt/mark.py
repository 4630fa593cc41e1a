"""The mark that a move of ours leaves in its VM: it travels along, so each host can say which move brought the VM.

It says where the VM was to go and whether its host started it at boot, and is taken away once the move is over.
"""

from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import quoteattr

import libvirt

from forewarn.drivers.libvirt.documents import root

KEY, URI = "forewarn", "urn:forewarn:move"
ELEMENT = libvirt.VIR_DOMAIN_METADATA_ELEMENT
CURRENT = libvirt.VIR_DOMAIN_AFFECT_CURRENT


@dataclass(frozen=True, slots=True)
class Mark:
    """A move to `target`; `autostart` is to be carried over."""

    target: str
    autostart: bool = False


def write(domain: Any, mark: Mark) -> None:
    """Write it into the domain, in place of any other."""
    text = f"<move to={quoteattr(mark.target)} autostart='{'yes' if mark.autostart else 'no'}'/>"
    domain.setMetadata(ELEMENT, text, KEY, URI, CURRENT)


def read(domain: Any) -> Mark | None:
    """The mark that a move of ours has left there. Raises InventoryError where it cannot be read."""
    try:
        text = domain.metadata(ELEMENT, URI, CURRENT)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN_METADATA:
            return None
        raise
    tree = root(text, "move", "the mark of a move")
    return Mark(tree.get("to", ""), tree.get("autostart") == "yes")


def take_away(domain: Any) -> None:
    """Leave none there."""
    domain.setMetadata(ELEMENT, None, KEY, URI, CURRENT)
