"""Batches of components' samples as series of a site's database, and back.

Samples that reach Forewarn and not the database (an agent's, another Prometheus') are kept there as `forewarn_sample`,
where each part sat as `forewarn_device_info`. A database keeps one value per series and time and lets nothing replace
it. What mends a value is therefore a series of its own, told apart by the label `revision`: of one time the heaviest
value stands, of equals the one of the highest revision, as `TelemetryStore.append` has it.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from forewarn.domain.telemetry import Sample
from forewarn.store.base import DEVICES, SAMPLES, TAKEN_BACK, TIME, WEIGHT, Batch
from forewarn.store.intake import weights_of
from forewarn.store.scrapes import Key
from forewarn.store.source import Readings
from forewarn.store.windows import microseconds

SAMPLE, DEVICE = "forewarn_sample", "forewarn_device_info"
NAMES = (SAMPLE, DEVICE)
_PLACE = ("component", "kind", "host", "device", "model")


def written(batch: Batch, revision: NDArray[np.int64]) -> Readings:
    """A batch as readings; `revision` says of each sample the how-manieth of its time it is, 0 for the first."""
    samples = batch.samples
    component = samples.column("component").combine_chunks().dictionary_encode()
    metric = samples.column("metric").combine_chunks().dictionary_encode()
    value, weight = samples.column("value").to_numpy(), weights_of(batch)
    usual = weight == np.where(np.isnan(value), 0, 1)
    said = np.where(usual, np.iinfo(np.int32).min, weight)
    components, metrics = component.dictionary.to_pylist(), metric.dictionary.to_pylist()
    heavy_of, heavy = np.unique(said, return_inverse=True)
    again_of, again = np.unique(revision, return_inverse=True)
    parts = component.indices.to_numpy().astype(np.int64) * max(1, len(metrics)) + metric.indices.to_numpy()
    codes, of = np.unique((parts * len(heavy_of) + heavy) * len(again_of) + again, return_inverse=True)
    series = []
    for code in codes.tolist():
        rest, number = divmod(code, max(1, len(again_of)))
        rest, weighed = divmod(rest, max(1, len(heavy_of)))
        part, quantity = divmod(rest, max(1, len(metrics)))
        labels = {"component": str(components[part]), "metric": str(metrics[quantity])}
        if heavy_of[weighed] != np.iinfo(np.int32).min:
            labels["weight"] = str(heavy_of[weighed])
        if again_of[number]:
            labels["revision"] = str(again_of[number])
        if batch.until_marked:
            labels["until_marked"] = "1"
        series.append(_key(SAMPLE, labels))
    time = samples.column("time").cast(pa.int64()).to_numpy()
    return Readings.joined([Readings(tuple(series), of, time, value), _places(batch.devices)])


def _key(name: str, labels: dict[str, str]) -> Key:
    return name, tuple(sorted((label, text) for label, text in labels.items() if text))


def _places(devices: pa.Table) -> Readings:
    """Where parts sat, when they were seen there first and last."""
    columns = [devices.column(name).to_pylist() for name in _PLACE]
    series = tuple(_key(DEVICE, dict(zip(_PLACE, map(str, row), strict=True))) for row in zip(*columns, strict=True))
    first, last = (devices.column(name).cast(pa.int64()).to_numpy() for name in ("first_seen", "last_seen"))
    later = np.flatnonzero(last != first)
    of = np.concatenate([np.arange(len(series)), later])
    return Readings(series, of, np.concatenate([first, last[later]]), np.ones(len(of)))


def read(readings: Readings) -> Iterator[Batch]:
    """The batches of what `written` made, one per revision, in the order in which a store is to take them."""
    labels = [dict(pairs) for _, pairs in readings.series]
    sampled = np.array([name == SAMPLE for name, _ in readings.series], np.bool_)
    devices = _devices(readings.where(~sampled[readings.of]), labels)
    if devices.num_rows:
        yield Batch(SAMPLES.empty_table(), devices)
    revision = np.array([_number(one.get("revision", "0")) for one in labels], np.int64)
    marked = np.array(["until_marked" in one for one in labels], np.bool_)
    group = np.where(sampled, revision * 2 + marked, -1)
    for one in sorted(set(group[group >= 0].tolist())):
        chosen = readings.where(group[readings.of] == one)
        if len(chosen):
            yield _samples(chosen, labels, until_marked=bool(one % 2))


def _number(text: str) -> int:
    return int(text) if text.removeprefix("-").isdecimal() and len(text) < 19 else 0


def _samples(readings: Readings, labels: Sequence[dict[str, str]], *, until_marked: bool) -> Batch:
    components = pa.array([one.get("component", "") for one in labels], pa.string())
    metrics = pa.array([one.get("metric", "") for one in labels], pa.string())
    unsaid = TAKEN_BACK - 1
    said = np.array([_number(one["weight"]) if "weight" in one else unsaid for one in labels], np.int64)[readings.of]
    weight = np.where(said == unsaid, np.where(np.isnan(readings.value), 0, 1), said).astype(np.int32)
    columns = {
        "time": pa.array(readings.time).cast(TIME),
        "component": components.take(readings.of),
        "metric": metrics.take(readings.of),
        "value": pa.array(readings.value),
    }
    samples = pa.table(columns, schema=SAMPLES)
    return Batch(samples, DEVICES.empty_table(), until_marked, pa.chunked_array([pa.array(weight, WEIGHT)]))


def _devices(readings: Readings, labels: Sequence[dict[str, str]]) -> pa.Table:
    if not len(readings):
        return DEVICES.empty_table()
    readings = readings.ordered()
    begins = np.flatnonzero(np.r_[True, readings.of[1:] != readings.of[:-1]])
    ends = np.r_[begins[1:], len(readings)] - 1
    chosen = [labels[number] for number in readings.of[begins].tolist()]
    columns = {name: pa.array([one.get(name, "") for one in chosen], pa.string()) for name in _PLACE}
    times = {
        "first_seen": pa.array(readings.time[begins]).cast(TIME),
        "last_seen": pa.array(readings.time[ends]).cast(TIME),
    }
    return pa.table({**columns, **times}, schema=DEVICES)


def place(row: Mapping[str, Any]) -> tuple[str, ...]:
    """What tells a row of DEVICES apart from others."""
    return tuple(str(row[name]) for name in _PLACE)


def strongest(batch: Batch) -> Batch:
    """Of samples of one series and time in a batch, the one that stands."""
    samples, weight = batch.samples, weights_of(batch)
    component = samples.column("component").combine_chunks().dictionary_encode().indices.to_numpy()
    metric = samples.column("metric").combine_chunks().dictionary_encode().indices.to_numpy()
    time = samples.column("time").cast(pa.int64()).to_numpy()
    strength = np.where(weight == TAKEN_BACK, np.iinfo(np.int32).max, weight)
    order = np.lexsort((strength, time, metric, component))
    series = component.astype(np.int64) * (int(metric.max()) + 1 if len(metric) else 1) + metric
    ordered, moments = series[order], time[order]
    final = np.r_[(ordered[1:] != ordered[:-1]) | (moments[1:] != moments[:-1]), True][: len(order)]
    chosen = np.sort(order[final])
    weights = pa.chunked_array([pa.array(weight[chosen])])
    return Batch(samples.take(pa.array(chosen)), batch.devices, batch.until_marked, weights)


def named(samples: Sequence[Sample]) -> Readings:
    """Samples that have times, under their own names."""
    timed = [(_key(one.name, dict(one.labels)), microseconds(one.time), one.value) for one in samples if one.time]
    numbers = {key: number for number, key in enumerate(dict.fromkeys(key for key, _, _ in timed))}
    of = np.array([numbers[key] for key, _, _ in timed], np.int64)
    time = np.array([time for _, time, _ in timed], np.int64)
    return Readings(tuple(numbers), of, time, np.array([value for _, _, value in timed], np.float64)).ordered()
