"""The pages for people: fleet, host, migrations, and a list of the API. Plain HTML that lives on without scripts.

`part=` asks for one piece of a page; scripts use it to renew that piece without loading the page anew.
"""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import HTMLResponse, JSONResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from forewarn.domain.inventory import COMPONENT_KINDS, Host
from forewarn.domain.people import Role
from forewarn.domain.plan import MoveState
from forewarn.web import words
from forewarn.web.attention import attention_of, usual_words
from forewarn.web.auth import asker_of, needs
from forewarn.web.changes import line_body, version_of
from forewarn.web.charts import curve_of, histories_of
from forewarn.web.context import Context, NotFound, context_of
from forewarn.web.fleet import LEVEL_WORDS, Fleet, Level, Row
from forewarn.web.host import story_of
from forewarn.web.inbox import TakenRequest
from forewarn.web.migrations import OUTCOME_WORDS, chosen, flow_of, rows_of
from forewarn.web.timeline import timeline_of
from forewarn.web.watch import watch_of

router = APIRouter(include_in_schema=False)
Here = Annotated[Context, Depends(context_of)]
Look = [Depends(needs(Role.VIEWER))]
Text = Annotated[str, Query(max_length=200)]


class Sort(StrEnum):
    """The order of hosts on the fleet page."""

    RISK = "risk"
    NAME = "name"


class Only(StrEnum):
    """Which hosts the fleet page shows."""

    ALL = "all"
    AT_RISK = "risk"
    UNKNOWN = "unknown"
    BUSY = "busy"


ONLY_WORDS = {
    Only.ALL: "all hosts",
    Only.AT_RISK: "with a risk above its threshold",
    Only.UNKNOWN: "with an unknown risk",
    Only.BUSY: "down, or with moves running",
}


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for name in (
        "percent",
        "times",
        "span",
        "duration",
        "milliseconds",
        "size",
        "clock_time",
        "count",
        "moment",
        "rough",
    ):
        environment.filters[name] = getattr(words, name)
    environment.filters["kind"] = words.KIND_WORDS.__getitem__
    environment.filters["segment"] = lambda text: quote(text, safe="")
    environment.globals.update(kinds=COMPONENT_KINDS, level_words=LEVEL_WORDS, outcome_words=OUTCOME_WORDS)
    return environment


_TEMPLATES = _environment()


def render(template: str, status: int = 200, **names: Any) -> HTMLResponse:
    """A template as an answer; everything in it is escaped."""
    return HTMLResponse(_TEMPLATES.get_template(template).render(**names), status)


def _head(request: Request, fleet: Fleet | None, page: str) -> dict[str, Any]:
    """What the frame around every page shows."""
    here, asker = context_of(request), asker_of(request)
    return {
        "page": page,
        "fleet": fleet,
        "snapshot": fleet.snapshot if fleet else None,
        "version": version_of(fleet),
        "now": here.clock.now().isoformat(),
        "age_s": here.age_s(fleet) if fleet else 0.0,
        "stale": fleet is not None and here.is_stale(fleet),
        "settings": here.settings,
        "can_ask": here.requests is not None and asker is not None and asker.principal.may(Role.OPERATOR),
        "asker": asker,
        "release": here.version,
    }


@router.get("/", dependencies=Look)
def fleet_page(
    here: Here, request: Request, q: Text = "", sort: Sort = Sort.RISK, only: Only = Only.ALL, part: Text = ""
) -> HTMLResponse:
    """The fleet: a row per host, a square per component."""
    fleet = here.fleet_or_none()
    if fleet is None:
        return render("waiting.html", **_head(request, None, "fleet"))
    template = f"_{part}.html" if part in ("grid", "attention", "log", "watch", "doing") else "fleet.html"
    now = here.clock.now()
    found = _ordered([row for row in fleet.rows if _fits(row, q, only)], sort)
    shown = found[: here.settings.hosts_shown_max]
    return render(
        template,
        **_head(request, fleet, "fleet"),
        real=[row for row in shown if not row.host.simulated],
        simulated=[row for row in shown if row.host.simulated],
        found=len(found),
        density=_density(len(shown)),
        q=q,
        sort=sort,
        only=only,
        only_words=ONLY_WORDS,
        attention=attention_of(fleet, here.settings.attention_max),
        watch=watch_of(fleet, _asked(here), here.settings, now),
        time=now,
        lines=_lines(here, fleet),
    )


def _asked(here: Context) -> tuple[TakenRequest, ...]:
    """What people asked for lately, where requests are taken."""
    return here.requests.recent(here.settings.requests_read) if here.requests is not None else ()


def _fits(row: Row, q: str, only: Only) -> bool:
    cells = [cell for cells in row.cells.values() for cell in cells]
    if only == Only.AT_RISK and not any(cell.at_risk for cell in cells):
        return False
    if only == Only.UNKNOWN and not any(cell.level == Level.UNKNOWN for cell in cells):
        return False
    if only == Only.BUSY and row.host.state == "up" and not row.moving_out and not row.moving_in:
        return False
    wanted = q.strip().lower()
    names = [row.host.name, row.host.rack, *(cell.name for cell in cells), *(cell.component for cell in cells)]
    return not wanted or any(wanted in name.lower() for name in names)


def _ordered(rows: list[Row], sort: Sort) -> list[Row]:
    """Real hosts before simulated ones, so that a limit never cuts them away."""
    ranked = rows if sort == Sort.NAME else sorted(rows, key=lambda row: row.rank)
    return sorted(ranked, key=lambda row: row.host.simulated)


def _density(hosts: int) -> str:
    return "roomy" if hosts <= 40 else "snug" if hosts <= 150 else "compact"


def _lines(here: Context, fleet: Fleet) -> list[dict[str, Any]]:
    return [line_body(line) for line in fleet.snapshot.log[: here.settings.log_lines_max]]


@router.get("/hosts/{name:path}", dependencies=Look)
def host_page(here: Here, request: Request, name: str, component: Text = "", part: Text = "") -> HTMLResponse:
    """One host: its components with their curves, and its VMs."""
    fleet = here.fleet()
    row = fleet.row_by_host.get(name)
    if row is None:
        raise NotFound(f"there is no host called {name!r}")
    cells = [cell for kind in COMPONENT_KINDS for cell in row.cells[kind]]
    cells.sort(key=lambda cell: -(cell.ratio if cell.ratio is not None else -1.0))
    chosen_cell = next((cell for cell in cells if cell.key == component), row.worst or next(iter(cells), None))
    return render(
        "_host.html" if part == "host" else "host.html",
        **_head(request, fleet, "host"),
        row=row,
        facts=_facts(row.host),
        cells=cells,
        cell=chosen_cell,
        forecast=fleet.forecast_by_key.get(chosen_cell.key) if chosen_cell else None,
        part=fleet.snapshot.cluster.component_by_id.get(chosen_cell.component) if chosen_cell else None,
        usual=usual_words(fleet.snapshot, chosen_cell) if chosen_cell else "",
        story=story_of(fleet, name, here.settings.host_moves_max, here.clock.now()),
        time=here.clock.now(),
        lines=[line for line in _lines(here, fleet) if line["host"] == name],
    )


def _facts(host: Host) -> list[str]:
    """What is known of a host, without what is not."""
    facts = [
        f"{host.cpus:g} CPUs" if host.cpus else "",
        f"{words.size(host.memory_bytes)} for VMs" if host.memory_bytes else "",
        f"{words.size(host.link_bytes_per_s)}/s for migrations" if host.link_bytes_per_s else "",
        f"rack {host.rack.removeprefix('rack')}" if host.rack else "",
        "" if host.can_receive else "takes no VMs",
        f"shown as its driver last heard of it, {host.seen_at:%Y-%m-%d %H:%M:%S} UTC" if host.seen_at else "",
    ]
    return [fact for fact in facts if fact]


@router.get("/figures/{key}", dependencies=Look)
def figures(here: Here, key: str) -> JSONResponse:
    """The numbers behind the charts of one component."""
    fleet = here.fleet()
    cell = next((cell for cell in fleet.cells if cell.key == key), None)
    if cell is None:
        raise NotFound("there is no such component any more")
    forecast = fleet.forecast_by_key.get(key)
    until = fleet.snapshot.time
    histories = histories_of(here.store, here.settings, cell, forecast, until) if here.store else []
    return JSONResponse({"curve": curve_of(fleet, cell, forecast), "histories": histories})


@router.get("/migrations", dependencies=Look)
def migrations_page(here: Here, request: Request, outcome: MoveState | None = None, part: Text = "") -> HTMLResponse:
    """The moves: the flow between hosts, a time line, and a table."""
    fleet = here.fleet_or_none()
    if fleet is None:
        return render("waiting.html", **_head(request, None, "migrations"))
    outcomes = chosen(fleet.snapshot, outcome, here.settings.moves_shown_max)
    rows = rows_of(fleet.snapshot, outcomes)
    return render(
        "_moves.html" if part == "moves" else "migrations.html",
        **_head(request, fleet, "migrations"),
        rows=rows,
        flow=flow_of(outcomes, here.settings.flow_hosts_max),
        timeline=timeline_of(rows, fleet.snapshot.time),
        outcome=outcome,
        tally={state: sum(o.state == state for o in fleet.snapshot.moves) for state in MoveState},
    )


@router.get("/api", dependencies=Look)
def api_page(here: Here, request: Request) -> HTMLResponse:
    """What the API offers, drawn from its own schema."""
    paths = [
        (path, method.upper(), operation.get("description", ""))
        for path, methods in request.app.openapi()["paths"].items()
        for method, operation in methods.items()
    ]
    return render("api.html", **_head(request, here.fleet_or_none(), "api"), paths=paths)


@router.get("/openapi.json", dependencies=Look)
def schema(request: Request) -> JSONResponse:
    """The API's schema, for whoever may look."""
    return JSONResponse(request.app.openapi())


def framed(request: Request, template: str, status: int = 200, **names: Any) -> HTMLResponse:
    """A page that shows nothing of the cluster, such as the one for signing in."""
    return render(template, status, **_head(request, None, "plain"), **names)


def error_page(request: Request, message: str, status: int) -> HTMLResponse:
    """An error as a page: what happened, and the way back."""
    return render("error.html", status, **_head(request, None, "error"), message=message, code=status)
