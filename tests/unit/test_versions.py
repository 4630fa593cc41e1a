"""The registry of models: versions, one champion at a time, and what cannot be used refused by name."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import fsspec
import pytest

from forewarn.domain.feature import Catalog
from forewarn.domain.inventory import Kind
from forewarn.errors import ModelError
from forewarn.features.catalog import CATALOG
from forewarn.predict import registry
from forewarn.predict.trees import TreesPredictor
from forewarn.predict.versions import Registry

NOW = datetime(2026, 11, 1, tzinfo=UTC)


def variant(number: int) -> TreesPredictor:
    """The shipped model of drives as if it had been trained at another time."""
    model = registry.starter(Kind.DISK, CATALOG)
    assert model is not None
    card = replace(model.card, seed=number, rows_until=NOW + timedelta(days=number), version="")
    few = model.booster[:3]
    return TreesPredictor(few, registry.sealed(card, few), CATALOG)


@pytest.fixture(params=["file", "memory"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Registry:
    return Registry(str(tmp_path / "models") if request.param == "file" else f"memory://{tmp_path}/models", CATALOG)


def filled(kept: Registry, count: int = 3) -> list[str]:
    names = [kept.add(variant(number), {"better": True}) for number in range(count)]
    for number, name in enumerate(names):
        assert kept.promote(Kind.DISK, name, "ann", "judged better", NOW + timedelta(hours=number))
    return names


def overwrite(kept: Registry, path: str, content: bytes) -> None:
    files, root = fsspec.url_to_fs(kept.url)
    files.pipe_file(f"{root}/{path}", content)


def test_a_version_serves_once_it_is_promoted_and_the_one_before_it_after_a_roll_back(kept: Registry) -> None:
    assert kept.serving(Kind.DISK).model is None
    first, second, third = filled(kept)
    assert [one.name for one in kept.versions(Kind.DISK)] == [third, second, first]
    assert kept.roll_back(Kind.DISK, "bob", "worse here", NOW) == second
    assert kept.roll_back(Kind.DISK, "bob", "worse too", NOW) == first
    with pytest.raises(ModelError, match="nothing to go back to"):
        kept.roll_back(Kind.DISK, "bob", "and again", NOW)
    assert kept.promote(Kind.DISK, third, "ann", "it was the drives", NOW)
    serving = kept.serving(Kind.DISK)
    assert serving.model is not None
    assert (serving.model.card.version, serving.refused) == (third, ())
    told = [(one.version, one.who, one.back) for one in kept.line(Kind.DISK).promotions]
    assert told[-3:] == [(second, "bob", True), (first, "bob", True), (third, "ann", False)]


def test_promoting_what_serves_already_changes_nothing(kept: Registry) -> None:
    names = filled(kept)
    assert not kept.promote(Kind.DISK, names[-1], "ann", "once more", NOW)
    assert len(kept.line(Kind.DISK).promotions) == len(names)


@pytest.mark.parametrize("file", [registry.TREES, registry.MANIFEST])
def test_a_tampered_champion_is_named_and_the_last_good_one_serves_on(kept: Registry, file: str) -> None:
    _, second, third = filled(kept)
    files, root = fsspec.url_to_fs(kept.url)
    path = f"{Kind.DISK}/{third}/{file}"
    content = files.cat_file(f"{root}/{path}")
    overwrite(kept, path, content.replace(b"0", b"1", 1) if file == registry.TREES else content.replace(b"1", b"2", 1))
    serving = kept.serving(Kind.DISK)
    assert serving.model is not None
    assert serving.model.card.version == second
    assert len(serving.refused) == 1
    assert third in serving.refused[0]
    with pytest.raises(ModelError, match=third):
        kept.promote(Kind.DISK, third, "ann", "it looks well", NOW)
    broken = next(one for one in kept.versions(Kind.DISK) if one.name == third)
    assert broken.card is None
    assert third in broken.refused


def test_a_champion_that_vanished_is_named_and_the_last_good_one_serves_on(kept: Registry) -> None:
    first, second, third = filled(kept)
    files, root = fsspec.url_to_fs(kept.url)
    for name in (second, third):
        files.rm(f"{root}/{Kind.DISK}/{name}", recursive=True)
    serving = kept.serving(Kind.DISK)
    assert serving.model is not None
    assert serving.model.card.version == first
    assert len(serving.refused) == 2
    with pytest.raises(ModelError, match=second):
        kept.roll_back(Kind.DISK, "bob", "worse", NOW)


def test_a_model_of_another_catalogue_is_refused_by_name(kept: Registry) -> None:
    names = filled(kept, 1)
    features = tuple(replace(one, window=one.window * 2) for one in CATALOG.features)
    foreign = Registry(kept.url, Catalog(CATALOG.metrics, features, CATALOG.derived))
    serving = foreign.serving(Kind.DISK)
    assert serving.model is None
    assert "was made for catalogue" in serving.refused[0]
    assert names[0] in serving.refused[0]


def test_a_version_under_another_name_is_refused(kept: Registry) -> None:
    names = filled(kept, 1)
    registry.save(variant(9), f"{kept.url}/{Kind.DISK}/{names[0]}x")
    with pytest.raises(ModelError, match="put there by hand"):
        kept.promote(Kind.DISK, f"{names[0]}x", "eve", "trust me", NOW)


def test_a_line_of_champions_that_was_written_by_hand_is_refused(kept: Registry) -> None:
    filled(kept, 1)
    files, root = fsspec.url_to_fs(kept.url)
    told = json.loads(files.cat_file(f"{root}/{Kind.DISK}/champion.json"))
    told["line"][0]["who"] = "nobody"
    overwrite(kept, f"{Kind.DISK}/champion.json", json.dumps(told).encode())
    with pytest.raises(ModelError, match="checksum"):
        kept.serving(Kind.DISK)


def test_the_pointer_is_replaced_whole_on_a_folder(tmp_path: Path) -> None:
    kept = Registry(str(tmp_path), CATALOG)
    filled(kept, 1)
    pointer = tmp_path / Kind.DISK / "champion.json"
    before = pointer.stat().st_ino
    with pointer.open() as held:
        kept.promote(Kind.DISK, kept.add(variant(7)), "ann", "newer", NOW)
        assert len(json.load(held)["line"]) == 1  # whoever had opened the old one still reads it whole
    assert pointer.stat().st_ino != before
    assert len(kept.line(Kind.DISK).promotions) == 2


def test_a_place_that_cannot_be_reached_is_named() -> None:
    with pytest.raises(ModelError, match="nowhere"):
        Registry("nowhere://models", CATALOG).serving(Kind.DISK)
