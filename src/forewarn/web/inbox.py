"""What a person may ask the control loop from a page: to pause moves, and to resume. Always with a reason."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from forewarn.errors import PermanentError, TemporaryError
from forewarn.state.requests import RequestKind, Requests


class NewRequest(BaseModel):
    """A request as it is sent."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    kind: Literal["pause", "resume"]
    reason: str = Field(min_length=1, description="why, for the log; required")


class TakenRequest(BaseModel):
    """A request as it was written down."""

    id: int
    kind: str
    reason: str
    who: str
    made_at: datetime


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
        made = self._requests.make(RequestKind(new.kind), who, new.reason)
        return TakenRequest(id=made.id, kind=made.kind, reason=made.why, who=made.who, made_at=made.made_at)
