"""Each forecast above `watch` is judged afterwards: did the part fail within the horizon, as it was said?

One forecast per part is open at a time, so that a part which stays at risk for days is counted once. It is confirmed by
a failure of the part within its horizon, refuted by a person or by a horizon that passed while the part was seen to
live, and censored where nobody can know: the part was taken out, or nothing was heard of it. From what was judged come
the precision of each kind of forecast at this very site and its lower bound, which automation has to earn.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from scipy.stats import beta
from sqlalchemy import Connection, Row, func, insert, select, update

from forewarn.domain.authority import Evidence
from forewarn.domain.events import FailureEvent, LabelState
from forewarn.domain.inventory import COMPONENT_KINDS, Kind
from forewarn.domain.risk import FailureForecast
from forewarn.domain.situation import LadderStep, Rung
from forewarn.state.database import Database
from forewarn.state.schema import LEDGER


@dataclass(frozen=True, slots=True)
class LedgerSettings:
    """How forecasts are judged."""

    evidence_days: float = 365.0
    """Days for which a judged forecast counts as evidence; older ones tell of other models and other hardware."""

    confidence: float = 0.95
    """Confidence (0..1) of the lower bound of precision."""

    failure_confidence_min: float = 0.5
    """Confidence (0..1) of a failure event from which on it confirms a forecast. One I/O error or one lost link is
    weaker, and no proof."""

    def __post_init__(self) -> None:
        if not 0 < self.confidence < 1:
            raise ValueError(f"confidence is {self.confidence:g}; it lies between 0 and 1")


@dataclass(frozen=True, slots=True)
class Judged:
    """A forecast of the ledger, and what became of it. `judged_at` is None while it is open."""

    component: str
    kind: Kind
    host: str
    model: str
    made_at: datetime
    due_at: datetime
    probability: float
    threshold: float
    state: LabelState
    judged_at: datetime | None
    because: str


class Ledger:
    """The forecasts of this site that said more than `watch`, and how they came out."""

    def __init__(self, database: Database, settings: LedgerSettings | None = None) -> None:
        self._database = database
        self._settings = settings or LedgerSettings()

    def record(
        self,
        forecasts: Iterable[FailureForecast],
        ladder: Iterable[LadderStep],
        threshold: Callable[[Kind], float],
        horizon: timedelta,
    ) -> None:
        """Open a line for each part above `watch` that has none."""
        raised = {step.component for step in ladder if step.rung not in (Rung.CLEAR, Rung.WATCH)}
        told = [forecast for forecast in forecasts if forecast.component in raised and not forecast.unknown]
        if not told:
            return
        with self._database.write() as connection:
            waiting = set(connection.scalars(select(LEDGER.c.component).where(LEDGER.c.state == LabelState.OPEN)))
            rows = [_row(f, threshold(f.kind), horizon) for f in told if f.component not in waiting]
            if rows:
                connection.execute(insert(LEDGER), rows)

    def judge(self, failures: Sequence[FailureEvent], forecasts: Sequence[FailureForecast], now: datetime) -> None:
        """Confirm what failed, and close what is due. `failures` are those since the oldest open line was made."""
        alive = {forecast.component for forecast in forecasts if not forecast.unknown}
        present = {forecast.component for forecast in forecasts}
        broken: dict[str, list[FailureEvent]] = {}
        for event in failures:
            sure = event.confidence >= self._settings.failure_confidence_min or event.state is LabelState.CONFIRMED
            if event.component and sure and event.state is not LabelState.REFUTED:
                broken.setdefault(event.component, []).append(event)
        with self._database.write() as connection:
            for row in connection.execute(select(LEDGER).where(LEDGER.c.state == LabelState.OPEN)).all():
                within = [e for e in broken.get(row.component, ()) if row.made_at <= e.time <= row.due_at]
                if within:
                    _close(connection, row.id, LabelState.CONFIRMED, now, f"it failed: {within[0].text}")
                elif now > row.due_at:
                    _close(connection, row.id, *_at_due(row.component, alive, present, now))

    def say(self, component: str, state: LabelState, why: str) -> bool:
        """Let a person judge the latest forecast about a part; False if there is none.

        A person overrules what was concluded from the horizon alone.
        """
        now = self._database.clock.now()
        latest = select(LEDGER.c.id).where(LEDGER.c.component == component).order_by(LEDGER.c.id.desc()).limit(1)
        with self._database.write() as connection:
            number = connection.execute(latest).scalar()
            if number is None:
                return False
            _close(connection, number, state, now, why)
        return True

    def open_since(self) -> datetime | None:
        """When the oldest forecast that is not judged yet was made."""
        with self._database.read() as connection:
            oldest = select(func.min(LEDGER.c.made_at)).where(LEDGER.c.state == LabelState.OPEN)
            return connection.execute(oldest).scalar()

    def recent(self, limit: int = 100) -> tuple[Judged, ...]:
        """The latest forecasts, the newest first."""
        with self._database.read() as connection:
            rows = connection.execute(select(LEDGER).order_by(LEDGER.c.id.desc()).limit(limit))
            return tuple(_judged(row) for row in rows)

    def evidence(self) -> tuple[Evidence, ...]:
        """For each kind of part, how the forecasts of this site have come out."""
        since = self._database.clock.now() - timedelta(days=self._settings.evidence_days)
        counted = (
            select(LEDGER.c.kind, LEDGER.c.state, func.count())
            .where(LEDGER.c.judged_at >= since)
            .group_by(LEDGER.c.kind, LEDGER.c.state)
        )
        with self._database.read() as connection:
            counts = {(kind, state): number for kind, state, number in connection.execute(counted)}
        return tuple(self._evidence(kind, counts) for kind in COMPONENT_KINDS)

    def _evidence(self, kind: Kind, counts: dict[tuple[str, str], int]) -> Evidence:
        confirmed, refuted, censored = (
            counts.get((kind, state), 0) for state in (LabelState.CONFIRMED, LabelState.REFUTED, LabelState.CENSORED)
        )
        low = precision_low(confirmed, refuted, self._settings.confidence)
        return Evidence(kind, confirmed, refuted, censored, low)


def precision_low(confirmed: int, refuted: int, confidence: float = 0.95) -> float:
    """The one-sided lower bound of precision after Clopper and Pearson (1934): exact, hence never too hopeful.

    >>> round(precision_low(20, 0), 3), precision_low(0, 5)
    (0.861, 0.0)
    """
    if confirmed == 0:
        return 0.0
    return float(beta.ppf(1.0 - confidence, confirmed, refuted + 1))


def _at_due(component: str, alive: set[str], present: set[str], now: datetime) -> tuple[LabelState, datetime, str]:
    if component in alive:
        return LabelState.REFUTED, now, "its horizon passed, and the part is at work"
    if component in present:
        return LabelState.CENSORED, now, "its horizon passed, and nothing is heard of the part"
    return LabelState.CENSORED, now, "the part was taken out before its horizon had passed"


def _close(connection: Connection, number: int, state: LabelState, now: datetime, because: str) -> None:
    same = LEDGER.c.id == number
    connection.execute(update(LEDGER).where(same).values(state=state, judged_at=now, because=because))


def _row(forecast: FailureForecast, threshold: float, horizon: timedelta) -> dict[str, object]:
    return {
        "component": forecast.component,
        "kind": forecast.kind,
        "host": forecast.host,
        "model": forecast.model,
        "made_at": forecast.time,
        "due_at": forecast.time + horizon,
        "probability": forecast.within(horizon),
        "threshold": threshold,
        "state": LabelState.OPEN,
        "judged_at": None,
        "because": "",
    }


def _judged(row: Row[tuple[object, ...]]) -> Judged:
    fields = dict(row._mapping)
    del fields["id"]
    return Judged(**{**fields, "kind": Kind(fields["kind"]), "state": LabelState(fields["state"])})
