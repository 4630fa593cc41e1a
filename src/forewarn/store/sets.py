"""What hosts tell of sets whose parts stand in for each other, such as arrays of drives, and when they told it last."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from forewarn.domain.redundancy import HOLDING, SPARES, Redundancy
from forewarn.domain.telemetry import Sample

_Name = TypeVar("_Name")
_Fact = TypeVar("_Fact")


@dataclass
class Sets:
    """The sets of a host whose parts stand in for each other, each fact with the time when it was told last."""

    members: dict[tuple[str, str, str], tuple[str, datetime]] = field(default_factory=dict)  # kind, set, device: state
    spares: dict[tuple[str, str], tuple[int, datetime]] = field(default_factory=dict)  # kind, set

    def __len__(self) -> int:
        """How many facts are remembered."""
        return len(self.members) + len(self.spares)

    def learn(self, sample: Sample, time: datetime) -> None:
        """Take in a series of redundancy."""
        kind, group = sample.labels.get("kind", ""), sample.labels.get("group", "")
        if sample.name == SPARES:
            number = max(0, int(sample.value)) if math.isfinite(sample.value) else 0
            _renew(self.spares, (kind, group), (number, time))
        else:
            key = (kind, group, sample.labels.get("device", ""))
            _renew(self.members, key, (sample.labels.get("state", ""), time))

    def standing(self, since: datetime) -> Iterator[tuple[str, str, Redundancy]]:
        """Kind and device of every part that holds what its set holds; nothing that was last told before `since`."""
        for (kind, group, device), (state, told) in sorted(self.members.items()):
            spares = self.spares.get((kind, group))
            if state in HOLDING and told >= since and spares is not None and spares[1] >= since:
                yield kind, device, Redundancy(group, spares[0])


def _renew(facts: dict[_Name, tuple[_Fact, datetime]], name: _Name, fact: tuple[_Fact, datetime]) -> None:
    """Keep a fact, unless a newer one came before it."""
    if name not in facts or facts[name][1] <= fact[1]:
        facts[name] = fact
