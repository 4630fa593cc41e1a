"""Contract checks for anybody's driver, store, collector or predictor: plain functions that claim and explain.

    from forewarn.testing import check_driver

    def test_my_driver_keeps_the_contract() -> None:
        check_driver(MyDriver(...), a_move_that_can_succeed, wait=clock.sleep)

Each raises AssertionError with a sentence that says what was expected of whom. They need no test framework.
"""

import math
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pyarrow as pa

from forewarn.collect.base import Collected, Collector
from forewarn.domain.feature import Aggregate, Catalog, Feature
from forewarn.domain.inventory import Cluster, Kind
from forewarn.domain.plan import Move, MoveState
from forewarn.domain.risk import HORIZONS, FailureForecast
from forewarn.domain.telemetry import Metric, Sample
from forewarn.drivers.base import Driver
from forewarn.errors import ForewarnError, FrameError, MoveRefused, SourceAbsent, TelemetryError
from forewarn.predict.base import Predictor
from forewarn.store.base import DEVICES, FRAME_KEYS, ROWS, SAMPLES, TAKEN_BACK, WEIGHT, Batch, TelemetryStore

METRIC_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a driver's check waits for a move."""

    step_s: float = 1.0
    """Seconds that are waited between two questions."""
    steps_max: int = 600
    """Number of questions after which a move should have ended."""


# --- drivers ----------------------------------------------------------------------------------------------


def check_driver(driver: Driver, move: Move, wait: Callable[[float], None], patience: Patience | None = None) -> None:
    """A driver that moves: `move` must be one that can succeed now, and slow enough to be seen running.

    It is refused in wrong forms, and while its target is cordoned; then it is started and cancelled, and then done,
    its VM in one place all the while. `wait` lets that many seconds pass.
    """
    patience = patience or Patience()
    _check_inventory(driver.inventory(), move)
    _check_unheard_of(driver, move)
    _check_refusals(driver, move)
    _check_cordoning(driver, move, wait, patience)
    _check_cancelling(driver, replace(move, id=f"{move.id}-cancelled"), wait, patience)
    _check_moving(driver, replace(move, id=f"{move.id}-done"), wait, patience)


def check_watching_driver(driver: Driver, move: Move) -> None:
    """A driver that may only look: it refuses everything, and its hosts take no VMs."""
    cluster = driver.inventory()
    for host in cluster.hosts:
        _claim(not host.can_receive, f"{host.name} can receive VMs, but its driver can only look")
    _claim(cluster.generation <= driver.inventory().generation, "the generation fell between two inventories")
    for call in (driver.check, driver.start):
        _claim(_refuses(lambda call=call: call(move)), f"{call.__name__} did not refuse a move")  # type: ignore[misc]
    _check_unheard_of(driver, move)
    driver.cancel(move)


def _check_inventory(cluster: Cluster, move: Move) -> None:
    _claim(cluster.time.tzinfo is not None, "the inventory's time has no zone")
    _claim(len(cluster.host_by_name) == len(cluster.hosts), "a host stands twice in the inventory")
    _claim(len(cluster.vm_by_id) == len(cluster.vms), "a VM stands twice in the inventory")
    _claim(len(cluster.component_by_id) == len(cluster.components), "a component stands twice in the inventory")
    for vm in cluster.vms:
        _claim(vm.host in cluster.host_by_name, f"VM {vm.id} is on {vm.host}, which is not in the inventory")
    vm_host = cluster.vm_by_id[move.vm].host if move.vm in cluster.vm_by_id else "no host"
    _claim(vm_host == move.source, f"the check wants {move.vm} on {move.source}, it is on {vm_host}")


def _check_unheard_of(driver: Driver, move: Move) -> None:
    progress = driver.poll(replace(move, id="never-heard-of"))
    _claim(progress.state is MoveState.FAILED, f"a move never heard of is {progress.state}, not failed")
    _claim(bool(progress.text), "a move never heard of is failed without a word")
    driver.cancel(replace(move, id="never-heard-of"))


def _check_refusals(driver: Driver, move: Move) -> None:
    wrong = {
        "of a VM that does not exist": replace(move, vm="no-such-vm"),
        "to a host that does not exist": replace(move, target="no-such-host"),
        "from a host on which the VM is not": replace(move, source=move.target, target=move.source),
        "to the host on which the VM is": replace(move, target=move.source),
    }
    before = driver.inventory().vm_by_id[move.vm]
    for words, one in wrong.items():
        named = replace(one, id=f"{move.id} {words}")
        _claim(_refuses(lambda named=named: driver.check(named)), f"check took a move {words}")  # type: ignore[misc]
        _claim(_refuses(lambda named=named: driver.start(named)), f"start took a move {words}")  # type: ignore[misc]
        _check_expecting(driver, named, words)
    _claim(driver.inventory().vm_by_id[move.vm] == before, "a refused move changed its VM")


def _check_expecting(driver: Driver, move: Move, words: str) -> None:
    """To be told of a move that waits never fails, whatever may be wrong with it."""
    try:
        driver.expect(move)
    except ForewarnError as error:
        raise AssertionError(f"expect failed for a move {words}: {error}") from error


def _check_cordoning(driver: Driver, move: Move, wait: Callable[[float], None], patience: Patience) -> None:
    now = driver.inventory().time
    driver.cordon(move.target, "its contract is checked", now + timedelta(hours=1))
    _claim(_is_cordoned(driver, move.target), f"{move.target} was cordoned, and the inventory does not show it")
    _claim(_refuses(lambda: driver.check(move)), "check took a move to a cordoned host")
    driver.cordon(move.target, "its contract is checked", driver.inventory().time + timedelta(seconds=patience.step_s))
    wait(2 * patience.step_s)
    _claim(not _is_cordoned(driver, move.target), f"the cordon of {move.target} has not ended by itself")
    driver.cordon(move.target, "its contract is checked", driver.inventory().time + timedelta(hours=1))
    driver.uncordon(move.target)
    driver.uncordon(move.target)
    _claim(not _is_cordoned(driver, move.target), f"{move.target} was uncordoned, and the inventory shows it cordoned")
    driver.check(move)


def _is_cordoned(driver: Driver, host: str) -> bool:
    return driver.inventory().host_by_name[host].cordoned


def _check_cancelling(driver: Driver, move: Move, wait: Callable[[float], None], patience: Patience) -> None:
    driver.check(move)
    driver.start(move)
    state = driver.poll(move).state
    _claim(state is MoveState.RUNNING, f"a move that was just started is {state}, not running")
    second = replace(move, id=f"{move.id}-again")
    _claim(_refuses(lambda: driver.start(second)), "a second move of a VM in migration was started")
    driver.cancel(move)
    end = _ending(driver, move, wait, patience)
    _claim(end is MoveState.CANCELLED, f"a cancelled move ended as {end}")
    _check_place(driver, move, move.source)
    driver.cancel(move)
    _check_place(driver, move, move.source)


def _check_moving(driver: Driver, move: Move, wait: Callable[[float], None], patience: Patience) -> None:
    generation = driver.inventory().generation
    driver.start(move)
    end = _ending(driver, move, wait, patience)
    _claim(end is MoveState.SUCCEEDED, f"the move that can succeed ended as {end}: {driver.poll(move).text}")
    _check_place(driver, move, move.target)
    progress = driver.poll(move)
    _claim(driver.poll(move) == progress, "two polls of an ended move differ")
    _claim(progress.downtime_ms >= 0 and progress.duration_s >= 0, "a measured time is negative")
    grown = driver.inventory().generation
    _claim(grown > generation, f"a VM moved and the generation stayed at {generation}")
    driver.cancel(move)
    _check_place(driver, move, move.target)


def _ending(driver: Driver, move: Move, wait: Callable[[float], None], patience: Patience) -> MoveState:
    """How the move ends, its progress watched on the way."""
    progress = driver.poll(move)
    for _ in range(patience.steps_max):
        _claim(0.0 <= progress.progress <= 1.0, f"the progress is {progress.progress}, not within 0 and 1")
        if progress.state.final:
            return progress.state
        places = [vm.host for vm in driver.inventory().vms if vm.id == move.vm]
        _claim(len(places) == 1, f"VM {move.vm} is on {places} while it moves")
        wait(patience.step_s)
        progress = driver.poll(move)
    raise AssertionError(f"move {move.id} has not ended after {patience.steps_max * patience.step_s:g} s")


def _check_place(driver: Driver, move: Move, wanted: str) -> None:
    places = [vm.host for vm in driver.inventory().vms if vm.id == move.vm]
    _claim(places == [wanted], f"VM {move.vm} is on {places}, it should be on {wanted} alone")


def _refuses(call: Callable[[], None]) -> bool:
    try:
        call()
    except MoveRefused as refused:
        return bool(str(refused))
    return False


# --- stores -----------------------------------------------------------------------------------------------

_NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
_METRIC = Metric("contract_heat", Kind.DISK, "contract_heat_celsius", "for the check alone", hold_s=3600.0)
_LAST = Feature("contract_heat_last", Kind.DISK, _METRIC.key, Aggregate.LAST)
_HIGHEST = Feature("contract_heat_max_1h", Kind.DISK, _METRIC.key, Aggregate.MAX, timedelta(hours=1))
_CATALOG = Catalog((_METRIC,), (_LAST, _HIGHEST))
_VALUES = ((30, 40.0), (20, 42.0), (10, 41.0))  # minutes before noon, value


def check_store(make: Callable[[], TelemetryStore]) -> None:
    """A telemetry store, empty at each call of `make`: it keeps what it took, and refuses what has no shape."""
    for check in (_check_appending, _check_repeating, _check_asking, _check_hold, _check_refusing_batches):
        with closing(make()) as store:
            check(store)


def _check_appending(store: TelemetryStore) -> None:
    _claim(store.append(_batch(_VALUES)) == len(_VALUES), "append did not return the number of samples taken")
    start, end = _minutes_before(30), _minutes_before(10)
    values = store.series("disk:A", _METRIC.key, start, end).column("value").to_pylist()
    _claim(values == [42.0, 41.0], f"series of (start, end] in time order should be [42.0, 41.0], they are {values}")
    devices = store.devices(Kind.DISK).to_pylist()
    _claim([row["component"] for row in devices] == ["disk:A"], f"the one device should be disk:A, not {devices}")
    _claim(store.devices(Kind.CPU).num_rows == 0, "a disk is told among the CPUs")


def _check_repeating(store: TelemetryStore) -> None:
    """Of samples of one time the heaviest stands, of equals the later; a marker yields unless it takes back."""

    def stands(value: float, weight: int | None) -> float:
        weights = None if weight is None else pa.chunked_array([pa.array([weight], WEIGHT)])
        store.append(replace(_batch([(10, value)]), weights=weights))
        found = store.series("disk:A", _METRIC.key, _minutes_before(30), _minutes_before(10)).column("value")
        return float(found.to_numpy()[0]) if len(found) == 1 else math.nan

    steps = ((40.0, None, 40.0), (44.0, None, 44.0), (70.0, 5, 70.0), (-1.0, 4, 70.0), (60.0, 5, 60.0))
    for value, weight, wanted in (*steps, (math.nan, None, 60.0), (math.nan, TAKEN_BACK, math.nan), (41.0, 1, 41.0)):
        found = stands(value, weight)
        same = found == wanted or (math.isnan(found) and math.isnan(wanted))
        _claim(same, f"after {value} of weight {weight} the sample should be {wanted}, it is {found}")


def _check_asking(store: TelemetryStore) -> None:
    store.append(_batch(_VALUES))
    frame = store.features(_CATALOG, Kind.DISK, [_NOON])
    wanted = [*FRAME_KEYS.names, _LAST.name, _HIGHEST.name]
    _claim(frame.column_names == wanted, f"the frame's columns are {frame.column_names}, not {wanted}")
    found = [(row[_LAST.name], row[_HIGHEST.name]) for row in frame.to_pylist()]
    _claim(found == [(41.0, 42.0)], f"last and highest value should be [(41.0, 42.0)], they are {found}")
    asked = pa.table({"time": [_NOON, _minutes_before(25)], "component": ["disk:A", "disk:A"]}, schema=ROWS)
    rows = store.features(_CATALOG, Kind.DISK, asked).column(_LAST.name).to_pylist()
    _claim(rows == [41.0, 40.0], f"asked rows come in their order as [41.0, 40.0], not as {rows}")


def _check_hold(store: TelemetryStore) -> None:
    store.append(_batch(_VALUES))
    late = _NOON + timedelta(hours=2)
    found = store.features(_CATALOG, Kind.DISK, [late]).column(_LAST.name).to_pylist()
    _claim(found in ([None], []), f"a value past its hold limit is missing, not {found}")


def _check_refusing_batches(store: TelemetryStore) -> None:
    odd = pa.table({"when": [_NOON], "what": ["?"]})
    try:
        store.append(Batch(odd, _batch(()).devices))
    except TelemetryError:
        return
    raise AssertionError("append took samples of another shape instead of raising TelemetryError")


def _batch(values: Iterable[tuple[int, float]]) -> Batch:
    samples = [
        {"time": _minutes_before(minutes), "component": "disk:A", "metric": _METRIC.key, "value": value}
        for minutes, value in values
    ]
    device = {"component": "disk:A", "kind": "disk", "host": "h1", "device": "sda", "model": "M"}
    seen = {"first_seen": _minutes_before(30), "last_seen": _minutes_before(10)}
    return Batch(
        pa.Table.from_pylist(samples, schema=SAMPLES), pa.Table.from_pylist([{**device, **seen}], schema=DEVICES)
    )


def _minutes_before(minutes: int) -> datetime:
    return _NOON - timedelta(minutes=minutes)


# --- collectors -------------------------------------------------------------------------------------------


def check_collector(collector: Collector) -> tuple[Collected, ...]:
    """A collector: what it yields is well formed and the same series do not come twice. Returns what it yielded.

    A collector that raises SourceAbsent keeps the contract too, if it says what is absent.
    """
    _claim(bool(METRIC_NAME.fullmatch(collector.name)), f"{collector.name!r} cannot be a label's value everywhere")
    try:
        collected = tuple(collector.collect())
    except SourceAbsent as absent:
        _claim(bool(str(absent)), f"{collector.name} is absent without a word")
        return ()
    samples = [one for one in collected if isinstance(one, Sample)]
    for sample in samples:
        _check_sample(sample)
    series = [(sample.name, tuple(sorted(sample.labels.items())), sample.time) for sample in samples]
    twice = sorted({one[0] for one in series if series.count(one) > 1}) if len(set(series)) < len(series) else []
    _claim(not twice, f"{collector.name} yields the same series twice: {', '.join(twice)}")
    return collected


def _check_sample(sample: Sample) -> None:
    _claim(bool(METRIC_NAME.fullmatch(sample.name)), f"{sample.name!r} is no metric name")
    for label, text in sample.labels.items():
        _claim(bool(LABEL_NAME.fullmatch(label)), f"{sample.name} has a label {label!r}, which is no label name")
        _claim(isinstance(text, str), f"the label {label} of {sample.name} is {text!r}, no text")
    _claim(not math.isnan(sample.value), f"{sample.name} is not a number: an absent source yields nothing")
    zone = sample.time is None or sample.time.tzinfo is not None
    _claim(zone, f"the time of {sample.name} has no zone")


# --- predictors -------------------------------------------------------------------------------------------


def check_predictor(make: Callable[[], Predictor], frame: pa.Table) -> None:
    """A predictor, made anew at each call of `make` (so also saved and loaded), on a frame with at least two rows.

    Every column of the frame behind its keys is tried: gone, infinite, and missing everywhere.
    """
    predictor = make()
    _claim(frame.num_rows >= 2, "the check needs a frame with at least two rows")
    made = predictor.forecast(frame)
    _check_curves(predictor, frame, made)
    _claim(predictor.forecast(frame) == made, f"{predictor.name} forecasts the same frame differently the second time")
    _claim(make().forecast(frame) == made, f"{predictor.name} forecasts differently when it is made anew")
    _check_order(predictor, frame, made)
    columns = [name for name in frame.column_names if name not in FRAME_KEYS.names]
    blank = frame.select(FRAME_KEYS.names)
    for name in columns:
        blank = blank.append_column(name, pa.nulls(frame.num_rows, pa.float64()))
        _check_lost(predictor, frame, name)
    for forecast in predictor.forecast(blank):
        _claim(forecast.unknown, f"{predictor.name} knows the risk of {forecast.component} without any telemetry")
        _claim(bool(forecast.unknown_because), f"{predictor.name} says unknown without what is missing")


def _check_curves(predictor: Predictor, frame: pa.Table, made: Sequence[FailureForecast]) -> None:
    """One forecast per row, in its order, each a rising curve within its interval; arrays say the same."""
    names = frame.column("component").to_pylist()
    _claim([one.component for one in made] == names, f"{predictor.name} does not forecast each row in its order")
    curves = predictor.curves(frame)
    for row, one in enumerate(made):
        _claim(
            one.unknown == bool(curves.unknown[row]), f"arrays and forecast differ on whether {names[row]} is unknown"
        )
        _claim(one.kind == predictor.kind, f"a predictor of {predictor.kind} forecasts {one.component} as {one.kind}")
        if one.unknown:
            continue
        curve = list(one.probabilities)
        _claim(len(curve) == len(HORIZONS), f"the curve of {one.component} has {len(curve)} horizons")
        _claim(curve == sorted(curve) and curve[0] >= 0.0 and curve[-1] <= 1.0, f"{one.component}: {curve} is no curve")
        _claim(curve == curves.probabilities[row].tolist(), f"arrays and forecast differ on {one.component}")
        inside = all(low <= p <= high for low, p, high in zip(one.low, curve, one.high, strict=True))
        _claim(inside, f"the curve of {one.component} leaves its own interval")


def _check_order(predictor: Predictor, frame: pa.Table, made: Sequence[FailureForecast]) -> None:
    backwards = frame.take(list(range(frame.num_rows))[::-1])
    _claim(predictor.forecast(backwards) == tuple(made)[::-1], f"{predictor.name} forecasts shuffled rows differently")
    turned = frame.select(frame.column_names[::-1])
    _claim(predictor.forecast(turned) == tuple(made), f"{predictor.name} forecasts reordered columns differently")
    wider = frame.append_column("never_heard_of", pa.array([1.0] * frame.num_rows))
    _claim(predictor.forecast(wider) == tuple(made), f"{predictor.name} is moved by a column that it does not know")


def _check_lost(predictor: Predictor, frame: pa.Table, name: str) -> None:
    """A column that is gone or infinite is refused by its name, or forecast without it; nothing else."""
    place = frame.schema.get_field_index(name)
    infinite = frame.set_column(place, name, pa.array([math.inf] * frame.num_rows))
    for words, changed in (("without", frame.drop_columns([name])), ("with an infinite", infinite)):
        try:
            made = predictor.curves(changed).probabilities
        except FrameError as refused:
            _claim(name in str(refused), f"{predictor.name} refuses a frame {words} {name} and does not name it")
            continue
        sound = bool(((made >= 0.0) & (made <= 1.0)).all())
        _claim(sound, f"{predictor.name} gives no probabilities {words} {name}")


def _claim(holds: bool, text: str) -> None:
    if not holds:
        raise AssertionError(text)
