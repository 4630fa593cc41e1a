"""Reading the XML that libvirt gives: sizes with their units, sets of numbers. Pure.

The documents come from libvirt's own daemon over a connection that it has authenticated; what is longer than any it
writes is refused unread.
"""

import re
from xml.etree import ElementTree

from forewarn.errors import InventoryError

Element = ElementTree.Element
LENGTH_MAX = 4_000_000  # of a document, in characters; capabilities of a large host have some 200,000
NUMBERS_MAX = 65_536  # of CPUs; the largest machines have some thousands
_UNITS = {"": 1, "b": 1, "bytes": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40, "p": 2**50, "e": 2**60}
_DECIMAL = {"kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12, "pb": 10**15, "eb": 10**18}
_RANGE = re.compile(r"(\d+)(?:-(\d+))?")


def root(text: str, tag: str, what: str) -> Element:
    """The root of a document that shall be a `tag`; `what` names it in the error. Raises InventoryError.

    >>> root("<pool type='dir'/>", "pool", "a pool").get("type")
    'dir'
    """
    if len(text) > LENGTH_MAX:
        raise InventoryError(f"{what} is {len(text)} characters long, more than the {LENGTH_MAX} that are read")
    try:
        found = ElementTree.fromstring(text)  # noqa: S314 - libvirt's own, and of limited length
    except ElementTree.ParseError as error:
        raise InventoryError(f"{what} is no XML that can be read: {error}") from error
    if found.tag != tag:
        raise InventoryError(f"{what} is a <{found.tag}>, not a <{tag}>")
    return found


def text_of(element: Element | None, default: str = "") -> str:
    """The text inside an element, without white space around it."""
    return default if element is None else (element.text or default).strip()


def attribute(element: Element | None, name: str) -> str:
    """An attribute's value; empty where there is no such element or attribute."""
    return "" if element is None else element.get(name, "")


def size_bytes(element: Element | None, unit: str = "KiB") -> int:
    """What a `<memory unit='KiB'>` says, in bytes; 0 where there is none. Raises InventoryError.

    >>> size_bytes(ElementTree.fromstring("<memory unit='MiB'>96</memory>"))
    100663296
    """
    if element is None:
        return 0
    unit = element.get("unit", unit).lower()
    factor = _DECIMAL.get(unit) or _UNITS.get(unit.removesuffix("ib"))
    number = text_of(element)
    if factor is None or not number.isdecimal():
        raise InventoryError(f"<{element.tag}> holds {number!r} {unit}, which is no size")
    return int(number) * factor


def number(text: str, what: str) -> int:
    """A whole number from text. Raises InventoryError that names what it should have been."""
    if not text.strip().isdecimal():
        raise InventoryError(f"{what} is {text!r}, no whole number")
    return int(text)


def numbers(text: str) -> frozenset[int]:
    """A set of CPUs or nodes as libvirt writes it. Raises InventoryError.

    >>> sorted(numbers("0-3,^2,8"))
    [0, 1, 3, 8]
    """
    found: set[int] = set()
    for piece in filter(None, (piece.strip() for piece in text.split(","))):
        matched = _RANGE.fullmatch(piece.removeprefix("^"))
        if not matched:
            raise InventoryError(f"{text!r} is no set of CPUs or nodes")
        first, last = int(matched[1]), int(matched[2] or matched[1])
        if last >= NUMBERS_MAX:
            raise InventoryError(f"{text!r} names a CPU or node beyond {NUMBERS_MAX}")
        span = set(range(first, last + 1))
        found = found - span if piece.startswith("^") else found | span
    return frozenset(found)
