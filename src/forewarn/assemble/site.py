"""Builds the controller of one site from its settings: store, state, forecaster, planner's settings and executor.

What it gets from outside is the driver, the clock and the folder in which everything is kept.
"""

import socket
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

from forewarn import upkeep
from forewarn.act import cordons
from forewarn.act.cordons import Cordons, CordonSettings
from forewarn.act.executor import Executor
from forewarn.act.guards import Guards, GuardSettings
from forewarn.act.journal import Journal, JournalSettings
from forewarn.act.orders import Orders
from forewarn.alerts.settings import AlertSettings
from forewarn.assemble.alerts import prepare
from forewarn.assemble.decisions import FILE as DECISION_FILE
from forewarn.assemble.placing import DriverSettings, Placing, place
from forewarn.assemble.telemetry import StoreSettings, open_store
from forewarn.assemble.write_back import WriteBack
from forewarn.clock import Clock
from forewarn.control import Control, ControlSettings, Hands, Memory, Rules
from forewarn.decide.authority import AuthoritySettings
from forewarn.decide.policy import PolicySettings, with_default_thresholds
from forewarn.decide.windows import PlannedWindow
from forewarn.domain.authority import Mode
from forewarn.domain.events import ChangeEvent, FailureEvent
from forewarn.domain.inventory import COMPONENT_KINDS, Kind
from forewarn.domain.situation import LogLine, Severity, Snapshot
from forewarn.domain.telemetry import Sample
from forewarn.drivers.base import Driver, Watched
from forewarn.drivers.libvirt.settings import LibvirtSettings
from forewarn.drivers.none import ObservedDriver
from forewarn.errors import ModelError
from forewarn.features.catalog import CATALOG
from forewarn.ledger import Ledger, LedgerSettings
from forewarn.predict import registry
from forewarn.predict.base import Forecaster, Predictor
from forewarn.predict.joint import JointPredictor
from forewarn.predict.rules import RulePredictor, acting
from forewarn.predict.shapes import SERVED
from forewarn.predict.trees import TreesPredictor
from forewarn.state.audit import Audit, AuditSettings
from forewarn.state.breaker import BreakerState
from forewarn.state.changes import ChangeEvents, ChangeSettings
from forewarn.state.credentials import Credentials, CredentialSettings
from forewarn.state.database import Database, DatabaseSettings
from forewarn.state.decisions import DecisionLog, DecisionLogSettings
from forewarn.state.events import FailureEvents
from forewarn.state.grants import Grants
from forewarn.state.ladder import Ladder
from forewarn.state.leadership import Leadership, LeaseSettings, own_name
from forewarn.state.log import LogLines, LogSettings
from forewarn.state.requests import Requests, RequestSettings
from forewarn.state.snapshot import SnapshotFile
from forewarn.state.windows import Windows
from forewarn.store.arrivals import Arrivals, ArrivalSettings
from forewarn.store.mapping import Mapper, MappingSettings
from forewarn.upkeep import Upkeep, UpkeepSettings
from forewarn.web.app import create_app
from forewarn.web.server import Server, serve
from forewarn.web.settings import WebSettings

AUDIT_FILE = "audit.jsonl"
JUDGED_MAX = 10_000  # forecasts of the ledger by which a model is held to its word
DATABASE_FILE = "state.sqlite"


@dataclass(frozen=True)
class StateSettings:
    """What the state database keeps."""

    database: DatabaseSettings = field(default_factory=DatabaseSettings)
    journal: JournalSettings = field(default_factory=JournalSettings)
    lease: LeaseSettings = field(default_factory=LeaseSettings)
    requests: RequestSettings = field(default_factory=RequestSettings)
    log: LogSettings = field(default_factory=LogSettings)
    decisions: DecisionLogSettings = field(default_factory=DecisionLogSettings)
    credentials: CredentialSettings = field(default_factory=CredentialSettings)
    audit: AuditSettings = field(default_factory=AuditSettings)
    changes: ChangeSettings = field(default_factory=ChangeSettings)


@dataclass(frozen=True)
class PredictSettings:
    """What forecasts."""

    models: Mapping[str, str] = field(default_factory=dict)
    """Per component kind the folder or URL of a model that `forewarn train` wrote, or "rules"; a kind not named takes
    the champion of the site's registry, else the model that comes with Forewarn, and rules where there is none."""

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.models) - set(COMPONENT_KINDS)):
            raise ValueError(f"models names {unknown[0]}; known are: {', '.join(COMPONENT_KINDS)}")


@dataclass(frozen=True)
class SiteSettings:
    """The whole configuration of a controller."""

    driver: DriverSettings = field(default_factory=DriverSettings)
    libvirt: LibvirtSettings = field(default_factory=LibvirtSettings)
    store: StoreSettings = field(default_factory=StoreSettings)
    mapping: MappingSettings = field(default_factory=MappingSettings)
    arrivals: ArrivalSettings = field(default_factory=ArrivalSettings)
    state: StateSettings = field(default_factory=StateSettings)
    predict: PredictSettings = field(default_factory=PredictSettings)
    policy: PolicySettings = field(default_factory=PolicySettings)
    guards: GuardSettings = field(default_factory=GuardSettings)
    authority: AuthoritySettings = field(default_factory=AuthoritySettings)
    cordons: CordonSettings = field(default_factory=CordonSettings)
    ledger: LedgerSettings = field(default_factory=LedgerSettings)
    windows: tuple[PlannedWindow, ...] = ()
    """Announced windows of maintenance and freezes, a table `[[windows]]` each: kind, hosts, why, and either starts_at
    and ends_at or days, from_utc and hours."""
    control: ControlSettings = field(default_factory=ControlSettings)
    web: WebSettings = field(default_factory=WebSettings)
    alerts: AlertSettings = field(default_factory=AlertSettings)
    upkeep: UpkeepSettings = field(default_factory=UpkeepSettings)


def build_forecaster(settings: PredictSettings | None = None) -> Forecaster:
    """For each kind the model that is named, else the one that comes in the package; where there is none, the rules.

    Where a model says unknown, the rules of its kind are asked. Raises ModelError for a model that cannot be used.
    """
    settings = settings or PredictSettings()
    return Forecaster({kind: _predictors(kind, settings) for kind in COMPONENT_KINDS})


def _predictors(kind: Kind, settings: PredictSettings) -> tuple[Predictor, ...]:
    return _with_rules(kind, _model(kind, settings.models.get(kind, "")))


def _with_rules(kind: Kind, model: TreesPredictor | None) -> tuple[Predictor, ...]:
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
    if model.card.shape not in SERVED:
        raise ModelError(
            f"predict.models.{kind}: {url} learned from another shape of data ({model.card.shape}) than live telemetry"
            f' has: it can be judged, not asked. Write "{RulePredictor.name}" for the rules'
        )
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
        build_alerter = prepare(settings.alerts, settings.control.interval_s, settings.web, clock)
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.clock, self.settings = folder, clock, settings
        self.mapper = Mapper(settings=settings.mapping)
        self.store = open_store(folder, clock, settings.store, self.mapper)
        self.database = Database(f"sqlite:///{folder / DATABASE_FILE}", clock, settings.state.database)
        self.credentials = Credentials(self.database, settings.state.credentials)
        self.audit = Audit(self.database, folder / AUDIT_FILE, settings.state.audit)
        leadership = Leadership(self.database, own_name(), settings.state.lease)
        requests = Requests(self.database, settings.state.requests)
        grants, windows, breaker = Grants(self.database), Windows(self.database), BreakerState(self.database)
        self.memory = Memory(
            journal=Journal(self.database, settings.state.journal, leadership),
            ladder=Ladder(self.database),
            failures=FailureEvents(self.database),
            changes=ChangeEvents(self.database, settings.state.changes),
            orders=Orders(requests, grants, windows, breaker, settings.authority),
            ledger=Ledger(self.database, settings.ledger),
            log=LogLines(self.database, folder / "log.jsonl", settings.state.log),
            snapshot=SnapshotFile(folder / "snapshot.json"),
            decisions=DecisionLog(folder / "decisions.jsonl", settings.state.decisions),
            decision=folder / DECISION_FILE,
        )
        self.alerter = build_alerter(self.database) if build_alerter else None
        self.meters: list[Callable[[], Mapping[str, float]]] = [self.alerter.metrics] if self.alerter else []
        self.arrivals = Arrivals(self.mapper, self.store, settings.arrivals)
        self.meters += [self.arrivals.metrics, self._of_store]
        own = {"job": "forewarn", "instance": socket.gethostname() or "forewarn"}
        self.write_back = WriteBack(self.store, version("forewarn"), own)
        self._placing: Placing | None = None
        self._control: Control | None = None
        self.upkeep = Upkeep(self._kept_up(), CATALOG, folder, clock, settings.upkeep)
        self._log(self.store.notices, Severity.WARNING)

    @property
    def acts(self) -> bool:
        """Whether any mode may go beyond `observe`."""
        return self.settings.authority.mode_max is not Mode.OBSERVE

    def driver(self) -> Driver:
        """The driver that the settings name, closed with this site. Raises ConfigurationError."""

        def leases() -> Mapping[str, datetime]:
            return {cordon.host: cordon.expires_at for cordon in cordons.held(self.database)}

        def observe(whole_host: Collection[Kind], carries: Mapping[str, Collection[str]]) -> ObservedDriver:
            return ObservedDriver(
                self.store.devices,
                self.clock,
                whole_host=whole_host,
                redundancy=self.mapper.redundancy,
                carries=carries,
            )

        settings = self.settings
        self._placing = place(settings.driver, settings.libvirt, observe, self.clock, leases, writing=self.acts)
        return self._placing.driver

    def control(self, driver: Driver) -> Control:
        """The control loop over `driver`. Where no mode goes beyond `observe` it is handed nothing that could write."""
        self._control = Control(
            driver if self.acts else Watched(driver),
            self.store,
            CATALOG,
            self.forecaster,
            Rules(self._policy(), self.settings.authority, self.settings.windows),
            self.memory,
            self._hands(driver) if self.acts else None,
            self.clock,
            self.settings.control,
            self._tell,
        )
        return self._control

    def adopt(self, kind: Kind, model: TreesPredictor) -> None:
        """Let another model forecast a kind, by its own thresholds, from the next cycle on."""
        if model.card.shape not in SERVED:
            raise ModelError(f"{model.name} learned from {model.card.shape}: it can be judged, not asked")
        self.forecaster = self.forecaster.having(kind, _with_rules(kind, model))
        if self._control:
            self._control.adopt(self.forecaster, self._policy())

    def start_upkeep(self, stopped: Callable[[], bool]) -> Callable[[], None]:
        """Keep models up on a thread of its own until `stopped`; returns what waits for its end."""
        thread = threading.Thread(target=self.upkeep.run, args=(stopped,), name="upkeep")
        thread.start()
        return thread.join

    def _policy(self) -> PolicySettings:
        policy = self.settings.policy
        return with_default_thresholds(policy, self.forecaster.thresholds(policy.horizon))

    def _kept_up(self) -> upkeep.Site:
        memory = self.memory
        return upkeep.Site(
            store=self.store,
            failures=memory.failures,
            requests=memory.orders.requests,
            moves=memory.journal.recent,
            judged=lambda: memory.ledger.recent(JUDGED_MAX),
            simulated=self._simulated,
            say=lambda line: memory.log.append([line]),
            serve=self.adopt,
            pinned=frozenset(Kind(name) for name in self.settings.predict.models),
        )

    def _simulated(self) -> bool:
        """Whether any host that the last cycle saw is simulated."""
        snapshot = self.memory.snapshot.read()
        return snapshot is not None and snapshot.simulated

    def _tell(self, snapshot: Snapshot) -> None:
        self.write_back.tell(snapshot)
        if self.alerter:
            self.alerter.tell(snapshot)

    def take(self, shown: Mapping[str, Iterable[Sample]], now: datetime) -> None:
        """Store what the hosts' exporters show, each host's scrape whole, in one batch. Safe to call from threads."""
        self.arrivals.take(shown, now, whole=True)

    def receive(self, shown: Mapping[str, Iterable[Sample]], now: datetime) -> None:
        """Store what came in one body: of each host maybe a part of a scrape alone. Safe to call from threads."""
        self.arrivals.take(shown, now, whole=False)

    def record(self, events: Iterable[ChangeEvent | FailureEvent]) -> None:
        """Store what an agent noticed."""
        events = tuple(events)
        if failures := [event for event in events if isinstance(event, FailureEvent)]:
            self.memory.failures.record(failures)
        if changes := [event for event in events if isinstance(event, ChangeEvent)]:
            self.memory.changes.record(changes)

    def metrics(self) -> Mapping[str, float]:
        """What the parts of the controller count about themselves, for /metrics."""
        meters = (*self.meters, *([self._placing.metrics] if self._placing else []))
        return {name: value for meter in meters for name, value in meter().items()}

    def _of_store(self) -> Mapping[str, float]:
        refused, series = float(self.store.refused), float(self.store.size)
        return {"forewarn_store_refused_total": refused, "forewarn_store_series": series}

    def serve(self) -> Server:
        """Start the pages and the API. Raises ConfigurationError where they cannot be served as configured."""
        app = create_app(
            self.settings.web,
            self.memory.snapshot.read,
            self.store,
            self.database,
            self.clock,
            self.metrics,
            credentials=self.credentials,
            audit=self.audit,
            take=self.receive,
            record=self.record,
        )
        return serve(app, self.settings.web)

    def close(self) -> None:
        """End cleanly: whoever waits for the lead need not wait for the lease to run out."""
        with ExitStack() as last:  # whatever fails on the way, the files are closed
            last.callback(self.database.close)
            last.callback(self.store.close)
            last.callback(self.arrivals.finish)
            last.callback(self.write_back.close)
            last.callback(self.memory.journal.leadership.release)
            if self._placing:
                last.callback(self._placing.close)
            if self.alerter:
                last.callback(self.alerter.close)

    def _hands(self, driver: Driver) -> Hands:
        guards = Guards(self.settings.guards, self.memory.orders.requests.paused())
        journal = self.memory.journal
        cordons = Cordons(driver, self.database, journal.leadership, self.settings.cordons)
        return Hands(Executor(driver, journal, guards, self.clock), cordons)

    def _log(self, texts: Iterable[str], severity: Severity) -> None:
        now = self.clock.now()
        self.memory.log.append(LogLine(now, severity, text) for text in texts)
