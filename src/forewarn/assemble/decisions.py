"""Decides again what a loop decided, from the file that it left, and puts the plan into words."""

from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from pydantic import TypeAdapter

from forewarn.decide.decision import Decision
from forewarn.decide.differences import Comparison
from forewarn.decide.policy import PolicySettings, with_default_thresholds
from forewarn.domain.inventory import Kind
from forewarn.domain.plan import Plan
from forewarn.errors import RecordingError

FILE = "decision.json"
RUNNING_S = 300.0  # a demonstration that runs has written within these seconds
_PLAN = TypeAdapter(Plan)
_COMPARISON = TypeAdapter(Comparison)


def newest(folder: Path, prefix: str, now: datetime) -> Path:
    """The decision written last in the subfolders of `folder` whose names begin with `prefix`.

    Raises RecordingError where there is none of the last minutes: what a killed demonstration left is no news.
    """
    found: dict[Path, float] = {}
    for path in folder.glob(f"{prefix}*/{FILE}"):
        with suppress(FileNotFoundError):  # its demonstration has just ended
            written_s = path.stat().st_mtime
            if now.timestamp() - written_s < RUNNING_S:
                found[path] = written_s
    if not found:
        raise RecordingError(f"no demonstration is running here: name a decision with --snapshot FOLDER/{FILE}")
    return max(found, key=lambda path: found[path])


def read(path: Path) -> Decision:
    """A recorded decision. Raises RecordingError for a file that is none."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise RecordingError(f"cannot read {path}: {error.strerror}") from error
    return Decision.from_json(text, str(path))


def under(decision: Decision, wished: PolicySettings) -> Decision:
    """The same decision under another policy.

    Thresholds that it does not name stay as they were recorded, for they came from the models of that time.
    """
    recorded = {Kind(kind): threshold for kind, threshold in decision.settings.thresholds.items()}
    return replace(decision, settings=with_default_thresholds(wished, recorded))


def differences_as_json(comparison: Comparison) -> str:
    """The whole comparison as one JSON object."""
    return _COMPARISON.dump_json(comparison, indent=2).decode()


def as_json(plan: Plan) -> str:
    """The whole plan as one JSON object."""
    return _PLAN.dump_json(plan, indent=2).decode()


def as_text(plan: Plan) -> str:
    """One line for each move, each ticket and each rejected option."""
    counts = f"{len(plan.moves)} moves, {len(plan.proposals)} only proposed, {len(plan.verdicts)} options rejected"
    lines = [f"Plan {plan.id}: {counts}."]
    lines += (f"cordon  {c.host}: {c.why}" for c in plan.cordons)
    lines += (f"move    {m.vm_name}: {m.source} -> {m.target}  [{m.rule}] {m.reason}" for m in plan.moves)
    for proposal in plan.proposals:
        m = proposal.move
        lines.append(f"would   {m.vm_name}: {m.source} -> {m.target}  [{m.rule}] {m.reason}; not done: {proposal.why}")
    lines += (f"ticket  {t.host} {t.component}: {t.text}" for t in plan.tickets)
    lines += (f"no      {v.vm or v.component} on {v.host}: {v.text} [{v.refusal}]" for v in plan.verdicts)
    return "\n".join(lines)
