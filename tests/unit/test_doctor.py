"""What is found of a controller, in folders as they are left behind; and the command as a process."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from forewarn.alerts.settings import AlertmanagerSettings, AlertSettings
from forewarn.assemble import doctor
from forewarn.assemble.site import PredictSettings, SiteSettings
from forewarn.assemble.up import UpSettings
from forewarn.domain.finding import Finding, State
from forewarn.domain.telemetry import Sample
from forewarn.state.database import Database
from forewarn.state.schema import HEAD
from forewarn.state.snapshot import SnapshotFile
from forewarn.store.duckdb import DuckDBStore
from forewarn.store.mapping import Mapper
from forewarn.web.settings import WebSettings
from tests.shown import snapshot_of

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)


def one(found: Iterator[Finding], part: str) -> Finding:
    findings = list(found)
    fitting = [finding for finding in findings if part in finding.text]
    assert len(fitting) == 1, findings
    return fitting[0]


def kept(folder: Path, times: dict[str, datetime]) -> Path:
    """A store that has heard of these hosts."""
    store, mapper = DuckDBStore(folder / "telemetry.duckdb"), Mapper()
    for host, time in times.items():
        store.append(mapper.map(host, [Sample("node_network_up", {"device": "eth0"}, 1.0)], time))
    store.close()
    return folder / "telemetry.duckdb"


@contextmanager
def answering(status: int, body: bytes, date: datetime) -> Iterator[SiteSettings]:
    """A server that says this of its health."""

    class Health(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response_only(status)
            self.send_header("Date", format_datetime(date, usegmt=True))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Says nothing."""

    with HTTPServer(("127.0.0.1", 0), Health) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield SiteSettings(web=WebSettings(port=server.server_address[1]))
        finally:
            server.shutdown()
            thread.join()


# --- The server -----------------------------------------------------------------------------------------------------


def test_a_running_server_is_asked_and_its_clock_compared() -> None:
    with answering(200, b'{"status": "ok", "age_s": 3}', NOW) as settings:
        found = list(doctor.server_findings(doctor.ask(settings), NOW + timedelta(seconds=1)))
        assert [finding.state for finding in found] == [State.OK]
        assert "its last cycle ended 3 s ago" in found[0].text
        skewed = one(doctor.server_findings(doctor.ask(settings), NOW + timedelta(seconds=60)), "clock differs")
        assert (skewed.state, "60 s" in skewed.text) == (State.WARNING, True)


def test_a_server_whose_cycles_stopped_is_wrong() -> None:
    with answering(503, b'{"status": "stale", "age_s": 900}', NOW) as settings:
        assert one(doctor.server_findings(doctor.ask(settings), NOW), "its cycles do not").state is State.ERROR


@pytest.mark.parametrize("body", [b"hello", b"[]", b"{}"])
def test_something_else_at_the_address_is_no_server_of_ours(body: bytes) -> None:
    with answering(200, body, NOW) as settings:
        assert doctor.ask(settings) is None
    assert one(doctor.server_findings(doctor.ask(settings), NOW), "no server").state is State.NOTE


# --- Models, room, stores ---------------------------------------------------------------------------------------------


def test_models_that_load_are_told_and_a_missing_one_is_wrong(tmp_path: Path) -> None:
    assert one(doctor.model_findings(SiteSettings()), "Forecasts: ").state is State.OK
    settings = SiteSettings(predict=PredictSettings({"disk": str(tmp_path / "none")}))
    assert one(doctor.model_findings(settings), "holds no model").state is State.ERROR


def test_the_room_below_a_folder_that_is_yet_to_be_made_is_told(tmp_path: Path) -> None:
    (found,) = doctor.space(tmp_path / "a" / "b")
    assert "GiB are free" in found.text
    assert found.place == str(tmp_path)


def test_a_store_tells_its_hosts_and_the_age_of_its_newest_sample(tmp_path: Path) -> None:
    path = kept(tmp_path, {"a": NOW - timedelta(minutes=5), "b": NOW - timedelta(days=1)})
    before = path.read_bytes()
    found = list(doctor.store_findings(path, NOW, running=False))
    assert [finding.state for finding in found] == [State.OK, State.OK]
    assert "with 2 hosts" in found[0].text
    assert "5 min old" in found[1].text
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_samples_from_the_future_are_wrong_and_name_their_host(tmp_path: Path) -> None:
    path = kept(tmp_path, {"a": NOW, "b": NOW + timedelta(minutes=5)})
    assert one(doctor.store_findings(path, NOW, running=False), "samples of b are from the future").state is State.ERROR


def test_a_store_in_use_is_well_where_a_server_runs(tmp_path: Path) -> None:
    path = kept(tmp_path, {"a": NOW})
    store = DuckDBStore(path)
    try:
        assert one(doctor.store_findings(path, NOW, running=True), "running server holds").state is State.OK
        assert one(doctor.store_findings(path, NOW, running=False), "in use").state is State.WARNING
    finally:
        store.close()


def test_a_store_in_use_by_another_process_is_told(tmp_path: Path) -> None:
    path = kept(tmp_path, {"a": NOW})
    program = f"import duckdb; c = duckdb.connect({str(path)!r}); print('open', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        found = one(doctor.store_findings(path, NOW, running=False), "in use by another process")
        holder.communicate("\n")
    assert found.state is State.WARNING


def test_a_file_that_is_no_store_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "telemetry.duckdb"
    assert one(doctor.store_findings(path, NOW, running=False), "no telemetry yet").state is State.NOTE
    path.write_text("hello" * 1000)
    assert one(doctor.store_findings(path, NOW, running=False), "is no telemetry store").state is State.ERROR


# --- State and cycle --------------------------------------------------------------------------------------------------


def test_a_state_database_of_today_is_well_in_use_or_not(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite"
    assert one(doctor.database_findings(path), "no state database yet").state is State.NOTE
    database = Database(f"sqlite:///{path}")
    assert one(doctor.database_findings(path), f"schema, {HEAD}").state is State.OK
    database.close()
    assert one(doctor.database_findings(path), f"schema, {HEAD}").state is State.OK


@pytest.mark.parametrize(
    ("version", "state", "words"),
    [
        ("9999", State.ERROR, "newer Forewarn"),
        ("0001", State.NOTE, "next start"),
        ("abc", State.ERROR, "no state database"),
    ],
)
def test_a_schema_that_is_not_todays_is_told(tmp_path: Path, version: str, state: State, words: str) -> None:
    path = tmp_path / "state.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
        connection.execute("INSERT INTO alembic_version VALUES (?)", (version,))
        connection.commit()
    assert one(doctor.database_findings(path), words).state is state


def test_a_database_of_another_program_or_none_at_all_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")
    assert one(doctor.database_findings(path), "no state database of Forewarn").state is State.ERROR
    path.write_text("hello" * 1000)
    assert one(doctor.database_findings(path), "no state database of Forewarn").state is State.ERROR


def test_the_last_cycle_is_told_with_its_age_and_mode(tmp_path: Path) -> None:
    path = tmp_path / "snapshot.json"
    assert one(doctor.snapshot_findings(path, NOW), "no cycle has ended yet").state is State.NOTE
    snapshot = snapshot_of()
    SnapshotFile(path).write(snapshot)
    assert (
        "ended 3 h ago in mode automatic"
        in next(doctor.snapshot_findings(path, snapshot.time + timedelta(hours=3))).text
    )
    path.write_text("{}")
    assert one(doctor.snapshot_findings(path, NOW), "is not a snapshot").state is State.WARNING


def test_without_a_placement_service_nothing_can_be_moved_and_a_driver_may_say_more(tmp_path: Path) -> None:
    settings = UpSettings(web=WebSettings(port=1))
    found = list(doctor.controller_findings(tmp_path / "absent", settings, NOW))
    assert one(iter(found), "nothing can be moved").state is State.NOTE
    assert one(iter(found), "nothing is kept yet").state is State.NOTE
    own = Finding("driver", State.ERROR, "may not migrate", "grant it")
    assert own in list(doctor.controller_findings(tmp_path, settings, NOW, [own]))


# --- The command ------------------------------------------------------------------------------------------------------


def run(*arguments: str, before: tuple[str, ...] = (), **environment: str) -> subprocess.CompletedProcess[str]:
    command = [*before, sys.executable, "-m", "forewarn", "doctor", *arguments]
    inherited = os.environ.items()
    if before:  # another user, who may not write where the coverage of processes is collected
        inherited = {name: value for name, value in inherited if not name.startswith("COVERAGE_")}.items()
    return subprocess.run(command, capture_output=True, text=True, env={**dict(inherited), **environment}, timeout=120)


def test_the_command_tells_findings_as_json_and_ends_with_their_worst(tmp_path: Path) -> None:
    ran = run("--json", "--state", str(tmp_path), FOREWARN_WEB__PORT="1")
    told = json.loads(ran.stdout)
    assert ran.returncode == told["exit_code"]
    states = {finding["state"] for finding in told["findings"]}
    assert told["exit_code"] == (2 if "error" in states else 1 if "warning" in states else 0)
    assert {"machine", "clock", "collectors", "memory", "mapping", "server", "model", "store"} <= {
        finding["check"] for finding in told["findings"]
    }
    remedies = [finding for finding in told["findings"] if finding["state"] in ("warning", "error")]
    assert [finding for finding in remedies if not finding["remedy"]] == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_wrong_configuration_is_an_error_and_the_host_is_looked_at_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "forewarn.toml"
    path.write_text("[agent]\nintervall_s = 3\n")
    ran = run("--config", str(path))
    assert ran.returncode == 2
    assert "did you mean 'interval_s'?" in ran.stdout
    assert "cpu is read" in ran.stdout
    path.write_text('[agent]\ncollectors = ["cpus"]\n')
    ran = run("--config", str(path), "--host-only")
    assert (ran.returncode, "unknown collector 'cpus'" in ran.stdout) == (2, True)


@pytest.mark.slow
def test_the_file_of_an_agent_leaves_the_controller_out(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    path.write_text("[listen]\nport = 9000\n")
    ran = run("--config", str(path))
    assert ran.returncode in (0, 1)
    assert "no controller is set up here" in ran.stdout


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None, reason="only root can run it as nobody")
def test_nobody_is_told_what_is_missing() -> None:
    nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all")
    if subprocess.run([*nobody, sys.executable, "-c", "import forewarn"], capture_output=True).returncode:
        pytest.skip("nobody may not read this checkout")
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        place.chmod(0o755)
        for folder in ("state", "etc"):
            (place / folder).mkdir(mode=0o700)
        arguments = ("--json", "--state", str(place / "state"))
        ran = run(*arguments, before=nobody, HOME="/nonexistent", FOREWARN_WEB__PORT="1")
        hidden = run(*arguments, "--config", str(place / "etc" / "forewarn.toml"), before=nobody, HOME="/nonexistent")
    texts = [finding["text"] for finding in json.loads(ran.stdout)["findings"]]
    assert [text for text in texts if "user 65534 lacks CAP_DAC_READ_SEARCH, CAP_SYS_RAWIO, CAP_SYS_ADMIN" in text]
    assert [text for text in texts if "the state folder may not be looked into" in text]
    assert (ran.stderr, ran.returncode) == ("", 1)
    (first, *_) = json.loads(hidden.stdout)["findings"]
    assert (first["state"], "Permission denied" in first["text"], hidden.returncode) == ("error", True, 2)


def test_whoever_is_told_of_alerts_is_counted_and_a_site_that_tells_nobody_hears_so() -> None:
    told = SiteSettings(alerts=AlertSettings(alertmanager=AlertmanagerSettings(urls=("http://alerts:9093",))))
    assert one(doctor.receivers(told), "1 receiver of alerts").state is State.OK
    assert one(doctor.receivers(SiteSettings()), "no receiver of alerts").state is State.NOTE
