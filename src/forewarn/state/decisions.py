"""The decision log: a line of JSON for each decision that led to something, with what it was made from.

A line names the decision's own document by its hash, and every model that had a say by name and version: together they
say from what it followed, long after.
"""

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from forewarn.domain.plan import Plan
from forewarn.domain.situation import Situation
from forewarn.state.lines import append_lines


@dataclass(frozen=True, slots=True)
class DecisionLogSettings:
    """How much of the decision log is kept."""

    file_bytes_max: int = 64 * 1024**2
    """Bytes of `decisions.jsonl`, after which it becomes `decisions.jsonl.1` and a new one starts; two at most."""


class DecisionLog:
    """The lines of one file. A decision that changes nothing, right after one that changed nothing, is not written."""

    def __init__(self, path: Path, settings: DecisionLogSettings | None = None) -> None:
        self._path, self._settings = path, settings or DecisionLogSettings()
        self._last = ""

    def append(self, time: datetime, document: bytes, plan: Plan, situation: Situation) -> None:
        """Write down what was decided from `document`, unless it is what was decided last."""
        decided = {
            "moves": [_move(move.vm, move.source, move.target, move.rule) for move in plan.moves],
            "proposals": [
                {**_move(p.move.vm, p.move.source, p.move.target, p.move.rule), "not_done": p.why}
                for p in plan.proposals
            ],
            "cordons": [cordon.host for cordon in plan.cordons],
            "tickets": [ticket.component for ticket in plan.tickets],
            "breaker": situation.breaker.text,
            "paused": situation.paused,
        }
        said = json.dumps(decided)
        if said == self._last:
            return
        self._last = said
        models = sorted({forecast.model for forecast in situation.forecasts if forecast.model})
        digest = hashlib.sha256(document).hexdigest()
        line = {"time": time.isoformat(), "plan": plan.id, "decision": digest, "models": models, **decided}
        append_lines(self._path, [line], self._settings.file_bytes_max)


def _move(vm: str, source: str, target: str, rule: str) -> dict[str, str]:
    return {"vm": vm, "source": source, "target": target, "rule": rule}
