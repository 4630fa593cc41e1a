"""A small fleet is learned from, judged and asked: through the same store and catalogue that serve."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from forewarn.cli import app
from forewarn.domain.inventory import Kind
from forewarn.errors import ConfigurationError, ForewarnError, FrameError, ModelError
from forewarn.features.catalog import CATALOG
from forewarn.predict import backtest, hazard, registry, training
from forewarn.predict.settings import TrainingSettings
from forewarn.predict.trees import CHUNK_ROWS, TreesPredictor, matrix, raw_curves

START = datetime(2014, 1, 6, tzinfo=UTC)
DAYS = 420
SETTINGS = TrainingSettings(proportional=True, trees=20, keep=1.0, leaf_weight=1.0, calibrate_days=90)


def fleet(path: Path, drives: int = 240, rare: int = 0) -> Path:
    """Drives of which every third reallocates sectors three weeks before it fails; one in twelve fails in silence.

    Beside them `rare` drives of another model, none of which lives long.
    """
    random = np.random.default_rng(3)
    found: list[dict[str, Any]] = []
    for number in range(drives):
        end = float(random.uniform(60, DAYS)) if number % 3 == 0 or number % 12 == 1 else float(DAYS)
        turns = [(0.0, 0.0), (end - 21, 40.0), (end - 7, 400.0)] if number % 3 == 0 else [(0.0, 0.0)]
        for place, (begin, sectors) in enumerate(turns):
            last = place == len(turns) - 1
            stop = end if last else turns[place + 1][0]
            found.append(interval(f"S{number:03}", begin, stop, sectors, failed=last and end < DAYS))
    for number in range(rare):
        short = interval(f"R{number:03}", number * 20.0, number * 20.0 + 40.0, 0.0, failed=True)
        found.append({**short, "model": "M2"})
    pq.write_table(pa.Table.from_pylist(found), path)
    return path


def interval(serial: str, begin: float, end: float, sectors: float, *, failed: bool) -> dict[str, Any]:
    times = {name: (START + timedelta(days=d)).replace(tzinfo=None) for name, d in (("start", begin), ("end", end))}
    return {
        "serial_number": serial,
        "model": "M1",
        "capacity_tb": 4.0,
        "power_on_hours": int(1000 + begin * 24),
        "failed": failed,
        "start_time": times["start"],
        "end_time": times["end"],
        "smart_5_raw": sectors,
        "smart_197_raw": 0.0,
    }


def silent(text: str) -> None:
    """Progress that nobody follows."""


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fleet(tmp_path_factory.mktemp("recorded") / "drives.parquet")


@pytest.fixture(scope="module")
def model(recording: Path) -> TreesPredictor:
    return training.train(recording, Kind.DISK, CATALOG, silent, START + timedelta(days=330), SETTINGS)


def test_a_model_learns_what_foretells_failure_and_is_judged_on_later_rows(
    recording: Path, model: TreesPredictor
) -> None:
    found = backtest.evaluate(recording, model, CATALOG, silent, START + timedelta(days=360))
    assert not found.overlaps_training
    assert found.measures.roc_auc > 0.75
    assert found.measures.average_precision > 3 * found.measures.base_rate
    assert found.forecasts.num_rows == found.rows
    curves = np.stack(
        [found.forecasts.column(f"p_{name}").to_numpy() for name in ("1h", "6h", "24h", "3d", "7d", "30d")]
    )
    assert (np.diff(curves, axis=0) >= 0).all()


def test_rows_that_were_learned_from_are_named_as_such(recording: Path, model: TreesPredictor) -> None:
    assert backtest.evaluate(recording, model, CATALOG, silent, START, START + timedelta(days=30)).overlaps_training


def test_nothing_is_learned_from_what_comes_after_the_outcomes_allowed(tmp_path: Path, model: TreesPredictor) -> None:
    table = pq.read_table(fleet(tmp_path / "drives.parquet"))
    cut = (model.card.outcomes_until).replace(tzinfo=None)
    early = [row for row in table.to_pylist() if row["start_time"] < cut]
    for row in early:
        if row["end_time"] > cut:
            row.update(end_time=cut, failed=False)
    pq.write_table(pa.Table.from_pylist(early), tmp_path / "cut.parquet")
    again = training.train(tmp_path / "cut.parquet", Kind.DISK, CATALOG, silent, model.card.rows_until, SETTINGS)
    assert again.card == model.card


def test_a_drive_without_peers_is_not_taken_for_one_of_a_model_that_is_rare(tmp_path: Path) -> None:
    path, until = fleet(tmp_path / "drives.parquet", drives=320, rare=15), START + timedelta(days=330)
    odds = []
    for share in (0.0, 0.5):
        made = training.train(path, Kind.DISK, CATALOG, silent, until, replace(SETTINGS, small_share=share))
        alone = {name: 0.0 for name in made.card.columns if "_peer_share_" not in name} | {"power_on_hours": 2000.0}
        (forecast,) = made.forecast(asked(made, **alone))
        odds.append(forecast.probabilities[-1] / (1.0 - forecast.probabilities[-1]))
    assert odds[1] < 0.25 * odds[0]


def test_a_forecast_names_its_three_weightiest_features_in_words(model: TreesPredictor) -> None:
    quiet = dict.fromkeys(model.card.columns, 0.0) | {"power_on_hours": 5000.0}
    rows = asked(model, **quiet | {"smart_5_last": 400.0, "smart_5_grown_7d": 360.0, "smart_5_grown_30d": 400.0})
    (forecast,) = model.forecast(rows)
    (calm,) = model.forecast(asked(model, **quiet))
    assert forecast.probabilities[-1] > calm.probabilities[-1]
    assert len(forecast.reasons) == 3
    assert "SMART 5" in forecast.reasons[0].text
    assert all(a <= p <= b for a, p, b in zip(forecast.low, forecast.probabilities, forecast.high, strict=True))
    assert model.threshold(timedelta(days=7)) == model.card.thresholds[4]


def test_a_drive_that_tells_nothing_is_unknown(model: TreesPredictor) -> None:
    (forecast,) = model.forecast(asked(model))
    assert forecast.unknown
    assert "none of these is reported" in forecast.unknown_because


def test_a_model_comes_back_from_its_folder_as_it_was(model: TreesPredictor, tmp_path: Path) -> None:
    registry.save(model, str(tmp_path / "m"))
    registry.save(model, str(tmp_path / "m"))
    read = registry.load(str(tmp_path / "m"), CATALOG)
    rows = asked(model, smart_5_last=40.0)
    assert read.card == model.card
    assert read.forecast(rows) == model.forecast(rows)


def test_a_damaged_or_foreign_model_is_refused(model: TreesPredictor, tmp_path: Path) -> None:
    folder = tmp_path / "m"
    registry.save(model, str(folder))
    trees = (folder / "trees.json").read_bytes()
    (folder / "trees.json").write_bytes(trees.replace(b"1", b"2", 1))
    with pytest.raises(ModelError, match="a checksum does not hold"):
        registry.load(str(folder), CATALOG)
    (folder / "manifest.json").write_text("{")
    with pytest.raises(ModelError, match="cannot be read"):
        registry.load(str(folder), CATALOG)
    with pytest.raises(ModelError, match="holds no model"):
        registry.load(str(tmp_path / "none"), CATALOG)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("dear")
    with pytest.raises(ModelError, match="holds something that is no model"):
        registry.save(model, str(tmp_path / "other"))
    with pytest.raises(ModelError, match="holds no model"):
        registry.load("unheard-of://models", CATALOG)


def test_what_cannot_be_learned_from_is_said(recording: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no model learns kind power"):
        training.train(recording, Kind.POWER, CATALOG, silent)
    healthy = [interval(f"S{n}", 0, DAYS, 0.0, failed=False) for n in range(3)]
    pq.write_table(pa.Table.from_pylist(healthy), tmp_path / "healthy.parquet")
    with pytest.raises(FrameError, match="there is nothing to learn"):
        training.train(tmp_path / "healthy.parquet", Kind.DISK, CATALOG, silent, settings=SETTINGS)
    gone = [*healthy, interval("S9", DAYS + 300, DAYS + 301.5, 0.0, failed=False)]
    pq.write_table(pa.Table.from_pylist(gone), tmp_path / "gap.parquet")
    with pytest.raises(FrameError, match="nothing to calibrate on"):
        training.train(tmp_path / "gap.parquet", Kind.DISK, CATALOG, silent, settings=SETTINGS)
    first = [interval("S0", 1, 3, 0.0, failed=True), interval("S1", 155, 300, 0.0, failed=False)]
    pq.write_table(pa.Table.from_pylist(first), tmp_path / "short.parquet")
    with pytest.raises(FrameError, match="nothing to fit on"):
        training.train(tmp_path / "short.parquet", Kind.DISK, CATALOG, silent, settings=SETTINGS)


def test_a_frame_that_a_model_cannot_read_is_refused(model: TreesPredictor) -> None:
    with pytest.raises(FrameError, match="lacks the columns smart_5_last"):
        matrix(asked(model).drop_columns(["smart_5_last"]), model.card.columns)
    with pytest.raises(FrameError, match="is infinite"):
        matrix(asked(model, smart_5_last=float("inf")), model.card.columns)


def test_no_part_in_the_asked_window_is_said(recording: Path, model: TreesPredictor) -> None:
    late = START + timedelta(days=DAYS + 60)
    with pytest.raises(FrameError, match="nothing to judge"):
        backtest.evaluate(recording, model, CATALOG, silent, late, late + timedelta(days=8))


def test_the_commands_train_and_evaluate(recording: Path, tmp_path: Path) -> None:
    made = run("train", "--from", str(recording), "--out", str(tmp_path / "m"), "--until", "2014-12-01", "--json")
    assert json.loads(made)["failures"] > 0
    question = ("evaluate", "--from", str(recording), "--model", str(tmp_path / "m"), "--since", "2015-01-05")
    out = tmp_path / "forecasts.parquet"
    found = json.loads(run(*question, "--json", "--predictions", str(out)))
    assert pq.read_table(out).num_rows == found["rows"]
    assert {path.name for path in tmp_path.iterdir()} == {"m", "forecasts.parquet"}
    assert {"n", "failures", "base_rate", "ece", "recall_at_far_0.005", "drive_month_f05"} <= found.keys()
    assert "roc_auc" in run(*question)


def test_a_report_holds_a_model_against_plain_ones_that_came_before_the_same_rows(
    recording: Path, model: TreesPredictor, tmp_path: Path
) -> None:
    registry.save(model, str(tmp_path / "m"))
    question = ("evaluate", "--from", str(recording), "--model", str(tmp_path / "m"))
    page = tmp_path / "report.html"
    run(*question, "--since", "2015-01-05", "--report", str(page))
    for name in ("Plain boosting", "Plain random forest", "Constant rate"):
        assert f"<td>{name}</td>" in page.read_text()
    run(*question, "--since", "2014-02-03", "--report", str(page))
    assert "so there are none" in page.read_text()
    assert "<td>Plain boosting</td>" not in page.read_text()


def test_one_score_gives_the_curve_that_its_baseline_and_calibration_say(model: TreesPredictor) -> None:
    assert model.card.proportional
    random = np.random.default_rng(5)
    values = random.poisson(0.5, (500, len(model.card.columns))).astype(np.float32)
    raw = raw_curves(model.booster, model.card, values)
    exact = np.stack([one.apply(raw[:, i]) for i, one in enumerate(model.card.calibration)], axis=1)
    assert np.allclose(model.curves_of(values).probabilities, hazard.curve(exact), rtol=1e-4, atol=1e-9)


def test_many_rows_are_forecast_as_each_alone(model: TreesPredictor) -> None:
    random = np.random.default_rng(6)
    values = random.poisson(0.5, (2 * CHUNK_ROWS + 5, len(model.card.columns))).astype(np.float32)
    whole = model.curves_of(values)
    for row in (0, CHUNK_ROWS, len(values) - 1):
        alone = model.curves_of(values[row : row + 1])
        assert alone.probabilities.tolist() == whole.probabilities[row : row + 1].tolist()
        assert alone.unknown.tolist() == whole.unknown[row : row + 1].tolist()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--kind", "fan"), "models are learned for disk, memory"),
        (("--kind", "power"), "is a model of kind disk, not power"),
        (("--since", "yesterday"), "expected a day such as"),
        (("--rows", "hourly"), "expected weekly or daily"),
    ],
)
def test_a_wrong_question_gets_one_sentence(
    recording: Path, model: TreesPredictor, tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    registry.save(model, str(tmp_path / "m"))
    asked_for = ["evaluate", "--from", str(recording), "--model", str(tmp_path / "m"), *words]
    with pytest.raises(ForewarnError, match=message):
        CliRunner().invoke(app, asked_for, catch_exceptions=False)


def run(*words: str) -> str:
    result = CliRunner().invoke(app, list(words), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def asked(model: TreesPredictor, **values: float) -> pa.Table:
    """One row of a frame; what is not named is missing."""
    keys = {"time": [START], "component": ["disk:X"], "host": ["h"], "device": ["sda"], "model": ["M1"]}
    columns = {name: pa.array([values.get(name)], pa.float64()) for name in model.card.columns}
    return pa.table({**keys, **columns})
