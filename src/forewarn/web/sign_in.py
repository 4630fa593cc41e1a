"""Signing in and out: a page for a token, one for a one-time address, and the cookie of the session. Works unscripted.

Looking at a one-time address does nothing, since chats and mail programs look at addresses by themselves: the button
on its page uses it up.
"""

from typing import Annotated
from urllib.parse import parse_qsl, urlencode

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from forewarn.state.credentials import Credential, Credentials
from forewarn.web.auth import (
    COOKIE,
    Asker,
    Unauthenticated,
    Way,
    address_of,
    csrf_of,
    form_from_our_page,
    gate_of,
)
from forewarn.web.deeds import record
from forewarn.web.pages import Text, framed
from forewarn.web.people import NoCredentials

router = APIRouter(include_in_schema=False)
_FIELDS_MAX = 10


async def form_of(request: Request) -> dict[str, str]:
    """The fields of a plain form; empty where the body is none."""
    text = (await request.body()).decode("utf-8", "replace")
    try:
        return dict(parse_qsl(text, max_num_fields=_FIELDS_MAX))
    except ValueError:
        return {}


Form = Annotated[dict[str, str], Depends(form_of)]


@router.get("/login")
def login_page(request: Request, next: Text = "/") -> HTMLResponse:  # noqa: A002 - the usual name in an address
    """The page that asks for a token."""
    return sign_in_page(request, after=_local(next))


@router.post("/login", name="sign_in")
def sign_in(request: Request, form: Form) -> Response:
    """Open a session for whoever shows a token."""
    form_from_our_page(request, None, "")
    address, gate = address_of(request), gate_of(request)
    gate.sign_ins.check(address)
    opened = _credentials(request).open_by_token(form.get("token", "").strip())
    if opened is None:
        gate.sign_ins.failed(address)
        raise Unauthenticated("this token is not known here, holds no more, or is an agent's")
    return _let_in(request, *opened, _local(form.get("next", "/")))


@router.get("/login/{code}")
def code_page(request: Request, code: str) -> HTMLResponse:  # noqa: ARG001 - the form posts to this very address
    """The page of a one-time address: a button, and nothing done yet."""
    return framed(request, "login_code.html")


@router.post("/login/{code}", name="sign_in")
def sign_in_once(request: Request, code: str) -> Response:
    """Open a session with a one-time code, which ends with this."""
    form_from_our_page(request, None, "")
    address, gate = address_of(request), gate_of(request)
    gate.sign_ins.check(address)
    opened = _credentials(request).open_by_login(code)
    if opened is None:
        gate.sign_ins.failed(address)
        raise Unauthenticated("this sign-in address was used already, or is too old; sign in with a token")
    return _let_in(request, *opened, "/")


@router.post("/logout", name="sign_out")
def sign_out(request: Request, form: Form) -> Response:
    """End the session of this browser."""
    asker = gate_of(request).asker_or_none(request)
    request.state.asker = asker
    form_from_our_page(request, asker, form.get("csrf", ""))
    response = RedirectResponse("/login", 303)
    if asker is not None and asker.way is Way.SESSION:
        _credentials(request).close_session(request.cookies[COOKIE])
        record(request, "sign_out")
    response.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return response


def sign_in_page(request: Request, message: str = "", status: int = 200, after: str = "/") -> HTMLResponse:
    """The page that asks for a token, with what went wrong."""
    return framed(request, "login.html", status, message=message, after=after)


def to_sign_in(request: Request) -> Response:
    """Send a browser to the sign-in page, and back here from there."""
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return RedirectResponse("/login" if here == "/" else f"/login?{urlencode({'next': here[:200]})}", 303)


def _let_in(request: Request, session: Credential, secret: str, after: str) -> Response:
    gate_of(request).sign_ins.forgive(address_of(request))
    request.state.asker = Asker(session.principal, Way.SESSION, csrf_of(secret))
    earlier = request.cookies.get(COOKIE)
    if earlier:
        _credentials(request).close_session(earlier)
    record(request, "sign_in", detail={"with": session.made_by})
    response = RedirectResponse(after, 303)
    age_s = int(_credentials(request).settings.session_s)
    secure = request.url.scheme == "https"
    response.set_cookie(COOKIE, secret, max_age=age_s, httponly=True, samesite="strict", secure=secure)
    return response


def _local(address: str) -> str:
    r"""An address of this server, and never one of another that only looks like it.

    >>> _local("/hosts/a?part=b"), _local("//evil.example"), _local("https://evil.example"), _local("/\\evil.example")
    ('/hosts/a?part=b', '/', '/', '/')
    """
    safe = address.startswith("/") and address.isprintable() and address[1:2] not in ("/", "\\")
    return address if safe else "/"


def _credentials(request: Request) -> Credentials:
    found = gate_of(request).credentials
    if found is None:
        raise NoCredentials("this server has no state database, so nobody can sign in")
    return found
