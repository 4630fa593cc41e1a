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
from forewarn.clock import Clock
from forewarn.control import Control, ControlSettings, Memory, Mode
from forewarn.decide.policy import PolicySettings, with_default_thresholds
from forewarn.domain.inventory import COMPONENT_KINDS
from forewarn.domain.situation import LogLine, Severity
from forewarn.domain.telemetry import Sample
from forewarn.drivers.base import Driver
from forewarn.features.catalog import CATALOG
from forewarn.predict.base import Forecaster
from forewarn.predict.rules import RulePredictor
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


@dataclass(frozen=True)
class SiteSettings:
    """The whole configuration of a controller."""

    store: DuckDBSettings = field(default_factory=DuckDBSettings)
    state: StateSettings = field(default_factory=StateSettings)
    policy: PolicySettings = field(default_factory=PolicySettings)
    guards: GuardSettings = field(default_factory=GuardSettings)
    control: ControlSettings = field(default_factory=ControlSettings)
    web: WebSettings = field(default_factory=WebSettings)


def build_forecaster() -> Forecaster:
    """The rules for every kind of component."""
    return Forecaster({kind: (RulePredictor(kind),) for kind in COMPONENT_KINDS})


class Site:
    """One controller with all that it owns. `close` leaves everything on disk as the next start wants it."""

    def __init__(self, folder: Path, clock: Clock, settings: SiteSettings) -> None:
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
            folder / "decision.json",
        )
        self._mapper = Mapper()
        self._log(self.store.notices, Severity.WARNING)

    def control(self, driver: Driver) -> Control:
        """The control loop over `driver`; in mode `observe` it is handed nothing that could move a VM."""
        forecaster = build_forecaster()
        policy = with_default_thresholds(self.settings.policy, forecaster.thresholds(self.settings.policy.horizon))
        acts = self.settings.control.mode is Mode.AUTOMATIC
        executor = self._executor(driver) if acts else None
        return Control(
            driver, self.store, CATALOG, forecaster, policy, self.memory, executor, self.clock, self.settings.control
        )

    def take(self, shown: Mapping[str, Iterable[Sample]], now: datetime) -> None:
        """Store what the hosts' exporters show, in one batch."""
        batches = [self._mapper.map(host, samples, now) for host, samples in shown.items()]
        if batches:
            self.store.append(
                Batch(
                    pa.concat_tables([batch.samples for batch in batches]),
                    pa.concat_tables([batch.devices for batch in batches]),
                )
            )

    def close(self) -> None:
        self.store.close()
        self.database.close()

    def _executor(self, driver: Driver) -> Executor:
        guards = Guards(self.settings.guards, self.memory.requests.paused())
        return Executor(driver, self.memory.journal, guards, self.clock)

    def _log(self, texts: Iterable[str], severity: Severity) -> None:
        now = self.clock.now()
        self.memory.log.append(LogLine(now, severity, text) for text in texts)
