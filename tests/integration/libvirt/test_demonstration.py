"""A drive declines on a real host of libvirt, and its critical guests leave by themselves, seen in a real browser."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from forewarn.clock import RealClock
from forewarn.lab.decline import made_up
from forewarn.lab.libvirt.demonstration import FAILING, Demonstration, DemonstrationSettings
from forewarn.lab.libvirt.laboratory import Laboratory
from forewarn.lab.settings import LabSettings
from tests.laboratories import traces

HURRIED = DemonstrationSettings(step_s=4.0, interval_s=2.0, patience_s=240.0)


def look(page: Page, demonstration: Demonstration, pictures: Path) -> None:
    """Sign in as whoever raised it would, and see the moves where everybody sees them."""
    page.set_viewport_size({"width": 1440, "height": 1000})
    page.emulate_media(color_scheme="light")
    page.goto(demonstration.controller.sign_in)
    page.get_by_role("button", name="Sign in here").click()
    expect(page.locator("tr.host")).to_have_count(3, timeout=30_000)
    expect(page.locator("#log")).to_contain_text("Proactive Failure Avoidance: moving")
    page.goto(f"{demonstration.controller.address}/migrations")
    expect(page.locator(".moves .outcome.succeeded").first).to_be_visible()
    page.screenshot(path=pictures / "laboratory.png", animations="disabled")


@pytest.mark.slow
def test_critical_guests_leave_a_host_whose_drive_declines_while_they_count_on(
    raised: Callable[..., Laboratory], settings: LabSettings, page: Page, tmp_path: Path
) -> None:
    laboratory = raised(hosts=3, name="demo")
    demonstration = Demonstration(laboratory, made_up(), RealClock(), HURRIED)
    said: list[str] = []
    try:
        demonstration.start()
        demonstration.play(RealClock(), said.append)
        report = demonstration.report()
        look(page, demonstration, Path(os.environ.get("FOREWARN_PICTURES", tmp_path)))
        told = demonstration.controller.ask("log?limit=500")["items"]
    finally:
        demonstration.controller.stop()
        laboratory.down()
    assert traces(settings, laboratory.name) == []

    assert report.critical_left, "\n".join((*report.sentences(), *said))
    critical = [guest for guest in report.guests if guest.critical]
    assert {guest.name for guest in critical} == {"db", "web"}
    assert all(guest.was == FAILING and guest.now[0] in ("host02", "host03") for guest in critical)
    assert all(not guest.flaws for guest in report.guests)
    log = "\n".join(line["text"] for line in told)
    assert "mode: demonstration; mode automatic for every action for every kind of part, in aggregate laboratory" in log
    assert "host01: from 'clear' to 'move': disk MADEUP01 fails within 7 d" in log
    assert "host02: from 'clear' to 'move'" not in log
