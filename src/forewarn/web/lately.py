"""What changed in the last hours, in sentences: moves told together by host, and the louder lines of the log.

Pure. A move that is told here is not told again by its lines in the log.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from forewarn.domain.inventory import Criticality
from forewarn.domain.plan import MoveState, Outcome
from forewarn.domain.situation import LogLine, Severity, Snapshot
from forewarn.web.words import count, listing

_TO_WATCH = re.compile(r"(?P<host>\S+): from '\w+' to 'watch': (?:(?P<parts>\d+) parts)?")
_NAMED = 3  # names that a sentence gives before it counts the rest


@dataclass(frozen=True, slots=True)
class Change:
    """One sentence, with the time of the latest thing that it tells."""

    time: datetime
    severity: Severity
    text: str
    host: str = ""


def lately(snapshot: Snapshot, since: datetime) -> tuple[Change, ...]:
    """What changed after `since`, the newest first."""
    moves = [o for o in snapshot.moves if o.time >= since and o.state is not MoveState.INTENDED]
    told = {_way(outcome) for outcome in snapshot.moves}
    lines = [
        line
        for line in snapshot.log
        if line.time >= since and line.severity is not Severity.INFO and not any(way in line.text for way in told)
    ]
    watched = [line for line in lines if _TO_WATCH.match(line.text)]
    others = [line for line in lines if not _TO_WATCH.match(line.text)]
    found = [*_leaving(moves), *_watching(watched), *_repeated(others)]
    return tuple(sorted(found, key=lambda change: (change.time, change.text), reverse=True))


def _way(outcome: Outcome) -> str:
    """How every line of the log about a move names it."""
    move = outcome.move
    return f"{move.vm_name} from {move.source} to {move.target}"


def _leaving(moves: Iterable[Outcome]) -> Iterable[Change]:
    """A sentence per host that VMs left or were to leave."""
    by_source: dict[str, list[Outcome]] = {}
    for outcome in moves:
        by_source.setdefault(outcome.move.source, []).append(outcome)
    for source, outcomes in by_source.items():
        failed = any(outcome.state is MoveState.FAILED for outcome in outcomes)
        time = max(outcome.time for outcome in outcomes)
        yield Change(time, Severity.WARNING if failed else Severity.NOTICE, _departures(source, outcomes), source)


def _departures(source: str, outcomes: Sequence[Outcome]) -> str:
    states = Counter(outcome.state for outcome in outcomes)
    gone = [outcome.move for outcome in outcomes if outcome.state is MoveState.SUCCEEDED]
    parts = []
    if gone:
        critical = sum(move.criticality is Criticality.HIGH for move in gone)
        urgent = f" ({critical} critical)" if critical else ""
        parts.append(f"{count(len(gone), 'VM')}{urgent} moved away to {_names(move.target for move in gone)}")
    if states[MoveState.RUNNING]:
        parts.append(f"{count(states[MoveState.RUNNING], 'VM')} on the way")
    for state, words in ((MoveState.FAILED, "failed"), (MoveState.CANCELLED, "was cancelled")):
        if states[state]:
            because = next((outcome.text for outcome in outcomes if outcome.state is state and outcome.text), "")
            plural = words.replace("was", "were") if states[state] > 1 else words
            parts.append(f"{count(states[state], 'move')} {plural}" + (f" ({because})" if because else ""))
    if states[MoveState.REFUSED]:
        parts.append(f"{count(states[MoveState.REFUSED], 'move')} refused before the start")
    return f"{source}: {'; '.join(parts)}"


def _names(names: Iterable[str]) -> str:
    """Names as a sentence gives them: the commonest first, the rest counted."""
    found = [name for name, _ in Counter(names).most_common()]
    more = [f"{len(found) - _NAMED} more"] if len(found) > _NAMED else []
    return listing([*found[:_NAMED], *more])


def _watching(lines: Sequence[LogLine]) -> Iterable[Change]:
    """One sentence for every part that began to be watched; few of them are told as they are."""
    if len(lines) <= 1:
        yield from _repeated(lines)
        return
    matches = [match for line in lines if (match := _TO_WATCH.match(line.text))]
    parts = sum(int(match["parts"] or 1) for match in matches)
    text = f"{count(parts, 'time')} a part came to be watched, on {_names(match['host'] for match in matches)}"
    yield Change(max(line.time for line in lines), Severity.NOTICE, text)


def _repeated(lines: Iterable[LogLine]) -> Iterable[Change]:
    """Each text once, with how often it came."""
    by_text: dict[str, list[LogLine]] = {}
    for line in lines:
        by_text.setdefault(line.text, []).append(line)
    for text, same in by_text.items():
        newest = max(same, key=lambda line: line.time)
        often = f" ({len(same)} times)" if len(same) > 1 else ""
        yield Change(newest.time, newest.severity, text + often, newest.host)
