"""How far Forewarn may go by itself, and what holds it back: modes by scope, evidence, approvals, windows."""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from fnmatch import fnmatchcase

from forewarn.domain.inventory import Kind


class Mode(StrEnum):
    """How far Forewarn may go. The modes stand in order: each allows what the ones before it allow."""

    OBSERVE = "observe"  # look and say what would be done
    RECOMMEND = "recommend"  # do what somebody has approved
    AUTOMATIC = "automatic"  # do it

    @property
    def rank(self) -> int:
        return list(Mode).index(self)


class Action(StrEnum):
    """What may be done about a part that may fail, from the mildest on."""

    CORDON = "cordon"  # let no new VM come to its host
    MOVE = "move"  # move VMs off its host


@dataclass(frozen=True, slots=True)
class Grant:
    """A mode for a scope. An empty `aggregate`, `kind` or `action` means every one; `until` None means until revoked.

    `overrides` holds where this site has no evidence yet that forecasts of the kind are right.
    """

    mode: Mode
    granted_at: datetime
    who: str
    why: str
    aggregate: str = ""
    kind: str = ""
    action: str = ""
    until: datetime | None = None
    overrides: bool = False

    @property
    def breadth(self) -> int:
        """How many of the three parts of the scope are left open; the narrower of two grants counts."""
        return (not self.aggregate) + (not self.kind) + (not self.action)

    @property
    def scope(self) -> str:
        """The scope in words.

        >>> Grant(Mode.AUTOMATIC, datetime(2026, 1, 1), "ann", "trial", kind="disk", action="cordon").scope
        'cordon for disk, everywhere'
        """
        where = f"in aggregate {self.aggregate}" if self.aggregate else "everywhere"
        return f"{self.action or 'every action'} for {self.kind or 'every kind of part'}, {where}"

    def in_force(self, now: datetime) -> bool:
        return self.until is None or now < self.until


@dataclass(frozen=True, slots=True)
class Evidence:
    """How forecasts of one kind have turned out at this very site. `precision_low` is a lower 95 % bound, 0 to 1."""

    kind: Kind
    confirmed: int = 0
    refuted: int = 0
    censored: int = 0
    precision_low: float = 0.0

    @property
    def judged(self) -> int:
        """Forecasts that came out one way or the other."""
        return self.confirmed + self.refuted


@dataclass(frozen=True, slots=True)
class Approval:
    """Somebody agreed that a VM may leave a host."""

    vm: str
    source: str
    until: datetime
    who: str
    why: str

    def holds(self, vm: str, source: str, now: datetime) -> bool:
        return (vm, source) == (self.vm, self.source) and now < self.until


class WindowKind(StrEnum):
    """What a window means for its hosts."""

    MAINTENANCE = "maintenance"  # people work on them: nothing is moved off or onto them, and no failure is noted
    FREEZE = "freeze"  # nothing may move off or onto them


@dataclass(frozen=True, slots=True)
class Window:
    """A time for which hosts are left alone. `hosts` is a pattern of names such as `rack1-*`."""

    kind: WindowKind
    hosts: str
    starts_at: datetime
    ends_at: datetime
    who: str
    why: str
    source: str = "configuration"  # configuration, api, alertmanager
    key: str = ""  # what the source calls it

    def covers(self, host: str, now: datetime) -> bool:
        """Whether the window is open for `host`."""
        return self.starts_at <= now < self.ends_at and fnmatchcase(host, self.hosts)

    def __str__(self) -> str:
        return f"{self.kind} until {self.ends_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC: {self.why} ({self.who})"
