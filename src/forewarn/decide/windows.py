"""Windows that the configuration announces: once, or on days of the week."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta

from forewarn.domain.authority import Window, WindowKind

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclass(frozen=True, slots=True)
class PlannedWindow:
    """One announced window: from `starts_at` to `ends_at`, or on `days` from `from_utc` for `hours`."""

    why: str
    """The reason, as every log line about it says it."""

    kind: WindowKind = WindowKind.MAINTENANCE
    """maintenance: hosts are worked on; freeze: nothing moves off or onto them."""

    hosts: str = "*"
    """Pattern of the hosts that it is for, such as `rack1-*`."""

    starts_at: datetime | None = None
    """When it opens, once; with a time zone."""

    ends_at: datetime | None = None
    """When it closes, once."""

    days: tuple[str, ...] = ()
    """Days of the week on which it opens: mon, tue, wed, thu, fri, sat, sun."""

    from_utc: str = "00:00"
    """Time of the day (UTC) at which it opens on those days."""

    hours: float = 24.0
    """Hours for which it stays open then; at most a week."""

    def __post_init__(self) -> None:
        stamps = [stamp for stamp in (self.starts_at, self.ends_at) if stamp is not None]
        if len(stamps) != (0 if self.days else 2):
            raise ValueError("a window has either starts_at and ends_at, or days")
        if any(stamp.tzinfo is None for stamp in stamps):
            raise ValueError("starts_at and ends_at need a time zone, such as 2026-01-05T02:00:00Z")
        if stamps and not stamps[0] < stamps[1]:
            raise ValueError("a window ends after it starts")
        if unknown := sorted(set(self.days) - set(DAYS)):
            raise ValueError(f"days names {unknown[0]!r}; known are: {', '.join(DAYS)}")
        if not 0 < self.hours <= 168:
            raise ValueError(f"hours is {self.hours:g}; it lies above 0 and at most at 168")
        if time.fromisoformat(self.from_utc).tzinfo is not None:
            raise ValueError(f"from_utc is {self.from_utc!r}; it is a time of the day in UTC, without a zone")


def announced(planned: Iterable[PlannedWindow], now: datetime) -> tuple[Window, ...]:
    """The windows that are open or will open within a week, by their start."""
    found = [window for plan in planned for window in _occurrences(plan, now) if window.ends_at > now]
    return tuple(sorted(found, key=lambda window: (window.starts_at, window.hosts)))


def _occurrences(plan: PlannedWindow, now: datetime) -> Iterator[Window]:
    if plan.starts_at and plan.ends_at:
        yield Window(plan.kind, plan.hosts, plan.starts_at, plan.ends_at, "the configuration", plan.why)
        return
    opens = time.fromisoformat(plan.from_utc)
    for ahead in range(-7, 8):
        day = (now.astimezone(UTC) + timedelta(days=ahead)).date()
        if DAYS[day.weekday()] in plan.days:
            starts = datetime.combine(day, opens, UTC)
            ends = starts + timedelta(hours=plan.hours)
            yield Window(plan.kind, plan.hosts, starts, ends, "the configuration", plan.why)
