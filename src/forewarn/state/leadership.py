"""Which controller acts: a lease with an epoch. Who holds it renews it; who waits takes it over once it has run out.

The journal compares the epoch in each of its transactions, so a controller that was overtaken can start nothing more,
whatever it still believes.
"""

import os
import socket
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import Connection, insert, select, update

from forewarn.errors import NotLeading
from forewarn.state.database import Database
from forewarn.state.schema import LEADERS


@dataclass(frozen=True, slots=True)
class LeaseSettings:
    """How long a controller leads without saying so again."""

    lease_s: float = 180.0
    """Seconds after which a controller that has not renewed its lease counts as gone: three cycles of a minute."""

    def __post_init__(self) -> None:
        if self.lease_s <= 0:
            raise ValueError(f"lease_s is {self.lease_s:g}; it lies above 0")


class Leadership:
    """One controller's part in leading. `holder` names it to people: a machine and a process."""

    def __init__(self, database: Database, holder: str = "", settings: LeaseSettings | None = None) -> None:
        self.epoch = 0
        self._database, self._holder = database, holder
        self._lease = timedelta(seconds=(settings or LeaseSettings()).lease_s)

    def acquire(self) -> int:
        """Take the lead, or renew it; returns the epoch. Raises NotLeading while another controller holds it."""
        now = self._database.clock.now()
        if self._holds_well(now):
            return self.epoch
        with self._database.write() as connection:
            newest = _newest(connection)
            if newest is not None and self.epoch and newest.epoch == self.epoch:
                mine = update(LEADERS).where(LEADERS.c.epoch == self.epoch)
                connection.execute(mine.values(expires_at=now + self._lease))
                return self.epoch
            if newest is not None and now < newest.expires_at and self._must_wait(newest):
                raise NotLeading(f"{_words(newest)} leads until {newest.expires_at:%H:%M:%S} UTC unless it goes on")
            epoch = (newest.epoch if newest else 0) + 1
            values = {"epoch": epoch, "since": now, "holder": self._holder, "expires_at": now + self._lease}
            connection.execute(insert(LEADERS).values(**values))
        self.epoch = epoch
        return epoch

    def _holds_well(self, now: datetime) -> bool:
        """Whether this one leads and most of its lease is left: then nothing has to be written."""
        if not self.epoch:
            return False
        with self._database.read() as connection:
            newest = _newest(connection)
        return newest is not None and newest.epoch == self.epoch and newest.expires_at - now > self._lease * 2 / 3

    def _must_wait(self, newest: "_Leader") -> bool:
        """Whether another controller may still be at work: not this one before a restart, nor one that was killed."""
        if self.epoch:  # this one was overtaken
            return True
        return newest.holder != self._holder and not _gone(newest.holder)

    def release(self) -> None:
        """Give the lead back, so that whoever waits need not wait for the lease to run out."""
        if self.epoch:
            with self._database.write() as connection:
                mine = update(LEADERS).where(LEADERS.c.epoch == self.epoch)
                connection.execute(mine.values(expires_at=self._database.clock.now()))
        self.epoch = 0

    def check(self, connection: Connection) -> None:
        """Within a transaction: raise NotLeading unless this controller leads now."""
        newest = _newest(connection)
        if not self.epoch:
            raise NotLeading("this controller does not lead: it starts no moves")
        if newest is None or newest.epoch != self.epoch:
            raise NotLeading("another controller has taken over this state database: this one starts no more moves")

    def expires_at(self) -> datetime | None:
        """When the lease of whoever led last runs out."""
        with self._database.read() as connection:
            newest = _newest(connection)
        return newest.expires_at if newest else None


@dataclass(frozen=True, slots=True)
class _Leader:
    epoch: int
    holder: str
    expires_at: datetime


def own_name() -> str:
    """This process as a holder: `machine/process id`."""
    return f"{socket.gethostname()}/{os.getpid()}"


def _gone(holder: str) -> bool:
    """Whether the holder was a process of this machine that runs no more."""
    machine, _, number = holder.rpartition("/")
    if machine != socket.gethostname() or not number.isdecimal():
        return False
    return not Path(f"/proc/{number}").exists()


def _words(leader: _Leader) -> str:
    return f"another controller ({leader.holder})" if leader.holder else "another controller"


def _newest(connection: Connection) -> _Leader | None:
    row = connection.execute(select(LEADERS).order_by(LEADERS.c.epoch.desc()).limit(1)).first()
    return _Leader(row.epoch, row.holder, row.expires_at) if row else None
