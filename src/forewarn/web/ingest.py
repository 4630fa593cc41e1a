"""Where agents and collecting Prometheis send to: samples by remote write 1.0, and events as lines of JSON.

A sender shows the token of an agent. Who it is and how much it may send is looked at before its body is read.
"""

from collections.abc import AsyncIterator
from typing import Annotated

import anyio
from fastapi import APIRouter, Depends, Request, Response

from forewarn import event_lines
from forewarn.domain.people import Principal, Role
from forewarn.errors import TemporaryError
from forewarn.web.auth import needs
from forewarn.web.context import Context, context_of
from forewarn.web.intake import BodyRefused, Ingest
from forewarn.web.settings import IngestSettings

_PROTOBUF = ("application/x-protobuf", "application/x-protobuf;proto=prometheus.writerequest")


class NoIngest(TemporaryError):
    """This server keeps no telemetry of others."""

    code = "no_ingest"


router = APIRouter(prefix="/api/v1", tags=["agents"])
Agent = Annotated[Principal, Depends(needs(Role.AGENT))]
Here = Annotated[Context, Depends(context_of)]


def ingest_of(here: Here) -> Ingest:
    """Raises NoIngest where nothing takes what is sent."""
    if here.ingest is None:
        raise NoIngest("this server keeps no telemetry of others", 60.0)
    return here.ingest


Ingests = Annotated[Ingest, Depends(ingest_of)]


async def body_of(request: Request, who: Agent, ingest: Ingests) -> AsyncIterator[bytes]:
    """The body, once it is known that its sender may send it; the answer is made within the sender's turn."""
    with ingest.turn(who):
        yield await _read(request, ingest.settings)


async def _read(request: Request, settings: IngestSettings) -> bytes:
    length = request.headers.get("content-length", "")
    if not (length.isdecimal() and len(length) < 20):
        raise BodyRefused("say the size of the body in Content-Length", "length_required")
    most = settings.body_bytes_max
    body = bytearray()
    try:
        with anyio.fail_after(settings.body_s):
            if int(length) <= most:
                async for chunk in request.stream():
                    body += chunk
                    if len(body) > most:
                        break
    except TimeoutError as error:
        raise BodyRefused(f"the body did not come within {settings.body_s:g} s", "too_slow") from error
    if int(length) > most or len(body) > most:
        raise BodyRefused(f"a body may have at most {most} bytes", "too_large")
    if len(body) != int(length):
        raise BodyRefused(f"{len(body)} bytes came where {length} were announced", "malformed")
    return bytes(body)


def only_remote_write(request: Request, _: Agent, ingest: Ingests) -> None:
    """Raises BodyRefused for another form than that of remote write 1.0, such as 2.0."""
    kind = request.headers.get("content-type", "").replace(" ", "").lower()
    encoding = request.headers.get("content-encoding", "").strip().lower()
    version = request.headers.get("x-prometheus-remote-write-version", "0.1.0")
    if kind not in _PROTOBUF or encoding != "snappy" or not version.startswith(("0.", "1.")):
        with ingest.counted():
            raise BodyRefused(
                "send remote write 1.0: application/x-protobuf, compressed as a snappy block", "unsupported_media_type"
            )


def only_lines(request: Request, _: Agent, ingest: Ingests) -> None:
    """Raises BodyRefused for anything but lines of JSON as they are."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != event_lines.CONTENT_TYPE or request.headers.get("content-encoding", "identity") != "identity":
        with ingest.counted():
            raise BodyRefused(f"send events as {event_lines.CONTENT_TYPE}, uncompressed", "unsupported_media_type")


Body = Annotated[bytes, Depends(body_of)]


@router.post("/write", status_code=204, name="write", dependencies=[Depends(only_remote_write)])
def write(who: Agent, ingest: Ingests, body: Body) -> Response:
    """Take samples, as Prometheus remote write 1.0 sends them. Each series names its host in `instance` or `host`."""
    ingest.write(who, body)
    return Response(status_code=204)


@router.post("/events", status_code=204, name="events", dependencies=[Depends(only_lines)])
def report(who: Agent, ingest: Ingests, body: Body) -> Response:
    """Take events, one JSON object a line: `event` is change or failure, the rest as in the domain."""
    ingest.report(who, body)
    return Response(status_code=204)
