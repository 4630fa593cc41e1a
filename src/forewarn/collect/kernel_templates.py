"""What the kernel says of failing hardware, as templates: which lines mean what, of which part, and how surely. Pure.

Texts are those of Linux 4.18 to 6.12. A line that only counts (a corrected error, one loss of a link) is no failure:
its confidence is 0 and it shows as a counter alone. Confidence is P(the part has failed | such a line), by engineering
judgement: a link goes down for many reasons, a processor that stops for heat has one.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from forewarn.collect.machine_check import UNCORRECTED, is_memory_code
from forewarn.domain.inventory import Kind


@dataclass(frozen=True, slots=True)
class Template:
    """One family of lines. The pattern's group `device` names the part, where the line does."""

    name: str
    kind: Kind
    pattern: re.Pattern[str]
    confidence: float
    uncorrected: Callable[[re.Match[str]], bool] | None = None  # where the line itself tells failures from counts


def _template(
    name: str, kind: Kind, confidence: float, pattern: str, uncorrected: Callable[[re.Match[str]], bool] | None = None
) -> Template:
    return Template(name, kind, re.compile(pattern), confidence, uncorrected)


def _status_uncorrected(match: re.Match[str]) -> bool:
    return bool(int(match["status"], 16) & UNCORRECTED)


# Floppies, CD drives and what is made of memory or files fail for want of a medium, and are no drives.
_DISK = r"(?P<device>(?!(?:fd|sr|loop|zram|ram|nbd)\d)[a-z][a-z0-9-]+)"
_NIC = r"(?P<device>[A-Za-z][\w.-]*)"
_PORT = r"(?P<device>ata\d+)(?:\.\d+)?"
_LINK_DOWN = r"[Ll]ink (?:is )?[Dd]own"

_CPU_TEMPLATES = (
    _template(
        "machine_check", Kind.CPU, 0.8,
        r"\[Hardware Error\]: CPU \d+: Machine Check(?: Exception)?: \S+ Bank \d+: (?P<status>[0-9a-f]{16})",
        _status_uncorrected,
    ),
    _template(
        "machine_check", Kind.CPU, 0.8,
        r"\[Hardware Error\]: CPU:\d+ \([0-9a-f:]+\) MC\d+_STATUS\[[^]]*\]: 0x(?P<status>[0-9a-f]{16})",
        _status_uncorrected,
    ),
    _template("machine_check", Kind.CPU, 0.0, r"\[Hardware Error\]: Machine check events logged"),
    _template("hardware_error_fatal", Kind.HOST, 0.8, r"\[Hardware Error\]: event severity: fatal"),
    _template(
        "thermal_trip", Kind.CPU, 0.8,
        r"thermal \S+: .*critical temperature reached|critical temperature reached.*shut",
    ),
    _template("thermal_throttle", Kind.CPU, 0.0, r"(?:Core|Package) temperature (?:is )?above threshold"),
    _template("pcie_fatal", Kind.HOST, 0.5, r"AER: (?:Multiple )?Uncorrect(?:ed|able) \(Fatal\) error"),
    _template("pcie_error", Kind.HOST, 0.0, r"AER: (?:Multiple )?(?:Correct\w+|Uncorrect\w+ \(Non-Fatal\)) error"),
)  # fmt: skip

_MEMORY_TEMPLATES = (
    _template(
        "edac_uncorrected", Kind.MEMORY, 0.9, r"EDAC \S+ \d+ UE (?:.* )?on (?P<device>(?!any memory|unknown)\S+) \("
    ),
    _template("edac_uncorrected", Kind.MEMORY, 0.9, r"EDAC \S+ \d+ UE "),
    _template("edac_corrected", Kind.MEMORY, 0.0, r"EDAC \S+ \d+ CE "),
    _template("memory_page_lost", Kind.MEMORY, 0.5, r"Memory failure: 0x[0-9a-f]+: .*: (?:Failed|Ignored)"),
    _template(
        "memory_page_lost", Kind.MEMORY, 0.7,
        r"due to hardware memory corruption|mce: Uncorrected hardware memory error",
    ),
    _template("memory_page_offlined", Kind.MEMORY, 0.0, r"Memory failure: 0x[0-9a-f]+: .*: (?:Recovered|Delayed)"),
)  # fmt: skip

_DISK_TEMPLATES = (
    _template("raid_member_failed", Kind.DISK, 0.9, rf"md/raid.*: Disk failure on {_DISK}, disabling"),
    _template("raid_member_failed", Kind.DISK, 0.8, r"megaraid_sas .*\) - VD \S+ is now (?:\w+ )?(?:DEGRADED|OFFLINE)"),
    _template("drive_predicts", Kind.DISK, 0.5, r"megaraid_sas .*\) - Predictive failure: PD "),
    _template("medium_error", Kind.DISK, 0.5, rf"critical medium error, dev {_DISK}, sector"),
    _template("medium_error", Kind.DISK, 0.5, rf"{_DISK}: .*\(sct 0x2 / sc 0x8[01]\)"),
    _template("drive_hardware_error", Kind.DISK, 0.6, rf"\[{_DISK}\].*Sense Key : Hardware Error"),
    _template(
        "drive_lost", Kind.DISK, 0.8,
        r"nvme (?P<device>nvme\d+): (?:Removing after probe failure|Disabling device after reset failure"
        r"|Device not ready; aborting (?:reset|initiali[sz]ation))",
    ),
    _template("drive_lost", Kind.DISK, 0.8, rf"\[{_DISK}\].*[Rr]ejecting I/O to (?:dead|offline) device"),
    _template("drive_lost", Kind.DISK, 0.4, rf"{_PORT}: disabled$"),  # or a hand has pulled it
    _template(
        "drive_lost", Kind.DISK, 0.7,
        r"sd [\d:]+: (?:[Rr]ejecting I/O to (?:dead|offline) device|Device offlined - not ready after error recovery)",
    ),
    _template("drive_reset", Kind.DISK, 0.3, r"nvme (?P<device>nvme\d+): (?:I/O .*timeout, |controller is down; )"),
    _template("drive_reset", Kind.DISK, 0.3, rf"{_PORT}: failed command: (?:READ|WRITE|FLUSH)"),
    _template("drive_reset", Kind.DISK, 0.3, rf"{_PORT}: COMRESET failed"),
    _template(
        "storage_controller_fault", Kind.DISK, 0.5,
        r"megaraid_sas .*FW in FAULT state|mpt[23]sas_cm\d+: (?:fault_state\(|SAS host is non-operational)"
        r"|hpsa .*[Cc]ontroller lockup detected|smartpqi .*controller is offline",
    ),
    _template("io_error", Kind.DISK, 0.3, rf"I/O error(?:,| on) dev(?:ice)? {_DISK}, (?:sector|log)"),
)  # fmt: skip

_NETWORK_TEMPLATES = (
    _template(
        "nic_lost", Kind.NETWORK, 0.8,
        rf" {_NIC}: (?:PCIe link lost|(?:The )?[Nn]etwork adapter (?:has been|was) stopped because it .*heated)",
    ),
    _template("nic_lost", Kind.NETWORK, 0.8, r"(?:ixgbe|i40e|ice|igb|igc|fm10k) \S+: Adapter removed"),
    _template("nic_reset", Kind.NETWORK, 0.5, rf"NETDEV WATCHDOG: (?:CPU: \d+: )?{_NIC} ?\(.*(?:timed out|$)"),
    _template("nic_reset", Kind.NETWORK, 0.5, rf" {_NIC}: NETDEV WATCHDOG: CPU: \d+: transmit queue \d+ timed out"),
    _template(
        "nic_reset", Kind.NETWORK, 0.5,
        rf" {_NIC}: (?:Reset adapter|Detected (?:Tx Unit|Hardware Unit) Hang|TX timeout detected, starting reset"
        r"|transmit timed out, resetting|Firmware fatal reset event)",
    ),
    _template("nic_reset", Kind.NETWORK, 0.5, r"mlx[45]_core \S+: .*(?:health compromised|[Ff]atal error detected)"),
    _template("link_down", Kind.NETWORK, 0.2, rf"(?:^| ){_NIC}: (?:NIC (?:\w+ )*)?{_LINK_DOWN}"),
    _template("link_down", Kind.NETWORK, 0.2, rf"(?:^| ){_NIC} NIC (?:\w+ )*{_LINK_DOWN}"),
    _template("link_down", Kind.NETWORK, 0.2, rf"\[\w+:\d+\({_NIC}\)\]{_LINK_DOWN}"),
)  # fmt: skip

# The first template that fits a line counts, so the surer ones of a family stand first.
TEMPLATES: tuple[Template, ...] = (*_CPU_TEMPLATES, *_MEMORY_TEMPLATES, *_DISK_TEMPLATES, *_NETWORK_TEMPLATES)


@dataclass(frozen=True, slots=True)
class Said:
    """What a line means."""

    template: str
    kind: Kind
    device: str  # as the kernel calls it; empty where the line names none
    confidence: float  # 0: it only counts


def read(line: str) -> Said | None:
    """What a line of the kernel means, or None where it is of no concern.

    >>> read("EDAC MC0: 1 UE memory read error on DIMM_A1 (channel:0 page:0x1 offset:0x0 grain:8)").device
    'DIMM_A1'
    """
    for template in TEMPLATES:
        match = template.pattern.search(line)
        if match is not None:
            failed = template.uncorrected is None or template.uncorrected(match)
            device = match.groupdict().get("device") or ""
            status = match.groupdict().get("status")
            memory = status is not None and is_memory_code(int(status, 16) & 0xFFFF)
            kind = Kind.MEMORY if memory else template.kind
            return Said(template.name, kind, device, template.confidence if failed else 0.0)
    return None
