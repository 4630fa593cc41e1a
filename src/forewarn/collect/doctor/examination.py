"""What the checks of a host look at: one round of its telemetry, its files, and what this process may do.

A check is a pure function of an `Examination`; on a frozen machine it tells the same each time.
"""

import ctypes
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from forewarn.clock import Clock
from forewarn.collect.agent import AgentSettings, build_collectors, collect_once
from forewarn.collect.smart import Run, Runner
from forewarn.collect.tree import Tree
from forewarn.domain.finding import State
from forewarn.domain.telemetry import Sample

# Bits of the effective capabilities, from linux/capability.h.
CAPABILITIES = {
    "CAP_DAC_OVERRIDE": 1,
    "CAP_DAC_READ_SEARCH": 2,
    "CAP_SYS_RAWIO": 17,
    "CAP_SYS_ADMIN": 21,
    "CAP_SYSLOG": 34,
}
READS_ALL = ("CAP_DAC_READ_SEARCH", "CAP_DAC_OVERRIDE")
# Makers of virtual hardware, as DMI names them; x86 also says it in the flags of the CPU.
VIRTUAL_MAKERS = ("qemu", "kvm", "vmware", "xen", "innotek", "bochs", "parallels", "openstack", "bhyve")
_STA_UNSYNC = 0x40  # of `status` in linux/timex.h


@dataclass(frozen=True)
class Privileges:
    """What this process may do: its effective user, and the names of its effective capabilities."""

    user: int
    capabilities: frozenset[str]

    def has(self, *any_of: str) -> bool:
        """Whether it has one of these capabilities."""
        return bool(self.capabilities & set(any_of))


def parse_status(text: str) -> Privileges | None:
    r"""The privileges in `/proc/self/status`, None where it does not tell them.

    >>> parse_status("Uid:\t1000\t1000\t1000\t1000\nCapEff:\t0000000000020004\n") == Privileges(
    ...     1000, frozenset({"CAP_DAC_READ_SEARCH", "CAP_SYS_RAWIO"})
    ... )
    True
    """
    fields = {name: rest.split() for name, _, rest in (line.partition(":") for line in text.splitlines())}
    try:
        user, bits = int(fields["Uid"][1]), int(fields["CapEff"][0], 16)
    except (KeyError, IndexError, ValueError):
        return None
    return Privileges(user, frozenset(name for name, bit in CAPABILITIES.items() if bits >> bit & 1))


@dataclass(frozen=True)
class Examination:
    """One look at a host. `tree` is the host's, `own` this process's own root: they differ inside a container."""

    settings: AgentSettings
    tree: Tree
    own: Tree
    samples: tuple[Sample, ...]
    in_time: bool | None = None
    """Whether the kernel says that something keeps its clock in time; None where it does not say."""
    which: Callable[[str], str | None] = shutil.which
    run: Run = field(default_factory=Runner)

    @cached_property
    def privileges(self) -> Privileges | None:
        return parse_status(self.own.words("proc/self/status"))

    @cached_property
    def virtual(self) -> str:
        """What kind of virtual machine this is; empty on hardware, and on Xen's own domain, which sees the hardware."""
        if "control_d" in self.tree.words("proc/xen/capabilities"):
            return ""
        maker, product = (self.tree.words(f"sys/class/dmi/id/{name}") for name in ("sys_vendor", "product_name"))
        named = f"{maker} {product}".strip()
        flags = (line for line in self.tree.words("proc/cpuinfo").splitlines() if line.startswith("flags"))
        if "hypervisor" in next(flags, "").split():
            return named or self.tree.words("sys/hypervisor/type") or "of a kind that it does not name"
        return named if any(word in named.lower() for word in VIRTUAL_MAKERS) else ""

    @property
    def amiss(self) -> State:
        """How bad it is that hardware does not show itself: expected in a virtual machine, else a gap."""
        return State.NOTE if self.virtual else State.WARNING

    def may(self, *any_of: str) -> bool:
        """Whether this process has one of these capabilities; where that is unknown, that is not held against it."""
        return self.privileges is None or self.privileges.has(*any_of)

    def of(self, name: str) -> Iterator[Sample]:
        """The samples of one name."""
        return (sample for sample in self.samples if sample.name == name)

    def up(self, collector: str) -> bool:
        """Whether a collector found its source."""
        return any(sample.labels["collector"] == collector and sample.value for sample in self.of(COLLECTOR_UP))

    def problem(self, collector: str) -> str:
        """Why a collector gave nothing, or not everything; empty where it did."""
        told = (sample.labels for sample in self.of("forewarn_collector_problem"))
        return next((labels["why"] for labels in told if labels["collector"] == collector), "")


COLLECTOR_UP = "forewarn_collector_up"


def examine(settings: AgentSettings, clock: Clock) -> Examination:
    """Look at this host once, as its agent would, but remember nothing. Raises ConfigurationError as it would."""
    settings = replace(settings, folder=None)
    samples = collect_once(build_collectors(settings, clock), clock, settings).samples
    return Examination(settings, Tree(settings.root), Tree(Path("/")), samples, kernel_in_time())


class _Timex(ctypes.Structure):
    """The head of `struct timex`, of which only `status` is read, and room for the rest."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_long * 32),
    )


def kernel_in_time() -> bool | None:
    """Whether the kernel counts its clock as kept in time (adjtimex, which is only asked); None without an answer."""
    answer = _Timex()
    try:
        state = ctypes.CDLL(None).adjtimex(ctypes.byref(answer))
    except (OSError, AttributeError):
        return None
    return None if state < 0 else not answer.status & _STA_UNSYNC
