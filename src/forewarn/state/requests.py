"""What people ask of the loop: written by the pages and the command line, taken by the loop, each exactly once."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Row, Select, insert, select, update

from forewarn.errors import StateError
from forewarn.state.database import Database
from forewarn.state.schema import REQUESTS


class RequestKind(StrEnum):
    """What may be asked for."""

    PAUSE = "pause"  # start no more moves; args: running = "drain" (default) or "abort"
    RESUME = "resume"
    ABORT_MOVE = "abort_move"  # args: move = its id
    APPROVE = "approve"  # args: vm, source = its host now
    MODE = "mode"  # args: mode, and optionally aggregate, kind, action, until, override = "yes"
    RELEASE = "release"  # pause, and lift every cordon of Forewarn, until `resume`
    CLEAR_BREAKER = "clear_breaker"
    OPEN_WINDOW = "open_window"  # args: kind, hosts, starts_at, ends_at
    CLOSE_WINDOW = "close_window"  # args: window = its number
    PROMOTE = "promote"  # args: kind, version: the model that shall serve
    ROLL_BACK = "roll_back"  # args: kind: the model before this one shall serve again
    TRAIN = "train"  # args: kind: learn from this site's history


@dataclass(frozen=True, slots=True)
class Request:
    """One wish. `taken_at` is None until the loop has taken it."""

    id: int
    kind: RequestKind
    who: str
    why: str
    made_at: datetime
    taken_at: datetime | None = None
    args: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RequestSettings:
    """Limits on what people ask for."""

    waiting_max: int = 1000
    """Number of requests that may wait for the loop; beyond it, a loop that stands still refuses more."""
    text_max: int = 500
    """Characters of a reason, a name or an argument: they are shown on every page."""


class Requests:
    """The queue between people and the loop."""

    def __init__(self, database: Database, settings: RequestSettings | None = None) -> None:
        self._database = database
        self._settings = settings or RequestSettings()

    def make(self, kind: RequestKind, who: str, why: str, args: Mapping[str, str] | None = None) -> Request:
        """Ask for something. Raises StateError without a reason, for a text too long, or if too many are waiting."""
        args = dict(args or {})
        self._refuse_texts(who, why, args)
        made_at = self._database.clock.now()
        values = {"kind": kind, "args": json.dumps(args), "who": who, "why": why, "made_at": made_at}
        with self._database.write() as connection:
            waiting = connection.execute(_waiting()).all()
            if len(waiting) >= self._settings.waiting_max:
                raise StateError(f"{len(waiting)} requests are waiting already: does the controller run?")
            key = connection.execute(insert(REQUESTS).values(**values)).inserted_primary_key
        return Request(int(key[0]) if key else 0, kind, who, why, made_at, None, args)

    def take(self) -> tuple[Request, ...]:
        """Every request that nobody took before, in the order in which they were made."""
        taken_at = self._database.clock.now()
        with self._database.write() as connection:
            rows = connection.execute(_waiting()).all()
            if rows:
                ids = [row.id for row in rows]
                connection.execute(update(REQUESTS).where(REQUESTS.c.id.in_(ids)).values(taken_at=taken_at))
        return tuple(replace(_request(row), taken_at=taken_at) for row in rows)

    def waiting(self) -> tuple[Request, ...]:
        """Those that the loop has not taken yet."""
        with self._database.read() as connection:
            return tuple(_request(row) for row in connection.execute(_waiting()))

    def recent(self, limit: int = 100) -> tuple[Request, ...]:
        """The latest requests, the newest first."""
        with self._database.read() as connection:
            rows = connection.execute(select(REQUESTS).order_by(REQUESTS.c.id.desc()).limit(limit))
            return tuple(_request(row) for row in rows)

    def paused(self) -> str:
        """Who paused the moves and why, by the requests taken so far; empty while they are not paused."""
        last = self._last_of(RequestKind.PAUSE, RequestKind.RELEASE, RequestKind.RESUME)
        return pause_reason(last) if last is not None and last.kind is not RequestKind.RESUME else ""

    def released(self) -> bool:
        """Whether everything that Forewarn has set is to be undone, and nothing set, until moves are resumed."""
        last = self._last_of(RequestKind.RELEASE, RequestKind.RESUME)
        return last is not None and last.kind is RequestKind.RELEASE

    def _last_of(self, *kinds: RequestKind) -> Request | None:
        """The latest request of these kinds that the loop has taken."""
        taken = select(REQUESTS).where(REQUESTS.c.kind.in_(kinds), REQUESTS.c.taken_at.is_not(None))
        with self._database.read() as connection:
            row = connection.execute(taken.order_by(REQUESTS.c.id.desc()).limit(1)).first()
        return None if row is None else _request(row)

    def taken_since(self, kind: RequestKind, time: datetime) -> tuple[Request, ...]:
        """The requests of a kind that the loop took after `time`, oldest first."""
        taken = select(REQUESTS).where(REQUESTS.c.kind == kind, REQUESTS.c.taken_at > time)
        with self._database.read() as connection:
            return tuple(_request(row) for row in connection.execute(taken.order_by(REQUESTS.c.id)))

    def _refuse_texts(self, who: str, why: str, args: Mapping[str, str]) -> None:
        if not why.strip():
            raise StateError("a request needs a reason: say why")
        longest = max((who, why, *args, *args.values()), key=len)
        if len(longest) > self._settings.text_max:
            raise StateError(
                f"the text {longest[:20]!r}... has {len(longest)} characters, at most {self._settings.text_max} may be"
            )


def pause_reason(request: Request) -> str:
    """How a pause is shown while it holds."""
    return f"{request.why} ({request.who})"


def _waiting() -> Select[tuple[object, ...]]:
    return select(REQUESTS).where(REQUESTS.c.taken_at.is_(None)).order_by(REQUESTS.c.id)


def _request(row: Row[tuple[object, ...]]) -> Request:
    fields = dict(row._mapping)
    return Request(**{**fields, "kind": RequestKind(fields["kind"]), "args": json.loads(fields["args"])})
