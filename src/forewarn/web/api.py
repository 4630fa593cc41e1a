"""The API under /api/v1: what the pages show, as JSON, and the requests that a person may make.

Lists are cut into pages by `limit` and `offset`. Every error is `{"error": {"code", "message"}}` with a stable code.
"""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from math import inf
from typing import Annotated, Any, Generic, TypeVar

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from pydantic import BaseModel, TypeAdapter

from forewarn.domain.hypervisor import Hypervisor
from forewarn.domain.inventory import Criticality, HostState, Kind, VirtualMachine
from forewarn.domain.people import Principal, Role
from forewarn.domain.plan import MoveState, Outcome, Plan
from forewarn.domain.risk import FailureForecast
from forewarn.domain.situation import LogLine, Severity, Snapshot, Standing
from forewarn.state.requests import RequestKind
from forewarn.web.auth import NotAllowed, Way, asker_of, needs
from forewarn.web.context import Context, NoSnapshot, NotFound, context_of
from forewarn.web.deeds import record
from forewarn.web.exposition import exposition
from forewarn.web.fleet import Cell, Counts, Level, Row
from forewarn.web.inbox import NewRequest, TakenRequest
from forewarn.web.live import EventStream

T = TypeVar("T")
_SNAPSHOT = TypeAdapter(Snapshot)


class Problem(BaseModel):
    """What went wrong."""

    code: str
    message: str


class ErrorBody(BaseModel):
    """The body of every error."""

    error: Problem


class Page(BaseModel, Generic[T]):
    """A stretch of a longer list."""

    items: list[T]
    total: int
    offset: int
    limit: int


class ComponentView(BaseModel):
    """A component with its risk within the policy's horizon. All of the risk is null while it is unknown."""

    id: str
    kind: Kind
    host: str
    device: str
    level: Level
    probability: float | None
    threshold: float | None
    times_threshold: float | None
    horizon_s: float
    text: str


class HostView(BaseModel):
    """A host with its riskiest component."""

    name: str
    state: HostState
    seen_at: datetime | None  # when its driver last heard of it, where it does not now
    unheard_because: str  # why it does not, also where it never did
    simulated: bool
    cordoned: bool
    driver: str
    rack: str
    cpus: float
    memory_bytes: int
    vms: int
    vms_high: int
    vms_interrupted: int
    moving_out: int
    moving_in: int
    worst: ComponentView | None
    hypervisor: Hypervisor | None  # what its placement service tells of it


class HostDetail(BaseModel):
    """A host with everything on it."""

    host: HostView
    components: list[ComponentView]
    forecasts: list[FailureForecast]
    vms: list[VirtualMachine]


class StandingView(BaseModel):
    """How far Forewarn may go now, and what holds it back."""

    furthest: str  # the furthest mode that holds anywhere
    paused: str  # why, while moves are paused
    standing: Standing


class Health(BaseModel):
    """Whether the control loop is alive."""

    status: str  # ok, stale or starting
    age_s: float | None
    cycle: int | None
    counts: Counts | None


router = APIRouter(prefix="/api/v1", responses={"4XX": {"model": ErrorBody}, "5XX": {"model": ErrorBody}})
Here = Annotated[Context, Depends(context_of)]
# What changes how far Forewarn may go, or undoes all that it has set.
FOR_ADMINS = frozenset({RequestKind.MODE, RequestKind.RELEASE, RequestKind.PROMOTE, RequestKind.ROLL_BACK})
Look = [Depends(needs(Role.VIEWER))]
Limit = Annotated[int, Query(ge=1, description="items in the answer; a setting bounds it")]
Offset = Annotated[int, Query(ge=0, description="items to leave out first")]


def _paged(here: Context, items: Sequence[T], limit: int, offset: int) -> Page[T]:
    limit = min(limit, here.settings.page_size_max)
    return Page(items=list(items[offset : offset + limit]), total=len(items), offset=offset, limit=limit)


def _component(cell: Cell, horizon_s: float) -> ComponentView:
    return ComponentView(
        id=cell.component,
        kind=cell.kind,
        host=cell.host,
        device=cell.device,
        level=cell.level,
        probability=cell.probability,
        threshold=cell.threshold,
        times_threshold=cell.ratio,
        horizon_s=horizon_s,
        text=cell.short,
    )


def _host(row: Row, horizon_s: float) -> HostView:
    host = row.host
    return HostView(
        name=host.name,
        state=host.state,
        seen_at=host.seen_at,
        unheard_because=host.unheard_because,
        simulated=host.simulated,
        cordoned=host.cordoned,
        driver=host.driver,
        rack=host.rack,
        cpus=host.cpus,
        memory_bytes=host.memory_bytes,
        vms=row.vms,
        vms_high=row.vms_high,
        vms_interrupted=row.vms_interrupted,
        moving_out=row.moving_out,
        moving_in=row.moving_in,
        worst=_component(row.worst, horizon_s) if row.worst else None,
        hypervisor=host.hypervisor,
    )


@router.get("/snapshot", dependencies=Look, response_model=Snapshot)
def snapshot(here: Here) -> Response:
    """Everything that the last cycle left behind."""
    return Response(_SNAPSHOT.dump_json(here.fleet().snapshot), media_type="application/json")


@router.get("/hosts", dependencies=Look)
def hosts(here: Here, limit: Limit = 100, offset: Offset = 0) -> Page[HostView]:
    """Hosts, the riskiest first."""
    fleet = here.fleet()
    rows = sorted(fleet.rows, key=lambda row: row.rank)
    page = _paged(here, rows, limit, offset)
    views = [_host(row, fleet.snapshot.horizon_s) for row in page.items]
    return Page(items=views, total=page.total, offset=page.offset, limit=page.limit)


@router.get("/hosts/{name:path}", dependencies=Look)
def host(here: Here, name: str) -> HostDetail:
    """One host, its components and their forecasts, and its VMs."""
    fleet = here.fleet()
    row = fleet.row_by_host.get(name)
    if row is None:
        raise NotFound(f"there is no host called {name!r}")
    cells = [cell for cells in row.cells.values() for cell in cells]
    return HostDetail(
        host=_host(row, fleet.snapshot.horizon_s),
        components=[_component(cell, fleet.snapshot.horizon_s) for cell in cells],
        forecasts=[fleet.forecast_by_key[cell.key] for cell in cells if cell.key in fleet.forecast_by_key],
        vms=list(fleet.snapshot.cluster.vms_by_host[name]),
    )


@router.get("/components", dependencies=Look)
def components(
    here: Here,
    limit: Limit = 100,
    offset: Offset = 0,
    kind: Kind | None = None,
    host: str | None = None,
    level: Level | None = None,
) -> Page[ComponentView]:
    """Components with their risks, the riskiest beside its threshold first, unknown ones last."""
    fleet = here.fleet()
    found = [
        cell
        for cell in fleet.cells
        if kind in (None, cell.kind) and host in (None, cell.host) and level in (None, cell.level)
    ]
    found.sort(key=lambda cell: (-(cell.ratio if cell.ratio is not None else -1.0), cell.host, cell.component))
    return _paged(here, [_component(cell, fleet.snapshot.horizon_s) for cell in found], limit, offset)


@router.get("/forecasts", dependencies=Look)
def forecasts(
    here: Here,
    limit: Limit = 100,
    offset: Offset = 0,
    kind: Kind | None = None,
    host: str | None = None,
    component: str | None = None,
) -> Page[FailureForecast]:
    """Forecasts as they were made: the curve over six horizons with its interval, and the reasons."""
    found = [
        f
        for f in here.fleet().snapshot.forecasts
        if kind in (None, f.kind) and host in (None, f.host) and component in (None, f.component)
    ]
    return _paged(here, found, limit, offset)


@router.get("/vms", dependencies=Look)
def vms(
    here: Here,
    limit: Limit = 100,
    offset: Offset = 0,
    host: str | None = None,
    criticality: Criticality | None = None,
) -> Page[VirtualMachine]:
    """VMs, in the inventory's order."""
    found = [
        vm
        for vm in here.fleet().snapshot.cluster.vms
        if host in (None, vm.host) and criticality in (None, vm.criticality)
    ]
    return _paged(here, found, limit, offset)


@router.get("/moves", dependencies=Look)
def moves(here: Here, limit: Limit = 100, offset: Offset = 0, state: MoveState | None = None) -> Page[Outcome]:
    """Moves: running ones first, then the latest ended."""
    found = [outcome for outcome in here.fleet().snapshot.moves if state in (None, outcome.state)]
    return _paged(here, found, limit, offset)


@router.get("/plan", dependencies=Look)
def plan(here: Here) -> Plan:
    """The plan of the last cycle: each move, each rejected option with its reason, and tickets."""
    return here.fleet().snapshot.plan


@router.get("/log", dependencies=Look)
def log(
    here: Here,
    limit: Limit = 100,
    offset: Offset = 0,
    severity: Severity | None = None,
    host: str | None = None,
) -> Page[LogLine]:
    """What Forewarn saw, decided and did, in plain sentences, the newest first."""
    found = [
        line for line in here.fleet().snapshot.log if severity in (None, line.severity) and host in (None, line.host)
    ]
    return _paged(here, found, limit, offset)


@router.get(
    "/events",
    dependencies=Look,
    response_class=Response,
    responses={200: {"content": {"text/event-stream": {}}, "description": "events: cycle, cells, hosts, log, moves"}},
)
async def events(
    request: Request,
    since: Annotated[str, Query(max_length=64)] = "",
    last_event_id: Annotated[str, Header(max_length=64)] = "",
) -> Response:
    """Changes as server-sent events. `since` (or Last-Event-ID) is the version that the client shows."""
    here = context_of(request)
    client = await here.broadcaster.welcome(last_event_id or since)
    asker = asker_of(request)
    most_s = here.settings.stream_s if asker is not None and asker.way is not Way.NEARNESS else inf
    return EventStream(here.broadcaster, client, here.settings.keep_alive_s, most_s)


@router.get("/health", responses={503: {"model": Health}})
def health(here: Here) -> JSONResponse:
    """200 while cycles go on; 503 when the snapshot is missing or stale."""
    try:
        fleet = here.fleet()
    except NoSnapshot:
        return JSONResponse({"status": "starting", "age_s": None, "cycle": None, "counts": None}, 503)
    stale = here.is_stale(fleet)
    body: dict[str, Any] = {
        "status": "stale" if stale else "ok",
        "age_s": here.age_s(fleet),
        "cycle": fleet.snapshot.cycle,
        "counts": asdict(fleet.counts),
    }
    return JSONResponse(body, 503 if stale else 200)


@router.get("/metrics", dependencies=Look, response_class=PlainTextResponse)
def metrics(here: Here) -> PlainTextResponse:
    """Forewarn's own metrics, in Prometheus' text format."""
    streams = {
        "streams": here.broadcaster.clients,
        "streams_dropped_total": here.broadcaster.dropped,
        "streams_refused_total": here.broadcaster.refused,
    }
    text = exposition(here.fleet_or_none(), here.clock.now(), here.version, streams, here.extra())
    text += here.ingest.exposition() if here.ingest else ""
    return PlainTextResponse(text, media_type="text/plain; version=0.0.4; charset=utf-8")


@router.get("/standing", dependencies=Look)
def standing(here: Here) -> StandingView:
    """What allows and what holds back: modes by scope, evidence, breaker, windows, limits, and who leads."""
    snapshot = here.fleet().snapshot
    return StandingView(furthest=snapshot.mode, paused=snapshot.paused, standing=snapshot.standing)


@router.get("/requests", dependencies=Look)
def requests(here: Here, limit: Limit = 100) -> list[TakenRequest]:
    """The latest requests, the newest first: `waiting` until the control loop has taken them."""
    return list(here.inbox().recent(min(limit, here.settings.page_size_max)))


@router.post("/requests", status_code=201, name="request")
def ask(
    here: Here, request: Request, new: NewRequest, who: Annotated[Principal, Depends(needs(Role.OPERATOR))]
) -> TakenRequest:
    """Ask the control loop for something: a pause, the end of a move, a mode. It acts on this at its next cycle."""
    if new.kind in FOR_ADMINS and not who.may(Role.ADMIN):
        raise NotAllowed(f"a request for {new.kind.replace('_', ' ')} takes the role {Role.ADMIN}")
    taken = here.inbox().ask(new, who.name)
    record(request, "request", target=taken.kind, why=taken.reason, detail={"request": str(taken.id)})
    return taken
