"""A decision as a document: the situation, the settings in force and the time, enough to decide again elsewhere.

Each cycle leaves its decision behind; `forewarn plan` reads it and prints what the live cycle does, and why not more.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property

from pydantic import TypeAdapter, ValidationError

from forewarn.decide.authority import AuthoritySettings, permit
from forewarn.decide.breaker import trip
from forewarn.decide.planner import plan
from forewarn.decide.policy import PolicySettings, next_ladder
from forewarn.domain.plan import Plan
from forewarn.domain.situation import Breaker, LadderStep, Situation
from forewarn.errors import RecordingError


@dataclass(frozen=True)
class Decision:
    """All that a plan follows from."""

    situation: Situation
    settings: PolicySettings
    now: datetime
    authority: AuthoritySettings = field(default_factory=AuthoritySettings)

    @cached_property
    def ladder(self) -> tuple[LadderStep, ...]:
        """Where every part stands after this decision."""
        return next_ladder(self.situation, self.settings, self.now)

    @cached_property
    def breaker(self) -> Breaker:
        """How the breaker stands after this decision: as it stood, or tripped by what turned risky together."""
        text = trip(self.situation, self.ladder, self.settings.breaker, self.now)
        return replace(self.situation.breaker, text=text) if text else self.situation.breaker

    def plan(self) -> tuple[Plan, tuple[LadderStep, ...]]:
        """The plan and the next ladder; the same again each time."""
        situation = replace(self.situation, breaker=self.breaker)
        wished = plan(situation, self.ladder, self.settings, self.now)
        return permit(wished, situation, self.authority, self.now), self.ladder

    def to_json(self) -> bytes:
        return _DECISION.dump_json(self)

    @classmethod
    def from_json(cls, text: bytes, place: str) -> "Decision":
        """Read a decision. Raises RecordingError that names `place` and the first thing wrong."""
        try:
            return _DECISION.validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "the whole"
            raise RecordingError(f"{place} is not a decision: {where}: {first['msg']}") from error


_DECISION = TypeAdapter(Decision)
