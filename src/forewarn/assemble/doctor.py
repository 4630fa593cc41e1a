"""The checks of a controller: its folder, its stores, its last cycle, its models, and what it may move.

They look and change nothing, beside a running server too: what it holds open is asked of its API.
"""

import json
import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

from forewarn.assemble.libvirt_doctor import libvirt_findings
from forewarn.assemble.placing import DriverKind
from forewarn.assemble.site import SiteSettings, build_forecaster, sources_sentence
from forewarn.assemble.store_doctor import database_answers
from forewarn.assemble.telemetry import StoreKind
from forewarn.domain.authority import Mode
from forewarn.domain.finding import Finding, State
from forewarn.errors import ForewarnError, ModelError, StateError, StoreUnavailable
from forewarn.state.database import schema_of
from forewarn.state.schema import HEAD
from forewarn.state.snapshot import SnapshotFile
from forewarn.store.duckdb_file import look

SKEW = timedelta(seconds=5)  # two clocks that differ by more are told
ANSWER_S = 3.0  # how long a server may take to say how it is
SPACE_LOW_BYTES, SPACE_GONE_BYTES = 2 * 2**30, 200 * 2**20


@dataclass(frozen=True)
class Server:
    """What a running server says of itself."""

    address: str
    status: str
    age_s: float | None
    time: datetime | None


def controller_findings(
    folder: Path, settings: SiteSettings, now: datetime, drivers: Iterable[Finding] | None = None
) -> Iterator[Finding]:
    """Everything that is found of the controller whose files lie in `folder`.

    `drivers` is what a placement service finds of itself; where it is not given, the one of the settings is asked.
    """
    server = ask(settings)
    yield from server_findings(server, now)
    yield from model_findings(settings)
    yield from space(folder)
    embedded = settings.store.kind is StoreKind.DUCKDB
    if not embedded:
        yield from database_answers(folder, settings.store, now)
    if not _is_there(folder):
        yield Finding(
            "state" if not embedded else "store",
            State.NOTE,
            "nothing is kept yet",
            "`forewarn up` makes the folder",
            str(folder),
        )
    elif not os.access(folder, os.R_OK | os.X_OK):
        text = "the state folder may not be looked into: what is kept there is unknown"
        yield Finding("store", State.WARNING, text, "run this as the user of the server, or as root", str(folder))
    else:
        if embedded:
            yield from store_findings(folder / "telemetry.duckdb", now, running=server is not None)
        yield from database_findings(folder / "state.sqlite")
        yield from snapshot_findings(folder / "snapshot.json", now)
    yield from drivers if drivers is not None else driver_findings(folder, settings)
    yield from receivers(settings)


def ask(settings: SiteSettings) -> Server | None:
    """The server that answers at the configured address, None where none does."""
    host = f"[{settings.web.host}]" if ":" in settings.web.host else settings.web.host
    address = f"http://{host}:{settings.web.port}"
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(f"{address}/api/v1/health", timeout=ANSWER_S) as answer:
            return _server(address, answer.headers.get("Date"), answer.read())
    except urllib.error.HTTPError as refused:  # 503 while it starts, or has not had a cycle for too long
        with refused:
            return _server(address, refused.headers.get("Date"), refused.read())
    except (OSError, ValueError):
        return None


def _server(address: str, date: str | None, body: bytes) -> Server | None:
    """What the answer says; None where something else than Forewarn answers there."""
    try:
        told: Any = json.loads(body)
        return Server(address, str(told["status"]), told["age_s"], parsedate_to_datetime(date) if date else None)
    except (ValueError, KeyError, TypeError):
        return None


def server_findings(server: Server | None, now: datetime) -> Iterator[Finding]:
    """Whether a server runs, how it is, and whether its clock is ours."""
    if server is None:
        text = "no server of Forewarn answers at the configured address"
        yield Finding("server", State.NOTE, text, "`forewarn up` starts one; the units in packaging/systemd keep it up")
        return
    age = "" if server.age_s is None else f", its last cycle ended {server.age_s:.0f} s ago"
    if server.status == "stale":
        remedy = "its log says why cycles stopped (`journalctl --unit forewarn`)"
        yield Finding("server", State.ERROR, f"the server runs but its cycles do not{age}", remedy, server.address)
    else:
        yield Finding("server", State.OK, f"a server runs: {server.status}{age}", place=server.address)
    if server.time is not None and abs(now - server.time) > SKEW:
        text = f"the server's clock differs from this one by {abs(now - server.time).total_seconds():.0f} s"
        yield Finding("clock", State.WARNING, text, "keep both in time by chrony or systemd-timesyncd", server.address)


def model_findings(settings: SiteSettings) -> Iterator[Finding]:
    """Whether every model loads and was made for the features that this version computes."""
    try:
        yield Finding("model", State.OK, sources_sentence(build_forecaster(settings.predict)))
    except ModelError as problem:
        remedy = 'train it anew (`forewarn train`), or set its kind to "rules" in predict.models'
        yield Finding("model", State.ERROR, str(problem), remedy)


def space(folder: Path) -> Iterator[Finding]:
    """Whether the disk below the state folder has room."""
    place = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if _is_there(parent))
    try:
        free = shutil.disk_usage(place).free
    except OSError as problem:
        yield Finding(
            "disk", State.WARNING, f"the room for the state folder is unknown: {problem.strerror}", "", str(place)
        )
        return
    text, remedy = f"{free / 2**30:.1f} GiB are free for the state folder", "make room, or shorten store.raw_days"
    state = State.ERROR if free < SPACE_GONE_BYTES else State.WARNING if free < SPACE_LOW_BYTES else State.OK
    yield Finding("disk", state, text, "" if state is State.OK else remedy, str(place))


def store_findings(path: Path, now: datetime, *, running: bool) -> Iterator[Finding]:
    """Whether the telemetry store opens, and whether its newest samples fit this clock."""
    if not path.exists():
        yield Finding("store", State.NOTE, "there is no telemetry yet", "`forewarn up` makes it", str(path))
        return
    try:
        found = look(path)
    except StoreUnavailable as problem:
        yield _busy(path, problem, running)
        return
    except ForewarnError as problem:
        yield Finding("store", State.ERROR, str(problem), "move it away to start anew", str(path))
        return
    ended = "" if found.closed else "; it was not closed, so samples on their way when it stopped are lost"
    yield Finding(
        "store", State.OK, f"the telemetry store opens, with {len(found.last_seen)} hosts{ended}", place=str(path)
    )
    ahead = sorted(host for host, last in found.last_seen.items() if last - now > SKEW)
    if ahead:
        text = f"samples of {', '.join(ahead[:5])} are from the future: a clock is wrong, there or here"
        yield Finding("clock", State.ERROR, text, "keep every host in time by chrony or systemd-timesyncd", str(path))
    elif found.last_seen:
        newest = max(found.last_seen.values())
        yield Finding("clock", State.OK, f"the newest sample is {_age(now - newest)} old", place=str(path))


def _busy(path: Path, problem: StoreUnavailable, running: bool) -> Finding:
    """A store that another process holds is as it should be; one that may not be opened is not."""
    if running:
        text = "the running server holds the telemetry store; its API at /api/v1/health says how it is"
        return Finding("store", State.OK, text, place=str(path))
    if "in use" in str(problem):
        remedy = "a server at another address? name its configuration with --config, or look for `forewarn up`"
        return Finding("store", State.WARNING, str(problem), remedy, str(path))
    return Finding("store", State.ERROR, str(problem), "run this as the user of the server, or as root", str(path))


def database_findings(path: Path) -> Iterator[Finding]:
    """Whether the state database is one of this version."""
    if not path.exists():
        yield Finding("state", State.NOTE, "there is no state database yet", "`forewarn up` makes it", str(path))
        return
    try:
        found = schema_of(path)
    except ForewarnError as problem:
        remedy = "run this as the user of the server; a damaged file comes back from a backup"
        yield Finding("state", State.ERROR, str(problem), remedy, str(path))
        return
    if found is None or not (found.isdecimal() and len(found) == len(HEAD)):
        text = "this is no state database of Forewarn"
        yield Finding("state", State.ERROR, text, "name another folder with --state", str(path))
    elif found > HEAD:
        text = f"it was written by a newer Forewarn (schema {found}, this one knows {HEAD})"
        yield Finding("state", State.ERROR, text, "install that version, or name another folder", str(path))
    elif found < HEAD:
        text = f"its schema is {found}; the next start brings it to {HEAD}"
        yield Finding("state", State.NOTE, text, "keep a copy before the next start", str(path))
    else:
        yield Finding("state", State.OK, f"the state database has today's schema, {HEAD}", place=str(path))


def snapshot_findings(path: Path, now: datetime) -> Iterator[Finding]:
    """How old the last cycle is. Whether it is too old, a running server says."""
    try:
        found = SnapshotFile(path).read()
    except (StateError, OSError) as problem:
        remedy = "run this as the user of the server; the next cycle writes the file anew"
        yield Finding("cycle", State.WARNING, str(problem), remedy, str(path))
        return
    if found is None:
        yield Finding("cycle", State.NOTE, "no cycle has ended yet", "`forewarn up` runs them", str(path))
    else:
        text = f"cycle {found.cycle} ended {_age(now - found.time)} ago in mode {found.mode}"
        yield Finding("cycle", State.OK, text, place=str(path))


def driver_findings(folder: Path, settings: SiteSettings) -> Iterator[Finding]:
    """What the placement service of the settings finds of itself."""
    if settings.driver.kind is DriverKind.NONE:
        yield from no_driver()
    else:
        writing = settings.authority.mode_max is not Mode.OBSERVE
        yield from libvirt_findings(settings.libvirt, _heard(folder / "snapshot.json"), writing=writing)


def _heard(path: Path) -> frozenset[str] | None:
    """The hosts that telemetry knew in the last cycle; None where no cycle tells."""
    try:
        found = SnapshotFile(path).read()
    except (StateError, OSError):
        return None
    return frozenset(part.host for part in found.cluster.components) if found else None


def no_driver() -> Iterator[Finding]:
    """What the driver `none` may do."""
    text = "driver none: the inventory is what telemetry shows, and nothing can be moved: no placement service is named"
    yield Finding("driver", State.NOTE, text, "nothing to mend as long as Forewarn is only to observe")


def receivers(settings: SiteSettings) -> Iterator[Finding]:
    """Who is told of a risk without looking."""
    if told := settings.alerts.receivers:
        text = f"{told} receiver{'s' if told > 1 else ''} of alerts: `forewarn alert test` tries each"
        yield Finding("alerts", State.OK, text)
        return
    text = "no receiver of alerts is configured: risks are told on the dashboard, in the log and as metrics only"
    yield Finding("alerts", State.NOTE, text, "let a Prometheus scrape /api/v1/metrics and alert on forewarn_risk")


def _is_there(path: Path) -> bool:
    """Whether there is such a file or folder, as far as this user may see."""
    try:
        return path.exists()
    except OSError:
        return False


def _age(age: timedelta) -> str:
    seconds = max(0.0, age.total_seconds())
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
