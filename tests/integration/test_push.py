"""Agent, server and a real Prometheus as processes: what one sends the other stores, through restarts."""

import math
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from shutil import which
from threading import Thread

import httpx
import pyarrow.compute as pc
import pytest

from forewarn.domain.inventory import Kind
from forewarn.domain.people import Role
from forewarn.state.credentials import Credentials, NewToken
from forewarn.state.database import Database
from forewarn.store.duckdb import DuckDBStore
from tests.support import eventually

pytestmark = pytest.mark.integration
needs_prometheus = pytest.mark.skipif(which("prometheus") is None, reason="there is no prometheus on this machine")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@contextmanager
def running(command: list[str], end: int = signal.SIGTERM) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is ended with the test, and whose output goes nowhere."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(end)
                process.wait(timeout=60)


class Server:
    """`forewarn up` on one port and folder, started as often as a test likes."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder / "state", free_port()
        self.url = f"http://127.0.0.1:{self.port}/api/v1"
        self.folder.mkdir()
        database = Database(f"sqlite:///{self.folder / 'state.sqlite'}")
        credentials = Credentials(database)
        _, self.token = credentials.make_token(NewToken("rack 7", Role.AGENT, ("host07*",)), "a test")
        _, self._watching = credentials.make_token(NewToken("a Prometheus", Role.VIEWER), "a test")
        database.close()

    @contextmanager
    def up(self, end: int = signal.SIGTERM) -> Iterator[None]:
        command = [sys.executable, "-m", "forewarn", "up", "--state", str(self.folder), "--port", str(self.port)]
        with running(command, end):
            eventually(lambda: self.metric("forewarn_ingest_bodies_total") is not None, deadline=60)
            yield

    def metric(self, name: str) -> float | None:
        return metric(f"{self.url}/metrics", name, self._watching)

    def taken(self) -> float:
        return self.metric("forewarn_ingest_samples_total") or 0.0

    def stored(self, host: str) -> list[datetime]:
        """The times of a series that every machine has, once the server has ended."""
        store, now = DuckDBStore(self.folder / "telemetry.duckdb"), datetime.now(UTC)  # noqa: TID251 - of real processes
        try:
            found = store.series(f"host:{host}", "memory_total", now - timedelta(hours=1), now)
            return [time for time in found.column("time").to_pylist() if time is not None]
        finally:
            store.close()


def metric(url: str, name: str, token: str = "") -> float | None:
    """The sum of a metric's series on a page of metrics; None where there is no page or no such metric."""
    try:
        page = httpx.get(url, timeout=10, headers={"Authorization": f"Bearer {token}"} if token else {}).text
    except httpx.HTTPError:
        return None
    found = re.findall(rf"^{re.escape(name)}(?:{{.*}})? (\S+)$", page, re.MULTILINE)
    return sum(map(float, found)) if found else None


@contextmanager
def agent(folder: Path, url: str = "", token: str = "", host: str = "host07") -> Iterator[str]:
    """`forewarn agent` that collects twice a second; yields where it is scraped."""
    port, file, home = free_port(), folder / f"{host}.toml", folder / host
    (folder / "token").write_text(token)
    (folder / "token").chmod(0o600)
    push = f'[push]\nurl = "{url}"\nhost = "{host}"\ntoken_file = "{folder / "token"}"\nfolder = "{home}"\n'
    push += "idle_s = 0.1\nretry_min_s = 0.2\nretry_max_s = 0.5\n"
    agent = '[agent]\ninterval_s = 0.5\ncollectors = ["cpu", "memory"]\n'
    file.write_text(f"{agent}[listen]\nport = {port}\n{push if url else ''}")
    with running([sys.executable, "-m", "forewarn", "agent", "--config", str(file)]):
        metrics = f"http://127.0.0.1:{port}/metrics"
        eventually(lambda: metric(metrics, "forewarn_build_info") is not None, deadline=60)
        yield metrics


@contextmanager
def prometheus(folder: Path, config: str, *options: str) -> Iterator[str]:
    port, file = free_port(), folder / "prometheus.yml"
    file.write_text(config)
    command = ["prometheus", f"--config.file={file}", f"--web.listen-address=127.0.0.1:{port}", *options]
    with running([*command, f"--storage.tsdb.path={folder / 'prometheus'}"]):
        address = f"http://127.0.0.1:{port}"
        eventually(lambda: metric(f"{address}/metrics", "prometheus_ready") == 1, deadline=60)
        yield address


@needs_prometheus
def test_a_prometheus_that_scrapes_agents_hands_on_what_it_reads(tmp_path: Path) -> None:
    server = Server(tmp_path)
    with ExitStack() as stack:
        stack.enter_context(server.up())
        address = stack.enter_context(agent(tmp_path)).removeprefix("http://").removesuffix("/metrics")
        config = f"""
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
  - job_name: forewarn
    static_configs: [{{targets: ["{address}"]}}]
    relabel_configs: [{{target_label: instance, replacement: "host07:9778"}}]
remote_write:
  - url: {server.url}/write
    authorization: {{credentials: {server.token}}}
    queue_config: {{batch_send_deadline: 1s}}
"""
        stack.enter_context(prometheus(tmp_path, config))
        eventually(lambda: server.taken() > 500, deadline=90)
        assert server.metric("forewarn_ingest_refused_total") is None
    assert len(server.stored("host07")) >= 2


@needs_prometheus
def test_a_prometheus_understands_what_the_agent_sends(tmp_path: Path) -> None:
    with ExitStack() as stack:
        config = "global: {scrape_interval: 1h}\n"
        address = stack.enter_context(prometheus(tmp_path, config, "--web.enable-remote-write-receiver"))
        stack.enter_context(agent(tmp_path, f"{address}/api/v1/write"))
        query = {"query": 'forewarn_collector_up{instance="host07",job="forewarn",collector="cpu"}'}
        found = eventually(
            lambda: httpx.get(f"{address}/api/v1/query", params=query).json()["data"]["result"], deadline=60
        )
        assert [row["value"][1] for row in found] == ["1"]


def test_nothing_is_lost_while_the_server_is_killed_and_started_again(tmp_path: Path) -> None:
    server = Server(tmp_path)
    with agent(tmp_path, f"{server.url}/write", server.token) as metrics:

        def waiting() -> float:
            return metric(metrics, "forewarn_push_buffer_segments") or 0.0

        with server.up(signal.SIGKILL):
            eventually(lambda: server.taken() > 0, deadline=60)
        eventually(lambda: waiting() >= 4, deadline=60)
        with server.up():
            eventually(lambda: server.taken() > 0 and waiting() <= 1, deadline=60)
        assert metric(metrics, "forewarn_push_dropped_samples_total") == 0
        assert (metric(metrics, "forewarn_push_failed_requests_total") or 0) > 0
    times = server.stored("host07")
    assert len(times) == len(set(times)) >= 5
    assert max(after - before for before, after in pairwise(times)) < timedelta(seconds=5)


def test_another_hosts_series_are_refused_and_given_up(tmp_path: Path) -> None:
    server = Server(tmp_path)
    with server.up(), agent(tmp_path, f"{server.url}/write", server.token, "host08") as metrics:
        eventually(lambda: (metric(metrics, "forewarn_push_dropped_samples_total") or 0) > 0, deadline=60)
        assert server.taken() == 0
        assert (server.metric("forewarn_ingest_refused_total") or 0) > 0


class Exporter:
    """A page with as many series of one metric as asked for, whose values do not change."""

    def __init__(self, series: int) -> None:
        rows = [f'node_cpu_core_throttles_total{{package="0",core="{core}"}} {core}' for core in range(series)]
        rows += ['node_disk_io_now{device="sda"} 0', 'smartctl_device{device="sda",serial_number="ZA1"} 1']
        errors = 'smartctl_device_attribute{device="sda",attribute_id="5",attribute_value_type="raw"} 8'
        self.total, page = float(sum(range(series))), ("\n".join([errors, *rows]) + "\n").encode()

        class Page(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.end_headers()
                self.wfile.write(page)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
        self.address = f"127.0.0.1:{self._server.server_port}"

    @contextmanager
    def serving(self) -> Iterator[str]:
        thread = Thread(target=self._server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield self.address
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()


@needs_prometheus
def test_a_scrape_that_a_prometheus_spreads_over_bodies_and_shards_is_stored_as_one(tmp_path: Path) -> None:
    server, exporter = Server(tmp_path), Exporter(40)
    with ExitStack() as stack:
        stack.enter_context(server.up())
        config = f"""
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
  - job_name: node
    static_configs: [{{targets: ["{stack.enter_context(exporter.serving())}"]}}]
    relabel_configs: [{{target_label: instance, replacement: "host07:9100"}}]
remote_write:
  - url: {server.url}/write
    authorization: {{credentials: {server.token}}}
    queue_config: {{min_shards: 4, max_shards: 4, max_samples_per_send: 7, batch_send_deadline: 200ms}}
"""
        stack.enter_context(prometheus(tmp_path, config))
        eventually(lambda: server.taken() > 600, deadline=90)
        assert (server.metric("forewarn_ingest_bodies_total") or 0) > 12 * 5
        assert server.metric("forewarn_ingest_refused_total") is None
    store, now = DuckDBStore(server.folder / "telemetry.duckdb"), datetime.now(UTC)  # noqa: TID251 - of real processes
    throttles = store.series("cpu:host07/cpu", "cpu_core_throttles", now - timedelta(hours=1), now).column("value")
    sectors = store.series("disk:ZA1", "smart_5", now - timedelta(hours=1), now).column("value")
    parts = store.devices(Kind.DISK).filter(pc.field("host") == "host07").column("component").to_pylist()
    store.close()
    values = [value for value in throttles.to_numpy() if not math.isnan(value)]
    assert len(values) >= 5
    assert values[:-1] == [exporter.total] * (len(values) - 1)  # the last scrape may have been on its way
    assert {value for value in sectors.to_numpy() if not math.isnan(value)} == {8.0}
    assert parts == ["disk:ZA1"]
