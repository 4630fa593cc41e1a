"""Hazards are learned from an outage log and judged on the log that continues it."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from forewarn.assemble.site import PredictSettings, build_forecaster
from forewarn.cli import app
from forewarn.domain.inventory import Kind
from forewarn.errors import ConfigurationError, FrameError, ModelError
from forewarn.features.catalog import CATALOG
from forewarn.predict import backtest, registry, training
from forewarn.predict.settings import Algorithm, TrainingSettings, suited
from forewarn.predict.shapes import Shape
from forewarn.predict.trees import TreesPredictor
from tests.outage_logs import BEGIN, row, site, write

SPLIT, END = 500, 700


def settings(algorithm: Algorithm = "boosting") -> TrainingSettings:
    small = replace(suited(Shape.OUTAGES, algorithm), trees=30, leaf_weight=2.0, keep=0.5, later_share=1.0)
    return replace(small, calibrate_prior=0.0, threads=1)


def in_order(forecasts: pa.Table) -> list[tuple[str, ...]]:
    """The rows as text, in an order that does not depend on where they came from."""
    return sorted(tuple(map(str, row.values())) for row in forecasts.to_pylist())


def silent(text: str) -> None:
    """Progress that nobody follows."""


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """A log, the one that continues it, and both in one."""
    folder = tmp_path_factory.mktemp("outages")
    early, late = site(0, SPLIT), site(SPLIT, END)
    late.append(row("3", "0.0", f"{BEGIN + timedelta(days=END - 1):%m/%d/%Y %H:%M}", **{"node prod": "2-Jul"}))
    found = {"early": early, "late": late, "both": early + late}
    early_path, late_path, both = (write(folder / f"{name}.csv", *rows) for name, rows in found.items())
    return early_path, late_path, both


@pytest.fixture(scope="module")
def model(logs: tuple[Path, Path, Path]) -> TreesPredictor:
    return training.train(logs[0], Kind.POWER, CATALOG, silent, settings=settings())


def test_a_hazard_is_learned_and_beats_the_frozen_rate_on_the_log_that_follows(
    logs: tuple[Path, Path, Path], model: TreesPredictor
) -> None:
    found = backtest.evaluate(logs[1], model, CATALOG, silent)
    assert found.overlaps_training is False
    assert found.measures.log_loss_skill > 0.1
    assert found.measures.roc_auc > 0.9
    curves = np.stack([found.forecasts.column(f"p_{n}").to_numpy() for n in ("1h", "6h", "24h", "3d", "7d", "30d")])
    assert (np.diff(curves, axis=0) >= 0).all()


def test_every_slot_has_a_row_each_day_also_in_systems_not_seen_in_training(
    logs: tuple[Path, Path, Path], model: TreesPredictor
) -> None:
    forecasts = backtest.evaluate(logs[1], model, CATALOG, silent).forecasts
    days = {device: forecasts.column("device").to_pylist().count(device) for device in ("1-0", "1-11", "2-5", "3-2")}
    times = np.unique(forecasts["time"].to_numpy())
    asked, late = len(times), int((times >= np.datetime64("2002-07-01")).sum())
    assert days == {
        "1-0": asked,
        "1-11": asked,
        "2-5": asked,
        "3-2": late,
    }
    assert forecasts.column("unknown").to_pylist().count(True) == 0


def test_a_log_that_continues_is_forecast_as_if_it_were_one_with_the_earlier(
    logs: tuple[Path, Path, Path], model: TreesPredictor
) -> None:
    apart = backtest.evaluate(logs[1], model, CATALOG, silent)
    assert apart.since is not None
    together = backtest.evaluate(logs[2], model, CATALOG, silent, since=apart.since)
    assert in_order(apart.forecasts) == in_order(together.forecasts)
    alone = TreesPredictor(model.booster, model.card, model._catalog)
    assert backtest.evaluate(logs[1], alone, CATALOG, silent).measures.roc_auc < apart.measures.roc_auc


def test_weak_nodes_stand_above_the_others(logs: tuple[Path, Path, Path], model: TreesPredictor) -> None:
    forecasts = backtest.evaluate(logs[1], model, CATALOG, silent).forecasts
    device, day = np.array(forecasts["device"].to_pylist()), forecasts["p_24h"].to_numpy()
    weak, sound = (float(day[np.isin(device, names)].mean()) for names in (("1-0", "1-1"), ("1-5", "2-5")))
    assert weak > 10 * sound
    assert 0.04 < weak < 0.16  # in truth 0.08 a day


def test_a_hazard_model_comes_back_with_the_log_it_learned_from_and_says_its_limits(
    model: TreesPredictor, tmp_path: Path
) -> None:
    registry.save(model, str(tmp_path / "m"))
    read = registry.load(str(tmp_path / "m"), CATALOG)
    assert read.card == model.card
    assert "never past watch" in read.card.caution
    assert read.history is not None
    assert model.history is not None
    assert read.history.outages.equals(model.history.outages)
    assert read.history.slots.equals(model.history.slots)
    history = tmp_path / "m" / "history.json"
    history.write_bytes(history.read_bytes().replace(b'"system"', b'"System"', 1))
    with pytest.raises(ModelError, match="a checksum does not hold"):
        registry.load(str(tmp_path / "m"), CATALOG)
    history.unlink()
    with pytest.raises(ModelError, match="a checksum does not hold"):
        registry.load(str(tmp_path / "m"), CATALOG)


def test_a_model_of_foreign_outages_is_not_served(model: TreesPredictor, tmp_path: Path) -> None:
    registry.save(model, str(tmp_path / "m"))
    with pytest.raises(ModelError, match="can be judged, not asked"):
        build_forecaster(PredictSettings(models={Kind.POWER: str(tmp_path / "m")}))


def test_nothing_after_the_outcomes_allowed_is_looked_at(logs: tuple[Path, Path, Path], model: TreesPredictor) -> None:
    again = training.train(logs[2], Kind.POWER, CATALOG, silent, until=model.card.rows_until, settings=settings())
    assert again.card.rates == pytest.approx(model.card.rates)
    assert again.booster.save_raw("json") == model.booster.save_raw("json")
    assert again.card.calibration == model.card.calibration


def test_a_forest_learns_the_same_and_gives_probabilities(logs: tuple[Path, Path, Path]) -> None:
    forest = training.train(logs[0], Kind.POWER, CATALOG, silent, settings=settings("forest"))
    assert forest.card.algorithm == "forest"
    found = backtest.evaluate(logs[1], forest, CATALOG, silent)
    assert found.measures.log_loss_skill > 0.05
    assert found.measures.roc_auc > 0.9


def test_what_a_log_does_not_tell_is_said(logs: tuple[Path, Path, Path]) -> None:
    with pytest.raises(ConfigurationError, match="no model learns kind disk from"):
        training.train(logs[0], Kind.DISK, CATALOG, silent)
    with pytest.raises(FrameError, match="there is nothing to learn"):
        training.train(logs[0], Kind.MEMORY, CATALOG, silent, settings=settings())
    drives = training.train(logs[0], Kind.POWER, CATALOG, silent, settings=settings())
    with pytest.raises(FrameError, match="no slot is in production"):
        backtest.evaluate(logs[0], drives, CATALOG, silent, until=BEGIN - timedelta(days=30))


def test_the_commands_train_and_evaluate_hazards(logs: tuple[Path, Path, Path], tmp_path: Path) -> None:
    said = run("train", "--kind", "cpu", "--from", str(logs[0]), "--out", str(tmp_path / "m"), "--algorithm", "forest")
    assert "never past watch by itself" in said
    out = tmp_path / "out.parquet"
    question = ("evaluate", "--kind", "cpu", "--model", str(tmp_path / "m"), "--from", str(logs[1]), "--json")
    found = json.loads(run(*question, "--predictions", str(out)))
    table = pq.read_table(out)
    assert table.num_rows == found["rows"]
    names = ["device", "time", "p_1h", "p_6h", "p_24h", "p_3d", "p_7d", "p_30d", "unknown"]
    assert table.column_names == names
    assert {"log_loss_skill", "virr_0.1", "horizon", "caution"} <= found.keys()
    fewer = json.loads(run(*question, "--since", "2002-09-01", "--until", "2002-10-01"))
    assert fewer["rows"] < found["rows"]
    with pytest.raises(ConfigurationError, match="expected boosting or forest"):
        run("train", "--kind", "cpu", "--from", str(logs[0]), "--out", str(tmp_path / "n"), "--algorithm", "oak")


def run(*words: str) -> str:
    result = CliRunner().invoke(app, list(words), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout
