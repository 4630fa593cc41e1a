"""What people ask of a controller on its own machine, and what they tell of failures: straight in the database.

Requests wait there until the controller takes them, at its next cycle. Each is audited with the user of the operating
system who made it.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa

from forewarn import event_lines
from forewarn.act.cordons import Cordons
from forewarn.assemble.kept import Kept, opened
from forewarn.assemble.site import DATABASE_FILE
from forewarn.clock import Clock
from forewarn.domain.events import FailureEvent, LabelState
from forewarn.domain.inventory import Kind
from forewarn.drivers.base import Cordoner
from forewarn.drivers.none import ObservedDriver
from forewarn.errors import ConfigurationError, RecordingError, StateError
from forewarn.ledger import Judged, Ledger
from forewarn.state.events import FailureEvents
from forewarn.state.leadership import Leadership
from forewarn.state.requests import Request, RequestKind, Requests

BAD_LINES_TOLD = 10
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Desk:
    """The state of one site, as a person at its command line may use it."""

    requests: Requests
    failures: FailureEvents
    ledger: Ledger
    kept: Kept

    def ask(self, kind: RequestKind, why: str, args: Mapping[str, str] | None = None) -> Request:
        """Leave a request for the controller. Raises StateError without a reason."""
        given = {name: value for name, value in (args or {}).items() if value}
        made = self.requests.make(kind, self.kept.who, why, given)
        self.kept.record(f"request.{kind}", f"request {made.id}", why, given)
        return made

    def add_failure(self, event: FailureEvent) -> None:
        """Write down a failure that a person saw. Raises StateError for one that is known, or without a cause."""
        if not event.text.strip():
            raise StateError("say what was seen with --reason: models learn from it")
        if not self.failures.record([replace(event, source=self.kept.who)]):
            raise StateError(f"that failure of {event.component or event.host} is written down already")
        self.kept.record("failures.add", event.component or event.host, event.text, {"host": event.host})

    def import_failures(self, path: Path, why: str) -> tuple[int, int]:
        """Take over the failures in a file of JSON lines: all, or none. Returns how many were new, and how many known.

        Raises StateError without a reason, RecordingError for a file that cannot be read or whose lines are not all
        failures, with every such line (the first `BAD_LINES_TOLD`).
        """
        if not why.strip():
            raise StateError("say where these failures come from with --reason: models learn from them")
        events = _failures_of(path)
        sourced = [event if event.source else replace(event, source=self.kept.who) for event in events]
        new = len(self.failures.record(sourced))
        self.kept.record("failures.import", path.name, why, {"new": str(new), "known": str(len(events) - new)})
        return new, len(events) - new

    def judge(self, component: str, state: LabelState, why: str) -> tuple[int, bool]:
        """Say whether a part really failed, or was to fail: of its failures how many, and whether of its forecast.

        Raises StateError if nothing is known of the part, or without a reason.
        """
        if not why.strip():
            raise StateError("say why with --reason: models learn from it")
        events = [event for event in self._all_failures() if event.component == component]
        for event in events:
            self.failures.judge(event, state)
        forecast = self.ledger.say(component, state, f"{self.kept.who}: {why}")
        if not events and not forecast:
            raise StateError(f"neither a failure nor a forecast of {component!r} is known here: see `failures list`")
        self.kept.record(f"failures.{state}", component, why, {})
        return len(events), forecast

    def list_failures(self) -> tuple[tuple[FailureEvent, ...], tuple[Judged, ...]]:
        """Every failure that is known, and the latest forecasts with what became of them."""
        return self._all_failures(), self.ledger.recent()

    def release(self, cordoner: Cordoner, why: str) -> tuple[str, ...]:
        """Undo what Forewarn has set. A controller is asked to, and to pause; if none runs, it is done here too.

        Returns a sentence for each thing done. Raises StateError without a reason, and what the driver raises.
        """
        self.ask(RequestKind.RELEASE, why)
        if self._controller_runs():
            return ("the controller was asked to pause and to lift every cordon: see its log",)
        lifted = Cordons(cordoner, self.kept.database).release(why)
        self.kept.record("release", "every cordon", why, {"hosts": " ".join(host for host, _ in lifted)})
        return tuple(text for _, text in lifted) or ("nothing of Forewarn's was set",)

    def _controller_runs(self) -> bool:
        ends = Leadership(self.kept.database).expires_at()
        return ends is not None and ends > self.kept.clock.now()

    def _all_failures(self) -> tuple[FailureEvent, ...]:
        return self.failures.between(LONG_AGO, self.kept.clock.now() + timedelta(days=1))


@contextmanager
def desk(folder: Path, configuration: Path | None, environment: Mapping[str, str]) -> Iterator[Desk]:
    """Open the state of `folder`. Raises StateError where none is kept."""
    if not (folder / DATABASE_FILE).exists():
        raise StateError(f"nothing is kept in {folder}: name the folder of the controller with --state")
    with opened(folder, configuration, environment) as kept:
        requests = Requests(kept.database, kept.settings.state.requests)
        yield Desk(requests, FailureEvents(kept.database), Ledger(kept.database, kept.settings.ledger), kept)


def cordoner(clock: Clock) -> Cordoner:
    """What lifts cordons without a controller. Where hosts are only watched, none can ever have been set."""
    return ObservedDriver(lambda: pa.table({}), clock)


def failure(host: str, component: str, kind: str, at: str, text: str, now: datetime) -> FailureEvent:
    """A failure as it was typed. Raises ConfigurationError with the first thing wrong."""
    if not component and not host:
        raise ConfigurationError("name the part with --component, the host with --host, or both")
    named = kind or component.partition(":")[0] or Kind.HOST
    if named not in set(Kind):
        raise ConfigurationError(f"--kind {named}: known are {', '.join(Kind)}")
    return FailureEvent(moment(at, now), host, Kind(named), component, "", text, state=LabelState.CONFIRMED)


def _failures_of(path: Path) -> list[FailureEvent]:
    try:
        body = path.read_bytes()
    except OSError as problem:
        raise RecordingError(f"{path} cannot be read: {problem.strerror}") from problem
    events, wrong = event_lines.read_failures(body, event_lines.Limits())
    if wrong:
        more = f"; and {len(wrong) - BAD_LINES_TOLD} lines more" if len(wrong) > BAD_LINES_TOLD else ""
        raise RecordingError(f"{path}: nothing is imported: {'; '.join(wrong[:BAD_LINES_TOLD])}{more}")
    if not events:
        raise RecordingError(f"{path} holds no failures: one JSON object in each line is expected")
    return events


def moment(text: str, now: datetime) -> datetime:
    """A time as it was typed: ISO 8601, UTC where it names no zone; or from now: `90m`, `4h`, `7d`; empty: now."""
    units = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}
    if not text:
        return now
    if text[:-1].isdecimal() and text[-1] in units:
        return now + int(text[:-1]) * units[text[-1]]
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigurationError(f"{text!r} is no time: write 2026-01-05T02:00:00Z, or 90m, 4h, 7d from now") from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)
