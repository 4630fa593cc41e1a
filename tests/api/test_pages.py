"""The pages as HTML: what they say, what they never say, and that hostile names stay text."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser

import httpx
import pytest

from forewarn.clock import SimulatedClock
from forewarn.domain.inventory import HostState
from forewarn.domain.situation import LogLine, Severity, Snapshot
from forewarn.web.settings import WebSettings
from tests.shown import NOW, Shelf, serving, snapshot_of

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onfocus='alert(1)",
    "a/../../b",
    "ünï ☃ %2e",
)


class Tags(HTMLParser):
    """Collects what a browser would see: tags with their attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def all(self, tag: str, **attributes: str) -> list[dict[str, str | None]]:
        return [a for t, a in self.found if t == tag and all(a.get(k.rstrip("_")) == v for k, v in attributes.items())]


def page(client: httpx.Client, url: str) -> str:
    answer = client.get(url)
    assert answer.status_code == 200, answer.text
    return answer.text


def host_rows(html: str) -> list[str]:
    return re.findall(r'<th scope="row"><a href="[^"]*">([^<]*)</a>', html)


@contextmanager
def showing(snapshot: Snapshot | None, **settings: int) -> Iterator[httpx.Client]:
    wanted = WebSettings(port=0, **settings)  # type: ignore[arg-type]  # every setting used here is a number
    with (
        serving(Shelf(snapshot).read, settings=wanted) as server,
        httpx.Client(base_url=server.address, timeout=60) as client,
    ):
        yield client


URLS = ("/", "/migrations", "/hosts/host03", "/api", "/nowhere")


@pytest.mark.parametrize("url", URLS)
def test_no_page_loads_or_runs_anything_but_our_own_files(client: httpx.Client, url: str) -> None:
    tags = Tags(client.get(url).text)
    for tag, attributes in tags.found:
        for name in ("src", "href", "action"):
            assert (attributes.get(name) or "/").startswith(("/", "#")), (tag, attributes)
        assert not any(name.startswith("on") or name == "style" for name in attributes), (tag, attributes)
    assert all(script.get("src") for script in tags.all("script"))


def test_plotly_is_loaded_late_and_only_where_charts_are(client: httpx.Client) -> None:
    loaded = {url: Tags(client.get(url).text).all("script", src="/plotly/plotly.min.js") for url in URLS}
    assert [url for url, scripts in loaded.items() if scripts] == ["/hosts/host03"]
    assert "defer" in loaded["/hosts/host03"][0]
    assert len(client.get("/plotly/plotly.min.js").content) > 1_000_000


def test_the_fleet_shows_one_square_per_component_with_its_sentence(client: httpx.Client, busy: Snapshot) -> None:
    squares = [a for a in Tags(page(client, "/")).all("a") if (a.get("class") or "").startswith("c l")]
    assert len(squares) == len(busy.forecasts)
    for square in squares:
        label = square["aria-label"] or ""
        assert "unknown: " in label or (" within 7 days, " in label and " threshold of " in label), label


def test_an_unknown_square_is_never_one_of_the_scale(client: httpx.Client) -> None:
    for square in Tags(page(client, "/")).all("a"):
        if "unknown: " in (square.get("aria-label") or ""):
            assert (square["class"] or "").split()[1] == "lu"


def test_the_real_machine_stands_first_and_is_marked(client: httpx.Client) -> None:
    html = page(client, "/")
    assert host_rows(html)[0] == "atlas"
    assert html.index("This machine") < html.index("24 simulated hosts")
    assert '<span class="tag real">real</span>' in html


def test_a_fleet_of_real_hosts_alone_says_nothing_of_simulation(busy: Snapshot) -> None:
    hosts = tuple(replace(host, simulated=False) for host in busy.cluster.hosts)
    with showing(replace(busy, cluster=replace(busy.cluster, hosts=hosts), simulated=False)) as client:
        html = page(client, "/")
    assert "simulated" not in html
    assert "This machine" not in html


def test_a_host_that_is_down_says_so_in_words(client: httpx.Client) -> None:
    row = page(client, "/").split('<th scope="row"><a href="/hosts/host24">')[1].split("</tr>")[0]
    assert re.search(r'data-part="state">down<', row)
    assert re.search(r"\d+ down<", row)


def test_the_head_gives_the_sentence_the_mode_and_the_age(client: httpx.Client, busy: Snapshot) -> None:
    html = page(client, "/")
    assert busy.sentence in html
    assert '<b data-field="mode">automatic</b>' in html
    assert "4.0 s old" in html


def test_a_stale_snapshot_is_marked(busy: Snapshot) -> None:
    clock = SimulatedClock(NOW + timedelta(minutes=5))
    with serving(Shelf(busy).read, clock=clock) as server:
        html = httpx.get(server.address).text
    assert 'class="badge age stale"' in html
    assert "5 min old" in html


def test_a_pause_is_shown_with_its_reason(busy: Snapshot) -> None:
    with showing(replace(busy, paused="a drill (anna)")) as client:
        html = page(client, "/")
    assert '<b data-field="paused">a drill (anna)</b>' in html
    assert not re.search(r'data-shown="paused" hidden', html)


def test_the_button_to_pause_is_there_only_where_requests_are_taken(client: httpx.Client, busy: Snapshot) -> None:
    assert 'data-ask="pause"' in page(client, "/")
    with showing(busy) as other:
        assert "data-ask" not in page(other, "/")


@pytest.mark.parametrize("q", ["HOST07", " host07 "])
def test_hosts_are_found_by_name(client: httpx.Client, q: str) -> None:
    assert host_rows(client.get("/", params={"q": q}).text) == ["host07"]


def test_hosts_are_found_by_rack_and_component(client: httpx.Client, busy: Snapshot) -> None:
    assert host_rows(client.get("/", params={"q": "r2", "sort": "name"}).text)[:2] == ["host09", "host10"]
    disk = next(c for c in busy.cluster.components if c.host == "host11" and c.kind == "disk")
    assert host_rows(client.get("/", params={"q": disk.id}).text) == ["host11"]


def test_a_search_without_a_find_says_so(client: httpx.Client) -> None:
    html = client.get("/", params={"q": "nowhere"}).text
    assert host_rows(html) == []
    assert "No host fits." in html


def test_hosts_are_sorted_by_name_or_risk(client: httpx.Client) -> None:
    by_name = host_rows(client.get("/", params={"sort": "name"}).text)
    assert by_name == ["atlas", *sorted(by_name[1:])]
    assert host_rows(page(client, "/"))[1:] != by_name[1:]


def test_hosts_can_be_narrowed_to_those_that_matter(client: httpx.Client, busy: Snapshot) -> None:
    at_risk = host_rows(client.get("/", params={"only": "risk"}).text)
    unknown = host_rows(client.get("/", params={"only": "unknown"}).text)
    engaged = host_rows(client.get("/", params={"only": "busy"}).text)
    running = [o.move for o in busy.moves if not o.state.final]
    assert 0 < len(at_risk) < 10
    assert set(unknown) == {f.host for f in busy.forecasts if f.unknown}
    assert set(engaged) == {"host24", *(m.source for m in running), *(m.target for m in running)}


def test_an_order_of_no_sense_is_told_on_a_page(client: httpx.Client) -> None:
    answer = client.get("/", params={"sort": "colour"})
    assert answer.status_code == 422
    assert "To the fleet" in answer.text


def test_a_thousand_hosts_fit_and_more_are_cut_with_a_word() -> None:
    large = snapshot_of(hosts=1000, vms=2000)
    with showing(large) as client:
        html = page(client, "/")
    assert 'class="grid compact"' in html
    assert "1,000 of 1,001 hosts shown" in html
    assert len(html) < 6_000_000


def test_a_part_of_a_page_comes_alone(client: httpx.Client) -> None:
    for url in ("/?part=grid", "/?part=attention", "/?part=log", "/migrations?part=moves", "/hosts/host03?part=host"):
        html = page(client, url)
        assert "<html" not in html
        assert len(html) > 200


def test_the_log_is_cut_at_its_setting(busy: Snapshot) -> None:
    lines = tuple(LogLine(NOW, Severity.INFO, f"line {i}") for i in range(100))
    with showing(replace(busy, log=lines), log_lines_max=10) as client:
        assert len(re.findall(r"<span>line \d+</span>", page(client, "/"))) == 10


def test_nothing_to_say_is_said(busy: Snapshot) -> None:
    calm = replace(busy, forecasts=(), ladder=(), moves=(), log=())
    with showing(calm) as client:
        fleet, moves = page(client, "/"), page(client, "/migrations")
        filtered = page(client, "/migrations?outcome=failed")
    assert "375 components are unknown, which is not the same as safe" in fleet
    assert "Nothing has happened yet." in fleet
    assert "No VM has been moved yet." in moves
    assert "No move with this outcome." in filtered


def test_before_the_first_cycle_pages_wait() -> None:
    with showing(None) as client:
        for url in ("/", "/migrations"):
            assert "The first cycle is under way" in page(client, url)
        host = client.get("/hosts/host03")
    assert host.status_code == 503
    assert "has not ended yet" in host.text


def test_a_host_that_is_gone_is_told_on_a_page(client: httpx.Client) -> None:
    answer = client.get("/hosts/nowhere")
    assert answer.status_code == 404
    assert "There is no host called &#39;nowhere&#39;" in answer.text


def test_a_host_shows_its_riskiest_component_first_and_any_other_on_demand(client: httpx.Client) -> None:
    html = page(client, "/hosts/host23")
    keys = re.findall(r'<li><a id="(k[0-9a-f]+)"', html)
    assert len(keys) == 15
    assert f'<a id="{keys[0]}" href="/hosts/host23?component={keys[0]}" aria-current="true"' in html
    assert "24 pending sectors (SMART 197)" in html
    assert "public drives" in html
    assert f'data-figures="/figures/{keys[6]}"' in page(client, f"/hosts/host23?component={keys[6]}")


def test_a_host_without_components_or_vms_is_shown(busy: Snapshot) -> None:
    bare = replace(busy, forecasts=(), ladder=(), moves=(), cluster=replace(busy.cluster, components=(), vms=()))
    with showing(bare) as client:
        html = page(client, "/hosts/host03")
    assert "No component of this host is known." in html
    assert "No VM runs here." in html


def test_the_migrations_page_tells_each_move_whole(client: httpx.Client, busy: Snapshot) -> None:
    html = page(client, "/migrations")
    assert len(re.findall(r'<tr id="k', html)) == len(busy.moves)
    for outcome in busy.moves[:4]:
        assert f"<b>{outcome.move.vm_name}</b>" in html
        assert outcome.move.rule in html
    assert html.count("ribbon ") >= 5
    assert 'class="bar running"' in html
    assert 'class="ghost"' in html


def test_moves_are_filtered_by_outcome(client: httpx.Client, busy: Snapshot) -> None:
    html = page(client, "/migrations?outcome=failed")
    assert len(re.findall(r'<tr id="k', html)) == sum(o.state == "failed" for o in busy.moves)
    refused = page(client, "/migrations?outcome=refused")
    assert refused.count("None of these moves started.") == 2


def test_the_api_page_lists_every_address(client: httpx.Client) -> None:
    html = page(client, "/api")
    for path in client.get("/openapi.json").json()["paths"]:
        assert path in html


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_stay_text_on_every_page(busy: Snapshot, name: str) -> None:
    with showing(renamed(busy, "host03", name)) as client:
        usual = [Tags(page(client, url)) for url in ("/", "/migrations")]
        address = next(
            a["href"] for a in usual[0].all("a") if (a["href"] or "").count("%") and "?" not in (a["href"] or "")
        )
        host = page(client, address or "")
        for tags in (*usual, Tags(host)):
            assert all(script.get("src") for script in tags.all("script"))
            assert all((image.get("src") or "").startswith("/static/") for image in tags.all("img"))
            assert not any(name.startswith("on") for _, attributes in tags.found for name in attributes)
        assert client.get("/api/v1/components", params={"host": name}).json()["total"] == 15


def renamed(snapshot: Snapshot, old: str, new: str) -> Snapshot:
    """The snapshot with one host called otherwise everywhere, and its name in every free text."""
    cluster = snapshot.cluster
    hosts = tuple(replace(h, name=new, state=HostState.UP, rack=new) if h.name == old else h for h in cluster.hosts)
    parts = tuple(replace(c, host=new, device=new, model=new) if c.host == old else c for c in cluster.components)
    vms = tuple(replace(v, host=new, name=new, immovable_because=new) if v.host == old else v for v in cluster.vms)
    forecasts = tuple(
        replace(f, host=new, device=new, model=new, reasons=tuple(replace(r, text=new) for r in f.reasons))
        if f.host == old
        else f
        for f in snapshot.forecasts
    )
    moves = tuple(
        replace(o, text=new, move=replace(o.move, vm_name=new, source=new, reason=new, rule=new))
        for o in snapshot.moves
    )
    return replace(
        snapshot,
        cluster=replace(cluster, hosts=hosts, components=parts, vms=vms),
        forecasts=forecasts,
        moves=moves,
        sentence=new,
        paused=new,
        mode=new,
        log=(LogLine(NOW, Severity.WARNING, new, new),),
    )
