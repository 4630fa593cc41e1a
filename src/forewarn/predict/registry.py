"""Where models live: a folder of JSON on any fsspec URL, sealed by checksums, and the models that come in the package.

`trees.json` is XGBoost's own JSON, `history.json` the outage log that a model learned from (others have none), and
`manifest.json` the card with the checksum of everything. It is written last, so that a model which was written in part
is none. Nothing here is ever unpickled or executed.
"""

import hashlib
import json
import sys
from dataclasses import MISSING, asdict, fields, replace
from datetime import datetime
from importlib import resources
from typing import Any

import fsspec
import pyarrow as pa
import xgboost

from forewarn.domain.feature import Catalog
from forewarn.domain.inventory import Kind
from forewarn.errors import ModelError
from forewarn.predict.calibrate import Calibration
from forewarn.predict.shapes import catalog_of
from forewarn.predict.trees import Card, TreesPredictor
from forewarn.store.base import TIME
from forewarn.store.outages import OUTAGES, SLOTS, OutageLog

FORMAT = 1
MANIFEST, TREES, HISTORY = "manifest.json", "trees.json", "history.json"


def check_free(url: str) -> None:
    """Raise ModelError where no model can be written: the folder holds something else, or cannot be reached."""
    try:
        files, folder = fsspec.url_to_fs(url)
        held = files.ls(folder, detail=False) if files.exists(folder) else []
        free = not held or files.exists(f"{folder}/{MANIFEST}")
    except unreached() as error:
        raise ModelError(f"no model can be written to {url}: {error}") from error
    if not free:
        raise ModelError(f"{url} holds something that is no model; name an empty folder")


def save(model: TreesPredictor, url: str) -> None:
    """Write a model to a folder that is empty, does not exist yet, or holds a model already.

    Raises ModelError where the folder holds something else or cannot be written.
    """
    check_free(url)
    trees, history = _trees(model.booster), _written(model.history) if model.history else b""
    try:
        files, folder = fsspec.url_to_fs(url)
        files.makedirs(folder, exist_ok=True)
        for name in (MANIFEST, HISTORY):
            if files.exists(f"{folder}/{name}"):
                files.rm_file(f"{folder}/{name}")
        files.pipe_file(f"{folder}/{TREES}", trees)
        if history:
            files.pipe_file(f"{folder}/{HISTORY}", history)
        files.pipe_file(f"{folder}/{MANIFEST}", _manifest(model.card, trees, history))
    except unreached() as error:
        raise ModelError(f"the model cannot be written to {url}: {error}") from error


def load(url: str, catalog: Catalog) -> TreesPredictor:
    """Read a model.

    Raises ModelError where it is absent, damaged, of another format, or made for another catalogue.
    """
    try:
        files, folder = fsspec.url_to_fs(url)
        manifest = files.cat_file(f"{folder}/{MANIFEST}")
        trees = files.cat_file(f"{folder}/{TREES}")
        history = files.cat_file(f"{folder}/{HISTORY}") if files.exists(f"{folder}/{HISTORY}") else b""
    except unreached() as error:
        raise ModelError(f"{url} holds no model: {error}") from error
    return _read(url, manifest, trees, history, catalog)


def unreached() -> tuple[type[BaseException], ...]:
    """What file systems raise where a place cannot be reached; that of S3 has errors of its own."""
    found: list[type[BaseException]] = [OSError, ValueError, ImportError]
    if of_s3 := sys.modules.get("botocore.exceptions"):
        found += [of_s3.BotoCoreError, of_s3.ClientError]
    return tuple(found)


def starter(kind: Kind, catalog: Catalog) -> TreesPredictor | None:
    """The model of this kind that comes in the package, None where there is none.

    Raises ModelError where it is damaged or the catalogue has changed what its columns mean.
    """
    folder = resources.files("forewarn") / "models" / kind
    if not (folder / MANIFEST).is_file():
        return None
    manifest, trees = ((folder / name).read_bytes() for name in (MANIFEST, TREES))
    return _read(f"the shipped model for {kind}", manifest, trees, b"", catalog)


def sealed(card: Card, booster: xgboost.Booster) -> Card:
    """The card with the version that its content gives it."""
    content = _trees(booster) + json.dumps(asdict(replace(card, version="")), default=str, sort_keys=True).encode()
    return replace(card, version=hashlib.sha256(content).hexdigest()[:8])


def _trees(booster: xgboost.Booster) -> bytes:
    return bytes(booster.save_raw("json"))


def _manifest(card: Card, trees: bytes, history: bytes) -> bytes:
    body = {"format": FORMAT, "card": asdict(card), "trees_sha256": hashlib.sha256(trees).hexdigest()}
    if history:
        body["history_sha256"] = hashlib.sha256(history).hexdigest()
    body = json.loads(json.dumps(body, default=_text))
    return json.dumps({**body, "seal": _seal(body)}, indent=1).encode()


def _text(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _seal(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def _written(log: OutageLog) -> bytes:
    """An outage log as JSON; times in microseconds since 1970."""
    tables = {
        name: {column: _plain(table[column]) for column in table.column_names}
        for name, table in (("slots", log.slots), ("outages", log.outages))
    }
    told = {"name": log.name, "start": log.start.isoformat(), "end": log.end.isoformat(), **tables}
    return json.dumps(told, separators=(",", ":")).encode()


def _plain(column: "pa.ChunkedArray[Any]") -> list[Any]:
    return (column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column).to_pylist()


def _history(name: str, written: bytes) -> OutageLog | None:
    if not written:
        return None
    try:
        told = json.loads(written)
        slots, outages = (
            pa.table({field.name: _typed(told[key][field.name], field.type) for field in schema}, schema=schema)
            for key, schema in (("slots", SLOTS), ("outages", OUTAGES))
        )
        start, end = (datetime.fromisoformat(told[key]) for key in ("start", "end"))
        return OutageLog(told["name"], start, end, slots, outages, {})
    except (KeyError, TypeError, ValueError, pa.ArrowException) as error:
        raise ModelError(f"{name} has a history that this version cannot read: {error}") from error


def _typed(values: list[Any], kind: pa.DataType) -> "pa.Array[Any]":
    return pa.array(values, pa.int64()).cast(TIME) if pa.types.is_timestamp(kind) else pa.array(values, kind)


def _read(name: str, manifest: bytes, trees: bytes, history: bytes, live: Catalog) -> TreesPredictor:
    body = _checked(name, manifest, trees, history)
    card = _card(name, body["card"])
    catalog = catalog_of(card.shape, live)
    try:
        digest = catalog.narrowed(card.kind, card.columns).digest(card.kind)
    except KeyError as error:
        raise ModelError(f"{name} looks at the column {error.args[0]}, which the catalogue does not have") from error
    if digest != card.digest:
        raise ModelError(f"{name} was made for catalogue {card.digest}, this is {digest}: train it anew")
    booster = xgboost.Booster()
    try:
        booster.load_model(bytearray(trees))
    except xgboost.core.XGBoostError as error:
        raise ModelError(f"{name} has trees that XGBoost {xgboost.__version__} cannot read") from error
    if booster.num_features() != card.features:
        raise ModelError(f"{name} has trees of {booster.num_features()} features, its card names {card.features}")
    return TreesPredictor(booster, card, catalog, _history(name, history))


def _checked(name: str, manifest: bytes, trees: bytes, history: bytes) -> dict[str, Any]:
    """The manifest without its seal, once all checksums hold."""
    try:
        body = json.loads(manifest)
        seal = body.pop("seal")
    except (ValueError, AttributeError, KeyError) as error:
        raise ModelError(f"{name} has a manifest that cannot be read") from error
    if body.get("format") != FORMAT:
        raise ModelError(f"{name} has format {body.get('format')}, this reads {FORMAT}")
    sums = {"trees_sha256": trees, **({"history_sha256": history} if history or "history_sha256" in body else {})}
    if seal != _seal(body) or any(body.get(key) != hashlib.sha256(held).hexdigest() for key, held in sums.items()):
        raise ModelError(f"{name} is damaged: a checksum does not hold")
    return dict(body)


def _card(name: str, written: dict[str, Any]) -> Card:
    try:
        read = {
            **written,
            "kind": Kind(written["kind"]),
            "calibration": tuple(_calibration(one) for one in written["calibration"]),
        }
        for field in fields(Card):
            if field.name not in read and (field.default, field.default_factory) != (MISSING, MISSING):
                continue
            value = read[field.name]
            if field.type is datetime:
                read[field.name] = datetime.fromisoformat(value)
            elif isinstance(value, list):
                read[field.name] = tuple(value)
        return Card(**read)
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{name} has a card that this version cannot read: {error}") from error


def _calibration(written: dict[str, Any]) -> Calibration:
    edges, low, high = (tuple(map(float, written[name])) for name in ("edges", "low", "high"))
    bend, slope, intercept = (float(written[name]) for name in ("bend", "slope", "intercept"))
    return Calibration(bend, slope, intercept, edges, low, high)
