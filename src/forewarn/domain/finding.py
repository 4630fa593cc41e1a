"""What `forewarn doctor` finds: a sentence, how bad it is, and how to mend it.

Whoever examines something (a host, a store, a placement service) gives an iterable of these and changes nothing.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """How bad it is, from good to bad."""

    OK = "ok"
    NOTE = "note"  # worth knowing; nothing is lost that this machine could give
    WARNING = "warning"  # something stays unknown that this machine could tell
    ERROR = "error"  # Forewarn does not run, or would be wrong


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `place` is the file, device or address that it is about."""

    check: str
    state: State
    text: str
    remedy: str = ""
    place: str = ""


def exit_code(findings: Iterable[Finding]) -> int:
    """0 where all is fine, 1 where something stays unknown, 2 where something is wrong.

    >>> exit_code([Finding("clock", State.OK, "in time"), Finding("disk", State.NOTE, "virtual")])
    0
    >>> exit_code([Finding("store", State.ERROR, "damaged"), Finding("memory", State.WARNING, "no EDAC")])
    2
    """
    states = {finding.state for finding in findings}
    return 2 if State.ERROR in states else 1 if State.WARNING in states else 0
