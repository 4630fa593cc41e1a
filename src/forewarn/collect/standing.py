"""What stands from round to round: which files there are, and what in them does not change.

Opening a file is most of what a round costs. A source therefore looks once at which files it has, keeps names and
limits, and opens in each round only what measures something. It looks again where the folders' stamp changes, as with
a part that comes or goes, and every so many rounds, for what no stamp shows.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from forewarn.collect.tree import Tree
from forewarn.domain.telemetry import Sample

ROUNDS = 240  # an hour of rounds at the interval by default
T = TypeVar("T")


class Standing(Generic[T]):
    """What was found when the stamp was last another, or `ROUNDS` rounds ago.

    >>> drives = Standing()
    >>> [drives.at(stamp, lambda: said) for stamp, said in (("one drive", "sda"), ("one drive", ""), ("two", "sdb"))]
    ['sda', 'sda', 'sdb']
    """

    def __init__(self) -> None:
        self._found: tuple[object, T] | None = None
        self._left = 0

    def at(self, stamp: object, look: Callable[[], T]) -> T:
        """What stands, by a stamp that differs where it may no longer hold; `look` finds it where it does not."""
        if self._found is None or self._left == 0 or self._found[0] != stamp:
            self._found, self._left = (stamp, look()), ROUNDS
        self._left -= 1
        return self._found[1]


@dataclass(frozen=True, slots=True)
class NumberFile:
    """A file with one number, the series that it is, and the factor to its unit."""

    file: str
    name: str
    labels: Mapping[str, str]
    factor: float = 1.0

    def read(self, tree: Tree) -> Sample | None:
        """Its sample now; None where there is no number."""
        value = tree.number(self.file)
        return None if value is None else Sample(self.name, self.labels, value * self.factor)


def numbers(tree: Tree, files: Iterable[NumberFile]) -> Iterator[Sample]:
    """What these files say now."""
    for file in files:
        if (sample := file.read(tree)) is not None:
            yield sample


def kept(tree: Tree, files: Iterable[NumberFile]) -> tuple[list[Sample], list[NumberFile]]:
    """What constant files say, and those of them that say nothing yet, which are to be asked again."""
    asked = [(file, file.read(tree)) for file in files]
    return [said for _, said in asked if said is not None], [file for file, said in asked if said is None]
