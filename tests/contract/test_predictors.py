"""Every predictor keeps the contract: rules, the shipped model, and that model saved elsewhere and loaded again."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pytest

from forewarn.domain.feature import Catalog
from forewarn.domain.inventory import COMPONENT_KINDS, Kind
from forewarn.domain.risk import FailureForecast
from forewarn.errors import ModelError
from forewarn.features.catalog import CATALOG
from forewarn.predict import registry
from forewarn.predict.base import Curves
from forewarn.predict.joint import JointPredictor
from forewarn.predict.rules import RulePredictor
from forewarn.predict.trees import TreesPredictor
from forewarn.testing import check_predictor


def frame(kind: Kind, rows: int = 2) -> pa.Table:
    """Rows of seeded chance over every column of a kind."""
    random = np.random.default_rng(2)
    keys: dict[str, Any] = {
        "time": pa.array([datetime(2026, 1, 5, tzinfo=UTC)] * rows, pa.timestamp("us", "UTC")),
        "component": [f"{kind}:{number}" for number in range(rows)],
        "host": ["h1"] * rows,
        "device": [f"d{number}" for number in range(rows)],
        "model": ["M"] * rows,
    }
    return pa.table({**keys, **{name: random.poisson(3.0, rows).astype(float) for name in CATALOG.names(kind)}})


def shipped() -> TreesPredictor:
    model = registry.starter(Kind.DISK, CATALOG)
    assert model is not None
    return model


@pytest.mark.parametrize("kind", COMPONENT_KINDS)
def test_rules_keep_the_contract(kind: Kind) -> None:
    check_predictor(lambda: RulePredictor(kind), frame(kind))


def test_the_shipped_model_keeps_the_contract_alone_and_with_the_rules() -> None:
    check_predictor(shipped, frame(Kind.DISK))
    check_predictor(lambda: JointPredictor(shipped(), CATALOG), frame(Kind.DISK))


@pytest.mark.parametrize("where", ["folder", "memory://models/disk"])
def test_a_model_forecasts_the_same_from_wherever_it_is_loaded(where: str, tmp_path: Path) -> None:
    url = str(tmp_path / "m") if where == "folder" else where
    registry.save(shipped(), url)
    before = shipped().forecast(frame(Kind.DISK))
    assert registry.load(url, CATALOG).forecast(frame(Kind.DISK)) == before


def test_a_model_that_was_tampered_with_is_refused_wherever_it_lies() -> None:
    url = "memory://models/tampered"
    registry.save(shipped(), url)
    files, folder = fsspec.url_to_fs(url)
    manifest = json.loads(files.cat_file(f"{folder}/manifest.json"))
    manifest["card"]["thresholds"][4] = 0.9
    files.pipe_file(f"{folder}/manifest.json", json.dumps(manifest).encode())
    with pytest.raises(ModelError, match="a checksum does not hold"):
        registry.load(url, CATALOG)


def test_a_model_of_another_catalogue_is_refused_with_what_differs() -> None:
    url = "memory://models/foreign"
    registry.save(shipped(), url)
    stored = CATALOG.stored(Kind.DISK)
    other = tuple(replace(feature, metric="disk_temperature") for feature in stored)
    with pytest.raises(ModelError, match="was made for catalogue"):
        registry.load(url, replace(CATALOG, features=other))
    with pytest.raises(ModelError, match=r"looks at the column .*, which the catalogue does not have"):
        registry.load(url, Catalog(CATALOG.metrics, ()))


class _Forgetful(RulePredictor):
    """Takes what is missing for sound."""

    def curves(self, frame: pa.Table) -> Curves:
        return replace(super().curves(frame), unknown=np.zeros(frame.num_rows, dtype=np.bool_))

    def forecast(self, frame: pa.Table) -> tuple[FailureForecast, ...]:
        sound = (0.0,) * 6
        made = super().forecast(frame)
        return tuple(replace(one, probabilities=sound, low=sound, high=sound) if one.unknown else one for one in made)


class _Positional(RulePredictor):
    """Reads rows by their place."""

    def forecast(self, frame: pa.Table) -> tuple[FailureForecast, ...]:
        made = super().forecast(frame)
        return (replace(made[0], high=(1.0,) * 6), *made[1:])


@pytest.mark.parametrize(
    ("broken", "said"),
    [(_Forgetful, "without any telemetry"), (_Positional, "shuffled rows")],
)
def test_a_predictor_that_breaks_the_contract_is_told_how(broken: type[RulePredictor], said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        check_predictor(lambda: broken(Kind.DISK), frame(Kind.DISK))
