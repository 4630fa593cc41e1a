"""One document of `smartctl --json`, read with suspicion: every place may be missing, of another kind or absurd.

A `Reading` answers with what makes sense and remembers in `unreadable` what did not, by place and reason.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from forewarn.collect.tree import label_text
from forewarn.domain.telemetry import Sample

UNREADABLE_MAX = 20  # fields named per drive; a document that is all nonsense is not worth more series
COUNT_MAX = 2.0**63  # no drive has counted so far; pages full of ones, as some USB bridges answer, are above


@dataclass
class Reading:
    """One drive's document, and what in it made no sense (place and reason, each once)."""

    device: str
    document: Mapping[str, Any]
    unreadable: list[str] = field(default_factory=list)

    def note(self, why: str) -> None:
        """Remember that something could not be read."""
        if why not in self.unreadable and len(self.unreadable) < UNREADABLE_MAX:
            self.unreadable.append(why)

    def at(self, *path: str) -> Any:
        """What stands at a place; None where the way there ends."""
        found: Any = self.document
        for key in path:
            if not isinstance(found, Mapping):
                return None
            found = found.get(key)
        return found

    def number(self, *path: str) -> float | None:
        """The finite number at a place; text that is one counts, as smartctl writes numbers beyond 53 bits."""
        found = self.at(*path)
        if found is None:  # smartctl also gives what JSON cannot hold exactly as text, under a name of its own
            found = self.at(*path[:-1], f"{path[-1]}_s")
        value = finite(found)
        if found is not None and value is None:
            self._odd(path, "not a number")
        return value

    def within(self, low: float, high: float, *path: str) -> float | None:
        """The number at a place where it lies in a range that can be true."""
        value = self.number(*path)
        if value is not None and not low <= value <= high:
            self._odd(path, "out of range")
            return None
        return value

    def count(self, *path: str) -> float | None:
        """The number at a place where it can be one that was counted."""
        return self.within(0.0, COUNT_MAX, *path)

    def _odd(self, path: tuple[str, ...], what: str) -> None:
        self.note(f"{label_text('.'.join(path))}: {what}")

    def words(self, *path: str) -> str:
        """The text at a place, fit for a label; numbers count as text."""
        found = self.at(*path)
        if isinstance(found, Mapping | list):
            self._odd(path, "not a text")
            return ""
        return "" if found is None else label_text(str(found))

    def rows(self, *path: str) -> Iterator["Reading"]:
        """The objects in the list at a place, each as a reading of its own that notes here."""
        found = self.at(*path)
        if found is not None and not isinstance(found, list):
            self._odd(path, "not a list")
            return
        for row in found or ():
            if isinstance(row, Mapping):
                yield Reading(self.device, row, self.unreadable)
            else:
                self._odd((*path, "[]"), "not an object")

    def items(self, *path: str) -> Iterator[tuple[str, "Reading"]]:
        """The named objects inside the object at a place."""
        found = self.at(*path)
        if found is not None and not isinstance(found, Mapping):
            self._odd(path, "not an object")
            return
        for key, value in (found or {}).items():
            if isinstance(value, Mapping):
                yield label_text(str(key)), Reading(self.device, value, self.unreadable)

    def sample(self, name: str, value: float, **labels: str) -> Sample:
        """A sample of this device."""
        return Sample(name, {"device": self.device, **labels}, value)

    @property
    def model(self) -> str:
        """What the drive calls itself, under whichever name this version of smartctl gives it."""
        for vendor, product in (("scsi_vendor", "scsi_product"), ("vendor", "product")):
            both = " ".join(filter(None, (self.words(vendor), self.words(product))))
            if both:
                break
        return self.words("model_name") or self.words("scsi_model_name") or both


def finite(found: object) -> float | None:
    """The finite number that something is or spells, else None.

    >>> finite(5), finite("5.5"), finite(True), finite("1_0"), finite(float("nan")), finite(10**400)
    (5.0, 5.5, None, None, None, None)
    """
    if isinstance(found, bool) or not isinstance(found, int | float | str) or "_" in str(found)[:400]:
        return None
    try:
        value = float(found)
    except (ValueError, OverflowError):
        return None
    return value if math.isfinite(value) else None


def whole(found: object) -> int | None:
    """The whole number that something is or spells, with all its digits, else None.

    >>> whole(9230082287649927), whole("12"), whole(1.0), whole("h"), whole(-1)
    (9230082287649927, 12, 1, None, None)
    """
    if isinstance(found, float) and found.is_integer():
        found = int(found)
    if isinstance(found, str) and found.isdecimal() and len(found) <= 40:
        found = int(found)
    return found if isinstance(found, int) and not isinstance(found, bool) and found >= 0 else None
