"""What a person may ask the control loop from a page or by the API, always with a reason; and what was asked lately."""

from collections.abc import Mapping
from datetime import datetime
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from forewarn.errors import PermanentError, TemporaryError
from forewarn.state.requests import Request, RequestKind, Requests
from forewarn.web.asking import wrong_with


class NewRequest(BaseModel):
    """A request as it is sent. Which `args` a kind takes is checked here; unknown ones are refused."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    kind: RequestKind
    reason: str = Field(min_length=1, description="why, for the log; required")
    args: dict[str, str] = Field(default={}, max_length=10, description="what the kind needs, such as a move's id")

    @model_validator(mode="after")
    def _check_args(self) -> Self:
        if wrong := wrong_with(self.kind, self.args):
            raise ValueError(wrong)
        return self


class TakenRequest(BaseModel):
    """A request as it was written down. It is `waiting` until the loop takes it at its next cycle."""

    id: int
    kind: RequestKind
    reason: str
    who: str
    made_at: datetime
    args: Mapping[str, str] = {}
    state: str = "waiting"  # waiting or taken
    taken_at: datetime | None = None


class ReasonTooLong(PermanentError):
    """A reason longer than the setting allows."""

    code = "invalid_request"


class NoInbox(TemporaryError):
    """No state database, so nobody would read the request."""

    code = "no_state"


def check_reason(reason: str, chars_max: int) -> None:
    """Raises ReasonTooLong."""
    if len(reason) > chars_max:
        raise ReasonTooLong(f"the reason has {len(reason)} characters; at most {chars_max} are taken")


class Inbox:
    """Writes requests down. They are checked here, and acted on by the control loop alone."""

    def __init__(self, requests: Requests, reason_chars_max: int) -> None:
        self._requests = requests
        self._reason_chars_max = reason_chars_max

    def ask(self, new: NewRequest, who: str) -> TakenRequest:
        """Raises ReasonTooLong, and StateError or StoreUnavailable if it cannot be written."""
        check_reason(new.reason, self._reason_chars_max)
        return _view(self._requests.make(new.kind, who, new.reason, new.args))

    def recent(self, limit: int) -> tuple[TakenRequest, ...]:
        """The latest requests, the newest first."""
        return tuple(_view(request) for request in self._requests.recent(limit))


def _view(request: Request) -> TakenRequest:
    return TakenRequest(
        id=request.id,
        kind=request.kind,
        reason=request.why,
        who=request.who,
        made_at=request.made_at,
        args=request.args,
        state="taken" if request.taken_at else "waiting",
        taken_at=request.taken_at,
    )
