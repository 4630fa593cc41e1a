"""Prometheus, and what speaks its API: samples are read by PromQL and written by remote write.

Prometheus keeps one value of a series and time. Of several that are written the first stays; it refuses a body that
holds a sample from before its out-of-order window, so such a body is written again without it.
"""

import json
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from forewarn.clock import Clock
from forewarn.errors import ConfigurationError, QueryTooLarge, StoreUnavailable
from forewarn.store import promql, write_body
from forewarn.store.http import Answer, Http, HttpSettings
from forewarn.store.source import Readings

_QUIET_NAN = 0x7FF8000000000000  # a stale marker proper would be hidden from queries
_POINTS_MAX = 10_000  # of a series in a range query; Prometheus takes 11,000
_UNTIMELY = ("too old sample", "out of order sample", "out of bounds", "duplicate sample")
_TRIES_MAX = 200  # after so many attempts the parts of a refused body are cut no further
_TOO_MUCH = ("too many samples", "timed out", "too many points", "exceeded maximum resolution", "max-samples")


@dataclass(frozen=True)
class PromSettings:
    """What is special about a database that speaks PromQL."""

    write_path: str = "/api/v1/write"
    """Where it takes remote write 1.0, below its address: /api/v1/push for Mimir, /api/v1/receive for Thanos."""
    body_samples_max: int = 100_000
    """How many samples one body of remote write has at most."""


class Prometheus:
    """A `Source` over PromQL's HTTP API."""

    def __init__(self, http: HttpSettings, clock: Clock, settings: PromSettings | None = None) -> None:
        self._settings = settings or PromSettings()
        self._http = Http("Prometheus", http, clock)

    @property
    def name(self) -> str:
        return self._http.name

    def read(self, names: Collection[str], start: int, end: int, step: int = 0) -> Readings:
        """See `Source.read`. NaN comes as it is; where Prometheus itself marked a series stale, nothing comes."""
        if step and (end - start) // step > _POINTS_MAX:
            raise QueryTooLarge(f"{(end - start) // step} points of a series in one query; at most {_POINTS_MAX}")
        path = "/api/v1/query_range" if step else "/api/v1/query"
        query = promql.stepped(names, start, end, step) if step else promql.samples(names, start, end)
        answer = self._http.ask("POST", path, data={**query, "timeout": f"{self._http.timeout_s:g}s"})
        self._judge(answer)
        found = promql.read_matrix(answer.body, self.name)
        return found.where((found.time > start) & (found.time <= end))

    def _judge(self, answer: Answer) -> None:
        if answer.status == 200:
            return
        said = error_of(answer)
        if answer.status in (422, 503, 400) and any(words in said for words in _TOO_MUCH):
            raise QueryTooLarge(f"{self.name} will not answer so much at once: {said}")
        if answer.status == 404:
            raise StoreUnavailable(f"{self.name} knows no /api/v1/query: is store.remote.url a Prometheus' address?")
        raise StoreUnavailable(f"{self.name} answers {answer.status}: {said}")

    def write(self, readings: Readings) -> int:
        """See `Source.write`: NaN is written as an ordinary one, which queries show."""
        bearable = write_body.bearable(readings)
        refused = int(len(readings) - bearable.sum())
        for chunk in write_body.chunks(readings.where(bearable), self._settings.body_samples_max):
            refused += self._write(chunk)
        return refused

    def _write(self, readings: Readings) -> int:
        """Write a body, and one that is refused in halves; returns how many samples were refused in the end.

        Earlier halves go first: what came after them would make them late.
        """
        waiting, refused, tries = [readings], 0, 0
        while waiting:
            part = waiting.pop()
            tries += 1
            if self._takes(part):
                continue
            if len(part) == 1 or tries >= _TRIES_MAX:
                refused += len(part)
                continue
            order = np.argsort(part.time, kind="stable")
            half = len(order) // 2
            waiting += [part.where(order[half:]).ordered(), part.where(order[:half]).ordered()]
        return refused

    def _takes(self, readings: Readings) -> bool:
        """Whether a body was taken; a refused one is not taken in part either."""
        body = write_body.body(readings, _QUIET_NAN)
        path = self._settings.write_path
        answer = self._http.ask("POST", path, data=body, headers=write_body.HEADERS, final=_untimely)
        if answer.status == 404:
            words = "start Prometheus with --web.enable-remote-write-receiver, or name store.prometheus.write_path"
            raise StoreUnavailable(f"{self.name} takes no remote write: {words}", 60.0)
        if answer.status >= 300 and answer.status != 400 and not _untimely(answer):
            raise StoreUnavailable(f"{self.name} does not take samples: {answer.status} {answer.said}")
        return answer.status < 300

    def check(self) -> str:
        """Its version, by /api/v1/status/buildinfo."""
        answer = self._http.ask("GET", "/api/v1/status/buildinfo")
        if answer.status != 200:
            raise StoreUnavailable(f"{self.name} answers {answer.status} to /api/v1/status/buildinfo: {answer.said}")
        try:
            return f"{self.name}, version {json.loads(answer.body)['data']['version']}"
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigurationError(f"{self.name} is no Prometheus: store.remote.url names something else") from error

    def close(self) -> None:
        self._http.close()


def _untimely(answer: Answer) -> bool:
    """Whether a body was refused for a sample's time: Prometheus says so of one beyond its window by 500."""
    return answer.status >= 400 and any(words in answer.said for words in _UNTIMELY)


def error_of(answer: Answer) -> str:
    """What a database that speaks PromQL's API says is wrong."""
    try:
        return str(json.loads(answer.body)["error"])
    except (ValueError, KeyError, TypeError):
        return answer.said
