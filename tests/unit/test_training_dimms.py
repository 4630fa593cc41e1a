"""DIMMs are learned from a table of corrected errors without times, split by DIMM, and judged at its base rate."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from forewarn.assemble.site import PredictSettings, build_forecaster
from forewarn.cli import app
from forewarn.domain.inventory import Kind
from forewarn.errors import ConfigurationError, FrameError, ModelError, RecordingError
from forewarn.features import labels
from forewarn.features.catalog import CATALOG
from forewarn.features.dimm_columns import COLUMNS
from forewarn.predict import backtest, registry, training
from forewarn.predict.settings import Algorithm, TrainingSettings, suited
from forewarn.predict.shapes import Shape
from forewarn.predict.trees import TreesPredictor
from forewarn.store.dimms import read_dimms


def settings(algorithm: Algorithm = "boosting") -> TrainingSettings:
    return replace(suited(Shape.DIMMS, algorithm), trees=30, leaf_weight=2.0, columns_share=0.6, threads=1)


def silent(text: str) -> None:
    """Progress that nobody follows."""


def dimms(path: Path, count: int = 1500, seed: int = 3, **changed: Any) -> Path:
    """DIMMs of which those with errors along a row fail far more often; family B looks back one hour only."""
    random = np.random.default_rng(seed)
    row_fault = random.random(count) < 0.1
    failed = random.random(count) < np.where(row_fault, 0.4, 0.01)
    family = np.where(random.random(count) < 0.2, "B", "A")
    counts = 1.0 + random.poisson(np.where(row_fault, 6, 1))
    columns: dict[str, Any] = {
        "serial_number": [f"sn_{seed}_{number}" for number in range(count)],
        "serial_number_type": family,
        "label": failed.astype(np.int64),
    }
    for window, more in (("15m", 0), ("1h", 1), ("6h", 2)):
        shown = (family == "A") | (window != "6h")
        columns[f"all_ce_log_num_{window}"] = np.where(shown, counts + more, 0.0)
        columns[f"fault_mode_row_{window}"] = np.where(shown, row_fault.astype(float), 0.0)
    pq.write_table(pa.table({**columns, **changed}), path)
    return path


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return dimms(tmp_path_factory.mktemp("dimms") / "dimms.parquet")


@pytest.fixture(scope="module")
def model(table: Path) -> TreesPredictor:
    return training.train(table, Kind.MEMORY, CATALOG, silent, settings=settings())


def test_dimms_that_fail_are_told_apart_among_unseen_ones(model: TreesPredictor, tmp_path: Path) -> None:
    found = backtest.evaluate(dimms(tmp_path / "other.parquet", seed=4), model, CATALOG, silent)
    assert found.overlaps_training is None
    assert found.measures.roc_auc > 0.8
    assert found.measures.virr > 0.4
    assert found.measures.ece < 0.03
    assert "time" not in found.forecasts.column_names


def test_the_curve_is_even_up_to_a_week_and_says_nothing_past_it(model: TreesPredictor, table: Path) -> None:
    forecasts = backtest.evaluate(table, model, CATALOG, silent).forecasts
    week = forecasts.column("p_7d").to_numpy()
    np.testing.assert_allclose(forecasts.column("p_24h").to_numpy(), 1 - (1 - week) ** (1 / 7))
    np.testing.assert_array_equal(forecasts.column("p_30d").to_numpy(), week)


def test_a_window_that_was_not_computed_is_missing_and_not_zero(table: Path) -> None:
    read = read_dimms(table, COLUMNS)
    short = np.array(read.family.to_pylist()) == "B"
    for name in ("all_ce_log_num_6h", "fault_mode_row_6h"):
        np.testing.assert_array_equal(np.isnan(read.values.column(name).to_numpy()), short)
    assert not np.isnan(read.values.column("all_ce_log_num_1h").to_numpy()).any()


def test_a_dimm_of_which_no_error_is_known_is_unknown(model: TreesPredictor, tmp_path: Path) -> None:
    blank: dict[str, Any] = {f"all_ce_log_num_{window}": pa.nulls(1500, pa.float64()) for window in ("15m", "1h", "6h")}
    found = backtest.evaluate(dimms(tmp_path / "blank.parquet", **blank), model, CATALOG, silent)
    assert found.unknown == 1500
    assert found.forecasts.column("p_7d").null_count == 1500


def test_folds_hold_whole_dimms_and_do_not_depend_on_the_rows(table: Path) -> None:
    serials = read_dimms(table, COLUMNS).serial.to_pylist()
    folds = labels.fold_of_part([*serials, serials[0]], 5, 7)
    assert folds[0] == folds[-1]
    np.testing.assert_array_equal(labels.fold_of_part(serials[::-1], 5, 7)[::-1], folds[:-1])
    assert set(folds) == {0, 1, 2, 3, 4}


def test_a_forest_gives_probabilities_too(table: Path, tmp_path: Path) -> None:
    forest = training.train(table, Kind.MEMORY, CATALOG, silent, settings=settings("forest"))
    found = backtest.evaluate(dimms(tmp_path / "other.parquet", seed=4), forest, CATALOG, silent)
    assert found.measures.roc_auc > 0.75
    assert found.measures.ece < 0.03


def test_a_model_of_dimms_is_not_served_and_its_card_tells_of_the_base_rate(
    model: TreesPredictor, tmp_path: Path
) -> None:
    registry.save(model, str(tmp_path / "m"))
    assert "base rate" in registry.load(str(tmp_path / "m"), CATALOG).card.caution
    with pytest.raises(ModelError, match="can be judged, not asked"):
        build_forecaster(PredictSettings(models={Kind.MEMORY: str(tmp_path / "m")}))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"label": [2] * 1500}, "row 1, column label: expected 0 or 1"),
        ({"label": ["yes"] * 1500}, "column label: expected 0 or 1"),
        ({"all_ce_log_num_1h": [float("inf")] * 1500}, "row 1, column all_ce_log_num_1h: expected a finite number"),
        ({"all_ce_log_num_1h": ["many"] * 1500}, "column all_ce_log_num_1h: expected numbers"),
        ({"serial_number": pa.nulls(1500, pa.string())}, "1500 rows name no DIMM"),
    ],
)
def test_a_bad_table_is_refused_with_its_place(tmp_path: Path, changed: dict[str, Any], said: str) -> None:
    with pytest.raises(RecordingError, match=said):
        read_dimms(dimms(tmp_path / "bad.parquet", **changed), COLUMNS)


def test_what_a_table_without_times_cannot_answer_is_said(table: Path, model: TreesPredictor, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no model learns kind cpu from"):
        training.train(table, Kind.CPU, CATALOG, silent)
    with pytest.raises(FrameError, match="too few to learn from"):
        training.train(dimms(tmp_path / "few.parquet", label=[0] * 1500), Kind.MEMORY, CATALOG, silent)
    registry.save(model, str(tmp_path / "m"))
    with pytest.raises(ConfigurationError, match="its rows have no time"):
        run(
            "evaluate",
            "--kind",
            "memory",
            "--model",
            str(tmp_path / "m"),
            "--from",
            str(table),
            "--since",
            "2020-01-01",
        )


def test_the_commands_train_and_evaluate_dimms(table: Path, tmp_path: Path) -> None:
    made = json.loads(run("train", "--kind", "memory", "--from", str(table), "--out", str(tmp_path / "m"), "--json"))
    assert made["rows_since"] is None
    out = tmp_path / "out.parquet"
    question = ("evaluate", "--kind", "memory", "--model", str(tmp_path / "m"), "--from", str(table))
    found = json.loads(run(*question, "--json", "--predictions", str(out)))
    assert found["horizon"] == "7d"
    names = ["device", "p_1h", "p_6h", "p_24h", "p_3d", "p_7d", "p_30d", "unknown"]
    assert pq.read_table(out).column_names == names
    assert "failing within 7d" in run(*question)


def run(*words: str) -> str:
    result = CliRunner().invoke(app, list(words), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout
