"""InfluxDB: samples are written by line protocol and read by InfluxQL, through what 1.x has and 2.x and 3.x keep.

Those are `/write`, `/query` and `/ping`. A database of 2.x is a bucket that is mapped to a database and a retention
policy there. What Telegraf or a Prometheus has put there is found as `influxql` says; what is written is found so too.
InfluxDB keeps one value of a series, field and time: the later one. It keeps neither NaN nor infinite values.
"""

import gzip
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from forewarn.clock import Clock
from forewarn.errors import ConfigurationError, QueryTooLarge, StoreUnavailable
from forewarn.store import influx_lines, influxql
from forewarn.store.http import Answer, Http, HttpSettings
from forewarn.store.influxql import Names, Refused
from forewarn.store.source import Readings

_TOO_MUCH = ("max-select", "max-concurrent", "timeout", "interrupted", "max-row-limit", "limit exceeded", "too many")
_DROPPED = re.compile(r"beyond retention policy.*dropped=(\d+)")
_CHUNK = "20000"  # rows of one line of an answer
_FRESH_S = 60.0  # how long the list of measurements and fields is believed


@dataclass(frozen=True)
class InfluxSettings:
    """What is special about InfluxDB. Its address and credentials stand in `store.remote`."""

    database: str = "telegraf"
    """The database; of InfluxDB 2 the one that its bucket is mapped to, of 3 the database itself."""
    retention_policy: str = ""
    """The retention policy in which samples are kept; the database's own default, where none is named."""
    compress: bool = True
    """Whether what is sent and what is answered is packed by gzip; on the same machine it costs more than it saves."""
    body_samples_max: int = 20_000
    """How many samples one body has at most."""


class InfluxDB:
    """A `Source` over InfluxDB's `/write` and `/query`."""

    def __init__(self, http: HttpSettings, clock: Clock, settings: InfluxSettings | None = None) -> None:
        self._settings = settings or InfluxSettings()
        self._http = Http("InfluxDB", http, clock, scheme="Token")
        self._clock = clock
        self._names = Names({}, frozenset())
        self._stale_at: float | None = None  # when the names are to be asked for again

    @property
    def name(self) -> str:
        return self._http.name

    def read(self, names: Collection[str], start: int, end: int, step: int = 0) -> Readings:
        """See `Source.read`. A step with a value shows no marker."""
        known = self._known()
        asked = known.fields(names)
        if not asked:
            return Readings.none()
        query = influxql.stepped(known, asked, start, end, step) if step else influxql.samples(known, asked, start, end)
        answer = self._ask(query)
        try:
            found = influxql.readings(answer.body, asked, step)
        except Refused as error:
            raise self._refusal(str(error)) from error
        except (ValueError, KeyError, TypeError) as error:
            raise StoreUnavailable(
                f"{self.name} answers /query with something else than its JSON: is it one?"
            ) from error
        if not step:
            return found
        values = found.where(~np.isnan(found.value))
        return values.where((values.time > start) & (values.time <= end))

    def _known(self) -> Names:
        """What the database has; a name that is new there is seen within a minute."""
        now = self._clock.monotonic()
        if self._stale_at is None or now > self._stale_at:
            answer = self._ask(influxql.FIELDS)
            try:
                self._names = Names.of(influxql.fields_of(answer.body))
            except Refused as error:
                raise self._refusal(str(error)) from error
            except (ValueError, KeyError, TypeError) as error:
                raise StoreUnavailable(f"{self.name} does not say what fields it has: is it an InfluxDB?") from error
            self._stale_at = now + _FRESH_S
        return self._names

    def _place(self) -> dict[str, str]:
        policy = self._settings.retention_policy
        return {"db": self._settings.database, **({"rp": policy} if policy else {})}

    def _ask(self, query: str) -> Answer:
        asked = {**self._place(), "epoch": "u", "chunked": "true", "chunk_size": _CHUNK, "q": query}
        packed = {"Accept": "application/json", "Accept-Encoding": "gzip" if self._settings.compress else "identity"}
        answer = self._http.ask("POST", "/query", data=asked, headers=packed)
        if answer.status != 200:
            raise self._refusal(_said(answer), answer.status)
        return answer

    def _refusal(self, said: str, status: int = 200) -> StoreUnavailable | ConfigurationError:
        """What is to be done about words of InfluxDB."""
        if "not found" in said and "database" in said:
            words = f"create it there, or name another in store.influxdb.database. It says: {said}"
            return StoreUnavailable(f"{self.name} has no database {self._settings.database!r}: {words}", 60.0)
        if "retention policy not found" in said:
            policy = self._settings.retention_policy
            words = f"name another in store.influxdb.retention_policy. It says: {said}"
            return StoreUnavailable(f"{self.name} has no retention policy {policy!r}: {words}", 60.0)
        if any(words in said for words in _TOO_MUCH):
            return QueryTooLarge(f"{self.name} will not answer so much at once: {said}")
        if status == 404:
            return StoreUnavailable(f"{self.name} knows no /query: is store.remote.url an InfluxDB's address?")
        return StoreUnavailable(f"{self.name} answers {status}: {said}")

    def write(self, readings: Readings) -> int:
        """See `Source.write`: NaN is written as the field `value_ended`. Refused is what its retention policy drops."""
        bearable = influx_lines.bearable(readings)
        refused = int(len(readings) - bearable.sum())
        if self._new(readings):
            self._stale_at = None
        for _, body in influx_lines.bodies(readings.where(bearable), self._settings.body_samples_max):
            refused += self._write(body)
        return refused

    def _new(self, readings: Readings) -> bool:
        """Whether something is written that was not there when the names were asked for."""
        marked = bool(np.isnan(readings.value).any())
        return any(
            name not in self._names.found or (marked and (name, influx_lines.VALUE) not in self._names.marked)
            for name, _ in readings.series
        )

    def _write(self, body: bytes) -> int:
        packed = {"Content-Encoding": "gzip"} if self._settings.compress else {}
        data = gzip.compress(body, 1) if self._settings.compress else body
        params = {**self._place(), "precision": "u"}
        headers = {"Content-Type": "text/plain; charset=utf-8", **packed}
        answer = self._http.ask("POST", "/write", params=params, data=data, headers=headers)
        if answer.status < 300:
            return 0
        said = _said(answer)
        if dropped := _DROPPED.search(said):
            return int(dropped[1])
        if "field type conflict" in said:
            words = "its field `value` has another type there: write Forewarn's series into a database of their own"
            raise StoreUnavailable(f"{self.name} does not take all samples: {words}. It says: {said}", 60.0)
        if answer.status in (400, 413, 422):
            raise StoreUnavailable(f"{self.name} does not take samples: {said}")
        raise self._refusal(said, answer.status)

    def check(self) -> str:
        """Its version, and whether it lets the database be read."""
        answer = self._http.ask("GET", "/ping")
        version = answer.headers.get("X-Influxdb-Version", "")
        if not version:
            raise ConfigurationError(f"{self.name} is no InfluxDB: store.remote.url names something else")
        self._stale_at = None
        self._known()
        return f"{self.name}, version {version}"

    def close(self) -> None:
        self._http.close()


def _said(answer: Answer) -> str:
    """Its own words for what is wrong."""
    try:
        said: Mapping[str, object] = json.loads(answer.body)
        return str(said.get("error") or said["message"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return answer.said
