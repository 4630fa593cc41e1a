"""Scraping the agent over HTTP on the loopback."""

import threading
from collections.abc import Iterator
from http.client import HTTPConnection

import pytest

from forewarn.collect.listen import ListenSettings, server
from forewarn.errors import ConfigurationError


@pytest.fixture
def port() -> Iterator[int]:
    """Where an agent listens that always tells the same."""
    with server(lambda: 'up{host="k\u00f6ln"} 1\n', ListenSettings(port=0)) as listening:
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield listening.server_address[1]
        listening.shutdown()
        thread.join()


def get(port: int, path: str) -> tuple[int, str, bytes]:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.getheader("Content-Type", ""), answer.read()
    finally:
        connection.close()


@pytest.mark.parametrize("path", ["/metrics", "/metrics?name[]=up"])
def test_a_scrape_is_answered_in_the_text_format(port: int, path: str) -> None:
    status, content_type, body = get(port, path)
    assert (status, content_type) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert body.decode() == 'up{host="k\u00f6ln"} 1\n'


def test_nothing_else_is_there(port: int) -> None:
    assert get(port, "/")[0] == 404


def test_an_address_that_is_taken_is_refused_by_name(port: int) -> None:
    with pytest.raises(ConfigurationError, match=f"cannot listen on 127.0.0.1:{port}"):
        server(str, ListenSettings(port=port))


def test_it_listens_on_the_loopback_unless_told_otherwise() -> None:
    assert ListenSettings().host == "127.0.0.1"
