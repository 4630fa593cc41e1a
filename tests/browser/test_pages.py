"""The pages in a real browser, over a made-up busy cluster that the tests let change."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Page, expect

from forewarn.clock import SimulatedClock
from forewarn.domain.plan import MoveState
from forewarn.domain.situation import LogLine, Severity, Snapshot
from forewarn.state.database import Database
from forewarn.state.requests import Requests
from forewarn.web.fleet import key_of
from forewarn.web.server import Server
from forewarn.web.settings import WebSettings
from tests.shown import NOW, Shelf, forecast_of, serving, snapshot_of
from tests.support import eventually

URLS = ("/", "/migrations", "/hosts/host23", "/api")
BUSY = snapshot_of()
CPU = "cpu:host03/cpu0"


@pytest.fixture
def shelf() -> Shelf:
    return Shelf(BUSY)


@pytest.fixture
def server(shelf: Shelf, tmp_path: Path) -> Iterator[Server]:
    with serving(shelf.read, folder=tmp_path) as running:
        yield running


def next_cycle(snapshot: Snapshot, **changes: Any) -> Snapshot:
    time = snapshot.time + timedelta(seconds=2)
    changes = {"sentence": "a new cycle has ended", **changes}
    return replace(snapshot, cycle=snapshot.cycle + 1, time=time, **changes)


def risen(snapshot: Snapshot) -> Snapshot:
    """The next cycle, in which one CPU has become risky."""
    forecast = forecast_of(snapshot.cluster.component_by_id[CPU], 0.5)
    forecasts = tuple(forecast if f.component == CPU else f for f in snapshot.forecasts)
    line = LogLine(snapshot.time, Severity.WARNING, "host03: from 'clear' to 'watch'", "host03")
    return next_cycle(snapshot, forecasts=forecasts, log=(line, *snapshot.log))


def open_marked(page: Page, url: str) -> None:
    """Open a page whose stream is open, with a mark that loading anew would wipe out."""
    with page.expect_response(lambda response: "/api/v1/events" in response.url):
        page.goto(url)
    page.evaluate("window.marked = true")


def marked(page: Page) -> bool:
    return bool(page.evaluate("window.marked === true"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("url", URLS)
def test_every_page_opens_without_an_error(
    watched: Page, server: Server, url: str, scheme: Literal["light", "dark"]
) -> None:
    watched.emulate_media(color_scheme=scheme)
    watched.goto(server.address + url, wait_until="load")
    expect(watched.locator("h1")).to_be_attached()
    dark = watched.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(14, 20, 27)"
    assert dark == (scheme == "dark")


@pytest.mark.parametrize("width", [390, 1280, 1920])
@pytest.mark.parametrize("url", URLS)
def test_no_page_is_wider_than_its_window(watched: Page, server: Server, url: str, width: int) -> None:
    watched.set_viewport_size({"width": width, "height": 900})
    watched.goto(server.address + url)
    assert watched.evaluate("document.documentElement.scrollWidth") <= width


def test_the_fleet_follows_a_cycle_without_loading_anew(watched: Page, server: Server, shelf: Shelf) -> None:
    open_marked(watched, server.address)
    square = watched.locator(f"#{key_of('host03', CPU)}")
    expect(square).not_to_have_class("c l4")
    shelf.snapshot = risen(BUSY)
    expect(watched.locator("[data-field=sentence]")).to_have_text("a new cycle has ended")
    expect(watched.locator(f"#{key_of('host03', CPU)}.l4")).to_be_visible()
    expect(watched.locator(f"#{key_of('host03')} [data-part=worst]")).to_contain_text("CPU cpu0: 50.0 % in 7 days")
    expect(watched.locator("#log li").first).to_contain_text("host03: from 'clear' to 'watch'")
    expect(watched.locator("#attention li").first).to_contain_text("host03 CPU cpu0")
    expect(watched.locator("[data-count=at_risk]")).to_have_text("6")
    assert marked(watched)


def test_the_riskiest_host_rises_to_the_top(watched: Page, server: Server, shelf: Shelf) -> None:
    open_marked(watched, server.address)
    shelf.snapshot = risen(BUSY)
    expect(watched.locator("tbody.simulated tr.host a").first).to_have_text("host03")
    assert marked(watched)


def test_a_part_that_comes_gets_its_square_without_loading_anew(watched: Page, server: Server, shelf: Shelf) -> None:
    open_marked(watched, server.address)
    new = replace(BUSY.cluster.components[20], id="disk:ZNEW", device="sdz")
    cluster = replace(BUSY.cluster, components=(*BUSY.cluster.components, new))
    shelf.snapshot = next_cycle(BUSY, cluster=cluster)
    square = watched.locator(f"#{key_of(new.host, 'disk:ZNEW')}")
    expect(square).to_have_class("c lu")
    assert marked(watched)


def test_the_keyboard_alone_reaches_a_component_and_opens_it(watched: Page, server: Server) -> None:
    watched.goto(server.address + "/?sort=name")
    watched.keyboard.press("Tab")
    expect(watched.locator(".skip")).to_be_focused()
    watched.locator("#sort").focus()
    for _ in range(40):
        watched.keyboard.press("Tab")
        if watched.evaluate("document.activeElement.matches('.cells a.c')"):
            break
    first = watched.locator("tr.host").first.locator("a.c").first
    expect(first).to_be_focused()
    expect(watched.locator("#tip")).to_contain_text("atlas, CPU cpu0: unknown: no temperature")
    for key in ("ArrowDown", "ArrowRight", "ArrowRight", "ArrowUp", "ArrowDown", "End", "Home", "ArrowRight"):
        watched.keyboard.press(key)
    expect(watched.locator("#tip")).to_contain_text("host01, CPU cpu1: ")
    assert watched.locator(".cells a.c[tabindex='0']").count() == 1
    watched.keyboard.press("Escape")
    expect(watched.locator("#tip")).to_be_hidden()
    watched.keyboard.press("Enter")
    expect(watched.locator("h1")).to_contain_text("host01")
    expect(watched.locator("#cell-title")).to_contain_text("CPU cpu1")


def test_hosts_are_filtered_while_typing(watched: Page, server: Server) -> None:
    open_marked(watched, server.address)
    watched.locator("#q").fill("host07")
    expect(watched.locator("tr.host")).to_have_count(1)
    assert watched.url.endswith("/?q=host07")
    watched.locator("#q").fill("")
    expect(watched.locator("tr.host")).to_have_count(25)
    watched.locator("#only").select_option("risk")
    expect(watched.locator("tr.host")).to_have_count(5)
    watched.locator("#only").select_option("all")
    watched.locator("#sort").select_option("name")
    expect(watched.locator("tbody.simulated tr.host a").first).to_have_text("host01")
    assert watched.url.endswith("/?sort=name")
    assert marked(watched)


def test_moves_are_paused_with_a_reason_and_only_with_one(
    watched: Page, server: Server, shelf: Shelf, tmp_path: Path
) -> None:
    open_marked(watched, server.address)
    watched.get_by_role("button", name="Pause moves").click()
    watched.locator("#ask-send").click()
    expect(watched.locator("#ask")).to_be_visible()
    watched.locator("#ask-reason").fill("a drill")
    watched.locator("#ask-send").click()
    expect(watched.locator("#ask")).to_be_hidden()
    database = Database(f"sqlite:///{tmp_path / 'state.sqlite'}")
    (waiting,) = Requests(database).waiting()
    database.close()
    assert (waiting.kind, waiting.why) == ("pause", "a drill")
    shelf.snapshot = next_cycle(BUSY, paused="a drill")
    expect(watched.get_by_role("button", name="Resume moves")).to_be_visible()
    expect(watched.locator("[data-field=paused]")).to_have_text("a drill")


def test_a_snapshot_grows_stale_before_ones_eyes(watched: Page, shelf: Shelf) -> None:
    clock = SimulatedClock(NOW + timedelta(seconds=9))
    settings = WebSettings(port=0, refresh_s=0.05, stale_after_s=10)
    with serving(shelf.read, settings=settings, clock=clock) as server:
        watched.goto(server.address)
        expect(watched.locator("#age.stale")).to_contain_text("old: stale")


def test_the_migrations_page_follows_a_move_without_loading_anew(watched: Page, server: Server, shelf: Shelf) -> None:
    open_marked(watched, server.address + "/migrations")
    running, others = BUSY.moves[0], BUSY.moves[1:]
    row = watched.locator(f"#{key_of('move', running.move.id)}")
    expect(row.locator(".outcome")).to_have_text("running")
    ended = replace(running, state=MoveState.SUCCEEDED, duration_s=12.5, downtime_ms=84.0)
    shelf.snapshot = next_cycle(BUSY, moves=(ended, *others))
    expect(row.locator(".outcome")).to_have_text("succeeded")
    expect(row).to_contain_text("84 ms")
    expect(watched.locator(".outcomes a.running b")).to_have_text("2")
    assert marked(watched)


def test_moves_are_filtered_by_a_click(watched: Page, server: Server) -> None:
    watched.goto(server.address + "/migrations")
    watched.locator(".outcomes a.failed").click()
    expect(watched.locator(".outcomes a.failed")).to_have_attribute("aria-current", "true")
    assert set(watched.locator(".moves .outcome").all_text_contents()) == {"failed"}


def test_a_host_draws_its_curve_in_the_colours_of_the_page(watched: Page, server: Server) -> None:
    watched.emulate_media(color_scheme="light")
    watched.goto(server.address + "/hosts/host23")
    line = watched.locator("#curve .scatterlayer .js-line").last
    expect(line).to_have_css("stroke", "rgb(29, 95, 168)")
    watched.emulate_media(color_scheme="dark")
    expect(line).to_have_css("stroke", "rgb(132, 184, 245)")


def test_a_curve_stays_on_screen_while_the_host_is_renewed(watched: Page, server: Server, shelf: Shelf) -> None:
    watched.goto(server.address + "/hosts/host23")
    expect(watched.locator("#curve .js-line").last).to_be_visible()
    watched.evaluate("document.querySelector('#curve').marked = true")
    watched.evaluate(
        "document.getElementById('host').addEventListener('placed', () => {"
        " window.kept = document.querySelector('#curve').marked && !!document.querySelector('#curve .js-line'); })"
    )
    shelf.snapshot = next_cycle(BUSY)
    eventually(lambda: watched.evaluate("'kept' in window"), deadline=30)
    assert watched.evaluate("window.kept") is True


def test_the_first_cycle_turns_the_waiting_page_into_the_fleet(watched: Page, server: Server, shelf: Shelf) -> None:
    shelf.snapshot = None
    watched.goto(server.address)
    expect(watched.locator("h1")).to_have_text("The first cycle is under way")
    shelf.snapshot = BUSY
    expect(watched.locator("tr.host")).to_have_count(25)


def test_a_page_comes_back_when_the_server_does(page: Page, shelf: Shelf) -> None:
    with serving(shelf.read) as first:
        page.goto(first.address)
        port = int(first.address.rpartition(":")[2])
    expect(page.locator("#age.lost")).to_be_visible()
    shelf.snapshot = next_cycle(BUSY)
    with serving(shelf.read, settings=WebSettings(port=port, refresh_s=0.05)):
        expect(page.locator("[data-field=sentence]")).to_have_text("a new cycle has ended", timeout=15_000)


def test_a_hidden_page_lets_go_of_its_stream(watched: Page, server: Server) -> None:
    open_marked(watched, server.address)
    metrics = f"{server.address}/api/v1/metrics"
    hide = "state => { Object.defineProperty(document, 'hidden', {value: state, configurable: true});"
    watched.evaluate(hide + "document.dispatchEvent(new Event('visibilitychange')); }", True)
    eventually(lambda: "forewarn_events_streams 0\n" in watched.request.get(metrics).text())
    watched.evaluate(hide + "document.dispatchEvent(new Event('visibilitychange')); }", False)
    eventually(lambda: "forewarn_events_streams 1\n" in watched.request.get(metrics).text())


def test_names_that_are_scripts_do_not_run(watched: Page, server: Server, shelf: Shelf) -> None:
    evil = "<img src=x onerror=alert(1)><script>alert(2)</script>"
    open_marked(watched, server.address)
    hosts = tuple(replace(h, rack=evil) for h in BUSY.cluster.hosts)
    line = LogLine(NOW, Severity.WARNING, evil, evil)
    moves = tuple(replace(o, text=evil, move=replace(o.move, vm_name=evil)) for o in BUSY.moves)
    cluster = replace(BUSY.cluster, hosts=hosts)
    shelf.snapshot = next_cycle(BUSY, sentence=evil, cluster=cluster, log=(line, *BUSY.log), moves=moves, paused=evil)
    expect(watched.locator("[data-field=sentence]")).to_have_text(evil)
    expect(watched.locator("#log li").first).to_contain_text(evil)
    for url in ("/migrations", "/hosts/host03"):
        watched.goto(server.address + url)
        expect(watched.get_by_text(evil).first).to_be_attached()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_scale_of_risk_can_be_read_without_seeing_hues(
    watched: Page, server: Server, scheme: Literal["light", "dark"]
) -> None:
    watched.emulate_media(color_scheme=scheme)
    watched.goto(server.address)
    script = (
        "l => getComputedStyle(document.querySelector('.legend .c.' + l)).backgroundColor.match(/\\d+/g).map(Number)"
    )
    light = [luminance(watched.evaluate(script, level)) for level in ("l0", "l1", "l2", "l3", "l4")]
    steps = list(pairwise(light if scheme == "dark" else reversed(light)))
    assert all(brighter + 0.05 > 1.15 * (darker + 0.05) for darker, brighter in steps), light


def luminance(rgb: list[float]) -> float:
    """Relative luminance as in WCAG 2."""
    parts = [c / 255 / 12.92 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in rgb[:3]]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


@pytest.mark.slow
def test_a_thousand_hosts_stay_usable(watched: Page) -> None:
    shelf = Shelf(snapshot_of(hosts=1000, vms=2000))
    with serving(shelf.read, settings=WebSettings(port=0, refresh_s=0.2)) as server:
        open_marked(watched, server.address)
        expect(watched.locator("table.grid.compact")).to_be_visible()
        assert watched.locator(".cells a.c").count() == 15_000
        assert watched.locator(".cells a.c").nth(7000).bounding_box()["width"] == 11  # type: ignore[index]  # is on screen
        large = shelf.snapshot
        assert large is not None
        part = next(c for c in large.cluster.components if c.host == "host500" and c.kind == "cpu")
        forecasts = tuple(forecast_of(part, 0.5) if f.component == part.id else f for f in large.forecasts)
        shelf.snapshot = next_cycle(large, forecasts=forecasts)
        expect(watched.locator(f"#{key_of(part.host, part.id)}.l4")).to_be_attached(timeout=30_000)
        assert marked(watched)
