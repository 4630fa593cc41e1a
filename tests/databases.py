"""Databases of time series from the distribution's packages, each started on loopback and ended by the test."""

import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import which

import httpx
import pytest

from tests.support import eventually

STARTS_S = 30.0


@dataclass(frozen=True)
class Database:
    """A running database."""

    url: str
    process: "subprocess.Popen[bytes]"
    folder: Path


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def needed(name: str) -> str:
    """The program's path, or a skip that says which package has it."""
    found = which(name)
    if found is None:
        pytest.skip(f"there is no {name} on this machine")
    return found


@contextmanager
def running(command: Sequence[str], folder: Path, port: int, ready: str) -> Iterator[Database]:
    """A database that answers at `ready`; it is ended, and waited for, at the end of the block."""
    folder.mkdir(parents=True, exist_ok=True)
    url = f"http://127.0.0.1:{port}"
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen([*command], stdout=log, stderr=log, cwd=folder)
        try:
            eventually(lambda: _answers(url + ready, process), deadline=STARTS_S)
            yield Database(url, process, folder)
        finally:
            if process.poll() is None:
                process.terminate()
            process.wait(timeout=60)


def _answers(url: str, process: "subprocess.Popen[bytes]") -> bool:
    assert process.poll() is None, "the database ended at its start"
    try:
        return httpx.get(url, timeout=5).status_code < 300
    except httpx.TransportError:
        return False


PROMETHEUS = """\
global: {scrape_interval: 15s}
storage: {tsdb: {out_of_order_time_window: 2h}}
"""


@contextmanager
def prometheus(
    folder: Path, config: str = PROMETHEUS, flags: Sequence[str] = (), port: int | None = None
) -> Iterator[Database]:
    """Prometheus with its remote-write receiver, keeping samples of any age."""
    program = needed("prometheus")
    port = port or free_port()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "prometheus.yml").write_text(config, encoding="utf-8")
    command = [
        program,
        f"--config.file={folder}/prometheus.yml",
        f"--storage.tsdb.path={folder}/tsdb",
        f"--web.listen-address=127.0.0.1:{port}",
        "--web.enable-remote-write-receiver",
        "--storage.tsdb.retention.time=10y",
        *flags,
    ]
    with running(command, folder, port, "/-/ready") as database:
        yield database


@contextmanager
def victoria_metrics(folder: Path, flags: Sequence[str] = (), port: int | None = None) -> Iterator[Database]:
    """VictoriaMetrics, one node."""
    program = needed("victoria-metrics")
    port = port or free_port()
    command = [
        program,
        f"-storageDataPath={folder}/data",
        f"-httpListenAddr=127.0.0.1:{port}",
        "-retentionPeriod=10y",
        "-memory.allowedPercent=5",
        *flags,
    ]
    with running(command, folder, port, "/health") as database:
        yield database


INFLUXDB = """\
reporting-disabled = true
bind-address = "127.0.0.1:{backup}"
[meta]
dir = "{folder}/meta"
[data]
dir = "{folder}/data"
wal-dir = "{folder}/wal"
wal-fsync-delay = "100ms"
query-log-enabled = false
{data}
[http]
bind-address = "127.0.0.1:{port}"
auth-enabled = {auth}
log-enabled = false
[monitor]
store-enabled = false
[logging]
level = "error"
"""


@contextmanager
def influxdb(folder: Path, name: str = "telegraf", *, auth: bool = False, data: str = "") -> Iterator[Database]:
    """InfluxDB 1.x with one database, empty; with `auth`, which `admin` with the password `secret` may use."""
    program = needed("influxd")
    port = free_port()
    folder.mkdir(parents=True, exist_ok=True)
    config = INFLUXDB.format(folder=folder, port=port, backup=free_port(), auth=str(auth).lower(), data=data)
    (folder / "influxdb.conf").write_text(config, encoding="utf-8")
    with running([program, "-config", f"{folder}/influxdb.conf"], folder, port, "/ping") as database:
        if auth:
            _query(database, "CREATE USER admin WITH PASSWORD 'secret' WITH ALL PRIVILEGES")
        if name:
            _query(database, f'CREATE DATABASE "{name}"', ("admin", "secret") if auth else None)
        yield database


def _query(database: Database, query: str, auth: tuple[str, str] | None = None) -> None:
    answer = httpx.post(f"{database.url}/query", data={"q": query}, auth=auth)
    assert "error" not in answer.text, answer.text
