"""What this host's VMs use, as its libvirt counts it: CPU, memory, disks, network.

Names and labels are those of the exporters of libvirt (`libvirt_domain_*`), so that either can feed a store. The
binding is imported where this collector is configured, nowhere else; a read-only connection to the local daemon is
enough.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from forewarn.domain.telemetry import Sample
from forewarn.errors import SourceAbsent

HANGING_MAX = 3  # questions that may hang at the same time
KIB = 1024.0
NANOSECOND = 1e-9
Stats = Mapping[str, Any]  # of one VM, as libvirt names them

# Libvirt's name, the exporters' name, and what makes one the other.
OF_VM = (
    ("cpu.time", "info_cpu_time_seconds_total", NANOSECOND),
    ("vcpu.current", "info_virtual_cpus", 1.0),
    ("balloon.maximum", "info_maximum_memory_bytes", KIB),
    ("balloon.current", "info_memory_usage_bytes", KIB),
    ("balloon.rss", "memory_stats_rss_bytes", KIB),
    ("balloon.available", "memory_stats_available_bytes", KIB),
    ("balloon.usable", "memory_stats_usable_bytes", KIB),
    ("balloon.unused", "memory_stats_unused_bytes", KIB),
    ("balloon.disk_caches", "memory_stats_disk_cache_bytes", KIB),
    ("balloon.major_fault", "memory_stats_major_fault_total", 1.0),
    ("balloon.minor_fault", "memory_stats_minor_fault_total", 1.0),
    ("state.state", "info_vstate", 1.0),
)
OF_DISK = (
    ("rd.bytes", "block_stats_read_bytes_total", 1.0),
    ("rd.reqs", "block_stats_read_requests_total", 1.0),
    ("rd.times", "block_stats_read_time_seconds_total", NANOSECOND),
    ("wr.bytes", "block_stats_write_bytes_total", 1.0),
    ("wr.reqs", "block_stats_write_requests_total", 1.0),
    ("wr.times", "block_stats_write_time_seconds_total", NANOSECOND),
    ("fl.reqs", "block_stats_flush_requests_total", 1.0),
    ("fl.times", "block_stats_flush_time_seconds_total", NANOSECOND),
)
OF_INTERFACE = tuple(
    (f"{short}.{what}", f"interface_stats_{word}_{name}_total", 1.0)
    for short, word in (("rx", "receive"), ("tx", "transmit"))
    for what, name in (("bytes", "bytes"), ("pkts", "packets"), ("errs", "errors"), ("drop", "drops"))
)


@dataclass(frozen=True)
class VmsSettings:
    """How this host's libvirt is asked. The collector `vms` runs where `agent.collectors` names it."""

    uri: str = "qemu:///system"
    """The local libvirt. Privilege: none beyond its read-only socket, which Debian opens to every user."""

    deadline_s: float = 5.0
    """Seconds within which it must have answered. A guest that hangs can block such a call; it is asked again beside
    it, and never more than three times."""

    def __post_init__(self) -> None:
        if self.deadline_s <= 0:
            raise ValueError("deadline_s must be above 0")


def parse(name: str, uuid: str, stats: Stats) -> Iterator[Sample]:
    """The samples of one VM; what libvirt does not count for it is left out."""
    yield Sample("libvirt_domain_info_meta", {"domain": name, "uuid": uuid}, 1.0)
    labels = {"domain": name}
    yield from _family(stats, "", labels, OF_VM)
    for family, rows in (("block", OF_DISK), ("net", OF_INTERFACE)):
        for number in range(int(stats.get(f"{family}.count", 0))):
            head = f"{family}.{number}."
            if device := stats.get(f"{head}name"):
                yield from _family(stats, head, {**labels, "target_device": str(device)}, rows)


def _family(
    stats: Stats, head: str, labels: Mapping[str, str], rows: tuple[tuple[str, str, float], ...]
) -> Iterator[Sample]:
    for theirs, ours, factor in rows:
        value = stats.get(head + theirs)
        if value is not None:
            yield Sample(f"libvirt_domain_{ours}", labels, float(value) * factor)


class VmsCollector:
    """The VMs of this host. Threads of its own ask, so that a libvirt that hangs delays nobody past the deadline."""

    name = "vms"

    def __init__(self, settings: VmsSettings | None = None) -> None:
        self._settings = settings or VmsSettings()
        self._libvirt: Any = None
        self._connection: Any = None
        self._hanging: list[_Ask] = []

    def collect(self) -> Iterator[Sample]:
        """Ask once. Raises SourceAbsent where there is no binding, no libvirt, or no answer in time."""
        libvirt = self._binding()
        self._hanging = [ask for ask in self._hanging if not ask.ended(0.0)]
        if len(self._hanging) >= HANGING_MAX:
            raise SourceAbsent(f"libvirt at {self._settings.uri} has not answered {HANGING_MAX} times in a row")
        ask = _Ask(self._ask, libvirt.libvirtError)
        if not ask.ended(self._settings.deadline_s):
            self._hanging.append(ask)
            self._connection = None  # the one that hangs is left to its thread
            raise SourceAbsent(f"libvirt at {self._settings.uri} has not answered for {self._settings.deadline_s:g} s")
        if ask.error is not None:
            self._connection = None
            said = " ".join(str(ask.error).split())
            raise SourceAbsent(f"libvirt at {self._settings.uri} does not answer: {said}") from ask.error
        if ask.answer is None:
            self._connection = None
            raise SourceAbsent("the question to libvirt ended by a defect of Forewarn; its traceback is in the log")
        for name, uuid, stats in ask.answer:
            yield from parse(name, uuid, stats)

    def _binding(self) -> Any:
        if self._libvirt is None:
            try:
                import libvirt
            except ImportError as error:
                text = "the collector vms needs the binding libvirt-python (docs/install.md says how)"
                raise SourceAbsent(text) from error
            libvirt.registerErrorHandler(_print_nothing, None)
            self._libvirt = libvirt
        return self._libvirt

    def _ask(self) -> list[tuple[str, str, Stats]]:
        libvirt = self._libvirt
        connection = self._connection
        if connection is None or not connection.isAlive():
            connection = self._connection = libvirt.openReadOnly(self._settings.uri)
        wanted = (
            libvirt.VIR_DOMAIN_STATS_STATE
            | libvirt.VIR_DOMAIN_STATS_CPU_TOTAL
            | libvirt.VIR_DOMAIN_STATS_BALLOON
            | libvirt.VIR_DOMAIN_STATS_VCPU
            | libvirt.VIR_DOMAIN_STATS_BLOCK
            | libvirt.VIR_DOMAIN_STATS_INTERFACE
        )
        flags = libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE | libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT
        found = connection.getAllDomainStats(wanted, flags)
        return [(domain.name(), domain.UUIDString(), stats) for domain, stats in found]


class _Ask:
    """One question on a thread of its own, which ends with the process at the latest. `expected` may go wrong."""

    def __init__(self, ask: Callable[[], list[tuple[str, str, Stats]]], expected: type[Exception]) -> None:
        self._expected = expected
        self.answer: list[tuple[str, str, Stats]] | None = None  # none came
        self.error: Exception | None = None
        self._work = ask
        self._thread = threading.Thread(target=self._run, name="libvirt", daemon=True)
        self._thread.start()

    def ended(self, deadline_s: float) -> bool:
        self._thread.join(deadline_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self.answer = self._work()
        except self._expected as error:
            self.error = error


def _print_nothing(_context: object, _error: object) -> None:
    """Stands in for libvirt's own handler, which would write every error to the terminal."""
