"""A decision as a document: the situation, the settings in force and the time, enough to decide again elsewhere.

Each cycle leaves its decision behind; `forewarn plan` reads it and prints what the live cycle does, and why not more.
"""

from dataclasses import dataclass
from datetime import datetime

from pydantic import TypeAdapter, ValidationError

from forewarn.decide.planner import plan
from forewarn.decide.policy import PolicySettings
from forewarn.domain.plan import Plan
from forewarn.domain.situation import LadderStep, Situation
from forewarn.errors import RecordingError


@dataclass(frozen=True)
class Decision:
    """All that a plan follows from."""

    situation: Situation
    settings: PolicySettings
    now: datetime

    def plan(self) -> tuple[Plan, tuple[LadderStep, ...]]:
        """The plan and the next ladder; the same again each time."""
        return plan(self.situation, self.settings, self.now)

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
