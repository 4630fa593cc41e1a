"""Server-sent events: over a real socket, and the broadcaster's limits on its own."""

import asyncio
import json
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeVar

import httpx
import pytest

from forewarn.domain.situation import LogLine, Severity, Snapshot
from forewarn.errors import StateError
from forewarn.web.changes import version_of
from forewarn.web.fleet import fleet_of
from forewarn.web.latest import Latest
from forewarn.web.live import Broadcaster, Client, EventStream, TooManyClients
from forewarn.web.settings import WebSettings
from tests.shown import NOW, Shelf, serving, snapshot_of
from tests.support import eventually

T = TypeVar("T")
SMALL = snapshot_of(hosts=2, vms=4)


def later(snapshot: Snapshot, cycles: int = 1) -> Snapshot:
    time = snapshot.time + timedelta(seconds=cycles)
    return replace(snapshot, cycle=snapshot.cycle + cycles, time=time, sentence=f"cycle {snapshot.cycle + cycles}")


def version(snapshot: Snapshot) -> str:
    return version_of(fleet_of(snapshot))


def events(lines: Iterator[str]) -> Iterator[tuple[str, str, Any]]:
    """Each event as its id, name and body."""
    fields: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif "data" in fields:
            yield fields["id"], fields["event"], json.loads(fields["data"])
            fields = {}


def test_a_page_hears_of_the_next_cycle_and_only_of_what_changed() -> None:
    shelf = Shelf(SMALL)
    line = LogLine(NOW, Severity.NOTICE, "something new")
    with serving(shelf.read) as server, httpx.Client(timeout=10) as client:
        url = f"{server.address}/api/v1/events"
        eventually(lambda: client.get(f"{server.address}/api/v1/health").status_code == 200)
        with client.stream("GET", url, params={"since": version(SMALL)}) as stream:
            assert stream.headers["content-type"].startswith("text/event-stream")
            shelf.snapshot = replace(later(SMALL), log=(line, *SMALL.log))
            heard = events(stream.iter_lines())
            first, second = next(heard), next(heard)
    assert (first[0], first[1], first[2]["sentence"]) == (version(shelf.snapshot), "cycle", "cycle 413")
    assert (second[1], [entry["text"] for entry in second[2]]) == ("log", ["something new"])


def test_a_client_past_the_limit_is_refused_and_counted() -> None:
    settings = WebSettings(port=0, clients_max=1)
    with (
        serving(Shelf(SMALL).read, settings=settings) as server,
        httpx.Client(base_url=server.address, timeout=10) as client,
        client.stream("GET", "/api/v1/events"),
    ):
        answer = client.get("/api/v1/events")
        metrics = client.get("/api/v1/metrics").text
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "too_many_clients")
    assert "forewarn_events_streams 1\n" in metrics
    assert "forewarn_events_streams_refused_total 1\n" in metrics


def test_a_client_that_goes_makes_room() -> None:
    with serving(Shelf(SMALL).read, settings=WebSettings(port=0, clients_max=1)) as server:
        for _ in range(3):
            with httpx.Client(timeout=10) as one, one.stream("GET", f"{server.address}/api/v1/events") as stream:
                assert stream.status_code == 200
            eventually(lambda: "forewarn_events_streams 0\n" in httpx.get(f"{server.address}/api/v1/metrics").text)


def broadcaster(shelf: Shelf, **settings: Any) -> Broadcaster:
    return Broadcaster(Latest(shelf.read), WebSettings(refresh_s=0.001, **settings))


def played(play: Coroutine[Any, Any, T]) -> T:
    """Runs on a thread of its own: where a browser was opened before, this thread has an event loop already."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, play).result()


async def drained(client: Client) -> list[str]:
    """The names of the events that wait for a client."""
    names: list[str] = []
    while (chunk := await client.next(0.0)) != b": still here\n\n":
        names += [line[7:] for line in chunk.decode().splitlines() if line.startswith("event: ")]
    return names


def test_whoever_was_away_hears_what_it_missed_and_no_more() -> None:
    async def play() -> list[str]:
        shelf = Shelf(SMALL)
        wave = broadcaster(shelf)
        for cycles in range(4):
            shelf.snapshot = later(SMALL, cycles)
            await wave.look()
        return await drained(wave.join(version(later(SMALL, 1))))

    assert played(play()) == ["cycle", "cycle"]


@pytest.mark.parametrize("since", ["", "none", "400-1.0", "made up"])
def test_whoever_was_away_too_long_loads_anew(since: str) -> None:
    async def play() -> list[str]:
        wave = broadcaster(Shelf(SMALL))
        await wave.look()
        return await drained(wave.join(since))

    assert played(play()) == ["reset"]


def test_a_page_that_is_newer_than_the_last_look_does_not_load_anew() -> None:
    async def play() -> list[str]:
        shelf = Shelf(SMALL)
        wave = broadcaster(shelf)
        await wave.look()
        shelf.snapshot = later(SMALL)
        return await drained(await wave.welcome(version(later(SMALL))))

    assert played(play()) == []


def test_two_looks_at_once_tell_a_change_once() -> None:
    async def play() -> list[str]:
        shelf = Shelf(SMALL)
        wave = broadcaster(shelf)
        await wave.look()
        client = wave.join(version(SMALL))
        shelf.snapshot = later(SMALL)
        await asyncio.gather(wave.look(), wave.look())
        return await drained(client)

    assert played(play()) == ["cycle"]


def test_whoever_is_up_to_date_hears_nothing() -> None:
    async def play() -> list[str]:
        wave = broadcaster(Shelf(SMALL))
        await wave.look()
        await wave.look()
        return await drained(wave.join(version(SMALL)))

    assert played(play()) == []


def test_a_slow_client_is_dropped_and_the_others_stay() -> None:
    async def play() -> tuple[bool, list[str], int, int]:
        shelf = Shelf(SMALL)
        wave = broadcaster(shelf, client_queue_max=2)
        await wave.look()
        slow, quick = wave.join(version(SMALL)), wave.join(version(SMALL))
        heard: list[str] = []
        for cycles in range(1, 6):
            shelf.snapshot = later(SMALL, cycles)
            await wave.look()
            heard += await drained(quick)
        return slow.dropped.is_set(), heard, wave.clients, wave.dropped

    assert played(play()) == (True, ["cycle"] * 5, 1, 1)


def test_the_stream_of_a_dropped_client_ends_even_while_it_does_not_read() -> None:
    async def play() -> int:
        wave = broadcaster(Shelf(SMALL))
        client = wave.join("")
        stuck = asyncio.Event()

        async def send(_message: Any) -> None:
            await stuck.wait()

        async def receive() -> Any:
            await stuck.wait()

        client.dropped.set()
        await asyncio.wait_for(EventStream(wave, client, 15.0)({"type": "http"}, receive, send), 5.0)
        return wave.clients

    assert played(play()) == 0


def test_a_snapshot_that_cannot_be_read_is_logged_and_outlived(caplog: pytest.LogCaptureFixture) -> None:
    answers: list[Snapshot | None] = [SMALL, None]

    def read() -> Snapshot | None:
        if len(answers) == 2:
            answers.pop()
            raise StateError("snapshot.json is damaged")
        return answers[0]

    async def play() -> list[str]:
        wave = Broadcaster(Latest(read), WebSettings())
        await wave.look()
        await wave.look()
        return await drained(wave.join("none"))

    assert played(play()) == ["reset"]
    assert "snapshot.json is damaged" in caplog.text


def test_after_the_end_a_new_stream_ends_at_once() -> None:
    async def play() -> list[bytes]:
        wave = broadcaster(Shelf(None))
        wave.close()
        client = wave.join("")
        return [await client.next(1.0), await client.next(1.0)]

    assert played(play()) == [b"retry: 2000\n\n", b""]


def test_the_limit_holds_for_the_broadcaster_itself() -> None:
    async def play() -> None:
        wave = broadcaster(Shelf(None), clients_max=2)
        wave.join("")
        wave.join("")
        with pytest.raises(TooManyClients, match="2 streams"):
            wave.join("")

    played(play())
