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
def client(tmp_path: Path) -> Iterator[httpx.Client]:
    """Asks the running machine, signed in by the address that it printed."""
    command = [sys.executable, "-m", "forewarn", "up", "--state", str(tmp_path / "state"), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        shown, sign_in = (process.stdout.readline().split()[1:] for _ in range(2))
        try:
            with httpx.Client(base_url=shown[0], timeout=30) as asking:
                assert asking.get("/api/v1/snapshot").status_code == 401
                assert asking.post(sign_in[1]).status_code == 303
                yield asking
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=30) == 0


def test_a_machine_shows_itself_with_its_unknowns_and_their_causes(client: httpx.Client) -> None:
    eventually(lambda: client.get("/api/v1/snapshot").status_code == 200, deadline=30)
    snapshot = client.get("/api/v1/snapshot").json()
    assert snapshot["mode"] == "observe"
    assert len(snapshot["cluster"]["hosts"]) == 1
    assert {part["kind"] for part in snapshot["cluster"]["components"]} >= {"cpu", "memory", "power"}
    unknown = [forecast for forecast in snapshot["forecasts"] if not forecast["probabilities"]]
    assert unknown
    assert all(forecast["unknown_because"] for forecast in unknown)
