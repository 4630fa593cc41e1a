"""Room for a VM that found none: planned arrivals of a host give way, if all of them together then gain more.

A plan made VM by VM can spend its last room badly. Each VM that found no place is tried on the hosts that receive
others: one of those, the smallest or those that gain the least, go elsewhere or stay where they are, and in turn others
may make room for them. Of all such exchanges the one that gains the most is made, and none that gains nothing. No VM
that the rule binds stays behind for one that has to pay. How many are tried is bounded, whatever the size of the plan.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from forewarn.decide.candidates import Candidate
from forewarn.decide.placement import Projection
from forewarn.decide.weighing import Placement
from forewarn.domain.inventory import Host

DEPTH = 1  # of those who give way, how many more may give way to them in turn
LEAST = 1e-9  # of a gain, in weighted minutes: what rounding makes is none

Fit = Callable[[Candidate, Host], Placement | None]
Find = Callable[[Candidate], Placement | None]


@dataclass(frozen=True, slots=True)
class Exchange:
    """What is done one after the other: placements made (True) and given up (False)."""

    steps: tuple[tuple[bool, Placement], ...]

    @property
    def gain(self) -> float:
        """What all of them gain together, in weighted minutes of outage."""
        return sum(placement.worth.net if made else -placement.worth.net for made, placement in self.steps)

    @property
    def homeless(self) -> tuple[Candidate, ...]:
        """Those who had a place and have none now."""
        last = {placement.vm.id: (made, placement.candidate) for made, placement in self.steps}
        return tuple(candidate for made, candidate in last.values() if not made)


class Repacking:
    """The placements of a plan (`placed`, by VM), and the exchanges among them.

    `fit` says whether one host takes a VM, `find` looks through all; both see what the projection carries. `hosts` is
    how many hosts are tried for a VM, `trials` how many exchanges in all.
    """

    def __init__(
        self, projection: Projection, placed: dict[str, Placement], fit: Fit, find: Find, hosts: int, trials: int
    ) -> None:
        self._projection, self._placed = projection, placed
        self._fit, self._find, self._hosts, self._trials = fit, find, hosts, trials
        self._done: list[tuple[bool, Placement]] = []

    def settle(self, newcomer: Candidate) -> Exchange | None:
        """Find a place for a VM, a free one or by the exchange that gains the most; None where none gains anything."""
        free = self._find(newcomer)
        best = Exchange(((True, free),)) if free else self._best(newcomer, DEPTH)
        if best is not None:
            self._apply(best)
        return best

    def _best(self, newcomer: Candidate, depth: int) -> Exchange | None:
        tried = (each for name in self._receiving()[: self._hosts] for each in self._exchanges(newcomer, name, depth))
        return max(tried, key=lambda each: each.gain, default=None)

    def _receiving(self) -> list[str]:
        """The hosts that planned moves go to, those first whose arrivals gain the least."""
        gains: dict[str, float] = {}
        for placement in self._placed.values():
            gains[placement.target.host.name] = gains.get(placement.target.host.name, 0.0) + placement.worth.net
        return sorted(gains, key=lambda name: (gains[name], name))

    def _exchanges(self, newcomer: Candidate, name: str, depth: int) -> Iterator[Exchange]:
        """The exchanges that bring the newcomer to this host and gain something."""
        here = [each for each in self._placed.values() if each.target.host.name == name]
        for leaving in _sets(here):
            if self._trials <= 0:
                return
            self._trials -= 1
            before = len(self._done)
            fits = self._try(newcomer, name, leaving, depth)
            found = Exchange(tuple(self._done[before:]))
            self._undo(before)
            if fits and found.gain > LEAST and (newcomer.bound or not any(one.bound for one in found.homeless)):
                yield found

    def _try(self, newcomer: Candidate, name: str, leaving: Iterable[Placement], depth: int) -> bool:
        """Do it: those who leave give way, the newcomer comes, and those who left look for another place."""
        for placement in leaving:
            self._do(False, placement)
        arrived = self._fit(newcomer, self._projection.host(name))
        if arrived is None:
            return False
        self._do(True, arrived)
        for placement in sorted(leaving, key=lambda each: (-each.worth.net, each.vm.id)):
            if found := self._find(placement.candidate):
                self._do(True, found)
            elif depth and (further := self._best(placement.candidate, depth - 1)):
                self._apply(further)
        return True

    def _apply(self, exchange: Exchange) -> None:
        for made, placement in exchange.steps:
            self._do(made, placement)

    def _undo(self, before: int) -> None:
        for made, placement in reversed(self._done[before:]):
            self._do(not made, placement)
        del self._done[before:]

    def _do(self, made: bool, placement: Placement) -> None:
        self._done.append((made, placement))
        if made:
            self._projection.place(placement.vm, placement.target.host.name)
            self._placed[placement.vm.id] = placement
        else:
            self._projection.leave(placement.vm, placement.target.host.name)
            del self._placed[placement.vm.id]


def _sets(here: list[Placement]) -> Iterator[list[Placement]]:
    """Who might give way together: each alone, those that gain the least, those that are the smallest."""
    cheap = sorted(here, key=lambda each: (each.worth.net, each.vm.id))
    small = sorted(here, key=lambda each: (each.vm.memory_bytes, each.vm.id))
    yield from ([each] for each in cheap)
    for count in range(2, len(here) + 1):
        yield cheap[:count]
        yield small[:count]
