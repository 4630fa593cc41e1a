"""Whatever a sender with a token writes is taken or refused and counted, and what it costs is bounded."""

import resource
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import cramjam
import httpx
import pytest

from forewarn import remote_write
from forewarn.assemble.site import Site, SiteSettings
from forewarn.assemble.telemetry import StoreSettings
from forewarn.clock import SimulatedClock
from forewarn.domain.inventory import Kind
from forewarn.domain.people import Role
from forewarn.domain.telemetry import Sample
from forewarn.state.credentials import NewToken
from forewarn.store.mapping import MappingSettings
from forewarn.web.settings import IngestSettings, WebSettings

pytestmark = pytest.mark.integration

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
MANY = IngestSettings(samples_per_minute=1e9, bodies_per_minute=1e6, series_remembered_max=2000)
WRITE = {
    "Content-Type": "application/x-protobuf",
    "Content-Encoding": "snappy",
    "X-Prometheus-Remote-Write-Version": "0.1.0",
}
NAMES = (
    "'; DROP TABLE samples; --",
    '"; DELETE FROM places WHERE 1=1; --',
    "a\x00b\x01\x1b[2J\r\n",
    "\u202egnirts\u2066 \ufeff\U0001f525",
    "x" * 2000,
    "../../etc/passwd",
    "{{7*7}}<script>alert(1)</script>",
    "%s%n{0}${HOME}",
)


class Sender:
    """Writes to a site as an agent."""

    def __init__(self, site: Site, address: str, token: str) -> None:
        self.site = site
        self.client = httpx.Client(base_url=address, headers={"Authorization": f"Bearer {token}"}, timeout=120)

    def write(self, samples: Sequence[Sample], host: str = "host01") -> tuple[int, str]:
        return self.send(remote_write.encode(samples, {"instance": host}))

    def send(self, body: bytes) -> tuple[int, str]:
        answer = self.client.post("/api/v1/write", content=body, headers=WRITE)
        return answer.status_code, answer.json()["error"]["code"] if answer.content else ""


@contextmanager
def running(folder: Path, settings: SiteSettings) -> Iterator[Sender]:
    site = Site(folder, SimulatedClock(NOW), settings)
    _, token = site.credentials.make_token(NewToken("a rack", Role.AGENT, ("host*",)), "ann")
    server = site.serve()
    sender = Sender(site, server.address, token)
    try:
        yield sender
    finally:
        sender.client.close()
        server.stop()
        site.close()


@pytest.fixture
def sender(tmp_path: Path) -> Iterator[Sender]:
    with running(tmp_path, SiteSettings(web=WebSettings(port=0, ingest=MANY))) as made:
        yield made


def up(device: str, value: float = 1.0, time: datetime = NOW) -> Sample:
    return Sample("node_network_up", {"device": device}, value, time)


def test_names_that_mean_harm_are_names_like_others(sender: Sender) -> None:
    shown = [up(name, float(number)) for number, name in enumerate(NAMES)]
    assert sender.write(shown) == (204, "")
    sender.site.arrivals.finish()
    for number, name in enumerate(NAMES):
        found = sender.site.store.series(f"network:host01/{name}", "nic_up", NOW - timedelta(hours=1), NOW)
        assert found.column("value").to_pylist() == [float(number)], name
    devices = sender.site.store.devices(Kind.NETWORK).column("device").to_pylist()
    assert sorted(map(str, devices)) == sorted(NAMES)


@pytest.mark.parametrize("age", [timedelta(days=8), timedelta(days=20_000), -timedelta(hours=1), -timedelta(days=9999)])
def test_times_that_cannot_be_are_refused_with_all_of_their_body(sender: Sender, age: timedelta) -> None:
    assert sender.write([up("eth0"), up("eth1", time=NOW - age)]) == (400, "out_of_bounds")
    sender.site.arrivals.finish()
    assert sender.site.store.devices().num_rows == 0
    assert sender.site.store.size == 0


def test_what_is_no_text_or_no_number_is_refused(sender: Sender) -> None:
    good = remote_write.encode([up("ethX")], {"instance": "host01"})
    message = bytes(cramjam.snappy.decompress_raw(good))
    assert sender.send(good) == (204, "")
    for wrong in (message.replace(b"ethX", b"et\xff\xfe"), message.replace(b"\x12\x10\x09", b"\x12\x10\x0d")):
        assert sender.send(bytes(cramjam.snappy.compress_raw(wrong))) == (400, "malformed")
    assert sender.write([up("y" * 2049)]) == (413, "too_large")
    assert sender.write([Sample("up", {f"l{number}": "x" for number in range(99)}, 1.0, NOW)]) == (413, "too_large")


def flood(sender: Sender, bodies: int, size: int) -> None:
    """Bodies of series that nobody has seen before, of devices and hosts that somebody invents."""
    for body in range(bodies):
        series = [
            replace(up(f"tap{body}x{number}"), name=name)
            for number in range(size // 2)
            for name in ("node_network_up", f"made_up_{body}_{number}")
        ]
        assert sender.write(series, f"host{body}") == (204, "")


def bounded(series_max: int) -> SiteSettings:
    return SiteSettings(
        web=WebSettings(port=0, ingest=replace(MANY, series_remembered_max=series_max)),
        store=StoreSettings(series_max=series_max),
        mapping=MappingSettings(settle_s=0.0, series_max=series_max, host_series_max=series_max, unmapped_max=100),
    )


def test_series_without_end_are_refused_and_counted(tmp_path: Path) -> None:
    with running(tmp_path, bounded(2000)) as sender:
        flood(sender, bodies=10, size=2000)
        site = sender.site
        assert site.store.size <= 3000  # the batch that goes past the limit is still taken
        assert site.store.refused == 10 * 1000 - site.store.size
        assert site.store.devices().num_rows == site.store.size
        assert site.mapper.size <= 2000
        assert len(site.mapper.unmapped) <= 2001
        assert site.metrics()["forewarn_store_refused_total"] == site.store.refused


@pytest.mark.nightly
def test_ten_million_labels_cost_no_more_memory_than_the_first_of_them(tmp_path: Path) -> None:
    with running(tmp_path, bounded(100_000)) as sender:
        flood(sender, bodies=10, size=50_000)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        flood(sender, bodies=200, size=50_000)
        grown_mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        assert sender.site.store.size <= 150_000
        assert grown_mib < 300
