"""A controller that is really killed, again and again, at whatever instruction it is at."""

import os
import random
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from forewarn.act.executor import Executor
from forewarn.act.guards import Guards
from forewarn.act.journal import Journal
from forewarn.clock import RealClock
from forewarn.domain.plan import MoveState
from forewarn.state.database import Database
from tests.conftest import ROOT
from tests.integration.restless import FileService
from tests.support import eventually

KILLS = 5
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


def kill_one(state: Path, service: Path, after: int) -> None:
    """Let a controller begin `after` more moves, then kill it in the middle of what it does."""
    before = len(list(service.iterdir()))
    command = [sys.executable, "-m", "tests.integration.restless", str(state), str(service)]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE)
    try:
        eventually(
            lambda: process.poll() is not None or len(list(service.iterdir())) >= before + after,
            deadline=60,
            every=0.001,
        )
    finally:
        process.send_signal(signal.SIGKILL)
        _, errors = process.communicate()
    assert process.returncode == -signal.SIGKILL, errors.decode()


def test_a_controller_killed_at_any_instruction_loses_and_repeats_nothing(tmp_path: Path) -> None:
    state, service = tmp_path / "state.db", tmp_path / "service"
    service.mkdir()
    chance = random.Random(20260105)
    for _ in range(KILLS):
        kill_one(state, service, chance.randrange(1, 12))
        database = Database(f"sqlite:///{state}")
        starts = FileService(service).starts()
        journaled = Journal(database).known(starts)
        database.close()
        assert set(journaled) == set(starts), "a move was started that no intent tells of"
        assert all(count <= 1 for count in starts.values()), "a move was started twice"
        assert MoveState.REFUSED not in journaled.values()

    database = Database(f"sqlite:///{state}")
    executor = Executor(FileService(service), Journal(database), Guards(), RealClock())
    for _ in range(3):
        executor.reconcile()
    journal = Journal(database)
    assert journal.in_flight() == ()
    ended = {outcome.move.id: outcome for outcome in journal.recent(LONG_AGO)}
    started = FileService(service).starts()
    for name, outcome in ended.items():
        assert outcome.state is (MoveState.SUCCEEDED if started.get(name) else MoveState.FAILED)
        assert (outcome.started is not None) == bool(started.get(name))
    database.close()
