"""The application: API, pages and static files behind one guard, and how errors are answered."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import anyio
from anyio.to_thread import run_sync
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from forewarn.clock import Clock
from forewarn.domain.situation import Snapshot
from forewarn.errors import ForewarnError, TemporaryError
from forewarn.state.audit import Audit
from forewarn.state.credentials import Credentials
from forewarn.state.database import Database
from forewarn.state.requests import Requests
from forewarn.store.base import TelemetryStore
from forewarn.web import api, pages, people, sign_in
from forewarn.web import ingest as ingest_routes
from forewarn.web.auth import Gate, Unauthenticated
from forewarn.web.context import Context
from forewarn.web.deeds import record_refusal
from forewarn.web.guard import Guard, error_body
from forewarn.web.inbox import Inbox
from forewarn.web.intake import Ingest, Record, Take
from forewarn.web.latest import Latest
from forewarn.web.live import Broadcaster
from forewarn.web.settings import WebSettings

_STATUS_BY_CODE = {
    "not_found": 404,
    "unauthenticated": 401,
    "forbidden": 403,
    "forbidden_origin": 403,
    "foreign_host": 403,
    "too_many_attempts": 429,
    "too_many_samples": 429,
    "malformed": 400,
    "out_of_bounds": 400,
    "too_slow": 408,
    "length_required": 411,
    "too_large": 413,
    "credential": 422,
    "unsupported_media_type": 415,
    "invalid_request": 422,
    "state": 503,
}
_CODE_BY_STATUS = {404: "not_found", 405: "method_not_allowed"}


def create_app(
    settings: WebSettings,
    read: Callable[[], Snapshot | None],
    store: TelemetryStore | None,
    database: Database | None,
    clock: Clock,
    extra: Callable[[], Mapping[str, float]] = dict,
    *,
    credentials: Credentials | None = None,
    audit: Audit | None = None,
    take: Take | None = None,
    record: Record | None = None,
) -> FastAPI:
    """Build the application. `read` is called often and from several threads; it returns the newest snapshot.

    Without `credentials` and `audit` it makes its own over `database`, with the settings' defaults and no file.
    `extra` adds to /metrics what other parts count about themselves.
    `take` and `record` keep what agents send; without both, nothing of theirs is taken.
    """
    latest = Latest(read)
    broadcaster = Broadcaster(latest, settings)
    inbox = Inbox(Requests(database), settings.reason_chars_max) if database is not None else None
    ingest = Ingest(settings.ingest, take, record, clock) if take and record else None
    release = version("forewarn")
    app = FastAPI(
        title="Forewarn",
        version=release,
        summary="Moves virtual machines off a host before its hardware fails",
        docs_url=None,  # its page would load scripts from elsewhere; ours is /api
        redoc_url=None,
        openapi_url=None,  # the schema names every address: it is one of the pages, for whoever may look
        lifespan=_while_serving(broadcaster),
    )
    app.state.context = Context(settings, latest, broadcaster, clock, release, store, inbox, extra, ingest)
    if database is not None:
        credentials, audit = credentials or Credentials(database), audit or Audit(database)
    app.state.gate, app.state.audit = Gate(settings, credentials, clock), audit
    for router in (ingest_routes.router, api.router, people.router, pages.router, sign_in.router):
        app.include_router(router)
    _mount_files(app)
    _answer_errors(app)
    app.add_middleware(Guard, settings=settings)
    return app


def _while_serving(broadcaster: Broadcaster) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with anyio.create_task_group() as group:
            group.start_soon(broadcaster.run)
            yield
            broadcaster.close()

    return lifespan


def _mount_files(app: FastAPI) -> None:
    """Our own files, and Plotly's script out of the installed package."""
    app.mount("/static", StaticFiles(directory=Path(__file__).parent / "static"), name="static")
    plotly = find_spec("plotly")
    if plotly is not None and plotly.submodule_search_locations:
        folder = Path(next(iter(plotly.submodule_search_locations))) / "package_data"
        app.mount("/plotly", StaticFiles(directory=folder), name="plotly")


def _answer_errors(app: FastAPI) -> None:
    app.add_exception_handler(ForewarnError, _on_our_error)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)


async def _on_our_error(request: Request, error: Exception) -> Response:
    code = error.code if isinstance(error, ForewarnError) else "error"
    await run_sync(record_refusal, request, code)
    if code == Unauthenticated.code and _is_for_people(request) and request.method == "GET":
        return sign_in.to_sign_in(request)
    status = _STATUS_BY_CODE.get(code, 503 if isinstance(error, TemporaryError) else 500)
    response = _answer(request, code, str(error), status)
    if code == Unauthenticated.code:
        response.headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, TemporaryError):
        response.headers["Retry-After"] = f"{max(1.0, error.retry_after_s):.0f}"
    return response


async def _on_http_error(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    words = {404: "there is nothing at this address", 405: "this address does not take that method"}
    code = _CODE_BY_STATUS.get(status, "http_error")
    return _answer(request, code, words.get(status, "the request cannot be answered"), status)


async def _on_invalid(request: Request, error: Exception) -> Response:
    found = error.errors() if isinstance(error, RequestValidationError) else []
    said = "; ".join(f"{'.'.join(str(part) for part in e['loc'])}: {e['msg']}" for e in found[:5])
    await run_sync(record_refusal, request, "invalid_request")
    return _answer(request, "invalid_request", said or "the request is not valid", 422)


def _answer(request: Request, code: str, message: str, status: int) -> Response:
    """JSON for the API, a page for people."""
    if not _is_for_people(request):
        return JSONResponse(error_body(code, message), status)
    if request.url.path.startswith("/login"):
        return sign_in.sign_in_page(request, message, status)
    return pages.error_page(request, message, status)


def _is_for_people(request: Request) -> bool:
    """Whether a page is asked for: neither the API nor a part of a page that a script asks for."""
    programs = ("/api/", "/figures/", "/static/", "/plotly/", "/openapi.json")
    return not request.url.path.startswith(programs) and "part" not in request.query_params
