"""How fast disks are forecast by the shipped model, from a frame that lies in memory, beside plain boosting.

The frame is drawn as fleets look: most counters at nothing, few drives in trouble. What it is held against is XGBoost's
own answer of 200 trees of 31 leaves over 80 columns, without reading a frame, calibrating or any interval. Rates are
the best of some runs: what else the machine does only ever takes away from them. Arguments: rows.
"""

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from time import perf_counter

import numpy as np
import pyarrow as pa
import xgboost

from forewarn.domain.inventory import Kind
from forewarn.features.catalog import CATALOG
from forewarn.predict import registry
from forewarn.predict.trees import TreesPredictor

ROWS, RUNS, RISKIEST = 500_000, 5, 1_000
WANTED_PER_S, WANTED_S = 500_000, 1.0


def fleet(columns: tuple[str, ...], rows: int) -> pa.Table:
    """A frame of drives by seeded chance: one in twelve has some of a counter, and one in forty more of late."""
    random = np.random.default_rng(7)
    frame: dict[str, object] = {
        "time": pa.array([datetime(2026, 1, 5, tzinfo=UTC)] * rows, pa.timestamp("us", "UTC")),
        "component": pa.array([f"disk:{number}" for number in range(rows)]),
        "host": pa.array(["h"] * rows),
        "device": pa.array(["sda"] * rows),
        "model": pa.array(["M"] * rows),
    }
    for name in columns:
        if name == "power_on_hours":
            values = random.uniform(0.0, 40_000.0, rows)
        elif "_peer_share_" in name:
            values = np.full(rows, random.uniform(0.0, 0.1))
        else:
            share = 1 / 12 if name.endswith("_last") else 1 / 40
            values = random.geometric(0.05, rows).astype(np.float64) * (random.random(rows) < share)
        frame[name] = pa.array(values)
    return pa.table(frame)


def best(work: Callable[[], object]) -> float:
    """The seconds of the quickest of some runs."""
    taken = []
    for _ in range(RUNS):
        began = perf_counter()
        work()
        taken.append(perf_counter() - began)
    return min(taken)


def plain(rows: int) -> float:
    """Rows per second of plain boosting."""
    random = np.random.default_rng(7)
    values = random.poisson(0.1, (rows, 80)).astype(np.float32)
    failed = random.random(rows) < 0.05 + 0.4 * (values[:, :4].sum(axis=1) > 1)
    learned = xgboost.QuantileDMatrix(values[:100_000], label=failed[:100_000])
    asked = {"tree_method": "hist", "max_leaves": 31, "max_depth": 0, "grow_policy": "lossguide", "nthread": 2}
    trees = xgboost.train({**asked, "objective": "binary:logistic"}, learned, 200)
    return rows / best(lambda: trees.inplace_predict(values))


def riskiest(model: TreesPredictor, frame: pa.Table) -> float:
    """Seconds for the reasons of the riskiest rows."""
    risk = model.curves(frame).probabilities[:, -1]
    chosen = frame.take(np.argsort(-risk, kind="stable")[:RISKIEST])
    return best(lambda: model.forecast(chosen))


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else ROWS
    model = registry.starter(Kind.DISK, CATALOG)
    if model is None:
        sys.exit("the package holds no model of disks")
    frame = fleet(model.card.columns, rows)
    rate, beside = rows / best(lambda: model.curves(frame)), plain(rows)
    print(f"forecasts from a frame in memory   {rate:12,.0f} a second, wanted {WANTED_PER_S:,}")
    print(f"  beside plain boosting            {rate / beside:12.2f} of its {beside:,.0f} (200 trees of 31 leaves)")
    print(f"reasons of the {RISKIEST:,} riskiest      {riskiest(model, frame):12.2f} s, wanted {WANTED_S:g}")


if __name__ == "__main__":
    main()
