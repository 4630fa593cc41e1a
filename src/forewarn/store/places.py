"""Where parts sit, and when: the devices that a store has heard of.

A part is known by its id; a place is a host and a device name there. A part that is moved has two places. Arrays again,
because a question may ask for millions of parts and times at once.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa

from forewarn.domain.inventory import Kind
from forewarn.store.base import DEVICES
from forewarn.store.index import Names, Numbers
from forewarn.store.windows import NEVER, SECOND, Times

Texts: TypeAlias = "pa.Array[Any]"
_Key = tuple[int, str, str]  # a component's number, a host, a device


@dataclass(frozen=True)
class Found:
    """Places by number, -1 for parts that were never heard of."""

    host: Texts
    device: Texts
    model: Texts


@dataclass(frozen=True)
class _Columns:
    texts: tuple[Texts, ...]  # host, device, model
    hosts: list[str]
    host_of: Numbers


class Places:
    """Every place, numbered; `components` numbers the parts for the whole store."""

    def __init__(self, components: Names) -> None:
        self._components = components
        self._numbers: dict[_Key, int] = {}
        self._of_component: dict[int, list[int]] = {}
        self._texts: list[tuple[str, str, str, str, str]] = []  # component, kind, host, device, model
        self._cached: _Columns | None = None
        self._ordered: dict[str, Numbers] = {}  # per kind, the places by their part's name
        self._component = np.zeros(64, np.int64)
        self._first = np.zeros(64, np.int64)
        self._last = np.zeros(64, np.int64)
        self._saved = np.zeros(64, np.int64)  # the last_seen that the store's table holds

    def see(self, devices: pa.Table) -> None:
        """Take in devices; what was known of them is widened in time."""
        columns = [devices.column(name).to_pylist() for name in ("component", "kind", "host", "device", "model")]
        first, last = (devices.column(name).cast(pa.int64()).to_pylist() for name in ("first_seen", "last_seen"))
        for component, kind, host, device, model, begin, end in zip(*columns, first, last, strict=True):
            self._see((component, kind, host, device, model), begin, end)

    def load(self, devices: pa.Table) -> None:
        """Take over what the store's table holds."""
        self.see(devices)
        self._saved[: len(self._texts)] = self._last[: len(self._texts)]

    def _see(self, texts: tuple[str, str, str, str, str], first: int, last: int) -> None:
        component, _, host, device, model = texts
        key = (self._components.number(component), host, device)
        number = self._numbers.get(key)
        if number is None:
            number = self._add(key, texts, first, last)
        if first < self._first[number] or (model and model != self._texts[number][4]):
            self._texts[number] = texts if model else self._texts[number]
            self._saved[number] = NEVER
            self._cached = None
        self._first[number] = min(self._first[number], first)
        self._last[number] = max(self._last[number], last)

    def _add(self, key: _Key, texts: tuple[str, str, str, str, str], first: int, last: int) -> int:
        number = self._numbers[key] = len(self._texts)
        self._texts.append(texts)
        self._cached = None
        self._ordered.pop(texts[1], None)
        self._of_component.setdefault(key[0], []).append(number)
        if number == len(self._first):
            for name in ("_component", "_first", "_last", "_saved"):
                setattr(self, name, np.pad(getattr(self, name), (0, number)))
        self._component[number], self._first[number], self._last[number] = key[0], first, last
        self._saved[number] = NEVER
        return number

    def unsaved(self, lag_s: float) -> Numbers:
        """The places that the store's table does not hold as they are, but for a `last_seen` within `lag_s`."""
        size = len(self._texts)
        return np.flatnonzero(self._last[:size] - self._saved[:size] > lag_s * SECOND)

    def saved(self, numbers: Numbers) -> None:
        self._saved[numbers] = self._last[numbers]

    def distrust(self) -> None:
        """What was written last may not have been kept: all is to be written again."""
        self._saved[:] = NEVER

    def table(self, numbers: Iterable[int]) -> pa.Table:
        """Places, with times in microseconds."""
        numbers = list(numbers)
        rows = [self._texts[number] for number in numbers]
        columns = list(zip(*rows, strict=True)) if rows else [()] * 5
        names = ("component", "kind", "host", "device", "model")
        texts = {name: pa.array(column, pa.string()) for name, column in zip(names, columns, strict=True)}
        times = {"first_seen": pa.array(self._first[numbers]), "last_seen": pa.array(self._last[numbers])}
        return pa.table({**texts, **times})

    def devices(self, kind: Kind | None) -> pa.Table:
        """Every place of `kind` as DEVICES."""
        chosen = [number for number, texts in enumerate(self._texts) if kind is None or texts[1] == kind]
        return self.table(chosen).cast(DEVICES)

    def known(self, kind: Kind, times: Times, forget_s: float) -> tuple[Times, Numbers]:
        """Rows for every part of `kind` that was heard of at each time, by time and then name."""
        numbers = self._of_kind(str(kind))
        first, last = self._first[numbers], self._last[numbers] + int(forget_s * SECOND)
        rows = []
        for time in times:
            alive = self._component[numbers[(first <= time) & (time <= last)]]
            rows.append(alive[np.r_[True, alive[1:] != alive[:-1]][: len(alive)]])
        return np.repeat(times, [len(row) for row in rows]), np.concatenate([np.zeros(0, np.int64), *rows])

    def _of_kind(self, kind: str) -> Numbers:
        if kind not in self._ordered:
            chosen = [number for number, texts in enumerate(self._texts) if texts[1] == kind]
            chosen.sort(key=lambda number: self._texts[number][0])
            self._ordered[kind] = np.array(chosen, np.int64)
        return self._ordered[kind]

    def at(self, components: Numbers, times: Times) -> Numbers:
        """Where each part sat at each time: of its places known by then the one last heard of, else its first."""
        size = len(self._components.names)
        single = np.full(size + 1, -1, np.int64)
        places = len(self._texts)
        single[self._component[:places][::-1]] = np.arange(places)[::-1]  # the first place of each part
        moved = {component: numbers for component, numbers in self._of_component.items() if len(numbers) > 1}
        found = single[np.where(components < 0, size, components)]
        if moved:
            rows = np.flatnonzero(np.isin(components, np.array(list(moved))))
            found[rows] = self._choose(moved, components[rows], times[rows])
        return found

    def _choose(self, moved: dict[int, list[int]], components: Numbers, times: Times) -> Numbers:
        most = max(map(len, moved.values()))
        position = {component: at for at, component in enumerate(moved)}
        table = np.array([numbers + numbers[:1] * (most - len(numbers)) for numbers in moved.values()])
        choice = table[[position[component] for component in components.tolist()]]
        first, last = self._first[choice], self._last[choice]
        heard = np.where(first <= times[:, None], np.minimum(last, times[:, None]), NEVER - first)
        best = heard == heard.max(axis=1, keepdims=True)
        newest = np.where(best, first, 2 * NEVER).argmax(axis=1)
        return np.asarray(choice[np.arange(len(choice)), newest])

    def found(self, numbers: Numbers) -> Found:
        """The texts of places; empty where there is none."""
        index = np.where(numbers < 0, len(self._texts), numbers)
        return Found(*(column.take(index) for column in self._columns().texts))

    def hosts(self, numbers: Numbers) -> tuple[list[str], Numbers]:
        """The distinct hosts of places, and for each place which one it is."""
        columns = self._columns()
        return columns.hosts, columns.host_of[numbers]

    def _columns(self) -> _Columns:
        """All places as columns, and an empty one at the end; made again only after a change."""
        if self._cached is None:
            rows = [*self._texts, ("", "", "", "", "")]
            names = Names()
            host_of = np.array([names.number(texts[2]) for texts in rows], np.int64)
            texts = tuple(pa.array([row[field] for row in rows], pa.string()) for field in (2, 3, 4))
            self._cached = _Columns(texts, names.names, host_of)
        return self._cached
