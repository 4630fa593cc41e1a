"""What a live migration will take: duration, downtime and traffic, and whether it can end at all.

This is the pre-copy model: all memory goes over the link once while the guest runs on, then what it dirtied meanwhile,
and so on, until the rest is small enough to be copied while the guest stands still. Real guests dirty the same pages
again and again, so no round is larger than the working set. Post-copy is not modelled: a guest in post-copy does not
survive its source, which is exactly what is about to fail.
"""

from dataclasses import dataclass

from forewarn.domain.situation import Workload


@dataclass(frozen=True, slots=True)
class MigrationSettings:
    """What is assumed about live migrations."""

    downtime_limit_ms: float = 300.0
    """Longest stop of a guest at the end of its move, in milliseconds; QEMU's own default."""

    resume_ms: float = 20.0
    """Time from the last byte to the guest running on the target, in milliseconds."""

    rounds_max: int = 60
    """Rounds of copying after which a move counts as never ending."""

    link_share: float = 1.0
    """Share (0..1) of the slower host's migration link that one move can count on."""

    link_assumed_bytes_per_s: float = 125e6
    """Link rate in bytes per second where the driver does not know it; that of gigabit Ethernet."""

    dirty_assumed_bytes_per_s: float = 50e6
    """Rate in bytes per second at which a guest of unknown workload dirties memory; a busy one, to be careful."""

    working_set_assumed_share: float = 0.25
    """Share (0..1) of its memory that a guest of unknown workload keeps dirtying."""


@dataclass(frozen=True, slots=True)
class MigrationEstimate:
    """What a move will take. Where `converges` is False the numbers are those of giving up at the last round."""

    duration_s: float
    downtime_ms: float
    bytes: int
    converges: bool


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

    With V the memory, R the link rate, D the dirty rate and λ = D/R, round i copies V·λ^i bytes, but never more than
    the working set once all memory is over. The rounds end when the rest fits into the downtime limit.

    >>> idle = Workload("vm", cpu_cores=1.0, dirty_bytes_per_s=0.0, working_set_bytes=0)
    >>> estimate(8_000_000_000, idle, 1e9, MigrationSettings(resume_ms=0.0)).duration_s
    8.0
    """
    dirty_rate, working_set = _dirtied(memory_bytes, workload, settings)
    allowed = link_bytes_per_s * settings.downtime_limit_ms / 1000.0
    rest, copied = float(memory_bytes), 0.0
    for round_number in range(settings.rounds_max + 1):
        if rest <= allowed:
            return _estimate(copied, rest, link_bytes_per_s, settings, converges=True)
        dirtied = min(dirty_rate * rest / link_bytes_per_s, working_set)
        if round_number > 0 and dirtied >= rest:
            break  # from here on every round is as large as the last
        rest, copied = dirtied, copied + rest
    return _estimate(copied, rest, link_bytes_per_s, settings, converges=False)


def _dirtied(memory_bytes: int, workload: Workload | None, settings: MigrationSettings) -> tuple[float, float]:
    """The rate in bytes per second and the working set in bytes: as known, else as assumed."""
    rate = workload.dirty_bytes_per_s if workload else None
    working_set = workload.working_set_bytes if workload else None
    return (
        settings.dirty_assumed_bytes_per_s if rate is None else rate,
        settings.working_set_assumed_share * memory_bytes if working_set is None else min(working_set, memory_bytes),
    )


def _estimate(
    copied: float, rest: float, rate: float, settings: MigrationSettings, *, converges: bool
) -> MigrationEstimate:
    return MigrationEstimate(
        duration_s=(copied + rest) / rate + settings.resume_ms / 1000.0,
        downtime_ms=1000.0 * rest / rate + settings.resume_ms,
        bytes=round(copied + rest),
        converges=converges,
    )
