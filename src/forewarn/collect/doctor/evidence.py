"""The logs in which failing hardware is told of: the kernel's, and rasdaemon's records."""

from collections.abc import Iterator

from forewarn.collect.doctor.examination import Examination
from forewarn.collect.firmware_first import CONTROLLERS
from forewarn.domain.finding import Finding, State


def kernel_log(seen: Examination) -> Iterator[Finding]:
    """Whether the kernel's log is read."""
    up = _up(seen, "kernel_log")
    if up:
        yield Finding("logs", State.OK, "the kernel's log is read", place="kernel_log")
    elif up is not None:
        text = f"failures that the kernel tells of go unheard: {seen.problem('kernel_log')}"
        remedy = "give the agent CAP_SYSLOG, or set agent.kernel_log.source to journald and its group systemd-journal"
        yield Finding("logs", seen.amiss, text, remedy, "kernel_log")


def records(seen: Examination) -> Iterator[Finding]:
    """Whether rasdaemon keeps the addresses of memory errors, where a memory controller tells them."""
    up = _up(seen, "rasdaemon")
    if up:
        yield Finding("logs", State.OK, "rasdaemon's records are read", place="rasdaemon")
    elif up is not None and seen.tree.numbered(CONTROLLERS, "mc"):
        text = f"where in a memory module its errors are is not known: {seen.problem('rasdaemon')}"
        remedy = "install rasdaemon and let it record (`rasdaemon --record`, as Debian's unit does)"
        yield Finding("logs", State.NOTE, text, remedy, "rasdaemon")


def _up(seen: Examination, collector: str) -> bool | None:
    """Whether a collector gives something; None where it is not asked."""
    found = [sample.value for sample in seen.of("forewarn_collector_up") if sample.labels["collector"] == collector]
    return bool(found[0]) if found else None
