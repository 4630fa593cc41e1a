"""What a rule is made of: signs with their grades, what excuses them, base rates. The rules are `rule_table.py`'s."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from forewarn.domain.inventory import Kind


class Comparison(StrEnum):
    """How a feature's value is held against a limit."""

    AT_LEAST = "at least"
    AT_MOST = "at most"
    BIT = "has the bit"
    NEAR_ZERO = "at most so far from 0"


@dataclass(frozen=True, slots=True)
class Grade:
    """From `limit` on: P(failure within 30 days), and the time in which half of those failures come (None: evenly)."""

    limit: float
    probability: float
    half_life: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Excuse:
    """What explains signs of a part from outside of it: while it holds, they say nothing of the part.

    `feature` looks back as far as the signs do. While `now`, the same quantity as of now, meets the limit too, a person
    is told what to look at: `look_at`, with the part's name for `{device}`.
    """

    feature: str
    now: str
    comparison: Comparison
    limit: float
    reason: str
    look_at: str
    source: str


@dataclass(frozen=True, slots=True)
class Sign:
    """One feature and what its values mean, mildest grade first; the worst grade reached counts.

    Signs of one `family` tell of the same trouble in other words or windows, so only the worst of a family counts;
    families are independent hazards. `only_if` is a further feature that must reach a value too; under any of `unless`
    the sign is not shown.
    """

    kind: Kind
    feature: str
    grades: tuple[Grade, ...]
    source: str
    family: str
    comparison: Comparison = Comparison.AT_LEAST
    only_if: tuple[str, Comparison, float] | None = None
    unless: tuple[Excuse, ...] = ()


@dataclass(frozen=True, slots=True)
class Base:
    """How often a part of this kind fails in a year without any sign."""

    per_year: float
    source: str
