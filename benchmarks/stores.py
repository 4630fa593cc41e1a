"""How fast the stores take samples, and how many bytes a sample takes at rest: side by side, in one run.

All are given the same drives' telemetry, in prepared bodies: the embedded store as Arrow tables and over HTTP by remote
write, Prometheus and VictoriaMetrics by remote write, InfluxDB by line protocol. Rates are of wall-clock time on a
machine that does nothing else; the ratio travels between machines, samples per second do not. Sizes are of the files
after the databases have merged what they took, as far as they can be asked to.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx

from forewarn.domain.people import Role
from forewarn.remote_write import STALE
from forewarn.state.credentials import Credentials, NewToken
from forewarn.state.database import Database as State
from forewarn.store import write_body
from forewarn.store.duckdb import DuckDBSettings, DuckDBStore
from forewarn.store.source import Readings
from tests import databases
from tests.integration.parity import telegraf
from tests.integration.parity.fleet import START, Fleet
from tests.support import eventually

DRIVES, DAYS = 200, 20
HOURS = 6  # of samples in one piece
BODY_SAMPLES = 20_000
END = START + timedelta(days=DAYS)


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def told(what: str, samples: int, seconds: float, size_bytes: int | None = None) -> float:
    rate = samples / seconds
    at_rest = f", {size_bytes / samples:6.2f} B a sample at rest" if size_bytes is not None else ""
    print(f"  {what:<44} {rate:>12,.0f} samples/s{at_rest}", flush=True)
    return rate


def post(url: str, path: str, bodies: Iterable[bytes], headers: dict[str, str]) -> float:
    """Seconds that it takes to write bodies over one connection."""
    with httpx.Client(base_url=url, timeout=120, headers=headers) as client:
        began = time.monotonic()
        for body in bodies:
            client.post(path, content=body).raise_for_status()
        return time.monotonic() - began


def embedded(fleet: Fleet, folder: Path) -> float:
    batches = [fleet.batch(arrived) for arrived in fleet.chunks(HOURS)]
    path = folder / "telemetry.duckdb"
    with closing(DuckDBStore(path, DuckDBSettings(raw_days=10_000))) as store:
        began = time.monotonic()
        for batch in batches:
            store.append(batch)
        seconds = time.monotonic() - began
        store.roll_up(END)
    return told("embedded, Arrow tables (with its roll-ups)", fleet.samples, seconds, path.stat().st_size)


@contextmanager
def server(folder: Path) -> Iterator[tuple[str, str]]:
    """The address and an agent's token of `forewarn up`."""
    folder.mkdir()
    state = State(f"sqlite:///{folder / 'state.sqlite'}")
    _, token = Credentials(state).make_token(NewToken("a benchmark", Role.AGENT, ("*",)), "a benchmark")
    state.close()
    port = databases.free_port()
    command = [sys.executable, "-m", "forewarn", "up", "--state", str(folder), "--port", str(port)]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, stdout=quiet, stderr=quiet) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            eventually(lambda: answers(url), deadline=120)
            yield url, token
        finally:
            process.terminate()
            process.wait(60)


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code < 500
    except httpx.HTTPError:
        return False


def remote_bodies(readings: Iterable[Readings]) -> list[bytes]:
    return [write_body.body(chunk, STALE) for piece in readings for chunk in write_body.chunks(piece, BODY_SAMPLES)]


def embedded_over_http(fleet: Fleet, folder: Path) -> float:
    """The last days of the fleet, as if they were the last until now: older samples are not kept singly."""
    shift = int((datetime.now(UTC) - END).total_seconds()) * 1_000_000
    pieces = [fleet.readings(arrived) for arrived in fleet.chunks(HOURS)][-4 * (DAYS // 4) :]
    bodies = remote_bodies(replace(piece, time=piece.time + shift) for piece in pieces)
    samples = sum(map(len, pieces))
    with server(folder / "up") as (url, token):
        headers = {**write_body.HEADERS, "Authorization": f"Bearer {token}"}
        seconds = post(url, "/api/v1/write", bodies, headers)
    return told("embedded, remote write over HTTP", samples, seconds)


def prometheus(fleet: Fleet, folder: Path, bodies: list[bytes]) -> float:
    with databases.prometheus(folder / "prometheus", flags=["--web.enable-admin-api"]) as database:
        seconds = post(database.url, "/api/v1/write", bodies, write_body.HEADERS)
        httpx.post(f"{database.url}/api/v1/admin/tsdb/snapshot", timeout=120).raise_for_status()
        blocks = size(database.folder / "tsdb" / "snapshots")
    return told("Prometheus, remote write", fleet.samples, seconds, blocks)


def victoria_metrics(fleet: Fleet, folder: Path, bodies: list[bytes]) -> float:
    with databases.victoria_metrics(folder / "victoria") as database:
        seconds = post(database.url, "/api/v1/write", bodies, write_body.HEADERS)
        for path in ("/internal/force_flush", "/internal/force_merge"):
            httpx.get(f"{database.url}{path}", timeout=300).raise_for_status()
    return told("VictoriaMetrics, remote write", fleet.samples, seconds, size(folder / "victoria" / "data"))


def influxdb(fleet: Fleet, folder: Path) -> float:
    bodies = [body for arrived in fleet.chunks(HOURS) for body in telegraf.bodies(fleet, arrived)]
    cold = 'cache-snapshot-write-cold-duration = "1s"\ncompact-full-write-cold-duration = "2s"\n'
    with databases.influxdb(folder / "influxdb", data=cold) as database:
        seconds = post(database.url, "/write?db=telegraf&precision=ms", bodies, {})
        eventually(lambda: size(database.folder / "wal") < 1000, deadline=120, every=0.5)
    return told(
        "InfluxDB, line protocol as Telegraf writes it", fleet.samples, seconds, size(folder / "influxdb" / "data")
    )


def main() -> None:
    fleet = Fleet.made(DRIVES, DAYS)
    print(f"stores: {fleet.samples:,} samples of {DRIVES} drives over {DAYS} days, a scrape each 15 minutes")
    bodies = remote_bodies(fleet.readings(arrived) for arrived in fleet.chunks(HOURS))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        by_arrow, by_http = embedded(fleet, folder), embedded_over_http(fleet, folder)
        victoria, prom = victoria_metrics(fleet, folder, bodies), prometheus(fleet, folder, bodies)
        influx = influxdb(fleet, folder)
    for name, rate in (("VictoriaMetrics", victoria), ("Prometheus", prom), ("InfluxDB", influx)):
        print(f"  beside {name}: Arrow {by_arrow / rate:.2f} times as fast, HTTP {by_http / rate:.2f} times")


if __name__ == "__main__":
    main()
