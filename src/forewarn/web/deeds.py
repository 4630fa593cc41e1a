"""The audit, as handlers write it: who was let in stands on the request, so that none can be forgotten or made up."""

from collections.abc import Mapping
from typing import cast

from fastapi import Request

from forewarn.domain.people import Role
from forewarn.state.audit import DONE, Audit, Deed
from forewarn.web.attempts import TooManyAttempts
from forewarn.web.auth import SAFE_METHODS, address_of, asker_of, gate_of


def audit_of(request: Request) -> Audit | None:
    """The audit of the application that serves `request`; None where it has no state database."""
    return cast(Audit | None, request.app.state.audit)


def record(
    request: Request,
    action: str,
    target: str = "",
    why: str = "",
    result: str = DONE,
    detail: Mapping[str, str] | None = None,
) -> None:
    """Write down what the one who asks did. Secrets and login codes may not stand in any of it."""
    audit, asker = audit_of(request), asker_of(request)
    if audit is None:
        return
    who = asker.principal.name if asker else f"somebody at {address_of(request)}"
    shown = {"from": address_of(request), "by": asker.way if asker else "nothing"}
    role = asker.principal.role if asker else ""
    audit.record(Deed(who, role, action, target, why, result, {**shown, **(detail or {})}))


def record_refusal(request: Request, code: str) -> None:
    """Write down that a change was refused, under the name of its route.

    Strangers and agents are written down so many times within the window of sign-ins and no more: they ask by
    themselves, and would drown what people did.
    """
    route = request.scope.get("route")
    if request.method in SAFE_METHODS or route is None or code == TooManyAttempts.code:
        return
    asker = asker_of(request)
    if asker is None or asker.principal.role is Role.AGENT:
        key, refusals = asker.principal.name if asker else address_of(request), gate_of(request).refusals
        try:
            refusals.check(key)
        except TooManyAttempts:
            return
        refusals.failed(key)
    record(request, route.name, target=route.path, result=code)
