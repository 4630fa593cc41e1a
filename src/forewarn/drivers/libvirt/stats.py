"""What guests do, from what libvirt counts about them between two looks. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from forewarn.domain.situation import Workload

KIB = 1024
NANOSECONDS = 1e9


@dataclass(frozen=True, slots=True)
class Counters:
    """What a guest had counted at `at_s` (seconds of a steady clock). None where libvirt does not tell."""

    at_s: float
    cpu_ns: int | None = None
    disk_bytes: int | None = None
    network_bytes: int | None = None
    memory_used_bytes: int | None = None  # no counter, as it stands
    memory_filled_bytes: int | None = None  # likewise


def counters(stats: Mapping[str, Any], at_s: float) -> Counters:
    """Read `virConnectGetAllDomainStats` of one guest."""
    cpu = stats.get("cpu.time")
    return Counters(
        at_s,
        None if cpu is None else int(cpu),
        _total(stats, "block", ("rd", "wr")),
        _total(stats, "net", ("rx", "tx")),
        _memory(stats),
        _filled(stats),
    )


def _total(stats: Mapping[str, Any], group: str, ways: Sequence[str]) -> int | None:
    """The bytes of a guest's disks or interfaces, as many as it says that it has; None where nothing is told of any."""
    numbers = range(int(stats.get(f"{group}.count", 0)))
    names = (f"{group}.{number}.{way}.bytes" for number in numbers for way in ways)
    found = [int(stats[name]) for name in names if name in stats]
    return sum(found) if found else None


def _memory(stats: Mapping[str, Any]) -> int | None:
    """What the guest has in use by its own account, else what its QEMU has; None where neither is told."""
    available, usable = stats.get("balloon.available"), stats.get("balloon.usable")
    if available is not None and usable is not None:
        return max(0, int(available) - int(usable)) * KIB
    rss = stats.get("balloon.rss")
    return None if rss is None else int(rss) * KIB


def _filled(stats: Mapping[str, Any]) -> int | None:
    """All of its memory but the pages that it calls free, caches included; None where it tells nothing."""
    current, unused = stats.get("balloon.current"), stats.get("balloon.unused")
    return None if current is None or unused is None else max(0, int(current) - int(unused)) * KIB


def workload(vm: str, before: Counters, after: Counters, dirty_bytes_per_s: float | None = None) -> Workload | None:
    """What a guest did between two looks; None where it was started anew between them, or nothing is told of its CPU.

    >>> told = workload("v", Counters(10.0, 0, 0), Counters(20.0, 5_000_000_000, 1_000_000))
    >>> told.cpu_cores, told.disk_bytes_per_s, told.network_bytes_per_s
    (0.5, 100000.0, None)
    """
    seconds = after.at_s - before.at_s
    cpu = _rate(before.cpu_ns, after.cpu_ns, seconds)
    if cpu is None:
        return None
    return Workload(
        vm,
        cpu_cores=cpu / NANOSECONDS,
        dirty_bytes_per_s=dirty_bytes_per_s,
        working_set_bytes=None,
        memory_used_bytes=after.memory_used_bytes,
        memory_filled_bytes=after.memory_filled_bytes,
        disk_bytes_per_s=_rate(before.disk_bytes, after.disk_bytes, seconds),
        network_bytes_per_s=_rate(before.network_bytes, after.network_bytes, seconds),
    )


def _rate(before: int | None, after: int | None, seconds: float) -> float | None:
    """A counter's growth per second; None where it is unknown, or began anew."""
    if before is None or after is None or after < before or seconds <= 0:
        return None
    return (after - before) / seconds


def workloads(
    before: Mapping[str, Counters], after: Mapping[str, Counters], dirty: Mapping[str, float]
) -> Iterable[Workload]:
    """What each guest did that both looks saw; `dirty` holds the rates that are known."""
    for vm, now in after.items():
        then = before.get(vm)
        if then is not None and (found := workload(vm, then, now, dirty.get(vm))):
            yield found
