"""What stands before every answer: which `Host` may be asked for, how large a body may be, and the headers of safety.

Pages may load nothing from elsewhere and run no script but our own files. Only `/hosts/` lets scripts set styles in
markup, since Plotly does.
"""

from fastapi import Request
from fastapi.responses import JSONResponse
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from forewarn.errors import PermanentError
from forewarn.web.settings import WebSettings

_CSP = (
    "default-src 'self'; style-src 'self'{styles}; img-src 'self' data:; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
# Posts to these bear telemetry: whoever reads them has limits of its own. See `web/ingest.py`.
_OWN_LIMITS = ("/api/v1/write", "/api/v1/events")
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


class Forbidden(PermanentError):
    """A request that must not come from where it comes."""

    code = "forbidden_origin"


class NotJson(PermanentError):
    """A body that is not declared as JSON: a plain form of a foreign page could have sent it."""

    code = "unsupported_media_type"


def error_body(code: str, message: str) -> dict[str, dict[str, str]]:
    """Every error of the API looks like this; `code` is stable."""
    return {"error": {"code": code, "message": message}}


def host_name(header: str) -> str:
    """The name in a `Host` header, without its port.

    >>> host_name("localhost:8460"), host_name("[::1]:8460"), host_name("127.0.0.1")
    ('localhost', '::1', '127.0.0.1')
    """
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.rpartition(":")[0] or header


class Guard:
    """The outermost layer of the application."""

    def __init__(self, app: ASGIApp, settings: WebSettings) -> None:
        self._app = app
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        charts = scope["path"].startswith("/hosts/")

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                _add_headers(MutableHeaders(scope=message), charts=charts)
            await send(message)

        refused = self._refusal(scope["method"], scope["path"], Headers(scope=scope))
        await (refused or self._app)(scope, receive, with_headers)

    def _refusal(self, method: str, path: str, headers: Headers) -> JSONResponse | None:
        name = host_name(headers.get("host", ""))
        if name not in self._settings.allowed_hosts:
            return JSONResponse(error_body("host_not_allowed", f"this server is not called {name!r}"), 400)
        if method in ("GET", "HEAD", "OPTIONS") or path in _OWN_LIMITS:
            return None
        length = headers.get("content-length", "")
        if not length.isdecimal():
            return JSONResponse(error_body("length_required", "say the size of the body in Content-Length"), 411)
        if int(length) > self._settings.request_bytes_max:
            limit = self._settings.request_bytes_max
            return JSONResponse(error_body("too_large", f"a body may have at most {limit} bytes"), 413)
        return None


def _add_headers(headers: MutableHeaders, *, charts: bool) -> None:
    headers["Content-Security-Policy"] = _CSP.format(styles=" 'unsafe-inline'" if charts else "")
    for name, value in _HEADERS.items():
        headers.setdefault(name, value)
    headers.setdefault("Cache-Control", "no-store")


def only_from_our_pages(request: Request) -> None:
    """Refuse a request that changes something unless it is JSON, and not from a foreign page.

    Raises NotJson and Forbidden. A foreign page cannot send JSON here without asking first, and is never allowed to.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise NotJson("send the request as application/json")
    from_our_origin(request)


def from_our_origin(request: Request) -> None:
    """Raises Forbidden where the browser says that a page of another origin or site asks."""
    origin = request.headers.get("origin")
    if origin is not None and origin != f"{request.url.scheme}://{request.headers['host']}":
        raise Forbidden("this request comes from a page of another origin")
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise Forbidden("this request comes from a page of another site")
