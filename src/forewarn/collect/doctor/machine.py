"""The machine as such: virtual or not, contained or not, what this process may do, its clock, and its collectors."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from forewarn.collect.doctor.examination import COLLECTOR_UP, READS_ALL, Examination
from forewarn.collect.doctor.sensors import refused_zones
from forewarn.domain.finding import Finding, State

CONTAINER_MARKS = (".dockerenv", "run/.containerenv", "run/systemd/container")
CLOCK_KEEPERS = {
    "chrony": ("run/chrony", "run/chronyd.pid"),
    "systemd-timesyncd": ("run/systemd/timesync/synchronized",),
    "ntpd": ("run/ntpd.pid", "run/ntpd/ntpd.pid"),
}
DENIED = "permission denied"


def machine(seen: Examination) -> Iterator[Finding]:
    """Hardware or a virtual machine; the host's own files or a container's."""
    if seen.virtual:
        text = f"this is a virtual machine ({seen.virtual}): sensors, EDAC and SMART are not expected here"
        yield Finding("machine", State.NOTE, text, "run the agent on the host below it")
    else:
        yield Finding("machine", State.OK, "this is hardware, or does not say that it is virtual")
    mark = next((mark for mark in CONTAINER_MARKS if seen.own.has(mark)), "")
    if not mark:
        return
    if seen.settings.root == Path("/"):
        text = "this runs in a container: what it reads of the host is only what the container is shown"
        remedy = "mount the host's root into it and name the place in the setting agent.root, or run it on the host"
        yield Finding("machine", seen.amiss, text, remedy, f"/{mark}")
    else:
        text = f"this runs in a container and reads the host below {seen.settings.root}"
        yield Finding("machine", State.OK, text, place=f"/{mark}")


def privileges(seen: Examination) -> Iterator[Finding]:
    """Whether this process may read what only root may."""
    held = seen.privileges
    if held is None:
        yield Finding("privileges", State.NOTE, "what this process may do cannot be read", place="/proc/self/status")
        return
    missing = [
        name for name in ("CAP_DAC_READ_SEARCH", "CAP_SYS_RAWIO", "CAP_SYS_ADMIN") if name not in held.capabilities
    ]
    if not missing:
        yield Finding("privileges", State.OK, f"user {held.user} may read everything that the collectors ask for")
        return
    text = f"user {held.user} lacks {', '.join(missing)}: root would also see what is readable by root only"
    remedy = "run this once more as root to compare; the sample unit of the agent gives just these capabilities"
    yield Finding("privileges", State.NOTE, text, remedy)


def clock(seen: Examination) -> Iterator[Finding]:
    """Whether something keeps this host's clock in time: samples are judged by their times."""
    keepers = [name for name, files in CLOCK_KEEPERS.items() if any(seen.tree.has(file) for file in files)]
    by = f" by {' and '.join(keepers)}" if keepers else ""
    if seen.in_time:
        yield Finding("clock", State.OK, f"the kernel says that its clock is kept in time{by}")
    elif seen.in_time is None:
        yield Finding("clock", State.NOTE, "the kernel does not say whether its clock is kept in time")
    else:
        remedy = "see why it has no time source" if keepers else "run chrony or systemd-timesyncd"
        told = f"; {' and '.join(keepers)} is running" if keepers else ""
        yield Finding("clock", State.WARNING, f"nothing keeps this clock in time, says the kernel{told}", remedy)


def collectors(seen: Examination) -> Iterator[Finding]:
    """What each collector gives. SMART is judged by the checks of drives, logs by their own."""
    for sample in seen.of(COLLECTOR_UP):
        name = sample.labels["collector"]
        problem = seen.problem(name)
        if name in ("smart", "kernel_log", "rasdaemon"):
            continue
        if not sample.value:
            remedy = f"see the other findings; else take {name!r} out of the setting agent.collectors"
            yield Finding("collectors", seen.amiss, f"{name} gives nothing: {problem}", remedy, name)
        elif problem:
            remedy = "the setting agent.samples_max bounds a collector" if "more than" in problem else "report this"
            yield Finding("collectors", State.WARNING, f"{name} does not give everything: {problem}", remedy, name)
        else:
            yield Finding("collectors", State.OK, f"{name} is read", place=name)


def refusals(seen: Examination) -> Iterator[Finding]:
    """Files that are there and would not be read. Those of RAPL are told by the check of energy counters."""
    counts: Counter[tuple[str, str]] = Counter()
    for sample in seen.of("forewarn_collector_refused"):
        counts[sample.labels["collector"], sample.labels["why"]] += int(sample.value)
    counts["power", DENIED] -= len(refused_zones(seen))
    for (collector, why), count in sorted((+counts).items()):
        text = f"{collector}: {count} readings were refused: {why}"
        if why == DENIED and not seen.may(*READS_ALL):
            yield Finding("privileges", State.WARNING, text, "give the agent CAP_DAC_READ_SEARCH", collector)
        else:
            remedy = "harmless for a sensor that is not wired; else the kernel's log (dmesg) tells more"
            yield Finding("collectors", State.NOTE, text, remedy, collector)
