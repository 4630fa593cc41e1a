"""What a live migration will take: duration, downtime and traffic, and whether it can end at all.

This is the pre-copy model: all memory goes over the link once while the guest runs on, then what it dirtied meanwhile,
and so on, until the rest is small enough to be copied while the guest stands still. Real guests dirty the same pages
again and again, so no round is larger than the working set. Post-copy is not modelled: a guest in post-copy does not
survive its source, which is exactly what is about to fail.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from statistics import median

from forewarn.domain.plan import MoveState, Outcome
from forewarn.domain.situation import Workload


@dataclass(frozen=True, slots=True)
class MigrationSettings:
    """What is assumed about live migrations."""

    downtime_limit_ms: float = 300.0
    """Longest stop of a guest at the end of its move, in milliseconds; QEMU's own default."""

    resume_ms: float = 20.0
    """Time from the last byte to the guest running on the target, in milliseconds. Once this site has moved enough VMs,
    what they took counts instead."""

    overhead_s: float = 0.0
    """Seconds that a move takes beside copying: the hosts agree, the target starts, the source lets go. Likewise
    learned from this site's own moves."""

    learned_from: int = 3
    """Number of this site's moves of the last day, each alone on its links, from which these two are learned."""

    rounds_max: int = 60
    """Rounds of copying after which a move counts as never ending."""

    link_share: float = 1.0
    """Share (0..1) of the slower host's migration link that one move can count on."""

    link_assumed_bytes_per_s: float = 125e6
    """Link rate in bytes per second where the driver does not know it; that of gigabit Ethernet."""

    dirty_assumed_bytes_per_s: float = 50e6
    """Rate in bytes per second at which a guest of unknown workload dirties memory; a busy one, to be careful."""

    dirty_assumed_link_share: float = 0.5
    """Share (0..1) of its move's link that this rate is taken for at most: of a guest that nobody has measured it is
    not concluded that it cannot move, for a move that fails leaves it where it is."""

    working_set_assumed_share: float = 0.25
    """Share (0..1) of its memory that a guest of unknown workload keeps dirtying."""


@dataclass(frozen=True, slots=True)
class MigrationEstimate:
    """What a move will take. Where `converges` is False the numbers are those of giving up at the last round."""

    duration_s: float
    downtime_ms: float
    bytes: int
    converges: bool
    copy_s: float = 0.0  # of the duration, what the copying alone takes
    stop_ms: float = 0.0  # of the downtime, what the last round alone takes


def learned(settings: MigrationSettings, ended: Iterable[Outcome]) -> MigrationSettings:
    """The settings with what moves took here beside copying: the medians of those that succeeded alone on their links.

    The medians, since a single slow host or a burst of dirtying shall not count for all.
    """
    ended = tuple(ended)
    moved = [one for one in ended if one.state is MoveState.SUCCEEDED and one.move.copy_s > 0 and one.duration_s > 0]
    alone = [one for one in moved if not any(_met(one, other) for other in ended if other is not one)]
    if len(alone) < settings.learned_from:
        return settings
    resume_ms = median(max(0.0, one.downtime_ms - one.move.stop_ms) for one in alone)
    beside_s = median(max(0.0, one.duration_s - one.move.copy_s) for one in alone)
    return replace(settings, resume_ms=resume_ms, overhead_s=max(0.0, beside_s - resume_ms / 1000.0))


def _met(one: Outcome, other: Outcome) -> bool:
    """Whether two moves were on one host's link at the same time."""
    ends = {one.move.source, one.move.target} & {other.move.source, other.move.target}
    return bool(ends) and _began(one) < other.time and _began(other) < one.time


def _began(outcome: Outcome) -> datetime:
    return outcome.time - timedelta(seconds=outcome.duration_s)


def link_rate(source_bytes_per_s: float, target_bytes_per_s: float, settings: MigrationSettings) -> float:
    """Bytes per second that a move between two hosts can count on.

    >>> link_rate(1e9, 5e8, MigrationSettings(link_share=0.5))
    250000000.0
    """
    ends = (source_bytes_per_s, target_bytes_per_s)
    return settings.link_share * min(rate if rate > 0 else settings.link_assumed_bytes_per_s for rate in ends)


def estimate(
    memory_bytes: int, workload: Workload | None, link_bytes_per_s: float, settings: MigrationSettings
) -> MigrationEstimate:
    """The move of a guest with `memory_bytes` over a link of `link_bytes_per_s`.

    With V the memory that is not free (a page that a guest has never filled is sent as a mark), R the link rate, D the
    dirty rate and λ = D/R, round i copies V·λ^i bytes, but never more than the working set once all memory is over. The
    rounds end when the rest fits into the downtime limit.

    >>> idle = Workload("vm", cpu_cores=1.0, dirty_bytes_per_s=0.0, working_set_bytes=0)
    >>> estimate(8_000_000_000, idle, 1e9, MigrationSettings(resume_ms=0.0)).duration_s
    8.0
    """
    dirty_rate, working_set = _dirtied(memory_bytes, workload, link_bytes_per_s, settings)
    allowed = link_bytes_per_s * settings.downtime_limit_ms / 1000.0
    filled = workload.memory_filled_bytes if workload else None
    rest, copied = float(memory_bytes if filled is None else min(memory_bytes, filled)), 0.0
    for round_number in range(settings.rounds_max + 1):
        if rest <= allowed:
            return _estimate(copied, rest, link_bytes_per_s, settings, converges=True)
        dirtied = min(dirty_rate * rest / link_bytes_per_s, working_set)
        if round_number > 0 and dirtied >= rest:
            break  # from here on every round is as large as the last
        rest, copied = dirtied, copied + rest
    return _estimate(copied, rest, link_bytes_per_s, settings, converges=False)


def _dirtied(
    memory_bytes: int, workload: Workload | None, link_bytes_per_s: float, settings: MigrationSettings
) -> tuple[float, float]:
    """The rate in bytes per second and the working set in bytes: as known, else as assumed."""
    rate = workload.dirty_bytes_per_s if workload else None
    working_set = workload.working_set_bytes if workload else None
    assumed = min(settings.dirty_assumed_bytes_per_s, settings.dirty_assumed_link_share * link_bytes_per_s)
    return (
        assumed if rate is None else rate,
        settings.working_set_assumed_share * memory_bytes if working_set is None else min(working_set, memory_bytes),
    )


def _estimate(
    copied: float, rest: float, rate: float, settings: MigrationSettings, *, converges: bool
) -> MigrationEstimate:
    return MigrationEstimate(
        duration_s=settings.overhead_s + (copied + rest) / rate + settings.resume_ms / 1000.0,
        downtime_ms=1000.0 * rest / rate + settings.resume_ms,
        bytes=round(copied + rest),
        converges=converges,
        copy_s=(copied + rest) / rate,
        stop_ms=1000.0 * rest / rate,
    )
