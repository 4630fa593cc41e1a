"""What a site's database can do wrong: each trouble is one sentence that says what to do, and ends nothing for good."""

import base64
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

from forewarn.assemble.store_doctor import database_answers
from forewarn.assemble.telemetry import StoreKind, StoreSettings
from forewarn.clock import RealClock
from forewarn.domain.finding import State
from forewarn.domain.inventory import Kind
from forewarn.errors import StoreUnavailable
from forewarn.features.catalog import CATALOG
from forewarn.store.http import HttpSettings
from forewarn.store.prometheus import Prometheus
from forewarn.store.remote import CacheSettings, RemoteStore
from forewarn.store.source import Readings
from forewarn.store.victoriametrics import VictoriaMetrics
from forewarn.store.windows import MINUTE, SECOND, microseconds
from tests import databases

pytestmark = pytest.mark.integration

QUICK = HttpSettings(retries_max=0, timeout_s=5.0)
WORDS = "open sesame"


@contextmanager
def answering(answer: Callable[[BaseHTTPRequestHandler], tuple[int, bytes]]) -> Iterator[str]:
    """An HTTP server that is no database."""

    class Answers(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, body = answer(self)
            self.send_response(status)
            if status == 302:
                self.send_header("Location", "http://elsewhere.example/login")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            self.do_POST()

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def asked(store: Prometheus | VictoriaMetrics) -> str:
    """What is said of a question that fails."""
    now = microseconds(datetime(2026, 1, 5, 12, tzinfo=UTC))
    with closing(store), pytest.raises(StoreUnavailable) as refused:
        store.read(["up"], now - MINUTE, now)
    return str(refused.value)


def test_a_wrong_address_is_told() -> None:
    nobody = replace(QUICK, url=f"http://user:secret@127.0.0.1:{databases.free_port()}")
    said = asked(Prometheus(nobody, RealClock()))
    assert "cannot be reached" in said
    assert "is store.remote.url right?" in said
    assert "secret" not in said
    assert "no address" in asked(Prometheus(replace(QUICK, url="prometheus"), RealClock()))
    for answer, words in (
        ((404, b"not found"), "is store.remote.url"),
        ((200, b"<html>"), "is its address right?"),
        ((302, b""), "points to http://elsewhere.example/login"),
        ((503, b"starting"), "answers 503: starting"),
    ):
        with answering(lambda _, answer=answer: answer) as url:  # type: ignore[misc]
            assert words in asked(Prometheus(replace(QUICK, url=url), RealClock()))
    with answering(lambda _: (200, b"<html>")) as url:
        assert "something else than lines of JSON" in asked(VictoriaMetrics(replace(QUICK, url=url), RealClock()))


def test_what_the_database_cannot_answer_now_is_asked_again() -> None:
    answers = iter([(503, b"starting"), (200, b'{"data":{"resultType":"matrix","result":[]}}')])
    with answering(lambda _: next(answers)) as url:
        source = Prometheus(replace(QUICK, url=url, retries_max=1, backoff_s=0.01), RealClock())
        with closing(source):
            assert len(source.read(["up"], 0, MINUTE)) == 0


def test_credentials_are_shown_and_a_refusal_is_told(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("wrong\n", encoding="utf-8")

    def right(request: BaseHTTPRequestHandler) -> tuple[int, bytes]:
        wanted = "Basic " + base64.b64encode(f"forewarn:{WORDS}".encode()).decode()
        shown = request.headers.get("Authorization")
        good = shown in (wanted, f"Bearer {WORDS}")
        return (200, b'{"data":{"resultType":"matrix","result":[]}}') if good else (401, b"")

    with answering(right) as url:
        settings = replace(QUICK, url=url, username="forewarn", password_file=secret)
        assert "refuses the credentials (401)" in asked(Prometheus(settings, RealClock()))
        secret.write_text(WORDS, encoding="utf-8")
        for good in (settings, replace(QUICK, url=url, bearer_token_file=secret)):
            with closing(Prometheus(good, RealClock())) as source:
                assert len(source.read(["up"], 0, MINUTE)) == 0
        gone = replace(QUICK, url=url, bearer_token_file=tmp_path / "none")
        assert "cannot read the secret" in asked(Prometheus(gone, RealClock()))


def node(name: str, values: list[float], start: int, **labels: str) -> Readings:
    key = name, tuple(sorted({"instance": "host03:9100", **labels}.items()))
    time = start + np.arange(len(values)) * 15 * SECOND
    return Readings((key,), np.zeros(len(values), np.int64), time, np.array(values, np.float64))


def test_a_query_limit_is_kept_by_asking_for_less(tmp_path: Path) -> None:
    clock = RealClock()
    now = microseconds(clock.now()) // MINUTE * MINUTE
    values = np.cumsum(np.arange(480) % 7).astype(float).tolist()
    with databases.prometheus(tmp_path, flags=["--query.max-samples=100"]) as database:
        source = Prometheus(HttpSettings(database.url), clock)
        start = now - 480 * 15 * SECOND
        source.write(node("node_network_receive_errs_total", values, start, device="eth0"))
        with closing(RemoteStore(source, None, clock, CacheSettings(history_days=1.0))) as store:
            at = datetime.fromtimestamp(now / SECOND, UTC)
            [row] = store.features(CATALOG, Kind.NETWORK, [at]).to_pylist()
            assert row["nic_receive_errors_increase_1h"] == values[-1] - values[240]
            found = store.series("network:host03/eth0", "nic_receive_errors", at - timedelta(hours=3), at)
            assert found.column("value").to_pylist() == values
    with databases.prometheus(tmp_path / "tiny", flags=["--query.max-samples=1"]) as database:
        source = Prometheus(HttpSettings(database.url), clock)
        source.write(node("node_network_receive_errs_total", values, start, device="eth0"))
        store = RemoteStore(source, None, clock, CacheSettings(history_days=1.0))
        with closing(store), pytest.raises(StoreUnavailable, match="too many samples"):
            store.features(CATALOG, Kind.NETWORK, [at])


def test_what_prometheus_refuses_for_its_time_is_counted_and_the_rest_is_kept(tmp_path: Path) -> None:
    clock = RealClock()
    now = microseconds(clock.now()) // MINUTE * MINUTE
    with (
        databases.prometheus(tmp_path, "global: {scrape_interval: 15s}\n") as database,
        closing(Prometheus(HttpSettings(database.url), clock)) as source,
    ):
        assert source.write(node("up", [1.0] * 400, now - 400 * 15 * SECOND)) == 0
        old = node("up", [2.0] * 70, now - 86400 * SECOND)
        mixed = Readings.joined([old, node("node_load1", [3.0] * 200, now - 200 * 15 * SECOND)])
        assert source.write(mixed) == 70
        assert len(source.read(["node_load1"], now - 7200 * SECOND, now)) == 200
        assert set(source.read(["up"], now - 7200 * SECOND, now).value.tolist()) == {1.0}


def test_a_prometheus_without_its_receiver_is_told(tmp_path: Path) -> None:
    port = databases.free_port()
    tmp_path.joinpath("prometheus.yml").write_text("global: {}\n", encoding="utf-8")
    command = [
        databases.needed("prometheus"),
        f"--config.file={tmp_path}/prometheus.yml",
        f"--storage.tsdb.path={tmp_path}/tsdb",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (
        databases.running(command, tmp_path, port, "/-/ready") as database,
        closing(Prometheus(HttpSettings(database.url), RealClock())) as source,
        pytest.raises(StoreUnavailable, match="enable-remote-write-receiver"),
    ):
        source.write(node("up", [1.0], microseconds(datetime(2026, 1, 5, 12, tzinfo=UTC))))


def test_the_doctor_tells_what_of_a_database_is_understood(tmp_path: Path) -> None:
    clock = RealClock()
    now = microseconds(clock.now()) // SECOND * SECOND - 30 * SECOND
    with databases.prometheus(tmp_path / "prometheus") as database:
        settings = StoreSettings(kind=StoreKind.PROMETHEUS, remote=replace(QUICK, url=database.url))
        found = {finding.text: finding for finding in database_answers(tmp_path, settings, clock.now())}
        assert any("no series of the last 10 minutes" in text for text in found)
        with closing(Prometheus(settings.remote, clock)) as source:
            source.write(node("node_network_up", [1.0], now, device="eth0"))
            source.write(node("node_hwmon_temp_celsius", [40.0], now, chip="acpitz", sensor="temp1"))
            lost = Readings(
                (("node_network_up", (("device", "eth9"),)),), np.zeros(1, np.int64), np.array([now]), np.ones(1)
            )
            source.write(lost)
        told = list(database_answers(tmp_path, settings, clock.now()))
    texts = "\n".join(f"{finding.state}: {finding.text}" for finding in told)
    assert "ok: Prometheus at" in texts
    assert "version 2." in texts
    assert "ok: 1 hosts are understood, with 1 network" in texts
    assert 'warning: 1 series (node_network_up) lead to no host, such as node_network_up{device="eth9"}' in texts
    assert "note: 1 series (node_hwmon_temp_celsius) lead to no part" in texts
    assert "note: 1 parts of kind network are known by their place alone" in texts


def test_the_doctor_tells_of_a_database_that_is_none(tmp_path: Path) -> None:
    now = RealClock().now()
    [missing] = database_answers(tmp_path, StoreSettings(kind=StoreKind.VICTORIAMETRICS), now)
    assert (missing.state, "name its address in store.remote.url" in missing.text) == (State.ERROR, True)
    with databases.prometheus(tmp_path / "prometheus") as database:
        wrong = StoreSettings(kind=StoreKind.VICTORIAMETRICS, remote=replace(QUICK, url=database.url))
        [refused] = database_answers(tmp_path, wrong, now)
        assert (refused.state, "is no VictoriaMetrics" in refused.text) == (State.ERROR, True)
    with databases.victoria_metrics(tmp_path / "victoria") as database:
        right = StoreSettings(kind=StoreKind.VICTORIAMETRICS, remote=replace(QUICK, url=database.url))
        assert next(iter(database_answers(tmp_path, right, now))).state is State.OK
