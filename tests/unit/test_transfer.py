"""The shipped model on drives, models, years and sets of attributes that are not in what it learned from.

The drives are drawn, in Backblaze's daily form; two in three of those that fail decline before.
"""

import csv
import gzip
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from forewarn.domain.inventory import Kind
from forewarn.features.catalog import CATALOG
from forewarn.predict import backtest, registry
from forewarn.predict.scored import Evaluation
from forewarn.predict.trees import TreesPredictor

FAILED, HEALTHY, DAYS = 21, 63, 32
SEEN = (1, 3, 4, 5, 7, 9, 10, 12, 183, 184, 187, 188, 189, 190, 191, 192, 193, 194, 197, 198, 199, 240, 241, 242)
FEW = (5, 187, 188, 197, 198)  # all that some fleets report


@dataclass(frozen=True)
class Fleet:
    """A drawn case-control set: a third as many drives that fail at the end of their record as drives that do not."""

    model: str = "ST4000DM000"
    start: datetime = datetime(2016, 2, 1, tzinfo=UTC)
    attributes: tuple[int, ...] = SEEN
    normalized: bool = True
    shortest: int = 3  # days of the shortest record

    def rows(self) -> Iterator[dict[str, str]]:
        random = np.random.default_rng(11)
        for number in range(FAILED + HEALTHY):
            fails, lived = number < FAILED, int(random.integers(self.shortest, DAYS + 1))
            declines = fails and number % 3 < 2
            onset, hours = int(random.integers(2, 25)), int(random.integers(2_000, 25_000))
            for day in range(lived):
                left = lived - 1 - day
                sick = max(0, onset - left) if declines else 0
                counts = {5: 8 * sick, 187: 2 * sick, 197: 8 * sick, 198: 8 * sick, 9: hours + 24 * day, 12: 9}
                counts |= {194: 24, 188: 0, 189: number % 4, 1: int(random.integers(1, 2**28)), 241: 10**10 + day}
                yield self._row(number, self.start + timedelta(days=day), counts, failed=fails and left == 0)

    def _row(self, number: int, day: datetime, counts: dict[int, int], *, failed: bool) -> dict[str, str]:
        told = {"date": f"{day:%Y-%m-%d}", "serial_number": f"Z{number:04}", "model": self.model}
        told |= {"capacity_bytes": "4000787030016", "failure": str(int(failed))}
        for attribute in self.attributes:
            told[f"smart_{attribute}_raw"] = str(counts.get(attribute, 0))
            if self.normalized:
                told[f"smart_{attribute}_normalized"] = str(max(1, 100 - counts.get(attribute, 0) % 100))
        return told


def plain(rows: list[dict[str, str]], folder: Path) -> Path:
    write(folder / "drives.csv", rows)
    return folder / "drives.csv"


def packed(rows: list[dict[str, str]], folder: Path) -> Path:
    path = folder / "drives.csv.gz"
    path.write_bytes(gzip.compress(plain(rows, folder).read_bytes()))
    return path


def by_day(rows: list[dict[str, str]], folder: Path) -> Path:
    """As Backblaze publishes them: a file per day."""
    days = folder / "days"
    days.mkdir()
    for day in sorted({row["date"] for row in rows}):
        write(days / f"{day}.csv", [row for row in rows if row["date"] == day])
    return days


def parquet(rows: list[dict[str, str]], folder: Path) -> Path:
    pq.write_table(pyarrow.csv.read_csv(plain(rows, folder)), folder / "drives.parquet")
    return folder / "drives.parquet"


def write(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture(scope="module")
def model() -> TreesPredictor:
    found = registry.starter(Kind.DISK, CATALOG)
    assert found is not None
    return found


def judged(model: TreesPredictor, fleet: Fleet, folder: Path) -> Evaluation:
    path = parquet(list(fleet.rows()), folder)
    return backtest.evaluate(path, model, CATALOG, lambda _: None, cadence="daily")


def in_order(found: Evaluation) -> pa.Table:
    return found.forecasts.sort_by([("device", "ascending"), ("time", "ascending")])


def by_drive(found: Evaluation) -> tuple[float, int]:
    """ROC AUC by drive over all rows that were forecast, judged or not, and how many drives were."""
    highest: dict[str, float] = {}
    for row in found.forecasts.select(["device", "p_30d"]).to_pylist():
        highest[row["device"]] = max(highest.get(row["device"], 0.0), row["p_30d"] or 0.0)
    fails = [risk for device, risk in highest.items() if int(device[1:]) < FAILED]
    sound = [risk for device, risk in highest.items() if int(device[1:]) >= FAILED]
    wins = sum((one > other) + 0.5 * (one == other) for one in fails for other in sound)
    return wins / (len(fails) * len(sound)), len(highest)


@pytest.mark.parametrize("form", [packed, by_day])
def test_every_form_of_the_same_days_gets_the_same_forecasts(
    model: TreesPredictor, tmp_path: Path, form: Callable[[list[dict[str, str]], Path], Path]
) -> None:
    rows = [row for row in Fleet().rows() if int(row["serial_number"][1:]) % 7 == 0]
    (tmp_path / "a").mkdir()
    expected = backtest.evaluate(parquet(rows, tmp_path / "a"), model, CATALOG, lambda _: None, cadence="daily")
    (tmp_path / "b").mkdir()
    found = backtest.evaluate(form(rows, tmp_path / "b"), model, CATALOG, lambda _: None, cadence="daily")
    assert in_order(found).equals(in_order(expected))


def test_drives_with_a_record_of_days_are_told_apart_and_each_is_forecast(
    model: TreesPredictor, tmp_path: Path
) -> None:
    auc, drives = by_drive(judged(model, Fleet(), tmp_path))
    assert drives == FAILED + HEALTHY
    assert auc > 0.75  # two thirds of those that fail decline, the others cannot be told


def test_normalized_columns_and_years_change_nothing(model: TreesPredictor, tmp_path: Path) -> None:
    risks = []
    for number, fleet in enumerate((Fleet(), Fleet(normalized=False), Fleet(start=datetime(2031, 2, 3, tzinfo=UTC)))):
        (tmp_path / str(number)).mkdir()
        risks.append(in_order(judged(model, fleet, tmp_path / str(number)))["p_30d"].to_numpy())
    assert np.array_equal(risks[0], risks[1])
    assert np.array_equal(risks[0], risks[2])


@pytest.mark.parametrize(("attributes", "least"), [(FEW, 0.75), ((1, 5, 194), 0.7), ((187, 241, 242), 0.7)])
def test_fewer_attributes_cost_some_skill_and_never_an_error(
    model: TreesPredictor, tmp_path: Path, attributes: tuple[int, ...], least: float
) -> None:
    auc, _ = by_drive(judged(model, Fleet(attributes=attributes), tmp_path))
    assert auc > least


def test_a_drive_model_that_nobody_has_seen_is_forecast(model: TreesPredictor, tmp_path: Path) -> None:
    auc, _ = by_drive(judged(model, Fleet(model="EXAMPLE 20TB"), tmp_path))
    assert auc > 0.75


def test_drives_without_any_telling_attribute_are_unknown(model: TreesPredictor, tmp_path: Path) -> None:
    found = judged(model, Fleet(attributes=(9, 12)), tmp_path)
    assert found.unknown == found.rows
    assert found.forecasts["p_30d"].null_count == found.rows
