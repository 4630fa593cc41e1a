"""What a guest's owner declares to Forewarn inside the domain's `<metadata>`, in a namespace of its own. Pure.

    <metadata>
      <forewarn:vm xmlns:forewarn="urn:forewarn:vm">
        <forewarn:criticality>high</forewarn:criticality>
        <forewarn:group>licensed-db</forewarn:group>
        <forewarn:apart>db</forewarn:apart>
        <forewarn:stay>its dongle is on this host</forewarn:stay>
      </forewarn:vm>
    </metadata>

A `<forewarn:criticality>` alone, without `<forewarn:vm>` around it, is understood too, and so is what `virsh metadata`
sets, which gives its prefix to the outer element alone. What is malformed counts for nothing, as a whole, and `problem`
says what is wrong with it.
"""

from collections import Counter
from dataclasses import dataclass

from forewarn.domain.inventory import Criticality
from forewarn.drivers.libvirt.documents import Element, text_of

NAMESPACE = "urn:forewarn:vm"
_HEAD = f"{{{NAMESPACE}}}"
LENGTH_MAX = 200  # of a text in it, in characters


@dataclass(frozen=True, slots=True)
class Metadata:
    """What is declared; empty where nothing is. `problem` says why what stands there is not taken."""

    criticality: Criticality | None = None
    groups: frozenset[str] = frozenset()  # of hosts, to which it must keep
    apart: str = ""  # VMs that share this name must not share a host
    stay: str = ""  # why it must not be moved
    problem: str = ""


def parse_metadata(metadata: Element | None) -> Metadata:
    """Read ours out of a `<metadata>` that may hold anybody's."""
    ours = [child for child in (metadata if metadata is not None else ()) if child.tag.startswith(_HEAD)]
    if not ours:
        return Metadata()
    problem = _problem(ours)
    return Metadata(problem=problem) if problem else _declared(_entries(ours))


def _entries(ours: list[Element]) -> list[Element]:
    """The elements that declare something: those within `vm`, or one that stands alone."""
    return [entry for child in ours for entry in (child if child.tag == f"{_HEAD}vm" else [child])]


def _problem(ours: list[Element]) -> str:
    """The first thing that is wrong."""
    known = ("criticality", "group", "apart", "stay")
    entries = _entries(ours)
    counts = Counter(_name(entry) for entry in entries)
    for entry in entries:
        name, text = _name(entry), text_of(entry)
        if name not in known:
            return f"<{name}> is none of {', '.join(known)} of the namespace {NAMESPACE}"
        if not text or len(text) > LENGTH_MAX or len(entry):
            return f"<{name}> must hold a text of 1 to {LENGTH_MAX} characters and nothing else"
        if name == "criticality" and text.lower() not in set(Criticality):
            return f"<criticality> is {text!r}, which is none of {', '.join(Criticality)}"
        if name != "group" and counts[name] > 1:
            return f"<{name}> is given {counts[name]} times"
    return ""


def _name(entry: Element) -> str:
    """The name of an element without our namespace; another's stays with it."""
    return entry.tag.removeprefix(_HEAD)


def _declared(entries: list[Element]) -> Metadata:
    texts: dict[str, list[str]] = {}
    for entry in entries:
        texts.setdefault(_name(entry), []).append(text_of(entry))
    level = texts.get("criticality", [""])[0].lower()
    return Metadata(
        criticality=Criticality(level) if level else None,
        groups=frozenset(texts.get("group", ())),
        apart=texts.get("apart", [""])[0],
        stay=texts.get("stay", [""])[0],
    )
