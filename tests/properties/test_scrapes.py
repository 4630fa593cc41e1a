"""However a scrape is cut into bodies, and in whatever order they come, the same values are stored as by one body."""

import itertools
import math
from collections.abc import Iterable, Sequence
from datetime import timedelta

import numpy as np
import pyarrow as pa
from hypothesis import example, given, settings
from hypothesis import strategies as st

from forewarn.domain.inventory import Kind
from forewarn.domain.telemetry import Combine, Metric, Sample
from forewarn.store.base import Batch
from forewarn.store.index import SeriesIndex
from forewarn.store.intake import Rows, ordered, weights_of
from forewarn.store.mapping import Mapper, MappingSettings
from tests.telemetry import NOON

METRICS = (
    *(Metric(str(how), Kind.CPU, f"core_{how}", "of the cores", combine=how) for how in Combine),
    Metric("bad", Kind.DISK, "smart_bad", "bad sectors", device_label="device", counter=True, combine=Combine.SUM),
    Metric("up", Kind.NETWORK, "nic_up", "link", device_label="device"),
    Metric("rail", Kind.POWER, "node_hwmon_in_volts", "a rail", where=(("label", "12V"),), combine=Combine.MIN),
)
TIMES = tuple(NOON + timedelta(seconds=15) * number for number in range(3))
HOSTS = ("host01", "host02")
CORE = st.one_of(st.integers(-3, 120).map(float), st.just(math.nan))

Body = tuple[str, tuple[Sample, ...]]
Filed = dict[tuple[str, str, int], float]


@st.composite
def scrapes(draw: st.DrawFn) -> list[Body]:
    """What two hosts show at four times; a drive of each may be replaced in between."""
    found = []
    for host in HOSTS:
        swapped = draw(st.integers(1, 9))
        shared = draw(st.booleans())  # a bond and its link share an address
        for number, time in enumerate(TIMES):
            serial = f"{host}-{'old' if number < swapped else 'new'}"
            shown = [
                Sample("smartctl_device", {"device": "sda", "serial_number": serial}, 1.0, time),
                Sample("node_disk_info", {"device": "sda", "serial": f"wwn-{serial}"}, 1.0, time),
                *(
                    Sample("node_network_info", {"device": name, "address": "aa" if shared else name}, 1.0, time)
                    for name in ("bond0", "eth0")
                ),
                *(Sample("nic_up", {"device": name}, 1.0, time) for name in ("bond0", "eth0")),
                Sample("node_hwmon_sensor_label", {"chip": "c", "sensor": "in0", "label": "12V"}, 1.0, time),
                Sample("node_hwmon_in_volts", {"chip": "c", "sensor": "in0"}, 12.0 + number, time),
            ]
            for device, port in (("sda", "0"), ("sda", "1"), ("sdb", "0")):
                labels = {"device": device, "port": port}
                shown.append(Sample("smart_bad", labels, draw(st.integers(0, 9)), time))
            for how, core in itertools.product(Combine, range(3)):
                shown.append(Sample(f"core_{how}", {"core": str(core)}, draw(CORE), time))
            found.append((host, tuple(shown)))
    return found


@st.composite
def bodies(draw: st.DrawFn, whole: Sequence[Body]) -> list[Body]:
    """The same samples in any order, cut anywhere, some bodies twice, several hosts and times in one."""
    loose = [(host, sample) for host, shown in whole for sample in shown]
    mixed = draw(st.randoms(use_true_random=False))
    mixed.shuffle(loose)
    cuts = sorted(draw(st.lists(st.integers(0, len(loose)), max_size=12)))
    cut = [loose[a:b] for a, b in itertools.pairwise([0, *cuts, len(loose)])]
    again = [draw(st.sampled_from(cut)) for _ in range(draw(st.integers(0, 3)))]
    found = []
    for part in [*cut, *again]:
        shown = ((host, tuple(sample for of, sample in part if of == host)) for host in HOSTS)
        found += [body for body in shown if body[1]]
    return found


def stored(before: Iterable[Body], arriving: Iterable[Body], limits: MappingSettings) -> tuple[Filed, set[str]]:
    """The values that stand and the parts, after `before` came whole and settled and the others came as bodies."""
    mapper, index, parts = Mapper(METRICS, settings=limits), SeriesIndex(), set[str]()
    held = Rows(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float64), np.zeros(0, np.int32))

    def append(batch: Batch) -> Rows:
        samples = batch.samples
        parts.update(map(str, batch.devices.column("component").to_pylist()))
        numbers = index.number(samples.column("component"), samples.column("metric"))
        times = samples.column("time").cast(pa.int64()).to_numpy()
        new = Rows(numbers, times, samples.column("value").to_numpy(), weights_of(batch))
        kept = ordered(new.after(held))
        return Rows(kept.series, kept.time, kept.value, np.maximum(kept.weight, 0))

    for host, samples in before:
        held = append(mapper.map(host, samples, NOON - timedelta(hours=1)))
    for host, samples in arriving:
        held = append(mapper.map(host, samples, NOON, whole=False))
    held = append(mapper.waiting())
    components, metrics = (map(str, names.to_pylist()) for names in index.named(held.series))
    keys = zip(components, metrics, held.time.tolist(), strict=True)
    found = {key: value for key, value in zip(keys, held.value.tolist(), strict=True) if not math.isnan(value)}
    return found, parts


@st.composite
def ways(draw: st.DrawFn) -> tuple[list[Body], list[Body]]:
    whole = draw(scrapes())
    return whole, draw(bodies(whole))


def cores(*values: float) -> tuple[Sample, ...]:
    return tuple(Sample("core_sum", {"core": str(core)}, value, NOON) for core, value in enumerate(values))


@settings(max_examples=60)
@given(ways())
@example(([("host01", cores(7.0, 100.0))], [("host01", cores(7.0)), ("host01", cores(7.0, 100.0)[1:])]))
def test_any_cut_and_order_of_what_is_new_gives_the_same_values_and_parts(way: tuple[list[Body], list[Body]]) -> None:
    whole, cut = way
    assert stored((), cut, MappingSettings()) == stored((), whole, MappingSettings())


@settings(max_examples=60)
@given(ways())
def test_any_cut_and_order_of_what_known_devices_show_gives_the_same_values(
    way: tuple[list[Body], list[Body]],
) -> None:
    whole, cut = way
    known = [body for body in whole if body[1][0].time == TIMES[0]]
    assert stored(known, cut, MappingSettings())[0] == stored(known, whole, MappingSettings())[0]


@settings(max_examples=40)
@given(ways(), st.integers(0, 40))
def test_what_is_forgotten_makes_no_value_of_fewer_series_stand_before_one_of_more(
    way: tuple[list[Body], list[Body]], values_max: int
) -> None:
    whole, cut = way
    full, _ = stored((), whole, MappingSettings())
    limits = MappingSettings(values_max=values_max)
    found, _ = stored(whole, cut, limits)
    assert found == full
