"""Tokens and the audit under /api/v1: who may ask, and who did what. For admins."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request
from pydantic import BaseModel, ConfigDict, Field

from forewarn.domain.people import Principal, Role
from forewarn.errors import TemporaryError
from forewarn.state.credentials import Credential, Credentials, NewToken
from forewarn.web.api import ErrorBody, Here, Limit, Offset, Page
from forewarn.web.auth import gate_of, needs
from forewarn.web.context import Context, NotFound, context_of
from forewarn.web.deeds import audit_of, record
from forewarn.web.inbox import check_reason


class NoCredentials(TemporaryError):
    """No state database, so there are neither tokens nor an audit."""

    code = "no_state"


class Because(BaseModel):
    """Why something is done."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    reason: str = Field(min_length=1, description="why, for the audit; required")


class WantedToken(Because):
    """A token as it is asked for."""

    name: str = Field(description="of the person or the program; shown wherever it acts")
    role: Role
    hosts: tuple[str, ...] = Field((), description="for an agent: patterns of the hosts for which it speaks")
    days: int | None = Field(None, description="that it holds; 0: until it is revoked; left out: as the settings say")


class TokenView(BaseModel):
    """A token without its secret."""

    id: int
    name: str
    role: Role
    hosts: tuple[str, ...]
    state: str  # valid, expired or revoked
    made_at: datetime
    made_by: str
    expires_at: datetime | None
    used_at: datetime | None
    revoked_at: datetime | None


class MadeToken(TokenView):
    """A new token. Its secret is shown in this one answer."""

    token: str


class DeedView(BaseModel):
    """A line of the audit. `result` is `done`, or the code of the error with which it was refused."""

    id: int
    time: datetime
    who: str
    role: str
    action: str
    target: str
    why: str
    result: str
    detail: dict[str, str]


_ROW_MAX = 2**63 - 1  # the largest number that the database knows

router = APIRouter(prefix="/api/v1", responses={"4XX": {"model": ErrorBody}, "5XX": {"model": ErrorBody}})
Admin = Annotated[Principal, Depends(needs(Role.ADMIN))]


def _view(token: Credential, now: datetime) -> TokenView:
    return TokenView(
        id=token.id,
        name=token.principal.name,
        role=token.principal.role,
        hosts=token.principal.hosts,
        state=token.state(now),
        made_at=token.made_at,
        made_by=token.made_by,
        expires_at=token.expires_at,
        used_at=token.used_at,
        revoked_at=token.revoked_at,
    )


def _credentials(request: Request) -> Credentials:
    found = gate_of(request).credentials
    if found is None:
        raise NoCredentials("this server has no state database, so it knows no tokens")
    return found


def _capped(here: Context, limit: int, offset: int) -> tuple[int, int]:
    return min(limit, here.settings.page_size_max), min(offset, _ROW_MAX)


@router.post("/tokens", status_code=201, name="token.add")
def make_token(request: Request, new: WantedToken, who: Admin) -> MadeToken:
    """Make a token for a person, a program or an agent. The answer is the only place where its secret stands."""
    here = context_of(request)
    check_reason(new.reason, here.settings.reason_chars_max)
    made, secret = _credentials(request).make_token(NewToken(new.name, new.role, new.hosts, new.days), who.name)
    detail = {"name": made.principal.name, "role": str(new.role), "hosts": " ".join(new.hosts)}
    record(request, "token.add", f"token {made.id}", new.reason, detail=detail)
    return MadeToken(token=secret, **_view(made, here.clock.now()).model_dump())


@router.get("/tokens", dependencies=[Depends(needs(Role.ADMIN))])
def tokens(request: Request, here: Here, limit: Limit = 100, offset: Offset = 0) -> Page[TokenView]:
    """Tokens, the newest first, without their secrets; ended ones too for a while."""
    limit, offset = _capped(here, limit, offset)
    found, total = _credentials(request).tokens(limit, offset)
    views = [_view(token, here.clock.now()) for token in found]
    return Page(items=views, total=total, offset=offset, limit=limit)


@router.delete("/tokens/{token}", name="token.revoke", dependencies=[Depends(needs(Role.ADMIN))])
def revoke_token(
    request: Request, here: Here, token: Annotated[int, Path(ge=1, le=_ROW_MAX)], why: Because
) -> TokenView:
    """Revoke a token, at once, and end the sessions that were opened with it."""
    check_reason(why.reason, here.settings.reason_chars_max)
    ended = _credentials(request).revoke(token)
    if ended is None:
        raise NotFound(f"there is no token {token} that still holds")
    record(request, "token.revoke", f"token {token}", why.reason, detail={"name": ended.principal.name})
    return _view(ended, here.clock.now())


@router.get("/audit", dependencies=[Depends(needs(Role.ADMIN))])
def audit(request: Request, here: Here, limit: Limit = 100, offset: Offset = 0) -> Page[DeedView]:
    """Who did what and why, the newest first; refused attempts too."""
    limit, offset = _capped(here, limit, offset)
    kept = audit_of(request)
    rows, total = kept.page(limit, offset) if kept is not None else ((), 0)
    views = [
        DeedView(
            id=row.id,
            time=row.time,
            who=row.deed.who,
            role=row.deed.role,
            action=row.deed.action,
            target=row.deed.target,
            why=row.deed.why,
            result=row.deed.result,
            detail=dict(row.deed.detail),
        )
        for row in rows
    ]
    return Page(items=views, total=total, offset=offset, limit=limit)
