"""What agents send is taken whole or refused with a stable code, and nobody speaks of another's hosts."""

import json
import socket
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

import cramjam
import httpx
import pytest

from forewarn import event_lines, remote_write
from forewarn.clock import SimulatedClock
from forewarn.domain.events import ChangeEvent, ChangeKind, FailureEvent
from forewarn.domain.inventory import Kind
from forewarn.domain.people import Role
from forewarn.domain.telemetry import Sample
from forewarn.errors import StoreUnavailable
from forewarn.state.credentials import Credentials, NewToken
from forewarn.state.database import Database
from forewarn.web.app import create_app
from forewarn.web.server import serve
from forewarn.web.settings import IngestSettings, WebSettings
from tests.shown import NOW, Shelf

LIMITS = IngestSettings(
    body_bytes_max=2000, unpacked_bytes_max=20_000, samples_max=50, events_max=3, samples_per_minute=100, body_s=0.5
)
WRITE = {
    "Content-Type": "application/x-protobuf",
    "Content-Encoding": "snappy",
    "X-Prometheus-Remote-Write-Version": "0.1.0",
}
LINES = {"Content-Type": "application/x-ndjson"}
BOOT = ChangeEvent(NOW, "host03", ChangeKind.BOOT, "", "a", "b")


@dataclass
class Kept:
    """What the server has taken."""

    samples: list[tuple[str, Sample]] = field(default_factory=list)
    events: list[ChangeEvent | FailureEvent] = field(default_factory=list)
    broken: bool = False

    def take(self, shown: Mapping[str, Iterable[Sample]], _: datetime) -> None:
        if self.broken:
            raise StoreUnavailable("the disk is full")
        self.samples += [(host, sample) for host, samples in shown.items() for sample in samples]

    def record(self, events: Iterable[ChangeEvent | FailureEvent]) -> None:
        self.events += events


class Sender:
    """Asks the server as somebody with a token."""

    def __init__(self, address: str, token: str) -> None:
        self.client = httpx.Client(base_url=address, headers={"Authorization": f"Bearer {token}"}, timeout=60)

    def write(self, *samples: Sample, host: str = "host03", **headers: str) -> tuple[int, str]:
        return self.send(remote_write.encode(samples, {"instance": host} if host else {}), **headers)

    def send(self, body: bytes, **headers: str) -> tuple[int, str]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return told(self.client.post("/api/v1/write", content=body, headers={**WRITE, **named}))

    def report(self, body: bytes, **headers: str) -> tuple[int, str]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return told(self.client.post("/api/v1/events", content=body, headers={**LINES, **named}))


def told(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"] if answer.content else ""


@dataclass
class Site:
    kept: Kept
    clock: SimulatedClock
    agent: Sender
    viewer: Sender


@contextmanager
def running(folder: Path, limits: IngestSettings) -> Iterator[Site]:
    kept, clock = Kept(), SimulatedClock(NOW)
    database = Database(f"sqlite:///{folder / 'state.sqlite'}", clock)
    credentials = Credentials(database)
    _, agent = credentials.make_token(NewToken("rack 1", Role.AGENT, ("host0*",)), "ann")
    _, viewer = credentials.make_token(NewToken("eve", Role.VIEWER), "ann")
    settings = WebSettings(port=0, ingest=limits)
    app = create_app(settings, Shelf(None).read, None, database, clock, take=kept.take, record=kept.record)
    server = serve(app, settings)
    senders = Sender(server.address, agent), Sender(server.address, viewer)
    try:
        yield Site(kept, clock, *senders)
    finally:
        for sender in senders:
            sender.client.close()
        server.stop()
        database.close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with running(tmp_path, LIMITS) as made:
        yield made


def up(value: float = 1.0, age_s: float = 0.0, **labels: str) -> Sample:
    return Sample("up", labels, value, NOW - timedelta(seconds=age_s))


def metric(site: Site, name: str) -> float:
    lines = site.viewer.client.get("/api/v1/metrics").text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


def test_samples_are_taken_under_the_host_that_they_name_and_at_their_own_time(site: Site) -> None:
    assert site.agent.write(up(3.0, age_s=90), host="host03:9100") == (204, "")
    [(host, sample)] = site.kept.samples
    assert (host, sample.value, sample.time) == ("host03", 3.0, NOW - timedelta(seconds=90))
    assert metric(site, "forewarn_ingest_samples_total") == metric(site, "forewarn_ingest_bodies_total") == 1


@pytest.mark.parametrize("host", ["host13", "host13:9100", ""])
def test_one_series_of_another_host_refuses_the_whole_body(site: Site, host: str) -> None:
    body = remote_write.encode([up(instance="host03"), up(instance=host)], {})
    answer = site.agent.client.post("/api/v1/write", content=body, headers=WRITE)
    assert told(answer) == (403, "foreign_host")
    assert ("host13" if host else "no host") in answer.json()["error"]["message"]
    assert site.kept.samples == []
    assert metric(site, 'forewarn_ingest_refused_total{code="foreign_host"}') == 1


def test_whoever_is_no_agent_may_not_write(site: Site) -> None:
    assert site.viewer.write(up()) == (403, "forbidden")
    site.agent.client.headers["Authorization"] = "Bearer fw_made_up"
    assert site.agent.write(up()) == (401, "unauthenticated")
    del site.agent.client.headers["Authorization"]
    assert site.agent.write(up())[0] == 401
    assert site.agent.report(event_lines.encode([BOOT]))[0] == 401
    assert site.kept == Kept()


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", (400, "malformed")),
        (b"garbage", (400, "malformed")),
        (remote_write.encode([up(a="x" * 99)], {"instance": "host03"})[:-3], (400, "malformed")),
        (b"\xff\xff\xff\xff\x0f", (413, "too_large")),
        (bytes(cramjam.snappy.compress_raw(bytes(30_000))), (413, "too_large")),
        (b"\x00" * 3000, (413, "too_large")),
        (remote_write.encode([up(float(n), age_s=n) for n in range(51)], {"instance": "host03"}), (413, "too_large")),
    ],
)
def test_a_malformed_a_truncated_and_an_inflated_body_are_refused(
    site: Site, body: bytes, expected: tuple[int, str]
) -> None:
    assert site.agent.send(body) == expected
    assert site.kept.samples == []
    assert metric(site, f'forewarn_ingest_refused_total{{code="{expected[1]}"}}') == 1


@pytest.mark.parametrize(
    "headers",
    [
        {"Content_Type": "application/x-protobuf;proto=io.prometheus.write.v2.Request"},
        {"Content_Type": "application/json"},
        {"Content_Encoding": "gzip"},
        {"Content_Encoding": "zstd"},
        {"X_Prometheus_Remote_Write_Version": "2.0.0"},
    ],
)
def test_another_form_than_remote_write_1_is_told_apart(site: Site, headers: dict[str, str]) -> None:
    assert site.agent.write(up(), **headers) == (415, "unsupported_media_type")
    assert site.agent.write(up(), Content_Type="application/x-protobuf; proto=prometheus.WriteRequest") == (204, "")


@pytest.mark.parametrize("age_s", [-400, 161 * 3600])
def test_a_time_that_cannot_be_right_is_refused_so_that_it_is_not_sent_again(site: Site, age_s: float) -> None:
    assert site.agent.write(up(), up(age_s=age_s)) == (400, "out_of_bounds")
    assert site.kept.samples == []


def test_more_than_a_minutes_worth_has_to_wait_and_is_told_how_long(site: Site) -> None:
    samples = [up(float(n), age_s=n) for n in range(50)]
    assert [site.agent.write(*samples)[0] for _ in range(2)] == [204, 204]
    body = remote_write.encode(samples, {"instance": "host03"})
    answer = site.agent.client.post("/api/v1/write", content=body, headers=WRITE)
    assert (*told(answer), answer.headers["Retry-After"]) == (429, "too_many_samples", "30")
    site.clock.sleep(30)
    assert site.agent.write(*samples)[0] == 204


def test_so_many_bodies_a_minute_and_no_more(tmp_path: Path) -> None:
    with running(tmp_path, replace(LIMITS, bodies_per_minute=2)) as site:
        assert [site.agent.write(up())[0] for _ in range(3)] == [204, 204, 429]


def test_a_crowd_is_asked_to_come_again(tmp_path: Path) -> None:
    with running(tmp_path, replace(LIMITS, at_once_max=0)) as site:
        assert site.agent.write(up()) == (503, "busy")


def test_a_store_that_fails_is_temporary(site: Site) -> None:
    site.kept.broken = True
    assert site.agent.write(up()) == (503, "store_unavailable")


def raw(site: Site, head: str, body: bytes) -> int:
    """The status of a request written by hand."""
    url = site.agent.client.base_url
    token = site.agent.client.headers["Authorization"]
    head = f"POST /api/v1/write HTTP/1.1\r\nHost: localhost\r\nAuthorization: {token}\r\n{head}"
    head += "".join(f"{name}: {value}\r\n" for name, value in WRITE.items())
    with socket.create_connection((url.host, url.port or 0), timeout=30) as connection:
        connection.sendall(f"{head}\r\n".encode() + body)
        return int(connection.recv(4096).split()[1])


def test_a_body_of_unknown_size_and_one_that_dawdles_are_refused(site: Site) -> None:
    assert raw(site, "Transfer-Encoding: chunked\r\n", b"0\r\n\r\n") == 411
    assert raw(site, "Content-Length: 100\r\n", b"too little") == 408
    assert raw(site, "Content-Length: 9999999\r\n", b"") == 413


def test_events_are_taken_and_a_failure_says_who_reported_it(site: Site) -> None:
    failure = FailureEvent(NOW, "host03", Kind.DISK, "disk:A", "kernel log", "I/O error", 0.5)
    assert site.agent.report(event_lines.encode([BOOT, failure])) == (204, "")
    assert site.kept.events == [BOOT, replace(failure, source="kernel log (agent rack 1)")]
    assert metric(site, "forewarn_ingest_events_total") == 2


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"{", (400, "malformed")),
        (json.dumps({"event": "change"}).encode(), (422, "invalid_request")),
        (event_lines.encode([BOOT] * 4), (413, "too_large")),
        (event_lines.encode([BOOT, replace(BOOT, host="host13")]), (403, "foreign_host")),
        (event_lines.encode([replace(BOOT, time=NOW + timedelta(hours=1))]), (400, "out_of_bounds")),
    ],
)
def test_events_that_are_wrong_are_refused_whole(site: Site, body: bytes, expected: tuple[int, str]) -> None:
    assert site.agent.report(body) == expected
    assert site.kept.events == []


def test_events_in_another_form_are_told_apart(site: Site) -> None:
    assert site.agent.report(b"{}", Content_Type="application/json") == (415, "unsupported_media_type")
    assert site.agent.report(b"{}", Content_Encoding="gzip") == (415, "unsupported_media_type")


def test_a_server_that_keeps_no_telemetry_says_so(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'state.sqlite'}", SimulatedClock(NOW))
    _, token = Credentials(database).make_token(NewToken("rack 1", Role.AGENT, ("*",)), "ann")
    settings = WebSettings(port=0)
    server = serve(create_app(settings, Shelf(None).read, None, database, SimulatedClock(NOW)), settings)
    sender = Sender(server.address, token)
    try:
        assert sender.write(up()) == (503, "no_ingest")
    finally:
        sender.client.close()
        server.stop()
        database.close()
