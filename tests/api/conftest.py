"""The made-up busy cluster, and the server that shows it, shared by the tests of the API and the pages."""

from collections.abc import Iterator

import httpx
import pytest

from forewarn.domain.situation import Snapshot
from tests.shown import Shelf, serving, snapshot_of


@pytest.fixture(scope="session")
def busy() -> Snapshot:
    return snapshot_of()


@pytest.fixture(scope="session")
def client(busy: Snapshot, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Asks a running server that shows the busy cluster and takes requests."""
    folder = tmp_path_factory.mktemp("web")
    with (
        serving(Shelf(busy).read, folder=folder) as server,
        httpx.Client(base_url=server.address, timeout=60) as asking,
    ):
        yield asking
