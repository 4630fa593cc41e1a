"""Where a VM is seen to be, asked of both hosts, and what follows for its move. What a call returned decides nothing.

`look` asks one host; `judge` is pure.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

import libvirt

from forewarn.drivers.base import Copying
from forewarn.drivers.libvirt import mark

NO_JOB = frozenset(
    {libvirt.VIR_ERR_OPERATION_UNSUPPORTED, libvirt.VIR_ERR_NO_SUPPORT, libvirt.VIR_ERR_OPERATION_INVALID}
)

BY_MIGRATION = (libvirt.VIR_DOMAIN_PAUSED_MIGRATION, libvirt.VIR_DOMAIN_PAUSED_STARTING_UP)
IN_POST_COPY = (libvirt.VIR_DOMAIN_PAUSED_POSTCOPY, libvirt.VIR_DOMAIN_PAUSED_POSTCOPY_FAILED)


@dataclass(frozen=True, slots=True)
class Job:
    """A migration that leaves a host, as libvirt counts it there."""

    elapsed_s: float = 0.0
    progress: float = 0.0  # 0..1 of the first copy
    copying: Copying = field(default_factory=Copying)


@dataclass(frozen=True, slots=True)
class Sight:
    """A VM as one host shows it."""

    defined: bool = False  # also where it does not run
    active: bool = False
    running: bool = False  # active and not paused
    stopped_by_migration: bool = False  # active and paused, because of a migration
    halted: bool = False  # active and at a stand for another reason: its owner paused it, it crashed
    bound_for: str = ""  # where a move of ours was to bring it, by its mark
    job: Job | None = None  # leaving
    persistent: bool = False
    autostart: bool = False


class Standing(Enum):
    """How a move stands, from where the VM is seen."""

    UNDER_WAY = auto()
    ARRIVED = auto()
    STAYED = auto()
    ASLEEP = auto()  # gone from the source, and stopped at the target by its migration, which woke it not
    STRANDED = auto()  # stopped at the source for its last pages, and gone from the target
    NOWHERE = auto()
    UNSEEN = auto()  # the host that would decide does not answer


def judge(source: Sight | None, target: Sight | None, *, told_gone: bool = False) -> Standing:
    """How the move stands, once libvirt's call is over. None: the host does not answer.

    `told_gone`: the source itself has told by an event that the VM has left.
    """
    if source is None:
        return Standing.ARRIVED if told_gone and target is not None and target.running else Standing.UNSEEN
    leaving = source.running or source.job is not None
    if target is not None and target.running and not leaving:
        return Standing.ARRIVED
    if source.active:
        return _at_source(source, target)
    if target is None:
        return Standing.UNSEEN
    if not target.active:
        return Standing.NOWHERE
    return Standing.ASLEEP if target.stopped_by_migration else Standing.ARRIVED  # its owner stopped it there


def _at_source(source: Sight, target: Sight | None) -> Standing:
    """How a move stands whose VM is at the source, running or not."""
    if source.job is not None:
        return Standing.UNDER_WAY
    if source.running or source.halted:
        return Standing.STAYED
    stranded = source.stopped_by_migration and target is not None and not target.active
    return Standing.STRANDED if stranded else Standing.UNDER_WAY


def look(uuid: str) -> Callable[[Any], Sight]:
    """The question to one host's connection. A VM that libvirt does not know there is seen nowhere."""

    def ask(connection: Any) -> Sight:
        try:
            return _sight(connection.lookupByUUIDString(uuid))
        except libvirt.libvirtError as error:
            if error.get_error_code() in (libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_ERR_INVALID_ARG):
                return Sight()
            raise

    return ask


def _sight(domain: Any) -> Sight:
    """The job is read before the state: a migration that ends in between shows a VM that has left, not one that stays.

    Its state alone says whether it is active; of one that has stopped meanwhile nothing that was read before counts.
    """
    job = job_leaving(domain)
    state, reason = domain.state()
    active = state not in (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_NOSTATE)
    persistent = bool(domain.isPersistent())
    return Sight(
        defined=True,
        active=active,
        running=state == libvirt.VIR_DOMAIN_RUNNING,
        stopped_by_migration=state == libvirt.VIR_DOMAIN_PAUSED and reason in BY_MIGRATION,
        halted=active and state != libvirt.VIR_DOMAIN_RUNNING and reason not in (*BY_MIGRATION, *IN_POST_COPY),
        bound_for=found.target if active and (found := mark.read(domain)) else "",
        job=job if active else None,
        persistent=persistent,
        autostart=persistent and bool(domain.autostart()),
    )


def job_leaving(domain: Any) -> Job | None:
    """The migration that leaves, asked of a domain. One that arrives, or does not run, has no job to tell of."""
    try:
        return job_of(domain.jobStats())
    except libvirt.libvirtError as error:
        if error.get_error_code() in NO_JOB:
            return None
        raise


def job_of(stats: Mapping[str, Any]) -> Job | None:
    """The migration that leaves, in what libvirt says of a domain's job; None for no job or another one."""
    running = stats.get("type", 0) in (libvirt.VIR_DOMAIN_JOB_BOUNDED, libvirt.VIR_DOMAIN_JOB_UNBOUNDED)
    if not running or stats.get("operation") != libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT:
        return None
    total, left = _sum(stats, "total"), _sum(stats, "remaining")
    rounds = int(stats.get(libvirt.VIR_DOMAIN_JOB_MEMORY_ITERATION, 0))
    page = int(stats.get(libvirt.VIR_DOMAIN_JOB_MEMORY_PAGE_SIZE, 4096))
    copying = Copying(
        total_bytes=total,
        left_bytes=left,
        dirty_bytes_per_s=float(stats.get(libvirt.VIR_DOMAIN_JOB_MEMORY_DIRTY_RATE, 0) * page),
        rounds=rounds,
        downtime_ms=float(stats.get(libvirt.VIR_DOMAIN_JOB_DOWNTIME, 0)),
        throttle_percent=int(stats.get(libvirt.VIR_DOMAIN_JOB_AUTO_CONVERGE_THROTTLE, 0)),
    )
    progress = 1.0 if rounds > 1 else 1.0 - left / total if total > 0 else 0.0
    return Job(stats.get(libvirt.VIR_DOMAIN_JOB_TIME_ELAPSED, 0) / 1000.0, min(1.0, max(0.0, progress)), copying)


def _sum(stats: Mapping[str, Any], what: str) -> int:
    """Of memory and of copied disks together."""
    return int(stats.get(f"memory_{what}", 0) + stats.get(f"disk_{what}", 0))
