"""What a live cycle costs, each thing beside what it is to be held against, in one run on this machine.

Times are medians; ratios travel between machines, seconds do not.
"""

import statistics
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from time import perf_counter

import pyarrow as pa

from forewarn.assemble.site import build_forecaster
from forewarn.clock import SimulatedClock
from forewarn.domain.inventory import COMPONENT_KINDS, Kind
from forewarn.features import frame
from forewarn.features.catalog import CATALOG
from forewarn.predict.rules import RulePredictor
from forewarn.sim.play import ONCE, Simulation
from forewarn.store.duckdb import DuckDBStore

START = datetime(2026, 1, 5, 8, 1, tzinfo=UTC)  # just past the hour: what is kept for it lasts
CYCLES = 12


def seconds(work: Callable[[], object]) -> float:
    began = perf_counter()
    work()
    return perf_counter() - began


def features(store: DuckDBStore, now: datetime) -> dict[Kind, pa.Table]:
    return {kind: frame.build(store.features(CATALOG, kind, [now]), CATALOG, kind) for kind in COMPONENT_KINDS}


def report(what: str, taken_s: float, beside: str, beside_s: float) -> None:
    print(f"{what:44} {taken_s * 1e3:9.1f} ms   {taken_s / beside_s:6.2f} of {beside} ({beside_s * 1e3:.1f} ms)")


def main() -> None:
    clock = SimulatedClock(START)
    simulation = Simulation(7, clock, ONCE)
    with tempfile.TemporaryDirectory() as folder:
        store = DuckDBStore(Path(folder) / "telemetry.duckdb")
        backfill_s = seconds(lambda: [store.append(batch) for batch in simulation.world.history(30)])
        rolling_s = seconds(lambda: store.roll_up(START))
        first_s = seconds(lambda: features(store, START))
        later = [START + number * timedelta(seconds=30) for number in range(1, CYCLES)]
        later_s = [seconds(partial(features, store, time)) for time in later]
        frames = features(store, START + timedelta(minutes=10))
        store.close()
    forecaster = build_forecaster()
    disks = frames[Kind.DISK]
    many = pa.concat_tables([disks] * max(1, 1000 // disks.num_rows))
    learned_s = statistics.median(seconds(lambda: forecaster.forecast({Kind.DISK: many})) for _ in range(5))
    rules = RulePredictor(Kind.DISK)
    ruled_s = statistics.median(seconds(lambda: rules.forecast(many)) for _ in range(5))
    report("features of a later cycle of the hour", statistics.median(later_s), "the hour's first", first_s)
    report("rolling up 30 days of 24 hosts", rolling_s, "appending them", backfill_s)
    report(f"forecasts of {many.num_rows} disks by model and rules", learned_s, "rules alone", ruled_s)


if __name__ == "__main__":
    main()
