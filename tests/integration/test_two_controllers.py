"""Two loops over one state database: one acts, the other says who leads and takes over once that one is gone."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from forewarn.act.cordons import Cordons
from forewarn.act.executor import Executor
from forewarn.act.guards import Guards
from forewarn.act.journal import Journal
from forewarn.act.orders import Orders
from forewarn.clock import SimulatedClock
from forewarn.control import Control, ControlSettings, Hands, Memory, Rules
from forewarn.decide.authority import AuthoritySettings
from forewarn.decide.policy import PolicySettings
from forewarn.domain.authority import Grant, Mode
from forewarn.domain.inventory import Criticality, Kind
from forewarn.domain.plan import Move, MoveState
from forewarn.domain.risk import HORIZONS, FailureForecast
from forewarn.domain.situation import Snapshot
from forewarn.drivers.simulated import SimulatedDriver
from forewarn.features.catalog import CATALOG
from forewarn.ledger import Ledger
from forewarn.predict.base import Forecaster
from forewarn.state.breaker import BreakerState
from forewarn.state.changes import ChangeEvents
from forewarn.state.database import Database
from forewarn.state.decisions import DecisionLog
from forewarn.state.events import FailureEvents
from forewarn.state.grants import Grants
from forewarn.state.ladder import Ladder
from forewarn.state.leadership import Leadership
from forewarn.state.log import LogLines
from forewarn.state.requests import RequestKind, Requests
from forewarn.state.snapshot import SnapshotFile
from forewarn.state.windows import Windows
from forewarn.store.duckdb import DuckDBStore
from tests.moves import NOW, disk, small_cluster, vm

pytestmark = pytest.mark.integration

AUTHORITY = AuthoritySettings(Mode.OBSERVE, Mode.AUTOMATIC)
EVERYTHING = Grant(Mode.AUTOMATIC, NOW, "ann", "drill", overrides=True)


class Foretold(Forecaster):
    """Knows that the disk of `a` is about to fail, and that all others are sound."""

    def __init__(self, clock: SimulatedClock) -> None:
        super().__init__({})
        self._clock = clock

    def forecast(self, frames: Mapping[Kind, pa.Table]) -> tuple[FailureForecast, ...]:  # noqa: ARG002 - told beforehand
        return tuple(self._of(host, 0.9 if host == "a" else 1e-6) for host in "abc")

    def _of(self, host: str, risk: float) -> FailureForecast:
        curve = (risk,) * len(HORIZONS)
        return FailureForecast(f"disk:{host}/sda", Kind.DISK, host, "sda", self._clock.now(), curve, curve, curve)


class Counted(SimulatedDriver):
    """A simulated placement service that remembers which VMs it was told to move."""

    started: list[str]

    def start(self, move: Move) -> None:
        self.started.append(move.vm)
        super().start(move)


class Controller:
    """One process: its own files, its own loop, its own connections to the one database."""

    def __init__(self, name: str, site: "Site") -> None:
        folder = site.folder / name
        folder.mkdir()
        self.database = Database(f"sqlite:///{site.folder / 'state.sqlite'}", site.clock)
        self.leadership = Leadership(self.database, f"{name}/1")
        self.store = DuckDBStore(folder / "telemetry.duckdb")
        journal = Journal(self.database, leadership=self.leadership)
        self.requests = Requests(self.database)
        stated = Grants(self.database), Windows(self.database), BreakerState(self.database)
        self.memory = Memory(
            journal=journal,
            ladder=Ladder(self.database),
            failures=FailureEvents(self.database),
            changes=ChangeEvents(self.database),
            orders=Orders(self.requests, *stated, AUTHORITY),
            ledger=Ledger(self.database),
            log=LogLines(self.database),
            snapshot=SnapshotFile(folder / "snapshot.json"),
            decisions=DecisionLog(folder / "decisions.jsonl"),
            decision=folder / "decision.json",
        )
        executor = Executor(site.driver, journal, Guards(), site.clock)
        self.cordons = Cordons(site.driver, self.database, self.leadership)
        rules = Rules(PolicySettings(threshold_fallback=0.1), AUTHORITY)
        hands, settings = Hands(executor, self.cordons), ControlSettings()
        self.control = Control(
            site.driver, self.store, CATALOG, Foretold(site.clock), rules, self.memory, hands, site.clock, settings
        )

    def cycle(self) -> Snapshot:
        return self.control.cycle()

    def end(self) -> None:
        self.store.close()
        self.database.close()


class Site:
    """Three hosts, one of which is about to fail, and two controllers over them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.clock = folder, SimulatedClock(NOW)
        vms = [replace(vm(name, "a", memory_gib=16), criticality=Criticality.HIGH) for name in ("web", "db")]
        cluster = replace(
            small_cluster(*vms), components=tuple(disk(host, whole_host=True, name="sda") for host in "abc")
        )
        self.driver = Counted(cluster, (), self.clock)
        self.driver.started = []
        self.first, self.second = Controller("first", self), Controller("second", self)
        self.first.memory.orders.grants.give(EVERYTHING)

    def minute(self) -> None:
        self.clock.sleep(60)

    def hosts(self) -> set[str]:
        return {found.host for found in self.driver.inventory().vms}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.first.end()
    made.second.end()


def states(snapshot: Snapshot) -> list[MoveState]:
    return [outcome.state for outcome in snapshot.moves]


def test_the_second_says_who_leads_and_starts_nothing(site: Site) -> None:
    led = site.first.cycle()
    waiting = site.second.cycle()
    assert (led.standing.leader, states(led)) == ("", [MoveState.RUNNING] * 2)
    assert waiting.standing.leader.startswith("another controller (first/1) leads until 00:03:00 UTC")
    assert waiting.sentence == f"waiting: {waiting.standing.leader}"
    assert states(waiting) == [MoveState.RUNNING] * 2
    assert sorted(site.driver.started) == ["db", "web"]


def test_nothing_is_done_twice_while_both_run_by_turns(site: Site) -> None:
    for _ in range(10):
        site.first.cycle()
        site.second.cycle()
        site.minute()
    assert sorted(site.driver.started) == ["db", "web"]
    assert "a" not in site.hosts()
    assert [cordon.host for cordon in site.first.cordons.held()] == ["a"]
    assert site.driver.audit() == ()
    texts = [line.text for line in site.first.memory.log.recent()]
    assert len(texts) == len(set(texts)), "something was told twice"


def test_what_people_ask_for_is_done_by_the_one_that_leads(site: Site) -> None:
    site.first.cycle()
    site.second.requests.make(RequestKind.PAUSE, "ann", "storm")
    assert site.second.cycle().paused == ""
    assert site.first.cycle().paused == "storm (ann)"
    assert site.second.cycle().paused == "storm (ann)"


def test_the_second_acts_once_the_first_has_been_gone_for_its_lease(site: Site) -> None:
    site.first.cycle()
    for _ in range(2):
        site.minute()
        assert site.second.cycle().standing.leader
    site.minute()
    taken_over = site.second.cycle()
    assert taken_over.standing.leader == ""
    assert states(taken_over) == [MoveState.SUCCEEDED] * 2
    assert sorted(site.driver.started) == ["db", "web"]
    assert site.first.cycle().standing.leader.startswith("another controller (second/1) leads")


def test_the_second_acts_at_once_after_the_first_has_ended_cleanly(site: Site) -> None:
    site.first.cycle()
    site.first.leadership.release()
    site.minute()
    assert site.second.cycle().standing.leader == ""
    site.minute()
    site.second.cycle()
    assert sorted(site.driver.started) == ["db", "web"]
    assert site.hosts() <= {"b", "c"}
