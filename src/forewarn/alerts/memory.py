"""What alerts remember across restarts, in the table `alerts`: which are on since when, and which parts were seen.

Two kinds of rows: `on:KEY` for an alert, and `seen:HOST` for the parts of a host that had a forecast. The control loop
writes both; only `told_at` is written by whoever sends.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import delete, insert, select, update

from forewarn.alerts.alert import Alert, AlertSeverity
from forewarn.alerts.hold import Held
from forewarn.alerts.seen import Part, Place
from forewarn.state.database import Database
from forewarn.state.schema import ALERTS

_ON, _SEEN = "on:", "seen:"


class AlertMemory:
    """The table, read and written in short transactions."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def held(self) -> dict[str, Held]:
        """Every alert that is on or about to be, by its key."""
        with self._database.read() as connection:
            rows = connection.execute(select(ALERTS).where(ALERTS.c.key.startswith(_ON, autoescape=True))).all()
        found = (_held(row.text, row.started_at, row.told_at) for row in rows)
        return {held.alert.key: held for held in found}

    def seen(self) -> dict[Place, Part]:
        """Every part that had a forecast."""
        with self._database.read() as connection:
            rows = connection.execute(select(ALERTS).where(ALERTS.c.key.startswith(_SEEN, autoescape=True))).all()
        parts = (part for row in rows for part in _parts(row.key.removeprefix(_SEEN), row.text))
        return {(part.host, part.component): part for part in parts}

    def keep_held(self, before: Mapping[str, Held], after: Mapping[str, Held]) -> None:
        """Write what changed. When people were told stays as it is, but for an alert that they are to be told anew."""
        changed = {key for key, held in after.items() if before.get(key) != held}
        anew = [key for key in changed if key in before and before[key].told_at and not after[key].told_at]
        gone = [key for key in before if key not in after]
        rows = [
            {"key": _ON + key, "started_at": after[key].since, "told_at": None, "text": _held_text(after[key])}
            for key in sorted(changed)
            if key not in before or key in anew
        ]
        texts = {_ON + key: _held_text(after[key]) for key in sorted(changed) if key in before and key not in anew}
        self._write([_ON + key for key in (*gone, *anew)], rows, texts)

    def keep_seen(self, before: Mapping[Place, Part], after: Mapping[Place, Part], now: datetime) -> None:
        """Write the hosts of which a part came, was lost, came back or was forgotten."""
        places = {place for place in before.keys() | after.keys() if before.get(place) != after.get(place)}
        hosts = {host for host, _ in places}
        by_host: dict[str, list[Part]] = {}
        for (host, _), part in after.items():
            if host in hosts:
                by_host.setdefault(host, []).append(part)
        rows = [
            {"key": _SEEN + host, "started_at": now, "told_at": None, "text": _seen_text(parts)}
            for host, parts in sorted(by_host.items())
        ]
        self._write([_SEEN + host for host in sorted(hosts)], rows, {})

    def told(self, keys: Collection[str], now: datetime) -> None:
        """Remember that people were told of these alerts."""
        with self._database.write() as connection:
            for key in keys:
                connection.execute(update(ALERTS).where(ALERTS.c.key == _ON + key).values(told_at=now))

    def _write(self, gone: Iterable[str], rows: list[dict[str, Any]], texts: Mapping[str, str]) -> None:
        gone = list(gone)
        if not (gone or rows or texts):
            return
        with self._database.write() as connection:
            for key in gone:
                connection.execute(delete(ALERTS).where(ALERTS.c.key == key))
            if rows:
                connection.execute(insert(ALERTS), rows)
            for key, text in texts.items():
                connection.execute(update(ALERTS).where(ALERTS.c.key == key).values(text=text))


def _held_text(held: Held) -> str:
    gone_at = held.gone_at.isoformat() if held.gone_at else ""
    return json.dumps({"alert": asdict(held.alert), "on": held.on, "gone_at": gone_at})


def _held(text: str, since: datetime, told_at: datetime | None) -> Held:
    read = json.loads(text)
    alert = Alert(**{**read["alert"], "severity": AlertSeverity(read["alert"]["severity"])})
    return Held(alert, since, read["on"], _time(read["gone_at"]), told_at)


def _seen_text(parts: Iterable[Part]) -> str:
    """By component: whether it is simulated, since when it is lost, and why."""
    return json.dumps(
        {part.component: [part.simulated, part.lost_at.isoformat() if part.lost_at else "", part.why] for part in parts}
    )


def _parts(host: str, text: str) -> Iterable[Part]:
    for component, (simulated, lost_at, why) in json.loads(text).items():
        yield Part(host, component, simulated, _time(lost_at), why)


def _time(text: str) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
