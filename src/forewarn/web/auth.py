"""Who asks, and whether they may: `needs(Role.X)` stands before every handler and returns the Principal.

A program shows its token as `Authorization: Bearer fw_...`, a browser the cookie of its session. On a loopback address
where nobody has a token and sign-in is not asked for, whoever is on this machine may look and ask as an operator.
"""

import hmac
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from ipaddress import ip_address
from typing import cast

from fastapi import Request

from forewarn.clock import Clock
from forewarn.domain.people import Principal, Role
from forewarn.errors import PermanentError
from forewarn.state.credentials import Credentials, Use
from forewarn.web.attempts import Attempts, TooManyAttempts
from forewarn.web.guard import Forbidden, from_our_origin, only_from_our_pages
from forewarn.web.settings import WebSettings

COOKIE = "fw_session"
CSRF_HEADER = "x-csrf-token"
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


class Unauthenticated(PermanentError):
    """Whoever asks has not shown who they are."""

    code = "unauthenticated"


class NotAllowed(PermanentError):
    """Whoever asks is known, and may not do this."""

    code = "forbidden"


class Way(StrEnum):
    """How somebody has shown who they are."""

    TOKEN = "token"  # noqa: S105 - the word, no secret
    SESSION = "session"
    NEARNESS = "nearness"  # being on this machine is enough


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks, how that is known, and the value that changes from a page of theirs must bear."""

    principal: Principal
    way: Way
    csrf: str = ""


class Gate:
    """Decides who is let in. `credentials` is None where there is no state database."""

    def __init__(self, settings: WebSettings, credentials: Credentials | None, clock: Clock) -> None:
        self._settings = settings
        self.credentials = credentials
        limits = (settings.sign_in_failures_max, settings.sign_in_window_s, settings.sign_in_addresses_max)
        self.sign_ins = Attempts(clock, *limits)
        self.tokens = Attempts(clock, *limits)
        self.refusals = Attempts(clock, *limits)  # of whom the audit hears, see `deeds`

    @property
    def anybody_known(self) -> bool:
        """Whether somebody could sign in from another machine."""
        return self.credentials is not None and self.credentials.any_for_people()

    @property
    def closed(self) -> bool:
        """Whether everybody must show who they are."""
        return bool(self._settings.sign_in) or not is_loopback(self._settings.host) or self.anybody_known

    def admit(self, request: Request, role: Role) -> Principal:
        """Whoever asks, if they may do what `role` may.

        Raises Unauthenticated, NotAllowed, TooManyAttempts, and NotJson or Forbidden for a change that does not come
        from our own page.
        """
        asker = self._ask(request)
        request.state.asker = asker
        request.state.principal = asker.principal
        if not asker.principal.may(role):
            if asker.way is Way.NEARNESS:
                raise Unauthenticated("show who you are: this asks for a token, also on this machine")
            raise NotAllowed(f"{asker.principal.name!r} is {asker.principal.role}, and this needs {role}")
        if request.method not in SAFE_METHODS and asker.way is not Way.TOKEN:
            only_from_our_pages(request)
            if asker.way is Way.SESSION:
                check_csrf(asker, request.headers.get(CSRF_HEADER, ""))
        return asker.principal

    def asker_or_none(self, request: Request) -> Asker | None:
        """Who asks, for pages that everybody may see."""
        try:
            return self._ask(request)
        except (Unauthenticated, TooManyAttempts):
            return None

    def _ask(self, request: Request) -> Asker:
        shown = request.headers.get("authorization")
        if shown is not None:
            return self._by_token(shown, address_of(request))
        session = request.cookies.get(COOKIE, "")
        found = self.credentials.recognise(session, Use.SESSION) if self.credentials and session else None
        if found is not None:
            return Asker(found.principal, Way.SESSION, csrf_of(session))
        if not self.closed and is_loopback(address_of(request)):
            return Asker(Principal(f"dashboard at {address_of(request)}", Role.OPERATOR), Way.NEARNESS)
        raise Unauthenticated("sign in, or show a token as `Authorization: Bearer fw_...`")

    def _by_token(self, shown: str, address: str) -> Asker:
        """A valid token is never held up by the failures of others behind the same address."""
        scheme, _, secret = shown.partition(" ")
        if scheme.lower() == "bearer" and self.credentials is not None:
            found = self.credentials.recognise(secret.strip(), Use.TOKEN)
            if found is not None:
                return Asker(found.principal, Way.TOKEN)
        self.tokens.check(address)
        self.tokens.failed(address)
        raise Unauthenticated("this token is not known here, or holds no more")


@dataclass(frozen=True, slots=True)
class Needs:
    """What `needs` returns: a dependency that lets a role in. Tests read `role` off it."""

    role: Role

    def __call__(self, request: Request) -> Principal:
        return gate_of(request).admit(request, self.role)


def needs(role: Role) -> Needs:
    """The dependency of a handler that `role` may ask; it gives the handler the Principal.

    Write `who: Annotated[Principal, Depends(needs(Role.OPERATOR))]`.
    """
    return Needs(role)


def gate_of(request: Request) -> Gate:
    """The gate of the application that serves `request`."""
    return cast(Gate, request.app.state.gate)


def asker_of(request: Request) -> Asker | None:
    """Who was let in to `request`; None where nobody had to show who they are."""
    return cast(Asker | None, getattr(request.state, "asker", None))


def csrf_of(session: str) -> str:
    """What a page of this session sends along with a change. A foreign page cannot know it: it has not the cookie."""
    return hmac.new(session.encode("utf-8", "replace"), b"csrf", sha256).hexdigest()


def check_csrf(asker: Asker, sent: str) -> None:
    """Raises Forbidden unless `sent` is what the asker's pages send."""
    if not hmac.compare_digest(asker.csrf.encode(), sent.encode("utf-8", "replace")):
        raise Forbidden("this request does not bear the mark of our own page; load the page anew and try again")


def form_from_our_page(request: Request, asker: Asker | None, sent: str) -> None:
    """Raises Forbidden for a form that a foreign page has sent; `sent` is its field `csrf`."""
    from_our_origin(request)
    if asker is not None and asker.way is Way.SESSION:
        check_csrf(asker, sent)


def address_of(request: Request) -> str:
    """The address that asks; empty where it is not known, which is nobody's."""
    return request.client.host if request.client else ""


def is_loopback(host: str) -> bool:
    """Whether only this machine can be meant.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0"), is_loopback("")
    (True, True, False, False)
    """
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
