"""Models on object storage: a server that speaks S3 on loopback, and the registry that is used everywhere else."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import fsspec
import pytest
from moto.server import ThreadedMotoServer

from forewarn.domain.inventory import Kind
from forewarn.errors import ModelError
from forewarn.features.catalog import CATALOG
from forewarn.predict import registry
from forewarn.predict.trees import TreesPredictor
from forewarn.predict.versions import Registry

pytestmark = pytest.mark.integration
NOW = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bucket of a server of its own; the address and the keys come from the environment, as at a site."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in (
        ("AWS_ENDPOINT_URL", f"http://{host}:{port}"),
        ("AWS_ACCESS_KEY_ID", "somebody"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ):
        monkeypatch.setenv(name, value)
    files = fsspec.filesystem("s3", skip_instance_cache=True)
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    files.mkdir("models-of-a-site")
    try:
        yield "s3://models-of-a-site/forewarn"
    finally:
        files.rm("models-of-a-site", recursive=True)
        server.stop()
        fsspec.get_filesystem_class("s3").clear_instance_cache()


def variant(number: int) -> TreesPredictor:
    model = registry.starter(Kind.DISK, CATALOG)
    assert model is not None
    few = model.booster[:2]
    card = replace(model.card, seed=number, rows_until=NOW + timedelta(days=number), version="")
    return TreesPredictor(few, registry.sealed(card, few), CATALOG)


def test_models_live_on_s3_as_they_do_in_a_folder(bucket: str) -> None:
    kept, reader = Registry(bucket, CATALOG), Registry(bucket, CATALOG)
    assert reader.serving(Kind.DISK).model is None
    first, second = (kept.add(variant(number), {"better": True}) for number in range(2))
    for name in (first, second):
        assert kept.promote(Kind.DISK, name, "ann", "judged better", NOW)
    serving = reader.serving(Kind.DISK)
    assert serving.model is not None
    assert serving.model.card.version == second
    assert [one.name for one in reader.versions(Kind.DISK)] == [second, first]
    files, root = fsspec.url_to_fs(bucket)
    trees = f"{root}/{Kind.DISK}/{second}/{registry.TREES}"
    files.pipe_file(trees, files.cat_file(trees).replace(b"0", b"1", 1))
    serving = reader.serving(Kind.DISK)
    assert serving.model is not None
    assert serving.model.card.version == first
    assert second in serving.refused[0]
    assert kept.roll_back(Kind.DISK, "bob", "it is damaged", NOW) == first
    assert reader.serving(Kind.DISK).refused == ()


def test_a_storage_that_does_not_answer_is_named(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")  # where nothing listens
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    with pytest.raises(ModelError, match=bucket):
        Registry(bucket, CATALOG).serving(Kind.DISK)
