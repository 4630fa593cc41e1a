"""A store whose process is killed loses at most the batch on its way, and says so."""

import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from forewarn.errors import StoreUnavailable
from forewarn.store.duckdb import DuckDBStore
from tests.integration.appending import BATCH
from tests.telemetry import NOON

ROOT = Path(__file__).resolve().parents[2]


def appending(path: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.integration.appending", str(path)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("confirmed", [1, 7, 16])
def test_a_killed_store_keeps_every_confirmed_batch_and_says_that_it_was_not_closed(
    tmp_path: Path, confirmed: int
) -> None:
    path = tmp_path / "telemetry.duckdb"
    with appending(path) as process:
        assert process.stdout is not None
        for _ in range(confirmed):
            assert process.stdout.readline().strip()
        with pytest.raises(StoreUnavailable, match="in use by another process"):
            DuckDBStore(path)
        os.kill(process.pid, signal.SIGKILL)
        confirmed += len(process.stdout.read().split())
    store = DuckDBStore(path)
    assert len(store.notices) == 1
    assert "was not closed" in store.notices[0]
    values = store.series("disk:A", "smart_5", NOON - timedelta(days=1), NOON + timedelta(days=9)).column("value")
    kept = values.to_pylist()
    assert kept == [float(number) for number in range(len(kept))]
    assert len(kept) // BATCH in (confirmed, confirmed + 1)  # the last one may be stored and not yet confirmed
    assert len(kept) % BATCH == 0
    assert store.devices().num_rows == 1
    store.close()
    assert DuckDBStore(path).notices == ()
