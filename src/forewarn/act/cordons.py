"""Cordons: hosts that Forewarn keeps from receiving VMs, each for a time that it renews while the cause lasts.

The row comes first, the call second. A controller that is gone renews nothing: its cordons end by themselves where the
placement service knows an end, and else when the next controller starts or `forewarn release --all` is run.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, insert, select, update

from forewarn.domain.inventory import Cluster
from forewarn.domain.plan import Cordon
from forewarn.domain.situation import Budget
from forewarn.drivers.base import Cordoner
from forewarn.errors import CordonRefused, TemporaryError
from forewarn.state.database import Database
from forewarn.state.leadership import Leadership
from forewarn.state.schema import CORDONS


@dataclass(frozen=True, slots=True)
class CordonSettings:
    """How long a cordon lasts."""

    lease_s: float = 900.0
    """Seconds after which a cordon ends unless it is renewed; renewed when half of that is over."""

    hosts_max: int = 50
    """Number of hosts that are cordoned at once: the others must be able to take what they lose."""

    hosts_share: float = 0.2
    """Share (0..1) of all hosts that are cordoned at once at most, and at least one."""

    def limit(self, hosts: int) -> int:
        """The number of hosts that may be cordoned at once."""
        return min(self.hosts_max, max(1, int(self.hosts_share * hosts)))


@dataclass(frozen=True, slots=True)
class HeldCordon:
    """A cordon that Forewarn has set."""

    host: str
    set_at: datetime
    expires_at: datetime
    why: str


Told = tuple[str, str]  # a host, and what was done about it


def held(database: Database) -> tuple[HeldCordon, ...]:
    """What Forewarn has cordoned, by host, as the state database has it."""
    with database.read() as connection:
        rows = connection.execute(select(CORDONS).order_by(CORDONS.c.host)).all()
    return tuple(HeldCordon(row.host, row.set_at, row.expires_at, row.why) for row in rows)


class Cordons:
    """The cordons of this site. `settle` is called once a cycle, `release` by whoever cleans up."""

    def __init__(
        self,
        cordoner: Cordoner,
        database: Database,
        leadership: Leadership | None = None,
        settings: CordonSettings | None = None,
    ) -> None:
        self.held_back = 0  # how often the limit left a host without a cordon
        self._cordoner, self._database, self._leadership = cordoner, database, leadership
        self._settings = settings or CordonSettings()
        self._troubles: dict[str, str] = {}  # by host, what was last said to go wrong

    def held(self) -> tuple[HeldCordon, ...]:
        """What is cordoned by Forewarn, by host."""
        return held(self._database)

    def settle(self, wanted: Iterable[Cordon], cluster: Cluster, *, stopped: bool = False) -> tuple[Told, ...]:
        """Set what is wanted, renew what goes on, lift the rest; returns each change in words, by host.

        While everything is `stopped`, what is held is only renewed.
        """
        self._check_lead()  # whoever was overtaken lifts nothing either
        if stopped:
            return _said((cordon.host, self._renew(cordon)) for cordon in self.held())
        wanted_by_host = {cordon.host: cordon for cordon in wanted}
        held = {cordon.host: cordon for cordon in self.held()}
        told = [
            (host, self._lift(host, "no part of it calls for that any more"))
            for host in held
            if host not in wanted_by_host
        ]
        told += [(host, self._renew(held[host])) for host in held if host in wanted_by_host]
        room = self._settings.limit(len(cluster.hosts)) - sum(host in wanted_by_host for host in held)
        for cordon in (cordon for host, cordon in wanted_by_host.items() if host not in held):
            if room <= 0:
                self.held_back += 1
                continue
            told.append((cordon.host, self._set(cordon)))
            room -= 1
        self._troubles = {host: text for host, text in self._troubles.items() if host in wanted_by_host}
        return _said(told)

    def budget(self, cluster: Cluster) -> tuple[Budget, ...]:
        """How many hosts are cordoned, of how many that may be."""
        return (Budget("cordons", len(self.held()), self._settings.limit(len(cluster.hosts)), self.held_back),)

    def withdraw(self) -> tuple[Told, ...]:
        """Lift everything; what the placement service does not answer for is lifted by a later call."""
        self._check_lead()
        why = "everything that Forewarn had set is released"
        return _said((cordon.host, self._lift(cordon.host, why)) for cordon in self.held())

    def release(self, why: str) -> tuple[Told, ...]:
        """Lift every cordon of Forewarn; returns each host and a sentence. Raises what the placement service raises."""
        return tuple((cordon.host, self._lift(cordon.host, why, raising=True)) for cordon in self.held())

    def _set(self, cordon: Cordon) -> str:
        now = self._now()
        epoch = self._leadership.epoch if self._leadership else 0
        with self._writing() as connection:  # its end is now, until the call is answered
            values = {"host": cordon.host, "set_at": now, "expires_at": now, "epoch": epoch, "why": cordon.why}
            connection.execute(insert(CORDONS).values(**values))
        try:
            self._call(cordon.host, cordon.why)
        except CordonRefused as error:
            self._forget(cordon.host)
            return self._once(cordon.host, f"{cordon.host} could not be cordoned: {error}")
        except TemporaryError as error:  # it may have been done all the same: the row stays, and is renewed next
            return self._once(cordon.host, f"{cordon.host} could not be cordoned: {error}")
        return f"{cordon.host} is cordoned: {cordon.why}"

    def _renew(self, held: HeldCordon) -> str:
        if held.expires_at - self._now() > timedelta(seconds=self._settings.lease_s) / 2:
            return ""
        try:
            self._call(held.host, held.why)
        except (CordonRefused, TemporaryError) as error:
            return self._once(held.host, f"the cordon of {held.host} could not be renewed: {error}")
        return ""

    def _call(self, host: str, why: str) -> None:
        """Ask for a cordon of one lease from now on, and write its end down once that is answered."""
        until = self._now() + timedelta(seconds=self._settings.lease_s)
        self._cordoner.cordon(host, why, until)
        self._troubles.pop(host, None)
        with self._writing() as connection:
            connection.execute(update(CORDONS).where(CORDONS.c.host == host).values(expires_at=until))

    def _once(self, host: str, trouble: str) -> str:
        """What went wrong with a host, unless that was the last thing said of it."""
        if self._troubles.get(host) == trouble:
            return ""
        self._troubles[host] = trouble
        return trouble

    def _lift(self, host: str, why: str, *, raising: bool = False) -> str:
        try:
            self._cordoner.uncordon(host)
        except TemporaryError:
            if raising:
                raise
            return ""  # tried again in the next cycle: the row stays
        self._forget(host)
        return f"{host} is not cordoned any more: {why}"

    def _forget(self, host: str) -> None:
        with self._writing() as connection:
            connection.execute(delete(CORDONS).where(CORDONS.c.host == host))

    def _check_lead(self) -> None:
        if self._leadership:
            with self._database.read() as connection:
                self._leadership.check(connection)

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        """A writing transaction; where there is a lead to hold, of whoever holds it."""
        with self._database.write() as connection:
            if self._leadership:
                self._leadership.check(connection)
            yield connection

    def _now(self) -> datetime:
        return self._database.clock.now()


def _said(told: Iterable[Told]) -> tuple[Told, ...]:
    return tuple((host, text) for host, text in told if text)
