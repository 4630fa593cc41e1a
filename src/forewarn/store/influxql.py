"""InfluxQL for readings: what is asked of `/query`, and what its answers say. Pure; no network.

Only what InfluxDB 1.x knows and 2.x and 3.x keep is asked. A measurement has fields: a series of this package is a
measurement and one of them. It is called as Telegraf calls it where Prometheus scrapes it: `smart_device` and `temp_c`
are `smart_device_temp_c`. The fields `value`, `gauge` and `counter` are called as their measurement, and what stands in
the measurement `prometheus` as the field. A marker of a field is the boolean field of its name and `_ended`.
Source: https://docs.influxdata.com/influxdb/v1/query_language/spec/
"""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from forewarn.store.influx_lines import ENDED, VALUE
from forewarn.store.scrapes import Key
from forewarn.store.source import Readings

FIELDS = "SHOW FIELD KEYS"
_PLAIN = (VALUE, "gauge", "counter")
_SCRAPED = "prometheus"
_NUMBERS = ("float", "integer", "unsigned", "boolean")
_NS = 1000  # of a microsecond


@dataclass(frozen=True)
class Names:
    """Which measurements and fields a database has, by the names that series of them have; see the module."""

    found: Mapping[str, tuple[tuple[str, str], ...]]
    marked: frozenset[tuple[str, str]]  # the measurements and fields that may have markers

    @classmethod
    def of(cls, fields: Mapping[str, Mapping[str, str]]) -> "Names":
        """From each measurement's fields and their types; those that are no numbers are left out."""
        found: dict[str, list[tuple[str, str]]] = {}
        for measurement, kinds in fields.items():
            for field, kind in kinds.items():
                if kind in _NUMBERS and not _marks(field, kinds):
                    for name in _called(measurement, field):
                        found.setdefault(name, []).append((measurement, field))
        marked = frozenset(
            (measurement, field.removesuffix(ENDED))
            for measurement, kinds in fields.items()
            for field in kinds
            if _marks(field, kinds)
        )
        return cls({name: tuple(those) for name, those in found.items()}, marked)

    def fields(self, names: Collection[str]) -> Mapping[str, Mapping[str, tuple[str, ...]]]:
        """The measurements to read for series of these names, and the fields of each with their names."""
        wanted: dict[str, dict[str, tuple[str, ...]]] = {}
        for name in sorted(names):
            for measurement, field in self.found.get(name, ()):
                asked = wanted.setdefault(measurement, {})
                asked[field] = (*asked.get(field, ()), name)
        return wanted


def _marks(field: str, kinds: Mapping[str, str]) -> bool:
    """Whether a field of a measurement holds the markers of another one."""
    return field.endswith(ENDED) and kinds[field] == "boolean" and field.removesuffix(ENDED) in kinds


def _called(measurement: str, field: str) -> tuple[str, ...]:
    if measurement == _SCRAPED:
        return (field,)
    joined = f"{measurement}_{field}"
    return (measurement, joined) if field in _PLAIN else (joined,)


def samples(names: Names, asked: Mapping[str, Mapping[str, Any]], start: int, end: int) -> str:
    """Statements for every value and marker in (start, end]; measurements of the same fields share one."""
    when = f"time >= {(start + 1) * _NS} AND time < {(end + 1) * _NS}"
    return ";".join(
        f"SELECT {', '.join(map(_quoted, fields))} FROM {', '.join(map(_quoted, those))} WHERE {when} GROUP BY *"
        for fields, those in _alike(names, asked).items()
    )


def stepped(names: Names, asked: Mapping[str, Mapping[str, Any]], start: int, end: int, step: int) -> str:
    """Statements for the newest value of each step alone. Steps are left-open, InfluxQL's intervals right-open."""
    when = f"time >= {(start + 1) * _NS} AND time < {(end + 1) * _NS}"
    return ";".join(
        f"SELECT {', '.join(f'last({_quoted(field)}) AS {_quoted(field)}' for field in fields)}"
        f" FROM {', '.join(map(_quoted, those))} WHERE {when} GROUP BY time({step}u, 1u), * fill(none)"
        for fields, those in _alike(names, asked).items()
    )


def _alike(names: Names, asked: Mapping[str, Mapping[str, Any]]) -> Mapping[tuple[str, ...], Sequence[str]]:
    found: dict[tuple[str, ...], list[str]] = {}
    for measurement, fields in asked.items():
        marks = [field + ENDED for field in fields if (measurement, field) in names.marked]
        found.setdefault((*fields, *marks), []).append(measurement)
    return found


def _quoted(name: str) -> str:
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


class Refused(Exception):
    """What an answer says went wrong."""


def answers(body: bytes) -> Iterator[Mapping[str, Any]]:
    """The series in an answer that comes in chunks, a line of JSON each. Raises Refused, ValueError for no answer."""
    for line in body.splitlines():
        said = json.loads(line) if line.strip() else {}
        if "error" in said:
            raise Refused(str(said["error"]))
        for result in said.get("results", ()):
            if "error" in result:
                raise Refused(str(result["error"]))
            yield from result.get("series", ())


def fields_of(body: bytes) -> dict[str, dict[str, str]]:
    """What FIELDS is answered with: each measurement's fields, with their types. Raises as `answers` does."""
    found: dict[str, dict[str, str]] = {}
    for series in answers(body):
        for field, kind in series.get("values", ()):
            found.setdefault(str(series["name"]), {})[str(field)] = str(kind)
    return found


def readings(body: bytes, asked: Mapping[str, Mapping[str, tuple[str, ...]]], step: int = 0) -> Readings:
    """The samples in an answer to `samples` or `stepped`. Raises as `answers` does."""
    numbers: dict[Key, int] = {}
    parts: list[tuple[int, Any, Any]] = []
    none = np.empty(0)
    for series in answers(body):
        time, columns = _columns(series, step)
        labels = tuple(sorted((str(tag), str(text)) for tag, text in series.get("tags", {}).items() if text))
        for field, called in asked[series["name"]].items():
            values, marks = columns[field], columns.get(field + ENDED, none) == 1.0
            known = ~np.isnan(values)
            for name in called:
                number = numbers.setdefault((name, labels), len(numbers))
                if len(marks):
                    parts.append((number, time[marks], np.full(int(marks.sum()), np.nan)))
                parts.append((number, time[known], values[known]))
    of = np.repeat(np.array([part[0] for part in parts], np.int64), [len(part[1]) for part in parts])
    times = np.concatenate([np.empty(0, np.int64), *(part[1] for part in parts)])
    return Readings(tuple(numbers), of, times, np.concatenate([np.empty(0), *(part[2] for part in parts)]))


def _columns(series: Mapping[str, Any], step: int) -> tuple[Any, dict[str, Any]]:
    """Times, and each field's values, NaN where a row has none; a step's interval is named by its end."""
    time, *values = zip(*series["values"], strict=True)
    moments = np.array(time, np.int64) + (step - 1 if step else 0)
    names = [str(name) for name in series["columns"][1:]]
    return moments, {name: np.array(column, np.float64) for name, column in zip(names, values, strict=True)}
