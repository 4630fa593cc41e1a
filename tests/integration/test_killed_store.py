"""A store whose process is killed, at whatever it was, loses at most the batch on its way, and says so."""

import os
import random
import signal
from datetime import timedelta
from multiprocessing import get_context
from pathlib import Path

import pytest

from forewarn.domain.inventory import Kind
from forewarn.errors import StoreUnavailable
from forewarn.store.duckdb import DuckDBStore
from tests.integration.appending import BATCH, SEEN, SETTINGS, STEP, time_of, work
from tests.telemetry import NOON

KILLS = 51
WORK = ("ingest", "roll_up", "retention")
PROCESSES = get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.integration.appending"])
WAIT_S = 60.0


def killed_at(path: Path, what: str, first: int, chance: random.Random, *, look: bool) -> int:
    """Let a process work, and kill it a moment after it began `what`; returns how many samples it confirmed."""
    here, there = PROCESSES.Pipe(duplex=False)
    process = PROCESSES.Process(target=work, args=(path, first, there))
    process.start()
    there.close()
    confirmed, rounds = first, chance.randint(1, 4)
    while rounds:
        assert here.poll(WAIT_S), "the process has stopped working"
        began, number = here.recv()
        confirmed = number if began == "stored" else confirmed
        rounds -= began == what
    if look:
        with pytest.raises(StoreUnavailable, match="in use by another process"):
            DuckDBStore(path, SETTINGS)
    here.poll(chance.random() * 0.01)  # somewhere within what it does
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    try:
        while True:
            began, number = here.recv()
            confirmed = number if began == "stored" else confirmed
    except EOFError:
        return confirmed


def test_a_store_killed_fifty_times_at_ingest_roll_up_and_retention_keeps_every_confirmed_batch(tmp_path: Path) -> None:
    path, chance, stored = tmp_path / "telemetry.duckdb", random.Random(3), 0
    for number in range(KILLS):
        confirmed = killed_at(path, WORK[number % len(WORK)], stored, chance, look=number < len(WORK))
        store = DuckDBStore(path, SETTINGS)
        assert len(store.notices) == 1
        assert "was not closed" in store.notices[0]
        stored = check(store, confirmed)
        store.close()
    again = DuckDBStore(path, SETTINGS)
    assert again.notices == ()
    again.close()


def check(store: DuckDBStore, confirmed: int) -> int:
    """Nothing confirmed is lost, nothing is there by half, and roll-ups know of samples that were dropped."""
    found = store.series("disk:A", "smart_5", NOON - timedelta(days=1), NOON + timedelta(days=4000))
    times, values = found.column("time").to_pylist(), found.column("value").to_pylist()
    whole = {time: value for time, value in zip(times, values, strict=True) if value is not None}
    raw = [value for time, value in whole.items() if time is not None and time == time_of(int(value))]
    stored = int(raw[-1]) + 1
    assert stored in (confirmed, confirmed + BATCH)  # the last one may be stored and not yet confirmed
    kept = [value for value in raw if value > stored - 1440]
    assert kept == [float(number) for number in range(stored - len(kept), stored)]
    midnight = time_of(stored).replace(hour=0, minute=0)
    expected = min(stored, max(0, (midnight - NOON) // STEP + 1))
    seen = store.features(SEEN, Kind.DISK, [time_of(stored)]).column("seen").to_pylist()
    assert seen == [float(expected)] or expected == 0
    assert store.devices().num_rows == 1
    return stored
