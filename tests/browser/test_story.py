"""What a person on call does on the pages, from the red square to the end of the move, by mouse and by keyboard."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from forewarn.clock import SimulatedClock
from forewarn.domain.authority import Mode
from forewarn.domain.inventory import Criticality
from forewarn.domain.plan import MoveState, Outcome, Plan, Proposal
from forewarn.domain.situation import LogLine, Severity, Snapshot
from forewarn.state.database import Database
from forewarn.state.requests import Request, Requests
from forewarn.web.fleet import key_of
from forewarn.web.server import Server
from tests.shown import NOW, Shelf, forecast_of, move_of, serving, snapshot_of, standing_of

BUSY = snapshot_of()
HOST, CPU = "host03", "cpu:host03/cpu0"
SQUARE = f"#{key_of(HOST, CPU)}"
VM = next(vm for vm in BUSY.cluster.vms_by_host[HOST] if vm.criticality is Criticality.HIGH)
FORECAST = forecast_of(BUSY.cluster.component_by_id[CPU], 0.5)
MOVE = replace(move_of(900, VM, "host09", FORECAST), id="m900")
KEY = key_of("move", MOVE.id)
TABS_MAX = 150


def after(cycles: int, snapshot: Snapshot, **changes: Any) -> Snapshot:
    return replace(snapshot, cycle=412 + cycles, time=NOW + timedelta(seconds=2 * cycles), **changes)


RED = after(1, BUSY, forecasts=tuple(FORECAST if f.component == CPU else f for f in BUSY.forecasts))
MOVING = after(2, RED, moves=(Outcome(MOVE, MoveState.RUNNING, NOW, NOW, progress=0.4), *BUSY.moves))
DONE = after(
    3,
    RED,
    moves=(Outcome(MOVE, MoveState.SUCCEEDED, NOW, NOW, "", 1.0, 12.5, 84.0), *BUSY.moves),
    cluster=replace(
        BUSY.cluster, vms=tuple(replace(vm, host="host09") if vm.id == VM.id else vm for vm in BUSY.cluster.vms)
    ),
)
TRIPPED = after(1, BUSY, standing=standing_of(breaker="9 of 24 hosts turned risky within 60 s, 8 of them in rack r2"))
OFFERED = after(1, RED, plan=Plan("p", NOW, 7, proposals=(Proposal(MOVE, Mode.RECOMMEND, "mode recommend (ann)"),)))


@pytest.fixture
def shelf() -> Shelf:
    return Shelf(BUSY)


@pytest.fixture
def server(shelf: Shelf, tmp_path: Path) -> Iterator[Server]:
    with serving(shelf.read, folder=tmp_path, clock=SimulatedClock(NOW + timedelta(seconds=9))) as running:
        yield running


def opened(page: Page, url: str) -> None:
    with page.expect_response(lambda response: "/api/v1/events" in response.url):
        page.goto(url)


def waiting(folder: Path) -> list[Request]:
    database = Database(f"sqlite:///{folder / 'state.sqlite'}")
    found = list(Requests(database).waiting())
    database.close()
    return found


def tab_to(page: Page, selector: str) -> None:
    """Go there by the Tab key alone."""
    for _ in range(TABS_MAX):
        if page.evaluate("s => document.activeElement.matches(s)", selector):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{selector} is out of reach of the Tab key")


def outlined(page: Page) -> bool:
    """Whether the focus can be seen."""
    return bool(page.evaluate("getComputedStyle(document.activeElement).outlineStyle !== 'none'"))


def test_the_story_by_mouse(watched: Page, server: Server, shelf: Shelf) -> None:
    opened(watched, server.address)
    shelf.snapshot = RED
    expect(watched.locator(f"{SQUARE}.l4")).to_be_visible()
    first = watched.locator("#attention li").first
    expect(first).to_contain_text("host03 CPU cpu0")
    expect(first).to_contain_text("50.0 % within 7 days, 25 times its threshold of 2.0 %")
    expect(first).to_contain_text("0.0040 % within 7 days is usual for its kind")
    expect(first).to_contain_text("Latest safe start")
    watched.locator(SQUARE).click()
    expect(watched.locator("#cell-title")).to_contain_text("CPU cpu0")
    expect(watched.locator(".reasons")).to_contain_text("41 new thermal throttle events of cores within 6 hours")
    watched.locator(".brand").click()
    shelf.snapshot = MOVING
    expect(watched.locator(f"#flight-{KEY}")).to_contain_text(f"{VM.name} critical host03 → host09")
    shelf.snapshot = DONE
    expect(watched.locator(f"#flight-{KEY}")).to_have_count(0)
    expect(watched.locator("#doing .changes")).to_contain_text("host03: 1 VM (1 critical) moved away to host09")
    watched.locator("nav").get_by_text("Migrations").click()
    expect(watched.locator(f"#{KEY} .outcome")).to_have_text("succeeded")


def test_the_story_by_keyboard_alone(watched: Page, server: Server, shelf: Shelf) -> None:
    shelf.snapshot = RED
    opened(watched, server.address)
    tab_to(watched, f"#needs-{key_of(HOST, CPU)}")
    assert outlined(watched)
    watched.keyboard.press("Enter")
    expect(watched.locator("#cell-title")).to_contain_text("CPU cpu0")
    expect(watched.locator(".reasons")).to_contain_text("41 new thermal throttle events")
    shelf.snapshot = MOVING
    opened(watched, watched.url)
    expect(watched.locator("#host .flights")).to_contain_text(f"{VM.name} host03 → host09")
    tab_to(watched, ".top nav a[href='/migrations']")
    assert outlined(watched)
    watched.keyboard.press("Enter")
    expect(watched.locator(f"#{KEY} .outcome")).to_have_text("running")
    shelf.snapshot = DONE
    expect(watched.locator(f"#{KEY} .outcome")).to_have_text("succeeded")


def test_a_running_move_is_aborted_by_keyboard_with_a_reason(
    watched: Page, server: Server, shelf: Shelf, tmp_path: Path
) -> None:
    shelf.snapshot = MOVING
    opened(watched, server.address)
    tab_to(watched, f"#abort-{KEY}")
    assert outlined(watched)
    watched.keyboard.press("Space")
    expect(watched.locator("#ask-text")).to_contain_text(f"{VM.name} from host03 to host09: the copy ends")
    expect(watched.locator("#ask-reason")).to_be_focused()
    watched.keyboard.type("wrong host")
    tab_to(watched, "#ask-send")
    watched.keyboard.press("Enter")
    expect(watched.locator("#ask")).to_be_hidden()
    expect(watched.locator("#said")).to_contain_text("Abort this move: asked")
    expect(watched.locator(f"#flight-{KEY}")).to_contain_text("asked to abort it")
    (request,) = waiting(tmp_path)
    assert (request.kind, request.args, request.why) == ("abort_move", {"move": MOVE.id}, "wrong host")
    ended = Outcome(MOVE, MoveState.CANCELLED, NOW, NOW, "wrong host (ann)", 0.4, 5.0)
    shelf.snapshot = after(3, RED, moves=(ended, *BUSY.moves))
    expect(watched.locator(f"#flight-{KEY}")).to_have_count(0)
    expect(watched.locator("#doing .changes")).to_contain_text("1 move was cancelled (wrong host (ann))")


def test_the_dialogue_gives_the_focus_back_to_the_button_that_opened_it(
    watched: Page, server: Server, shelf: Shelf
) -> None:
    shelf.snapshot = MOVING
    opened(watched, server.address)
    watched.locator(f"#abort-{KEY}").focus()
    watched.keyboard.press("Enter")
    expect(watched.locator("#ask")).to_be_visible()
    watched.keyboard.press("Escape")
    expect(watched.locator("#ask")).to_be_hidden()
    expect(watched.locator(f"#abort-{KEY}")).to_be_focused()


def test_a_tripped_breaker_is_told_and_cleared(watched: Page, server: Server, shelf: Shelf, tmp_path: Path) -> None:
    opened(watched, server.address)
    shelf.snapshot = TRIPPED
    banner = watched.locator("#banner-breaker")
    expect(banner).to_contain_text("The breaker is tripped: nothing moves 9 of 24 hosts turned risky within 60 s")
    expect(watched.locator("#said")).to_contain_text("The breaker is tripped")
    banner.get_by_role("button", name="Clear the breaker").click()
    watched.locator("#ask-reason").fill("the chiller runs again")
    watched.locator("#ask-send").click()
    expect(watched.locator("#ask")).to_be_hidden()
    (request,) = waiting(tmp_path)
    assert (request.kind, request.why) == ("clear_breaker", "the chiller runs again")
    line = LogLine(NOW, Severity.NOTICE, "ann asked: clear breaker: the chiller runs again; the breaker is cleared")
    shelf.snapshot = after(2, BUSY, log=(line, *BUSY.log))
    expect(banner).to_have_count(0)
    expect(watched.locator("#doing .changes")).to_contain_text("the breaker is cleared")


def test_a_proposal_is_approved(watched: Page, server: Server, shelf: Shelf, tmp_path: Path) -> None:
    shelf.snapshot = OFFERED
    opened(watched, server.address)
    watched.get_by_role("button", name=f"Approve the move of {VM.name}").click()
    watched.locator("#ask-reason").fill("go ahead")
    watched.locator("#ask-send").click()
    expect(watched.locator("#doing")).to_contain_text("approved by")
    (request,) = waiting(tmp_path)
    assert (request.kind, request.args) == ("approve", {"vm": VM.id, "source": HOST})
    shelf.snapshot = after(2, MOVING)
    expect(watched.locator(f"#flight-{KEY}")).to_be_visible()


def test_what_grows_old_turns_red_before_ones_eyes(watched: Page, shelf: Shelf) -> None:
    with serving(shelf.read, clock=SimulatedClock(NOW + timedelta(seconds=295))) as server:
        watched.goto(server.address)
        telemetry = watched.locator(".inputs dd").first
        expect(telemetry).to_have_class("age")
        expect(telemetry).to_have_class("age stale", timeout=15_000)
        expect(telemetry).to_contain_text("too old")
