"""Builds the controller of one site from its settings: store, state, forecaster, planner's settings and executor.

What it gets from outside is the driver, the clock and the folder in which everything is kept.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import pyarrow as pa

from forewarn.act.executor import Executor
from forewarn.act.guards import Guards, GuardSettings
from forewarn.act.journal import Journal, JournalSettings
from forewarn.assemble.decisions import FILE as DECISION_FILE
from forewarn.clock import Clock
from forewarn.control import Control, ControlSettings, Memory, Mode
from forewarn.decide.policy import PolicySettings, with_default_thresholds
from forewarn.domain.events import ChangeEvent, FailureEvent
from forewarn.domain.inventory import COMPONENT_KINDS, Kind
from forewarn.domain.situation import LogLine, Severity
from forewarn.domain.telemetry import Sample
from forewarn.drivers.base import Driver
from forewarn.errors import ModelError
from forewarn.features.catalog import CATALOG
from forewarn.predict import registry
from forewarn.predict.base import Forecaster, Predictor
from forewarn.predict.joint import JointPredictor
from forewarn.predict.rules import RulePredictor, acting
from forewarn.predict.trees import TreesPredictor
from forewarn.state.changes import ChangeEvents, ChangeSettings
from forewarn.state.database import Database, DatabaseSettings
from forewarn.state.events import FailureEvents
from forewarn.state.ladder import Ladder
from forewarn.state.log import LogLines, LogSettings
from forewarn.state.requests import Requests, RequestSettings
from forewarn.state.snapshot import SnapshotFile
from forewarn.store.base import Batch
from forewarn.store.duckdb import DuckDBSettings, DuckDBStore
from forewarn.store.mapping import Mapper
from forewarn.web.settings import WebSettings


@dataclass(frozen=True)
class StateSettings:
    """What the state database keeps."""

    database: DatabaseSettings = field(default_factory=DatabaseSettings)
    journal: JournalSettings = field(default_factory=JournalSettings)
    requests: RequestSettings = field(default_factory=RequestSettings)
    log: LogSettings = field(default_factory=LogSettings)
    changes: ChangeSettings = field(default_factory=ChangeSettings)


@dataclass(frozen=True)
class PredictSettings:
    """What forecasts."""

    models: Mapping[str, str] = field(default_factory=dict)
    """Per component kind the folder or URL of a model that `forewarn train` wrote, or "rules"; a kind not named takes
    the model that comes with Forewarn, and rules where there is none."""

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.models) - set(COMPONENT_KINDS)):
            raise ValueError(f"models names {unknown[0]}; known are: {', '.join(COMPONENT_KINDS)}")


@dataclass(frozen=True)
class SiteSettings:
    """The whole configuration of a controller."""

    store: DuckDBSettings = field(default_factory=DuckDBSettings)
    state: StateSettings = field(default_factory=StateSettings)
    predict: PredictSettings = field(default_factory=PredictSettings)
    policy: PolicySettings = field(default_factory=PolicySettings)
    guards: GuardSettings = field(default_factory=GuardSettings)
    control: ControlSettings = field(default_factory=ControlSettings)
    web: WebSettings = field(default_factory=WebSettings)


def build_forecaster(settings: PredictSettings | None = None) -> Forecaster:
    """For each kind the model that is named, else the one that comes in the package; where there is none, the rules.

    Where a model says unknown, the rules of its kind are asked. Raises ModelError for a model that cannot be used.
    """
    settings = settings or PredictSettings()
    return Forecaster({kind: _predictors(kind, settings) for kind in COMPONENT_KINDS})


def _predictors(kind: Kind, settings: PredictSettings) -> tuple[Predictor, ...]:
    model = _model(kind, settings.models.get(kind, ""))
    if model is None:
        return (RulePredictor(kind),)
    return (JointPredictor(model, CATALOG), RulePredictor(kind, acting(kind)))


def _model(kind: Kind, url: str) -> TreesPredictor | None:
    """The model at `url`, the one of the package for no URL, none where rules are asked for or nothing is shipped."""
    if url == RulePredictor.name:
        return None
    if not url:
        return registry.starter(kind, CATALOG)
    model = registry.load(url, CATALOG)
    if model.kind != kind:
        raise ModelError(f"predict.models.{kind}: {url} is a model of kind {model.kind}")
    return model


def sources_sentence(forecaster: Forecaster) -> str:
    """Who forecasts what, and what it learned from."""
    by_source: dict[tuple[str, str], list[str]] = {}
    for kind, source in forecaster.sources().items():
        by_source.setdefault(source, []).append(str(kind))
    said = []
    for (name, learned_from), kinds in sorted(by_source.items(), key=lambda found: found[1]):
        learned = f", learned from {learned_from}" if learned_from != name else ""
        said.append(f"{', '.join(kinds)} by {name}{learned}")
    return f"Forecasts: {'; '.join(said)}."


class Site:
    """One controller with all that it owns. `close` leaves everything on disk as the next start wants it."""

    def __init__(self, folder: Path, clock: Clock, settings: SiteSettings) -> None:
        self.forecaster = build_forecaster(settings.predict)
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.clock, self.settings = folder, clock, settings
        self.store = DuckDBStore(folder / "telemetry.duckdb", settings.store)
        self.database = Database(f"sqlite:///{folder / 'state.sqlite'}", clock, settings.state.database)
        self.memory = Memory(
            Journal(self.database, settings.state.journal),
            Ladder(self.database),
            FailureEvents(self.database),
            Requests(self.database, settings.state.requests),
            LogLines(self.database, folder / "log.jsonl", settings.state.log),
            SnapshotFile(folder / "snapshot.json"),
            folder / DECISION_FILE,
        )
        self.changes = ChangeEvents(self.database, settings.state.changes)
        self._mapper = Mapper()
        self._log(self.store.notices, Severity.WARNING)

    def control(self, driver: Driver) -> Control:
        """The control loop over `driver`; in mode `observe` it is handed nothing that could move a VM."""
        policy = with_default_thresholds(self.settings.policy, self.forecaster.thresholds(self.settings.policy.horizon))
        acts = self.settings.control.mode is Mode.AUTOMATIC
        executor = self._executor(driver) if acts else None
        return Control(
            driver,
            self.store,
            CATALOG,
            self.forecaster,
            policy,
            self.memory,
            executor,
            self.clock,
            self.settings.control,
        )

    def take(self, shown: Mapping[str, Iterable[Sample]], now: datetime) -> None:
        """Store what the hosts' exporters show, in one batch. Safe to call from several threads."""
        batches = [self._mapper.map(host, samples, now) for host, samples in shown.items()]
        if batches:
            self.store.append(
                Batch(
                    pa.concat_tables([batch.samples for batch in batches]),
                    pa.concat_tables([batch.devices for batch in batches]),
                )
            )

    def record(self, events: Iterable[ChangeEvent | FailureEvent]) -> None:
        """Store what an agent noticed."""
        events = tuple(events)
        if failures := [event for event in events if isinstance(event, FailureEvent)]:
            self.memory.failures.record(failures)
        if changes := [event for event in events if isinstance(event, ChangeEvent)]:
            self.changes.record(changes)

    def close(self) -> None:
        self.store.close()
        self.database.close()

    def _executor(self, driver: Driver) -> Executor:
        guards = Guards(self.settings.guards, self.memory.requests.paused())
        return Executor(driver, self.memory.journal, guards, self.clock)

    def _log(self, texts: Iterable[str], severity: Severity) -> None:
        now = self.clock.now()
        self.memory.log.append(LogLine(now, severity, text) for text in texts)
