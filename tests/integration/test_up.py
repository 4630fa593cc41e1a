"""`forewarn up` on this very machine: what it shows, and how it ends."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support import eventually


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "forewarn", "up", "--state", str(tmp_path / "state"), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        try:
            yield line.split()[1]
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=30) == 0


def test_a_machine_shows_itself_with_its_unknowns_and_their_causes(address: str) -> None:
    eventually(lambda: httpx.get(f"{address}/api/v1/snapshot").status_code == 200, deadline=30)
    snapshot = httpx.get(f"{address}/api/v1/snapshot").json()
    assert snapshot["mode"] == "observe"
    assert len(snapshot["cluster"]["hosts"]) == 1
    assert {part["kind"] for part in snapshot["cluster"]["components"]} >= {"cpu", "memory", "power"}
    unknown = [forecast for forecast in snapshot["forecasts"] if not forecast["probabilities"]]
    assert unknown
    assert all(forecast["unknown_because"] for forecast in unknown)
