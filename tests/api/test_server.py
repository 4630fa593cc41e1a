"""The server's start and end."""

import socket

import httpx
import pytest

from forewarn.clock import RealClock, SimulatedClock
from forewarn.errors import ConfigurationError
from forewarn.web.app import create_app
from forewarn.web.server import serve
from forewarn.web.settings import WebSettings
from tests.shown import NOW, Shelf, serving, snapshot_of
from tests.support import eventually

SHELF = Shelf(snapshot_of(hosts=1, vms=1))


def start(**settings: object) -> None:
    wanted = WebSettings(**settings)  # type: ignore[arg-type]  # whatever the test wants
    serve(create_app(wanted, SHELF.read, None, None, SimulatedClock(NOW)), wanted)


@pytest.mark.parametrize("host", ["192.0.2.1", "::", "example.org", ""])
def test_an_address_that_others_can_reach_is_refused_while_nobody_can_sign_in(host: str) -> None:
    with pytest.raises(ConfigurationError, match="forewarn token add"):
        start(host=host, port=0)


def test_a_taken_port_is_told_by_its_number() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"port {port}"):
            start(port=port)


def test_a_port_out_of_range_is_told() -> None:
    with pytest.raises(ValueError, match="port is 99999"):
        WebSettings(port=99999)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_it_tells_where_it_listens(host: str) -> None:
    try:
        with serving(SHELF.read, settings=WebSettings(host=host, port=0)) as server:
            answer = httpx.get(f"{server.address}/api/v1/health")
    except ConfigurationError:
        pytest.skip(f"this machine has no {host}")
    assert answer.status_code == 200
    assert not server.running


def test_it_stops_within_two_seconds_with_open_streams() -> None:
    clock = RealClock()
    with serving(SHELF.read) as server:
        clients = [httpx.Client(timeout=10) for _ in range(5)]
        streams = [client.stream("GET", f"{server.address}/api/v1/events") for client in clients]
        for stream in streams:
            assert stream.__enter__().status_code == 200
        before = clock.monotonic()
        server.stop()
        took = clock.monotonic() - before
    for stream, client in zip(streams, clients, strict=True):
        stream.__exit__(None, None, None)
        client.close()
    assert took < 2.0
    assert not server.running


def test_once_stopped_nobody_answers() -> None:
    with serving(SHELF.read) as server:
        assert httpx.get(f"{server.address}/api/v1/health").status_code == 200
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{server.address}/api/v1/health")
    eventually(lambda: not server.running)


def test_a_client_that_never_reads_does_not_outlive_the_server() -> None:
    large = snapshot_of(hosts=400, vms=0)
    with serving(Shelf(large).read) as server:
        host, port = server.address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.sendall(b"GET /api/v1/snapshot HTTP/1.1\r\nHost: localhost\r\n\r\n")
            deaf.recv(1)
            server.stop()
            assert not server.running
