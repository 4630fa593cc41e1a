"""Limits on what the executor may start: how many moves at once and per hour, from how old a plan, and whether at all.

A guard decides nothing else: what it holds back is not failed and not queued, the next cycle plans anew. Each time it
holds something back, it says so in a sentence and counts it.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from forewarn.decide.breaker import SMALL_CLUSTER
from forewarn.domain.inventory import Cluster
from forewarn.domain.plan import Move, Outcome, Plan, Refusal, Verdict

HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class GuardSettings:
    """How much may move."""

    moves_per_source: int = 2
    """Moves at once out of one host. They share its link: more of them only stretch each other's copies."""
    moves_per_target: int = 2
    """Moves at once into one host, for the same reason; and a target shall not fill up before anybody looks again."""
    moves_at_once: int = 10
    """Moves at once in the whole cluster: what the network between the racks bears beside its own work."""
    moves_per_hour: int = 120
    """Moves begun within any hour in the whole cluster: what one wrong metric on every host may do at worst."""
    moves_per_link: int = 6
    """Moves at once into or out of one rack: they share its uplink, and storage and guests need it too."""
    hosts_share: float = 0.1
    """Share (0..1) of the hosts that VMs may be leaving at once, rounded up; in a cluster of fewer than five hosts one,
    for there each host is a large part of everything."""
    plan_age_s_max: float = 300.0
    """Seconds after which a plan is not begun any more: what it answered may be over."""
    inventory_age_s_max: float = 300.0
    """Seconds after which a picture of the cluster is too old to start moves from."""
    clock_skew_s_max: float = 30.0
    """Seconds by which a plan or an inventory may be ahead of the clock; beyond it one of the two clocks is wrong."""

    def hosts_max(self, hosts: int) -> int:
        """The number of hosts that VMs may be leaving at once."""
        return 1 if hosts < SMALL_CLUSTER else max(1, math.ceil(self.hosts_share * hosts))


class Guard(StrEnum):
    """What held a move back; the names label the counts."""

    PAUSED = "paused"
    PLAN_AGE = "plan_age"
    INVENTORY_AGE = "inventory_age"
    PER_SOURCE = "moves_per_source"
    PER_TARGET = "moves_per_target"
    AT_ONCE = "moves_at_once"
    PER_HOUR = "moves_per_hour"
    PER_LINK = "moves_per_link"
    HOSTS = "hosts_share"


class Guards:
    """The limits, the pause switch and the counts. `paused` is the reason while no move may start, else empty."""

    def __init__(self, settings: GuardSettings | None = None, paused: str = "") -> None:
        self.settings = settings or GuardSettings()
        self.paused = paused
        self.hits: Counter[Guard] = Counter()
        self._plan_age_s = 0.0  # of the plan that was looked at last, when it was

    def pause(self, reason: str) -> None:
        """Let no move start until `resume`; running moves go on."""
        self.paused = reason

    def resume(self) -> None:
        self.paused = ""

    def closed_because(self, plan: Plan, cluster: Cluster, now: datetime) -> tuple[Guard, str] | None:
        """Why nothing of `plan` may start now, if that is so."""
        self._plan_age_s = _age_s(plan.time, now)
        if self.paused:
            return Guard.PAUSED, f"moves are paused: {self.paused}"
        late = self._late(plan.time, self.settings.plan_age_s_max, now)
        if late:
            return Guard.PLAN_AGE, f"the plan is {late}"
        late = self._late(cluster.time, self.settings.inventory_age_s_max, now)
        if late:
            return Guard.INVENTORY_AGE, f"the inventory is {late}"
        if cluster.generation < plan.generation:
            return Guard.INVENTORY_AGE, "the inventory is older than the plan"
        return None

    def used(self, cluster: Cluster, now: datetime) -> Mapping[Guard, tuple[float, float]]:
        """How old plan and inventory are and may be, in seconds, and whether moves are paused: 1 of 1 if so."""
        return {
            Guard.PLAN_AGE: (self._plan_age_s, self.settings.plan_age_s_max),
            Guard.INVENTORY_AGE: (_age_s(cluster.time, now), self.settings.inventory_age_s_max),
            Guard.PAUSED: (float(bool(self.paused)), 1.0),
        }

    def held(self, move: Move, guard: Guard, text: str) -> Verdict:
        """Count a move that a guard holds back, and say so."""
        self.hits[guard] += 1
        refusal = Refusal.PAUSED if guard is Guard.PAUSED else Refusal.LIMIT
        return not_started(move, refusal, text)

    def _late(self, time: datetime, age_s_max: float, now: datetime) -> str:
        age_s = (now - time).total_seconds()
        if age_s > age_s_max:
            return f"{age_s:.0f} s old, and at most {age_s_max:g} s are allowed"
        if age_s < -self.settings.clock_skew_s_max:
            return f"{-age_s:.0f} s ahead of this machine's clock: one of the two clocks is wrong"
        return ""


def _age_s(time: datetime, now: datetime) -> float:
    return round(max(0.0, (now - time).total_seconds()), 1)


class Slots:
    """What is left of the limits within one run."""

    def __init__(
        self, settings: GuardSettings, in_flight: Iterable[Outcome], intended_last_hour: int, cluster: Cluster
    ) -> None:
        self._settings = settings
        self._racks = {host.name: host.rack for host in cluster.hosts if host.rack}
        self._hosts_max = settings.hosts_max(len(cluster.hosts))
        self._leaving: Counter[str] = Counter()
        self._arriving: Counter[str] = Counter()
        self._links: Counter[str] = Counter()
        self._at_once = 0
        for outcome in in_flight:
            self._carry(outcome.move)
        self._this_hour = intended_last_hour

    def full_because(self, move: Move) -> tuple[Guard, str] | None:
        """Which limit `move` would break, if any."""
        limits = self._settings
        if self._this_hour >= limits.moves_per_hour:
            return Guard.PER_HOUR, f"{self._this_hour} moves began within the last hour, the limit"
        if self._at_once >= limits.moves_at_once:
            return Guard.AT_ONCE, f"{self._at_once} moves are running in the cluster, the limit"
        leaving, arriving = self._leaving[move.source], self._arriving[move.target]
        if not leaving and self.hosts_left >= self._hosts_max:
            return Guard.HOSTS, f"VMs are leaving {self.hosts_left} hosts already, the limit"
        if leaving >= limits.moves_per_source:
            return Guard.PER_SOURCE, f"{leaving} moves are leaving {move.source}, the limit"
        if arriving >= limits.moves_per_target:
            return Guard.PER_TARGET, f"{arriving} moves are arriving on {move.target}, the limit"
        link = next((rack for rack in self._crossed(move) if self._links[rack] >= limits.moves_per_link), None)
        if link is not None:
            return Guard.PER_LINK, f"{self._links[link]} moves use the uplink of {link}, the limit"
        return None

    @property
    def hosts_left(self) -> int:
        """The number of hosts that VMs are leaving."""
        return sum(number > 0 for number in self._leaving.values())

    def take(self, move: Move) -> None:
        self._carry(move)
        self._this_hour += 1

    def used(self) -> Mapping[Guard, tuple[float, float]]:
        """For each limit how much of it is used, and the limit; of limits per host or link, where it is used most."""
        limits = self._settings
        return {
            Guard.PER_SOURCE: (max(self._leaving.values(), default=0), limits.moves_per_source),
            Guard.PER_TARGET: (max(self._arriving.values(), default=0), limits.moves_per_target),
            Guard.PER_LINK: (max(self._links.values(), default=0), limits.moves_per_link),
            Guard.AT_ONCE: (self._at_once, limits.moves_at_once),
            Guard.PER_HOUR: (self._this_hour, limits.moves_per_hour),
            Guard.HOSTS: (self.hosts_left, self._hosts_max),
        }

    def _carry(self, move: Move) -> None:
        self._leaving[move.source] += 1
        self._arriving[move.target] += 1
        self._at_once += 1
        for rack in self._crossed(move):
            self._links[rack] += 1

    def _crossed(self, move: Move) -> tuple[str, ...]:
        """The racks whose uplinks the move uses: none within one rack, or where racks are not known."""
        source, target = self._racks.get(move.source), self._racks.get(move.target)
        return () if source == target else tuple(rack for rack in (source, target) if rack)


def not_started(move: Move, refusal: Refusal, text: str) -> Verdict:
    """A move that was planned and not begun in this run: the next cycle plans anew."""
    text = f"{move.vm_name} was not moved to {move.target} yet: {text}"
    return Verdict(move.vm, move.source, move.component, refusal, text, move.target)
