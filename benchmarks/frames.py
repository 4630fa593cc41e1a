"""What the embedded store takes in, what it keeps, and what the feature frame of a large fleet costs, in one run.

Ingest is measured by Arrow into a store, and over HTTP into `forewarn up` as a process of its own. The frame is that of
fleets whose telemetry is written as roll-ups (`tests/fleets.py`): all kinds, 30 days, then again ten seconds later.
Seconds are of this machine and whatever else it does; CPU seconds say what a question costs by itself. Sizes of fleets
are named by HOSTS, 1,000, 3,000 and 10,000 where it is unset.
"""

import http.client
import os
import resource
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import perf_counter, sleep

import cramjam
import numpy as np
import pyarrow as pa

from benchmarks.agent import cpu_seconds, free_port
from forewarn import remote_write
from forewarn.clock import RealClock
from forewarn.domain.inventory import COMPONENT_KINDS
from forewarn.domain.people import Role
from forewarn.domain.telemetry import Sample
from forewarn.features import frame
from forewarn.features.catalog import CATALOG
from forewarn.state.credentials import Credentials, NewToken
from forewarn.state.database import Database
from forewarn.store.base import DEVICES, SAMPLES, TIME, Batch
from forewarn.store.duckdb import DuckDBStore
from forewarn.store.windows import microseconds
from tests import fleets

SIZES = tuple(int(number) for number in os.environ.get("HOSTS", "1000 3000 10000").split())
MODES = ("idle", "user", "system", "nice", "irq", "softirq", "steal", "iowait")
SMART = (5, 9, 10, 12, 187, 188, 189, 196, 197, 198, 199)
SENT_HOSTS, SCRAPES, BODY_HOSTS, SENDERS = 60, 24, 20, 2
PATIENCE_S = 240.0


def report(what: str, number: float, unit: str, more: str = "") -> None:
    print(f"{what:52} {number:12,.2f} {unit:12} {more}", flush=True)


def cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds, and CPU seconds of this process."""
    began, used = perf_counter(), cpu_s()
    work()
    return perf_counter() - began, cpu_s() - used


# --- Ingest by Arrow, and what samples take at rest -------------------------------------------------------------------


def scrapes(hosts: int, number: int, start: datetime) -> Iterator[Batch]:
    """One scrape a minute of a fleet's series, ten in a batch, as counters that climb and readings that waver."""
    kinds = fleets.series_of_host()
    names = [
        (fleets.component(kind, part).replace("%", f"{host:05}"), metric)
        for host in range(hosts)
        for kind, part, metric, *_ in kinds
    ]
    components, metrics = (pa.array([name[at] for name in names] * 10, pa.string()) for at in (0, 1))
    behaviour = np.tile([behaviour for *_, behaviour, _ in kinds], hosts)
    chance = np.random.default_rng(5)
    level = chance.integers(0, 1000, len(names)).astype(np.float64)
    for batch in range(number // 10):
        at = np.arange(batch * 10, batch * 10 + 10)
        wavering = np.round(40 + 4 * np.sin(at[:, None] / 300) + chance.integers(0, 8, (10, len(names))) / 4, 2)
        climbing = np.round(level + at[:, None] * 54.0, 2)
        values = np.where(
            behaviour == fleets.WAVERS, wavering, np.where(behaviour == fleets.WORKS, climbing, level % 2)
        )
        times = np.repeat(microseconds(start) + at * 60_000_000, len(names))
        columns = [pa.array(times).cast(TIME), components, metrics, pa.array(values.ravel())]
        yield Batch(pa.Table.from_arrays(columns, schema=SAMPLES), DEVICES.empty_table())


def by_arrow(folder: Path) -> None:
    path, start = folder / "arrow.duckdb", datetime(2026, 1, 5, tzinfo=UTC)
    batches = list(scrapes(100, 120, start))
    samples = sum(batch.samples.num_rows for batch in batches)
    store = DuckDBStore(path)
    took_s, used_s = timed(lambda: [store.append(batch) for batch in batches])
    report("ingest by Arrow", samples / took_s, "samples/s", f"{used_s / samples * 1e6:.2f} µs of CPU a sample")
    store.close()
    report("at rest, single samples with what they met", path.stat().st_size / samples, "B/sample")
    store = DuckDBStore(path)
    rolled_s, _ = timed(lambda: store.roll_up(start + timedelta(hours=2)))
    report("rolling up the same", samples / rolled_s, "samples/s")
    store.close()


# --- Ingest over HTTP -------------------------------------------------------------------------------------------------


def scrape(time: datetime, number: int) -> list[Sample]:
    """What a host of 32 cores, 8 drives, 4 cards and 8 DIMMs shows."""
    shown: list[tuple[str, dict[str, str], float]] = []
    for core in range(32):
        shown += [("node_cpu_seconds_total", {"cpu": str(core), "mode": mode}, number * 15.0 + core) for mode in MODES]
        shown.append(("node_cpu_scaling_frequency_hertz", {"cpu": str(core)}, 2.1e9))
        shown.append(("node_cpu_core_throttles_total", {"core": str(core // 2), "package": str(core % 2)}, 3.0))
    shown += [(f"node_memory_{name}_bytes", {}, 1e9 + number) for name in ("MemTotal", "MemAvailable")]
    for drive in range(8):
        device = {"device": f"sd{chr(97 + drive)}"}
        for attribute in SMART:
            labels = {**device, "attribute_id": str(attribute), "attribute_value_type": "raw"}
            shown.append(("smartctl_device_attribute", labels, float(attribute)))
        for verb in ("reads_completed", "writes_completed", "read_time_seconds", "write_time_seconds"):
            shown.append((f"node_disk_{verb}_total", device, number * 7.0))
        shown.append(("smartctl_device_temperature", {**device, "temperature_type": "current"}, 30.0 + number % 3))
    for card in range(4):
        for what in ("receive_bytes", "transmit_bytes", "receive_errs", "transmit_errs", "receive_drop"):
            shown.append((f"node_network_{what}_total", {"device": f"eth{card}"}, number * 9.0))
        shown.append(("node_network_up", {"device": f"eth{card}"}, 1.0))
    for dimm in range(8):
        shown.append(("node_edac_channel_correctable_errors_total", {"dimm_label": f"DIMM{dimm}"}, 0.0))
    return [Sample(name, {**labels, "job": "node"}, value, time) for name, labels, value in shown]


def bodies(now: datetime) -> list[list[bytes]]:
    """Per scrape of the fleet its bodies, each of some hosts, as a collecting Prometheus or vmagent sends them."""
    found = []
    for number in range(SCRAPES):
        shown = scrape(now - timedelta(seconds=15 * (SCRAPES - number)), number)
        one = bytes(cramjam.snappy.decompress_raw(remote_write.encode(shown, {"instance": "host000:9100"})))
        parts = [one.replace(b"host000:", f"host{host:03}:".encode()) for host in range(SENT_HOSTS)]
        cuts = range(0, SENT_HOSTS, BODY_HOSTS)
        found.append([bytes(cramjam.snappy.compress_raw(b"".join(parts[at : at + BODY_HOSTS]))) for at in cuts])
    return found


@contextmanager
def server(folder: Path) -> Iterator[tuple[int, int, str]]:
    """`forewarn up`: its process, its port, and a token that speaks for all hosts."""
    database = Database(f"sqlite:///{folder / 'state.sqlite'}")
    _, token = Credentials(database).make_token(NewToken("a collector", Role.AGENT, ("host*",)), "a benchmark")
    database.close()
    port = free_port()
    limits = {"SAMPLES_PER_MINUTE": "1e9", "BODIES_PER_MINUTE": "1e6"}
    env = {**os.environ, **{f"FOREWARN_WEB__INGEST__{name}": value for name, value in limits.items()}}
    command = [sys.executable, "-m", "forewarn", "up", "--state", str(folder), "--port", str(port)]
    process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until = perf_counter() + PATIENCE_S
        while True:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
                connection.request("GET", "/api/v1/health")
                connection.getresponse().read()
                break
            except OSError:
                if process.poll() is not None or perf_counter() > until:
                    raise
                sleep(0.2)
        yield process.pid, port, token
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


def send(port: int, token: str, parts: Sequence[bytes]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    headers = {
        "Authorization": f"Bearer {token}",
        "Content-Type": "application/x-protobuf",
        "Content-Encoding": "snappy",
        "X-Prometheus-Remote-Write-Version": "0.1.0",
    }
    for body in parts:
        connection.request("POST", "/api/v1/write", body=body, headers=headers)
        answer = connection.getresponse()
        said = answer.read()
        if answer.status != 204:
            raise RuntimeError(f"{answer.status}: {said[:200]!r}")


def send_at_once(port: int, token: str, parts: Sequence[bytes]) -> None:
    senders = [threading.Thread(target=send, args=(port, token, parts[at::SENDERS])) for at in range(SENDERS)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()


def by_http(folder: Path) -> None:
    folder.mkdir()
    per_host, sent = len(scrape(fleets.NOW, 0)), bodies(RealClock().now())
    with server(folder) as (pid, port, token):
        first_s, _ = timed(lambda: send(port, token, sent[0]))
        report("remote write, series that are new", per_host * SENT_HOSTS / first_s, "samples/s")
        for few in sent[1:4]:
            send(port, token, few)
        rest = [body for few in sent[4:] for body in few]
        used = cpu_seconds(pid)
        took_s, _ = timed(lambda: send_at_once(port, token, rest))
        samples = len(rest) * per_host * BODY_HOSTS
        used = (cpu_seconds(pid) - used) / samples * 1e6
    report("remote write, series that are known", samples / took_s, "samples/s", f"{used:.2f} µs of CPU a sample")


# --- Frames -----------------------------------------------------------------------------------------------------------


def frames(store: DuckDBStore, now: datetime) -> int:
    """All frames of a cycle; returns how many rows they have."""
    built = [frame.build(store.features(CATALOG, kind, [now]), CATALOG, kind) for kind in COMPONENT_KINDS]
    return sum(table.num_rows for table in built)


def of_fleet(folder: Path, hosts: int) -> None:
    path = folder / f"fleet{hosts}.duckdb"
    fleet = fleets.write(path, hosts)
    opened: list[DuckDBStore] = []
    opened_s, _ = timed(lambda: opened.append(DuckDBStore(path)))
    store = opened[0]
    report(f"{hosts} hosts: opening {fleet.series:,} series", opened_s, "s", f"{path.stat().st_size / 2**20:,.0f} MiB")
    first = timed(lambda: frames(store, fleets.NOW))
    report(
        f"{hosts} hosts: first frame of {hosts * fleets.DEVICES_PER_HOST:,} parts",
        first[0],
        "s",
        f"{first[1]:.1f} s of CPU",
    )
    frames(store, fleets.NOW + timedelta(seconds=10))
    again = timed(lambda: frames(store, fleets.NOW + timedelta(seconds=20)))
    report(f"{hosts} hosts: the next within the hour", again[0], "s", f"{again[1]:.1f} s of CPU")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    report(f"{hosts} hosts: resident memory so far at most", peak, "GiB")
    store.close()
    path.unlink()


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        by_arrow(folder)
        by_http(folder / "site")
        for hosts in SIZES:
            of_fleet(folder, hosts)


if __name__ == "__main__":
    main()
