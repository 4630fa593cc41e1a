"""The PromQL that is asked, and how its answers are read: no network.

Single samples are asked for by a range selector in an instant query, which gives each with its own time: never by
`increase()` or `rate()`, which extrapolate. Both ends of a selector belong to it in Prometheus 2, the right one alone
in Prometheus 3: whoever reads drops what is not after the start.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from forewarn.errors import StoreUnavailable
from forewarn.remote_write import NAME
from forewarn.store.scrapes import Key
from forewarn.store.source import Readings

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = 1000  # microseconds


def selector(names: Collection[str]) -> str:
    """All series with one of these names.

    >>> selector(["up", "node_load1"])
    '{__name__=~"node_load1|up"}'
    """
    return f'{{{NAME}=~"{"|".join(sorted(names))}"}}'


def duration(microseconds: int) -> str:
    """A length of time, to the millisecond."""
    return f"{microseconds // _MS}ms"


def instant(microseconds: int) -> str:
    """A time as PromQL's API reads it without rounding.

    >>> instant(1_500_000)
    '1970-01-01T00:00:01.500Z'
    """
    time = _EPOCH + timedelta(microseconds=microseconds // _MS * _MS)
    return f"{time:%Y-%m-%dT%H:%M:%S}.{time.microsecond // 1000:03d}Z"


def samples(names: Collection[str], start: int, end: int) -> dict[str, str]:
    """An instant query for all samples of [start, end]."""
    return {"query": f"{selector(names)}[{duration(end - start)}]", "time": instant(end)}


def stepped(names: Collection[str], start: int, end: int, step: int) -> dict[str, str]:
    """A range query for the newest sample of each step in (start, end]."""
    query = f"last_over_time({selector(names)}[{duration(step - _MS)}])"
    return {"query": query, "start": instant(start + step), "end": instant(end), "step": f"{step / 1e6:g}"}


def key_of(labels: Mapping[str, str]) -> Key:
    """A series by its labels, the name among them."""
    return labels.get(NAME, ""), tuple(sorted((label, text) for label, text in labels.items() if label != NAME))


def read_matrix(body: bytes, who: str) -> Readings:
    """The answer to either query. Raises StoreUnavailable for what is no such answer."""
    try:
        found = json.loads(body)["data"]
        if found["resultType"] != "matrix":
            raise ValueError(found["resultType"])
        return _readings(found["result"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreUnavailable(
            f"{who} answers with something else than PromQL's JSON: is its address right?"
        ) from error


def _readings(result: Iterable[Mapping[str, Any]]) -> Readings:
    series, lengths = [], []
    times: list[float] = []
    values: list[str] = []
    for one in result:
        series.append(key_of(one["metric"]))
        lengths.append(len(one["values"]))
        found = one["values"]
        times += [point[0] for point in found]
        values += [point[1] for point in found]
    of = np.repeat(np.arange(len(series)), np.array(lengths, np.int64))
    ms = np.rint(np.array(times, np.float64) * 1000).astype(np.int64)
    return Readings(tuple(series), of, ms * _MS, np.array(list(map(float, values)), np.float64))
