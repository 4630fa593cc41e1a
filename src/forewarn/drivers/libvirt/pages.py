"""The huge pages that back a guest's memory, by the NUMA node of the host that must give them. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from forewarn.drivers.libvirt.documents import Element, attribute, number, numbers, root, size_bytes

KIB = 1024
USUAL_BYTES = 2 * KIB**2  # where the document names no size: the default of x86
ANY_NODE = -1


@dataclass(frozen=True, slots=True)
class Pages:
    """Pages of one size. `node` is the host's NUMA node from which they must come, or ANY_NODE."""

    size_bytes: int
    count: int
    node: int = ANY_NODE


def parse_pages(text: str) -> tuple[Pages, ...]:
    """What a `<domain>` needs; nothing where it uses ordinary pages. Raises InventoryError.

    >>> parse_pages("<domain><memory unit='GiB'>1</memory><memoryBacking><hugepages/></memoryBacking></domain>")
    (Pages(size_bytes=2097152, count=512, node=-1),)
    """
    tree = root(text, "domain", "a domain")
    backing = tree.find("memoryBacking/hugepages")
    if backing is None:
        return ()
    sizes = [(_size(page, "size"), numbers(page.get("nodeset", ""))) for page in backing.iterfind("page")]
    cells = {_id(cell, "id"): _size(cell, "memory") for cell in tree.iterfind("cpu/numa/cell")}
    strict = {
        _id(node, "cellid"): numbers(node.get("nodeset", ""))
        for node in tree.iterfind("numatune/memnode")
        if node.get("mode", "strict") == "strict"
    }
    found = []
    for cell, memory in (cells or {0: size_bytes(tree.find("memory"))}).items():
        page = next((size for size, nodes in sizes if not nodes or cell in nodes), 0) if sizes else USUAL_BYTES
        if page > 0:  # else this node of the guest has ordinary pages
            nodes = strict.get(cell, frozenset())
            found.append(Pages(page, -(-memory // page), min(nodes) if len(nodes) == 1 else ANY_NODE))
    return tuple(found)


def lacking(wanted: tuple[Pages, ...], free: Mapping[tuple[int, int], int]) -> tuple[Pages, int] | None:
    """The first of `wanted` for which too few pages are free, and how many are missing; None if all can be had.

    `free` counts pages by node and size in bytes. What must come from one node is taken first.

    >>> lacking((Pages(2**21, 10), Pages(2**21, 6, node=0)), {(0, 2**21): 8, (1, 2**21): 7})
    (Pages(size_bytes=2097152, count=10, node=-1), 1)
    """
    left = dict(free)
    for pages in sorted(wanted, key=lambda pages: pages.node == ANY_NODE):
        missing = pages.count
        for key in sorted(left):
            if key[1] == pages.size_bytes and pages.node in (ANY_NODE, key[0]):
                taken = min(left[key], missing)
                left[key] -= taken
                missing -= taken
        if missing:
            return pages, missing
    return None


def _size(element: Element, name: str) -> int:
    """A size that stands in an attribute, its unit beside it."""
    sized = Element("size", {"unit": element.get("unit", "KiB")})
    sized.text = attribute(element, name)
    return size_bytes(sized)


def _id(element: Element, name: str) -> int:
    return number(element.get(name, "0"), f"the {name} of a NUMA node")
