"""The arguments of each kind of request, as somebody may send them. What they mean is the loop's to say.

A model per kind: unknown arguments are refused, and so is a value that could never be carried out.
"""

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from forewarn.domain.authority import Action, Mode, WindowKind
from forewarn.state.requests import RequestKind

_Name = Annotated[str, Field(min_length=1, max_length=200)]
_ComponentKind = Literal["cpu", "memory", "disk", "network", "power"]


class _Args(BaseModel):
    """No argument at all."""

    model_config = ConfigDict(extra="forbid")


class _Pause(_Args):
    running: Literal["drain", "abort"] = "drain"


class _AbortMove(_Args):
    move: _Name


class _Approve(_Args):
    vm: _Name
    source: _Name


class _Mode(_Args):
    mode: Mode
    aggregate: _Name | None = None
    kind: _ComponentKind | None = None
    action: Action | None = None
    until: AwareDatetime | None = None
    override: Literal["yes"] | None = None


class _OpenWindow(_Args):
    kind: WindowKind = WindowKind.MAINTENANCE
    hosts: _Name
    starts_at: AwareDatetime | None = None
    ends_at: AwareDatetime

    @model_validator(mode="after")
    def _ends_after_it_starts(self) -> Self:
        if self.starts_at is not None and self.ends_at <= self.starts_at:
            raise ValueError("a window ends after it starts")
        return self


class _CloseWindow(_Args):
    window: Annotated[str, Field(pattern=r"^[0-9]{1,9}$")]


class _Models(_Args):
    kind: _ComponentKind


class _Promote(_Models):
    version: Annotated[str, Field(pattern=r"^[0-9a-f]{8}$")]


_ARGS: Mapping[RequestKind, type[_Args]] = {
    RequestKind.PAUSE: _Pause,
    RequestKind.RESUME: _Args,
    RequestKind.ABORT_MOVE: _AbortMove,
    RequestKind.APPROVE: _Approve,
    RequestKind.MODE: _Mode,
    RequestKind.RELEASE: _Args,
    RequestKind.CLEAR_BREAKER: _Args,
    RequestKind.OPEN_WINDOW: _OpenWindow,
    RequestKind.CLOSE_WINDOW: _CloseWindow,
    RequestKind.PROMOTE: _Promote,
    RequestKind.ROLL_BACK: _Models,
    RequestKind.TRAIN: _Models,
}


def wrong_with(kind: RequestKind, args: Mapping[str, str]) -> str:
    """What is wrong with the arguments of a request; empty where nothing is.

    >>> wrong_with(RequestKind.ABORT_MOVE, {"move": "m1"}), wrong_with(RequestKind.RESUME, {"at": "once"})
    ('', 'at: Extra inputs are not permitted')
    """
    try:
        _ARGS[kind].model_validate(dict(args))
    except ValidationError as error:
        found = error.errors(include_url=False)[:5]
        return "; ".join(": ".join(filter(None, [".".join(map(str, e["loc"])), e["msg"]])) for e in found)
    return ""
