"""The agent's way to a server: samples by remote write 1.0, events as lines of JSON, both through a buffer on disk.

What is collected is kept first and sent then, oldest first, so that neither a server that is away nor an agent that is
killed loses it. What was sent and not confirmed is sent again: a server takes it as the same. On trouble of the server
(5xx, no answer, too much at once, a token that is not known) it waits and tries again; what a server refuses for
what it is (other 4xx) is given up, as the standard says.
"""

import logging
import random
import stat
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from forewarn import event_lines, remote_write
from forewarn.clock import Clock
from forewarn.collect.base import Collected, Event, Round
from forewarn.collect.buffer import Buffer, BufferSettings, Segment
from forewarn.collect.transport import Answer, Post, wait_s
from forewarn.domain.telemetry import Sample
from forewarn.errors import ConfigurationError, ReceiverUnavailable

log = logging.getLogger(__name__)

WRITE_PATH, EVENTS_PATH = "/api/v1/write", "/api/v1/events"
_BEAT_S = 0.001  # no wait is shorter


@dataclass(frozen=True)
class PushSettings:
    """Where the agent sends what it collects."""

    url: str = ""
    """Address of a receiver of remote write 1.0, such as https://forewarn.example:8460/api/v1/write; empty: the agent
    pushes nothing and is only scraped."""

    events_url: str = ""
    """Address for events; empty: beside `url`, where that ends in /api/v1/write. "none": events are not sent, for
    receivers that are no Forewarn."""

    host: str = ""
    """Name under which this host is known, the label `instance`; empty: as the host calls itself. A server takes only
    what speaks of hosts for which the token stands."""

    labels: Mapping[str, str] = field(default_factory=lambda: {"job": "forewarn"})
    """Labels that every series gets beside `instance`."""

    token: str = ""
    """Token by which the server knows this agent; better kept in a file of its own."""

    token_file: Path | None = None
    """File with the token; it is read before each request, so that a new token needs no restart."""

    ca_file: Path | None = None
    """Certificates (PEM) that vouch for the server; the system's, where none is named."""

    folder: Path = Path("/var/lib/forewarn/push")
    """Where waits what is not yet sent."""

    samples_max: int = 10_000
    """Samples in one request; a server takes 50,000 unless told otherwise. The series of one name stay together."""

    events_max: int = 500
    """Events in one request."""

    timeout_s: float = 30.0
    """Seconds that a server may take to connect, and to say the next part of its answer."""

    idle_s: float = 1.0
    """Seconds between two looks at an empty buffer."""

    retry_min_s: float = 1.0
    """Seconds to wait after the first failure; each further one doubles them, and half is left to chance, so that a
    fleet does not come back all at once."""

    retry_max_s: float = 120.0
    """Most seconds between two tries, also where a server asks for more."""

    buffer: BufferSettings = field(default_factory=BufferSettings)
    """How much waits on disk."""

    def __post_init__(self) -> None:
        for name, url in (("url", self.url), ("events_url", self.events_url.removeprefix("none"))):
            if url and not _is_address(url):
                raise ValueError(f"{name} is {url!r}, but must be an address such as https://HOST:PORT{WRITE_PATH}")

    @property
    def events_address(self) -> str:
        """Where events go; empty for nowhere."""
        if self.events_url:
            return "" if self.events_url == "none" else self.events_url
        beside = self.url.endswith(WRITE_PATH)
        return self.url.removesuffix(WRITE_PATH) + EVENTS_PATH if beside else ""


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


# Refusals that say nothing against what was sent: whoever sends is not known (yet, or any more), or too slow.
KEPT = (401, 408, 429)


class _Queue:
    """What goes to one address: its buffer, and what became of it."""

    def __init__(self, items: str, url: str, headers: Mapping[str, str], buffer: Buffer) -> None:
        self.items, self.url, self.headers, self.buffer = items, url, headers, buffer
        self.sent = 0
        self.refused = 0
        self.failed: Counter[str] = Counter()
        self.last_success = 0.0
        self.failures = 0  # in a row
        self.due = 0.0  # on the monotonic clock
        self.trouble = ""

    def metrics(self) -> Iterator[Sample]:
        labels = {"queue": self.items}
        yield Sample("forewarn_push_buffer_bytes", labels, float(self.buffer.size_bytes))
        yield Sample("forewarn_push_buffer_segments", labels, float(len(self.buffer)))
        yield Sample("forewarn_push_damaged_segments_total", labels, float(self.buffer.damaged))
        yield Sample("forewarn_push_last_success_timestamp_seconds", labels, self.last_success)
        yield Sample(f"forewarn_push_sent_{self.items}_total", {}, float(self.sent))
        dropped = {**self.buffer.dropped, "refused": self.refused}
        for why, count in sorted(dropped.items()):
            yield Sample(f"forewarn_push_dropped_{self.items}_total", {"why": why}, float(count))
        for why, count in sorted(self.failed.items()):
            yield Sample("forewarn_push_failed_requests_total", {**labels, "why": why}, float(count))


class Pusher:
    """Keeps rounds and sends them; as a collector it tells how that goes.

    `take` may be called from several threads, `run` from one. `chance` spreads the tries of a fleet.
    """

    name = "push"

    def __init__(self, settings: PushSettings, host: str, post: Post, clock: Clock, chance: random.Random) -> None:
        self._settings, self._host, self._post, self._clock, self._chance = settings, host, post, clock, chance
        written = {
            "Content-Type": "application/x-protobuf",
            "Content-Encoding": "snappy",
            "X-Prometheus-Remote-Write-Version": "0.1.0",
        }
        self._token()  # a file that cannot be read is told at the start
        self._queues: list[_Queue] = []
        self._events: _Queue | None = None
        try:
            self._samples = self._queue("samples", settings.url, written)
            if settings.events_address:
                kind = {"Content-Type": event_lines.CONTENT_TYPE}
                self._events = self._queue("events", settings.events_address, kind)
        except ConfigurationError:
            self.close()
            raise

    def _queue(self, items: str, url: str, headers: Mapping[str, str]) -> _Queue:
        buffer = Buffer(self._settings.folder / items, self._settings.buffer, self._clock)
        self._queues.append(_Queue(items, url, headers, buffer))
        return self._queues[-1]

    def close(self) -> None:
        """Leave what waits to the next start."""
        for queue in self._queues:
            queue.buffer.close()

    def take(self, found: Round) -> None:
        """Keep a round until it is sent."""
        labels = {**self._settings.labels, "instance": self._host}
        for samples in parts(found.samples, self._settings.samples_max):
            self._samples.buffer.append(remote_write.encode(samples, labels, found.time), len(samples))
        if self._events is not None:
            events: Sequence[Event] = found.named(self._host).events
            for start in range(0, len(events), self._settings.events_max):
                some = events[start : start + self._settings.events_max]
                self._events.buffer.append(event_lines.encode(some), len(some))

    def collect(self) -> Iterator[Collected]:
        for queue in self._queues:
            yield from queue.metrics()

    def run(self, stop: Callable[[], bool]) -> None:
        """Send until `stop` says so; what is left then waits on disk."""
        while not stop():
            pause = self.step()
            if pause:
                self._clock.sleep(pause)

    def step(self) -> float:
        """Send one segment of each queue that is due; returns the seconds until there may be more to do."""
        pauses = [self._step(queue) for queue in self._queues]
        return min(pauses)

    def _step(self, queue: _Queue) -> float:
        early = queue.due - self._clock.monotonic()
        if early > _BEAT_S:
            return min(early, self._settings.idle_s)
        segment = queue.buffer.oldest()
        if segment is None:
            return self._settings.idle_s
        try:
            answer = self._post(queue.url, segment.body, self._headers(queue))
        except ReceiverUnavailable as trouble:
            return self._later(queue, "no_answer", str(trouble))
        except ConfigurationError as trouble:
            return self._later(queue, "no_token", str(trouble))
        return self._judge(queue, segment, answer)

    def _judge(self, queue: _Queue, segment: Segment, answer: Answer) -> float:
        said = f"{queue.url} answers {answer.status}: {answer.text}"
        if 200 <= answer.status < 300:
            self._sent(queue, segment)
        elif 400 <= answer.status < 500 and answer.status not in KEPT:
            log.warning("%d %s given up: %s", segment.items, queue.items, said)
            queue.failed[str(answer.status)] += 1
            queue.refused += segment.items
            queue.buffer.remove(segment)
        else:
            return self._later(queue, str(answer.status), said, wait_s(answer.retry_after, self._clock.now()))
        queue.failures, queue.due = 0, 0.0
        return 0.0

    def _sent(self, queue: _Queue, segment: Segment) -> None:
        if queue.trouble:
            log.info("%s takes %s again", queue.url, queue.items)
        queue.trouble = ""
        queue.sent += segment.items
        queue.last_success = self._clock.now().timestamp()
        queue.buffer.remove(segment)

    def _later(self, queue: _Queue, why: str, said: str, asked_s: float | None = None) -> float:
        """Try again later; the log tells of each new trouble once."""
        settings = self._settings
        if queue.trouble != why:
            log.warning("%s wait: %s", queue.items, said)
        queue.trouble = why
        queue.failed[why] += 1
        own = min(settings.retry_max_s, settings.retry_min_s * 2.0 ** min(queue.failures, 30))
        own *= 0.5 + 0.5 * self._chance.random()
        wait = min(settings.retry_max_s, max(own, asked_s or 0.0))
        queue.failures += 1
        queue.due = self._clock.monotonic() + wait
        return min(wait, settings.idle_s)

    def _headers(self, queue: _Queue) -> dict[str, str]:
        headers = {**queue.headers, "User-Agent": "forewarn-agent"}
        if token := self._token():
            headers["Authorization"] = f"Bearer {token}"
        return headers

    def _token(self) -> str:
        """Raises ConfigurationError for a file that cannot be read, or a token that no header can hold."""
        path, token = self._settings.token_file, self._settings.token
        if path is not None:
            try:
                token = path.read_text(encoding="ascii").strip()
            except (OSError, UnicodeDecodeError) as problem:
                raise ConfigurationError(f"push.token_file {path} cannot be read: {problem}") from problem
        if not (token.isascii() and token.isprintable()):
            raise ConfigurationError("the push token has characters that no token has")
        return token


def warn_of_readers(path: Path | None) -> None:
    """Say in the log where others than the owner may read a token."""
    if path is not None and path.exists() and path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        log.warning("push.token_file %s can be read by others: chmod 600 it", path)


def parts(samples: Sequence[Sample], most: int) -> Iterator[Sequence[Sample]]:
    """The samples in requests of at most `most`, the series of one name together, since a server may combine them.

    >>> [[s.name for s in part] for part in parts([Sample(n, {}, 1.0) for n in "abab"], 3)]
    [['a', 'a'], ['b', 'b']]
    """
    ordered = sorted(samples, key=lambda sample: sample.name)
    start = 0
    while start < len(ordered):
        end = min(start + most, len(ordered))
        cut = end
        while end < len(ordered) and cut > start and ordered[cut - 1].name == ordered[end].name:
            cut -= 1
        end = cut if cut > start else end
        yield ordered[start:end]
        start = end
