"""The dashboard over the running demonstration, in a real browser. Its pictures are the ones that the README shows."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import APIRequestContext, Page, expect

from tests.support import eventually

ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Where pictures go: the folder that FOREWARN_PICTURES names (`docs/pictures` renews those of the README)."""
    folder = Path(os.environ.get("FOREWARN_PICTURES", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[str]:
    """The address of a running demonstration, which must end well when it is told to."""
    spoken = tmp_path / "demo.log"
    command = [sys.executable, "-m", "forewarn", "demo", "--port", "0"]
    with spoken.open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    try:
        yield eventually(lambda: _address(process, spoken), deadline=120, every=0.2)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0, spoken.read_text()[-3000:]
    finally:
        process.kill()
        process.wait()
    assert "Traceback" not in spoken.read_text()


def _address(process: "subprocess.Popen[bytes]", spoken: Path) -> str:
    text = spoken.read_text()
    assert process.poll() is None, f"the demonstration has ended:\n{text[-3000:]}"
    found = ADDRESS.search(text)
    return found[0] if found else ""


def asked(request: APIRequestContext, address: str, path: str) -> Any:
    answer = request.get(f"{address}/api/v1/{path}")
    return answer.json() if answer.ok else {}


def picture(page: Page, path: Path) -> None:
    page.screenshot(path=path, animations="disabled")
    assert path.stat().st_size > 20_000


@pytest.mark.slow
def test_the_demonstration_shows_a_risk_that_rises_and_vms_that_leave(watched: Page, demo: str, pictures: Path) -> None:
    watched.set_viewport_size({"width": 1700, "height": 1100})
    watched.emulate_media(color_scheme="light")
    watched.goto(demo)
    expect(watched.locator("tr.host")).to_have_count(25, timeout=30_000)
    expect(watched.locator("tbody.real tr.host")).to_have_count(1)
    expect(watched.locator("tbody.real")).to_contain_text("This machine")
    running = expect(watched.locator("[data-count=moves_running]"))
    running.not_to_have_text("0", timeout=150_000)
    expect(watched.locator("#attention li").first).to_contain_text("times its threshold")
    expect(watched.locator("#log")).to_contain_text("Proactive Failure Avoidance: moving")
    expect(watched.locator("#log")).to_contain_text("learned from Backblaze drives")
    expect(watched.locator("footer")).to_contain_text("learned from Backblaze drives")
    picture(watched, pictures / "dashboard.png")

    eventually(lambda: asked(watched.request, demo, "moves?state=succeeded").get("total"), deadline=60, every=0.5)
    watched.set_viewport_size({"width": 1440, "height": 1000})
    watched.goto(f"{demo}/migrations")
    expect(watched.locator(".moves .outcome.succeeded").first).to_be_visible()
    expect(watched.locator("svg.flow path.ribbon").first).to_be_attached()
    expect(watched.locator("svg.timeline rect.bar").first).to_be_visible()
    picture(watched, pictures / "migrations.png")

    source = asked(watched.request, demo, "moves")["items"][0]["move"]["source"]
    watched.goto(f"{demo}/hosts/{source}")
    expect(watched.locator("#curve .js-line").last).to_be_visible()
    expect(watched.locator(".histories figure").first).to_be_visible()
    picture(watched, pictures / "host.png")
    assert asked(watched.request, demo, "health")["status"] == "ok"
