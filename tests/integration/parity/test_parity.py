"""One question, every store, one answer: the same samples, 15 million of the whole fleet, give the same frames.

What stores honestly differ in is kept out of the samples here, and claimed in `test_differences`.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pytest

from forewarn.clock import Clock, SimulatedClock
from forewarn.domain.inventory import Kind
from forewarn.remote_write import STALE
from forewarn.store import write_body
from forewarn.store.base import TelemetryStore
from forewarn.store.duckdb import DuckDBSettings, DuckDBStore
from forewarn.store.http import HttpSettings
from forewarn.store.influxdb import InfluxDB, InfluxSettings
from forewarn.store.prometheus import Prometheus
from forewarn.store.remote import CacheSettings, RemoteStore
from forewarn.store.source import Source
from forewarn.store.victoriametrics import VictoriaMetrics
from tests import databases
from tests.databases import Database
from tests.integration.parity import telegraf
from tests.integration.parity.compared import Difference, differences, known
from tests.integration.parity.fleet import ASKED, DRIVES, KEYS, Arrivals, Fleet, catalog
from tests.plain_reading import PlainSeries

CATALOG = catalog()
HOURS = 6  # of samples in one batch
EMBEDDED = DuckDBSettings(raw_days=100, memory="1GB")
READ_WHOLE = CacheSettings(history_days=60, budget_s=600)
QUIET_NAN = 0x7FF8000000000000


# --- the four stores: how each is started, filled, and asked


@dataclass(frozen=True)
class Site:
    """A database that a site may run, how samples get there, and how it is read."""

    start: Callable[[Path], AbstractContextManager[Database]]
    bodies: Callable[[Fleet, Arrivals], list[bytes]]
    path: str
    headers: dict[str, str]
    source: Callable[[HttpSettings, Clock], Source]
    settle: str = ""  # the address that makes what was written visible at once

    def fill(self, fleet: Fleet, database: Database) -> None:
        """Write everything in the order in which it came."""
        with httpx.Client(base_url=database.url, timeout=120) as client:
            for arrived in fleet.chunks(HOURS):
                for body in self.bodies(fleet, arrived):
                    answer = client.post(self.path, content=body, headers=self.headers)
                    assert answer.status_code == 204, answer.text
            if self.settle:
                client.get(self.settle).raise_for_status()


def remote_write(marker: int) -> Callable[[Fleet, Arrivals], list[bytes]]:
    def bodies(fleet: Fleet, arrived: Arrivals) -> list[bytes]:
        chunks = write_body.chunks(fleet.readings(arrived), 200_000)
        return [write_body.body(chunk, marker) for chunk in chunks]

    return bodies


def influxdb(http: HttpSettings, clock: Clock) -> InfluxDB:
    return InfluxDB(http, clock, InfluxSettings(compress=False))


WRITTEN = "/api/v1/write"
SITES = {  # those that take longest first
    "influxdb": Site(databases.influxdb, telegraf.bodies, "/write?db=telegraf&precision=ms", {}, influxdb),
    "prometheus": Site(databases.prometheus, remote_write(QUIET_NAN), WRITTEN, write_body.HEADERS, Prometheus),
    "victoriametrics": Site(
        databases.victoria_metrics,
        remote_write(STALE),
        WRITTEN,
        write_body.HEADERS,
        VictoriaMetrics,
        "/internal/force_flush",
    ),
}


def asked_of(store: TelemetryStore) -> list[pa.Table]:
    return [store.features(CATALOG, Kind.DISK, [time]) for time in ASKED]


@pytest.fixture(scope="module", params=[100, pytest.param(DRIVES, marks=pytest.mark.nightly)])
def fleet(request: pytest.FixtureRequest) -> Fleet:
    """A quarter of the fleet at every change; the whole one at night."""
    return Fleet.made(request.param)


def embedded(fleet: Fleet, folder: Path) -> list[pa.Table]:
    with closing(DuckDBStore(folder / "telemetry.duckdb", EMBEDDED)) as store:
        for arrived in fleet.chunks(HOURS):
            store.append(fleet.batch(arrived))
        return asked_of(store)


def of_site(site: Site, fleet: Fleet, folder: Path) -> list[pa.Table]:
    clock = SimulatedClock(ASKED[-1] + timedelta(days=1))
    with site.start(folder / "database") as database:
        site.fill(fleet, database)
        source = site.source(HttpSettings(database.url), clock)
        with closing(RemoteStore(source, folder, clock, READ_WHOLE, EMBEDDED)) as store:
            return asked_of(store)


Frames = dict[str, "Future[list[pa.Table]]"]


@pytest.fixture(scope="module")
def frames(fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Frames]:
    """What each store says, two of them asked at a time."""
    folders = {name: tmp_path_factory.mktemp(name) for name in (*SITES, "embedded")}
    with ThreadPoolExecutor(2) as pool:
        asked = {"embedded": pool.submit(embedded, fleet, folders["embedded"])}
        asked.update({name: pool.submit(of_site, site, fleet, folders[name]) for name, site in SITES.items()})
        yield asked
        for one in asked.values():
            one.cancel()


@pytest.fixture(scope="module")
def wanted(frames: Frames) -> list[pa.Table]:
    """The embedded store's frames, with which the others are compared."""
    return frames["embedded"].result()


# --- what is claimed


def test_the_fleet_is_what_the_question_is_about(fleet: Fleet) -> None:
    """35,000 samples of a drive, 15 million in all, with everything in them that stores differ on."""
    drives = len(fleet.drives)
    late = fleet.arrivals.at - fleet.time_ms[fleet.arrivals.step, fleet.arrivals.drive]
    scrapes = fleet.arrivals.step * len(fleet.drives) + fleet.arrivals.drive
    steps: Any = np.diff(np.where(fleet.present, fleet.value, np.nan), axis=0)
    here: Any = fleet.present.any(axis=2)
    begin: Any = here[:96].any(axis=0)
    end: Any = here[-96:].any(axis=0)
    assert 33_000 * drives < fleet.samples < 38_500 * drives
    assert 0 < late.max() <= 3_600_000
    assert (late > 0).sum() > 20 * drives
    assert len(np.unique(scrapes)) < len(scrapes) - 3 * drives  # some come twice
    assert np.isnan(fleet.value[fleet.present]).sum() > 80 * drives
    assert (steps[:, :, KEYS.index("disk_reads")] < 0).sum() > drives / 2  # counters that start anew
    assert np.diff(fleet.arrivals.at).min() >= 0
    assert (~begin).any(), "no drive has come"
    assert (~end).any(), "no drive has gone"


def test_the_embedded_store_says_what_a_plain_reading_says(fleet: Fleet, wanted: list[pa.Table]) -> None:
    """A few drives of every sort, each feature of each, one value at a time."""
    here: Any = fleet.present.any(axis=2)
    came, gone = np.flatnonzero(~here[:96].any(axis=0))[0], np.flatnonzero(~here[-96:].any(axis=0))[0]
    different = []
    for number in (0, 7, int(came), int(gone)):
        different += _against_plain(fleet, number, wanted)
    assert different == []
    assert sum(map(known, wanted)) > 2000 * len(fleet.drives)


@pytest.mark.parametrize("name", SITES)
def test_a_sites_database_gives_the_frames_of_the_embedded_store(
    name: str, frames: Frames, wanted: list[pa.Table]
) -> None:
    found = frames[name].result()
    assert _told([differences(one, other) for one, other in zip(wanted, found, strict=True)]) == []


def _told(different: Sequence[Sequence[Difference]]) -> list[str]:
    """How many values of which features differ, and some of them."""
    flat = [one for frame in different for one in frame]
    most = Counter(one.feature for one in flat).most_common(20)
    return [f"{len(flat)} values differ", *map(str, most), *map(str, flat[:10])] if flat else []


def _against_plain(fleet: Fleet, number: int, wanted: list[pa.Table]) -> list[Difference]:
    component = fleet.drives[number].component
    series = {
        key: PlainSeries(fleet.standing(number, column), timedelta(seconds=CATALOG.metric_by_key[key].hold_s))
        for column, key in enumerate(KEYS)
    }
    different = []
    for asked, frame in zip(ASKED, wanted, strict=True):
        one = frame.filter(pa.array([name == component for name in frame.column("component").to_pylist()]))
        plain = {f.name: [series[f.metric].value(asked, f.aggregate, f.window)] for f in CATALOG.features}
        if one.num_rows:
            keys = {name: one.column(name) for name in frame.column_names[: -len(plain)]}
            different += differences(pa.table({**keys, **plain}).cast(frame.schema), one)
    return different
