"""People, programs and agents with tokens, and every route of the pages, for tests of who may do what."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
from fastapi.routing import APIRoute

from forewarn.clock import SimulatedClock
from forewarn.domain.people import Role
from forewarn.state.audit import Audit, Deed
from forewarn.state.credentials import Credentials, NewToken
from forewarn.state.database import Database
from forewarn.web.app import create_app
from forewarn.web.settings import WebSettings
from tests.shown import NOW, Shelf, serving, snapshot_of

SHELF = Shelf(snapshot_of(hosts=4, vms=8))
CLOSED = WebSettings(port=0, refresh_s=0.05, sign_in=True)


@dataclass
class House:
    """A running server that asks everybody to sign in, its state folder, and a token per role."""

    address: str
    folder: Path
    clock: SimulatedClock
    credentials: Credentials
    audit: Audit
    tokens: dict[Role, str] = field(default_factory=dict)

    def as_role(self, role: Role | None, **headers: str) -> httpx.Client:
        """A program that shows its token."""
        shown = {"Authorization": f"Bearer {self.tokens[role]}"} if role else {}
        return httpx.Client(base_url=self.address, headers={**shown, **headers}, timeout=30)

    def deeds(self) -> list[Deed]:
        """What was done and refused, the oldest first."""
        return [row.deed for row in reversed(self.audit.page(limit=1000)[0])]


@contextmanager
def house(folder: Path, settings: WebSettings = CLOSED, roles: tuple[Role, ...] = tuple(Role)) -> Iterator[House]:
    """A server over a state folder; `roles` get a token each."""
    clock = SimulatedClock(NOW + timedelta(seconds=4))
    database = Database(f"sqlite:///{folder / 'state.sqlite'}", clock)
    credentials = Credentials(database)
    tokens = {}
    for role in roles:
        hosts = ("host0*",) if role is Role.AGENT else ()
        tokens[role] = credentials.make_token(NewToken(f"the {role}", role, hosts), "root")[1]
    try:
        with serving(SHELF.read, folder=folder, settings=settings, clock=clock) as server:
            yield House(server.address, folder, clock, credentials, Audit(database), tokens)
    finally:
        database.close()


def routes() -> list[APIRoute]:
    """Every route of the application."""
    app = create_app(WebSettings(), SHELF.read, None, None, SimulatedClock(NOW))
    return list(_routes(app.routes))


def _routes(found: list[Any]) -> Iterator[APIRoute]:
    for route in found:
        if isinstance(route, APIRoute):
            yield route
        elif included := getattr(route, "original_router", None):  # how newer releases keep a router that is included
            yield from _routes(included.routes)
