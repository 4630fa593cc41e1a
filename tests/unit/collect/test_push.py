"""What the agent sends, and what it does with each answer."""

import logging
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise
from pathlib import Path

import pytest

from forewarn import event_lines, remote_write
from forewarn.clock import SimulatedClock
from forewarn.collect.base import Round
from forewarn.collect.push import Pusher, PushSettings, parts, warn_of_readers
from forewarn.collect.transport import Answer, HttpPost, wait_s
from forewarn.domain.events import ChangeEvent, ChangeKind
from forewarn.domain.telemetry import Sample
from forewarn.errors import ConfigurationError, ReceiverUnavailable
from tests.frozen import find

START = datetime(2026, 1, 5, tzinfo=UTC)
BOOT = ChangeEvent(START, "", ChangeKind.BOOT, "", "a", "b")
SECRET = "of-a-test"  # noqa: S105 - of a made-up server
URL = "https://forewarn.example/api/v1/write"


class Server:
    """Answers as it is told to, and remembers what it was sent."""

    def __init__(self) -> None:
        self.answers: list[Answer | Exception] = []
        self.asked: list[tuple[str, bytes, Mapping[str, str]]] = []

    def __call__(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        self.asked.append((url, body, headers))
        answer = self.answers.pop(0) if self.answers else Answer(204)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def values(self) -> list[float]:
        written = [body for url, body, _ in self.asked if url.endswith("/write")]
        return [sample.value for body in written for sample in remote_write.decode(body, remote_write.Limits())]


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock(START)


@pytest.fixture
def server() -> Server:
    return Server()


Make = Callable[..., Pusher]


@pytest.fixture
def make(server: Server, clock: SimulatedClock, tmp_path: Path) -> Iterator[Make]:
    made: list[Pusher] = []

    def one(**changes: object) -> Pusher:
        settings = replace(PushSettings(url=URL, folder=tmp_path), **changes)  # type: ignore[arg-type]  # what a test wants
        made.append(Pusher(settings, "host03", server, clock, random.Random(1)))
        return made[-1]

    yield one
    for pusher in made:
        pusher.close()


def round_of(*values: float) -> Round:
    return Round(tuple(Sample("x", {"n": str(n)}, value, START) for n, value in enumerate(values)))


def told(pusher: Pusher, name: str) -> dict[str, float]:
    return find(list(pusher.collect()), f"forewarn_push_{name}")


def test_each_series_bears_the_host_and_the_job_whatever_it_says_itself(make: Make, server: Server) -> None:
    pusher = make(token=SECRET)
    pusher.take(Round((Sample("x", {"instance": "host04"}, 7.0, START),)))
    pusher.step()
    [(url, body, headers)] = server.asked
    assert url == URL
    assert headers == {
        "Content-Type": "application/x-protobuf",
        "Content-Encoding": "snappy",
        "X-Prometheus-Remote-Write-Version": "0.1.0",
        "User-Agent": "forewarn-agent",
        "Authorization": f"Bearer {SECRET}",
    }
    expected = Sample("x", {"instance": "host03", "job": "forewarn"}, 7.0, START)
    assert remote_write.decode(body, remote_write.Limits()) == [expected]
    assert told(pusher, "sent_samples_total") == {"": 1}
    assert told(pusher, "last_success_timestamp_seconds")["queue=samples"] == START.timestamp()


def test_events_go_beside_the_samples_and_name_the_host(make: Make, server: Server) -> None:
    pusher = make()
    pusher.take(Round((), (BOOT, BOOT)))
    pusher.step()
    [(url, body, _)] = server.asked
    assert url == "https://forewarn.example/api/v1/events"
    assert event_lines.decode(body, event_lines.Limits()) == [replace(BOOT, host="host03")] * 2


@pytest.mark.parametrize("changes", [{"events_url": "none"}, {"url": "http://other.example/receive"}])
def test_where_no_forewarn_listens_events_are_not_kept(make: Make, server: Server, changes: dict[str, str]) -> None:
    pusher = make(**changes)
    pusher.take(Round((), (BOOT,)))
    pusher.step()
    assert server.asked == []


@pytest.mark.parametrize("answer", [*map(Answer, (503, 500, 429, 401, 408, 302)), ReceiverUnavailable("down")])
def test_what_a_server_cannot_take_now_is_sent_again_later(
    make: Make, server: Server, clock: SimulatedClock, answer: Answer | Exception
) -> None:
    pusher = make()
    server.answers = [answer]
    for value in (1.0, 2.0):
        pusher.take(round_of(value))
    pusher.run(lambda: len(server.asked) == 3)
    assert server.values() == [1.0, 1.0, 2.0]
    assert clock.monotonic() >= 0.5
    assert sum(told(pusher, "failed_requests_total").values()) == 1
    assert sum(told(pusher, "dropped_samples_total").values()) == 0


@pytest.mark.parametrize("status", [400, 403, 404, 413])
def test_what_a_server_refuses_is_given_up_and_told(
    make: Make, server: Server, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    pusher = make()
    server.answers = [Answer(status, "out_of_bounds")]
    pusher.take(round_of(1.0, 1.0))
    pusher.take(round_of(2.0))
    pusher.run(lambda: len(server.asked) == 2)
    assert server.values() == [1.0, 1.0, 2.0]
    assert told(pusher, "dropped_samples_total")["why=refused"] == 2
    assert f"2 samples given up: {URL} answers {status}: out_of_bounds" in caplog.text


def test_waits_grow_to_their_limit_and_begin_anew_after_a_success(
    make: Make, server: Server, clock: SimulatedClock
) -> None:
    pusher = make(retry_max_s=8.0)
    server.answers = [Answer(503)] * 6
    pusher.take(round_of(1.0))
    times: list[float] = []
    while len(server.asked) < 7:
        before = len(server.asked)
        clock.sleep(pusher.step())
        times += [clock.monotonic()] if len(server.asked) > before else []
    gaps = [after - before for before, after in pairwise(times)]
    for gap, most in zip(gaps, (1, 2, 4, 8, 8, 8), strict=True):
        assert most / 2 - 1 <= gap <= most + 1


def test_a_server_that_says_when_is_left_alone_until_then(make: Make, server: Server, clock: SimulatedClock) -> None:
    pusher = make(retry_max_s=60.0)
    server.answers = [Answer(429, "", "30"), Answer(503, "", "86400")]
    pusher.take(round_of(1.0))
    pusher.run(lambda: len(server.asked) == 2)
    assert 30.0 <= clock.monotonic() < 32.0
    pusher.run(lambda: len(server.asked) == 3)
    assert 90.0 <= clock.monotonic() < 93.0


def test_the_log_tells_of_trouble_once_and_of_its_end(
    make: Make, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    pusher = make()
    server.answers = [Answer(503, "busy")] * 3
    pusher.take(round_of(1.0))
    pusher.run(lambda: len(server.asked) == 4)
    assert caplog.messages == [f"samples wait: {URL} answers 503: busy", f"{URL} takes samples again"]


def test_what_was_not_sent_is_sent_by_the_next_process(make: Make, server: Server) -> None:
    first = make()
    first.take(round_of(1.0))
    first.close()
    make().step()
    assert server.values() == [1.0]


def test_a_new_token_needs_no_restart_and_a_lost_one_loses_nothing(make: Make, server: Server, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("old\n")
    pusher = make(token_file=file)
    file.unlink()
    pusher.take(round_of(1.0))
    pusher.step()
    assert server.asked == []
    file.write_text("new\n")
    pusher.run(lambda: bool(server.asked))
    assert server.asked[0][2]["Authorization"] == "Bearer new"
    assert told(pusher, "failed_requests_total") == {"queue=samples why=no_token": 1}


def test_a_token_that_cannot_be_used_is_told_at_the_start(make: Make, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        make(token_file=tmp_path / "absent")
    with pytest.raises(ConfigurationError, match="characters"):
        make(token=f"{SECRET}\r\nHost: b", folder=tmp_path / "other")


def test_a_token_that_others_can_read_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "token"
    file.touch(mode=0o600)
    warn_of_readers(file)
    assert caplog.text == ""
    file.chmod(0o640)
    warn_of_readers(file)
    assert "chmod 600" in caplog.text


@pytest.mark.parametrize("url", ["forewarn.example", "ftp://a/", "http://", "http://a:99999/", "none"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="must be an address"):
        PushSettings(url=url)


def test_series_of_one_name_stay_in_one_request_and_none_is_lost() -> None:
    chance = random.Random(3)
    for _ in range(200):
        samples = [Sample(chance.choice("abcdef"), {}, 1.0) for _ in range(chance.randrange(30))]
        most = chance.randint(1, 12)
        found = [[sample.name for sample in part] for part in parts(samples, most)]
        assert sorted(name for part in found for name in part) == sorted(sample.name for sample in samples)
        assert all(0 < len(part) <= most for part in found)
        number = Counter(sample.name for sample in samples)
        for name, count in number.items():
            assert count > most or sum(name in part for part in found) == 1


def test_a_date_in_retry_after_is_understood() -> None:
    assert wait_s(format_datetime(START + timedelta(seconds=40)), START) == 40.0
    assert wait_s("²", START) is wait_s("", START) is None


def test_nobody_there_is_trouble_and_a_bad_certificate_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ReceiverUnavailable, match="does not answer"):
        HttpPost(5.0)("http://127.0.0.1:9/", b"", {})
    with pytest.raises(ConfigurationError, match="ca_file"):
        HttpPost(5.0, tmp_path / "absent.pem")
