"""VictoriaMetrics: samples are read by its export, which rounds no time and hides no marker, and written remotely.

What differs from Prometheus, measured on 1.79: a series that is new is seen up to 10 s after its first sample, later
samples within 1 s; values keep some 12 digits, fewer beside far greater ones of the same series; NaN is kept only as
the marker of a stale series; of several values of a series and time all are kept, in no order.
"""

import json
from collections.abc import Collection, Iterator
from typing import Any

import numpy as np

from forewarn.clock import Clock
from forewarn.errors import ConfigurationError, QueryTooLarge, StoreUnavailable
from forewarn.remote_write import STALE
from forewarn.store import promql, write_body
from forewarn.store.http import Answer, Http, HttpSettings
from forewarn.store.prometheus import PromSettings, error_of
from forewarn.store.scrapes import Key
from forewarn.store.source import Readings

_POINTS_MAX = 30_000  # of a series in a range query: -search.maxPointsPerTimeseries
_TOO_MUCH = ("maxSamples", "maxUniqueTimeseries", "maxExport", "timeout exceeded", "maxPoints", "too many", "maxQuery")
_VALUES = b'"values":['


class VictoriaMetrics:
    """A `Source` over VictoriaMetrics' export and PromQL's API."""

    def __init__(self, http: HttpSettings, clock: Clock, settings: PromSettings | None = None) -> None:
        self._settings = settings or PromSettings()
        self._http = Http("VictoriaMetrics", http, clock)

    @property
    def name(self) -> str:
        return self._http.name

    def read(self, names: Collection[str], start: int, end: int, step: int = 0) -> Readings:
        """See `Source.read`. The marker of a stale series ends its last value; queries of Prometheus hide it."""
        if step:
            return self._stepped(names, start, end, step)
        query = {
            "match[]": promql.selector(names),
            "start": promql.instant(start),
            "end": promql.instant(end),
            "timeout": f"{self._http.timeout_s:g}s",
        }
        answer = self._http.ask("POST", "/api/v1/export", data=query)
        self._judge(answer, "/api/v1/export")
        try:
            found = _exported(answer.body)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StoreUnavailable(f"{self.name} exports something else than lines of JSON: is it one?") from error
        return found.where((found.time > start) & (found.time <= end))

    def _stepped(self, names: Collection[str], start: int, end: int, step: int) -> Readings:
        if (end - start) // step > _POINTS_MAX:
            raise QueryTooLarge(f"{(end - start) // step} points of a series in one query; at most {_POINTS_MAX}")
        query = {**promql.stepped(names, start, end, step), "nocache": "1", "timeout": f"{self._http.timeout_s:g}s"}
        answer = self._http.ask("POST", "/api/v1/query_range", data=query)
        self._judge(answer, "/api/v1/query_range")
        return promql.read_matrix(answer.body, self.name)

    def _judge(self, answer: Answer, path: str) -> None:
        if answer.status == 200:
            return
        said = error_of(answer)
        if any(words in said for words in _TOO_MUCH):
            raise QueryTooLarge(f"{self.name} will not answer so much at once: {said}")
        if answer.status in (400, 404):
            words = f"is store.remote.url right, and does it know {path}?"
            raise StoreUnavailable(f"{self.name} answers {answer.status}: {words} It says: {said}")
        raise StoreUnavailable(f"{self.name} answers {answer.status}: {said}")

    def write(self, readings: Readings) -> int:
        """See `Source.write`: NaN is written as the marker of a stale series. What is past its retention is dropped."""
        bearable = write_body.bearable(readings)
        for chunk in write_body.chunks(readings.where(bearable), self._settings.body_samples_max):
            answer = self._http.ask(
                "POST", self._settings.write_path, data=write_body.body(chunk, STALE), headers=write_body.HEADERS
            )
            if answer.status >= 300:
                raise StoreUnavailable(f"{self.name} does not take samples: {answer.status} {answer.said}")
        return int(len(readings) - bearable.sum())

    def check(self) -> str:
        """Whether it answers as VictoriaMetrics does; it tells its version at /metrics alone."""
        answer = self._http.ask("GET", "/metrics")
        if answer.status != 200:
            raise StoreUnavailable(f"{self.name} answers {answer.status} to /metrics: {answer.said}")
        if b"\nvm_" not in answer.body:
            raise ConfigurationError(f"{self.name} is no VictoriaMetrics: store.remote.url names something else")
        return self.name

    def close(self) -> None:
        self._http.close()


def _exported(body: bytes) -> Readings:
    """The samples of lines of JSON, one series each; a series may have several lines."""
    numbers: dict[Key, int] = {}
    parts: list[tuple[int, Any, Any]] = []
    for line in _lines(body):
        number = numbers.setdefault(promql.key_of(line["metric"]), len(numbers))
        values = np.array([np.nan if value is None else value for value in line["values"]], np.float64)
        parts.append((number, np.array(line["timestamps"], np.int64) * 1000, values))
    of = np.repeat(np.array([part[0] for part in parts], np.int64), [len(part[1]) for part in parts])
    times = np.concatenate([np.empty(0, np.int64), *(part[1] for part in parts)])
    return Readings(tuple(numbers), of, times, np.concatenate([np.empty(0), *(part[2] for part in parts)]))


def _lines(body: bytes) -> Iterator[Any]:
    for line in body.splitlines():
        if not line.strip():
            continue
        try:
            yield json.loads(line)
        except ValueError:  # an infinite value is no JSON; labels stand before the values
            head, found, tail = line.rpartition(_VALUES)
            tail = tail.replace(b"+Inf", b"Infinity").replace(b"-Inf", b"-Infinity")
            yield json.loads(head + found + tail)
