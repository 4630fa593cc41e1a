"""The series of a round, in their order: nearly always those of the round before.

What follows from names and labels alone, such as how a series is written or which part it is of, is worked out once
and stands until a series comes, goes or changes its place. Seeing that none did is one comparison of lists, which
costs far less than to order and to hash the labels of thousands of series in each round.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Generic, TypeVar

from forewarn.domain.telemetry import Sample

Key = tuple[str, tuple[tuple[str, str], ...]]  # a series: its name, and its labels in order
T = TypeVar("T")


def key_of(sample: Sample) -> Key:
    """By which a series is the same, in whatever order its labels come.

    >>> key_of(Sample("x", {"b": "2", "a": "1"}, 1.0))
    ('x', (('a', '1'), ('b', '2')))
    """
    return sample.name, tuple(sorted(sample.labels.items()))


class Lineup(Generic[T]):
    """What `work_out` makes of samples, made anew only where their series are others than last time.

    `work_out` looks at names and labels, never at values, and whoever gives samples never changes their labels.

    >>> names = Lineup(lambda samples: [sample.name for sample in samples])
    >>> first, again = (names.of([Sample("x", {"cpu": "0"}, value)]) for value in (1.0, 2.0))
    >>> first, again is first
    (['x'], True)
    """

    def __init__(self, work_out: Callable[[Sequence[Sample]], T]) -> None:
        self._work_out = work_out
        self._names: list[str] = []
        self._labels: list[Mapping[str, str]] = []
        self._found: T | None = None

    def of(self, samples: Sequence[Sample]) -> T:
        """What stands for the series of these samples."""
        names, labels = [sample.name for sample in samples], [sample.labels for sample in samples]
        if self._found is None or names != self._names or labels != self._labels:
            self._found = self._work_out(samples)
            self._names, self._labels = names, labels
        return self._found
