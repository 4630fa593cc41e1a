"""What the kernel says of failing hardware, as templates: which lines mean what, of which part, and how surely. Pure.

Texts are those of Linux 4.18 to 6.12. A line that only counts (a corrected error, one loss of a link) is no failure:
its confidence is 0 and it shows as a counter alone. Confidence is P(the part has failed | such a line), by engineering
judgement: a link goes down for many reasons, a processor that stops for heat has one.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from forewarn.domain.inventory import Kind

_STATUS_UNCORRECTED = 1 << 61  # IA32_MCi_STATUS.UC (Intel SDM vol. 3, 16.3.2.2)


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
    return bool(int(match["status"], 16) & _STATUS_UNCORRECTED)


_DISK = r"(?P<device>[a-z][a-z0-9-]+)"
_NIC = r"(?P<device>[A-Za-z][\w.-]*)"

# The first template that fits a line counts, so the surer ones of a family stand first.
TEMPLATES: tuple[Template, ...] = (
    _template(
        "machine_check", Kind.CPU, 0.8,
        r"\[Hardware Error\]: CPU \d+: Machine Check(?: Exception)?: \S+ Bank \d+: (?P<status>[0-9a-f]{16})",
        _status_uncorrected,
    ),
    _template("machine_check", Kind.CPU, 0.0, r"mce: \[Hardware Error\]: Machine check events logged"),
    _template("edac_uncorrected", Kind.MEMORY, 0.9, r"EDAC \S+ \d+ UE .* on (?P<device>(?!any memory|unknown)\S+) \("),
    _template("edac_uncorrected", Kind.MEMORY, 0.9, r"EDAC \S+ \d+ UE "),
    _template("edac_corrected", Kind.MEMORY, 0.0, r"EDAC \S+ \d+ CE "),
    _template("memory_page_lost", Kind.MEMORY, 0.5, r"Memory failure: 0x[0-9a-f]+: .*: (?:Failed|Ignored)"),
    _template("memory_page_offlined", Kind.MEMORY, 0.0, r"Memory failure: 0x[0-9a-f]+: .*: (?:Recovered|Delayed)"),
    _template("hardware_error_fatal", Kind.HOST, 0.8, r"\[Hardware Error\]: event severity: fatal"),
    _template("raid_member_failed", Kind.DISK, 0.9, rf"md/raid.*: Disk failure on {_DISK}, disabling"),
    _template("medium_error", Kind.DISK, 0.5, rf"critical medium error, dev {_DISK}, sector"),
    _template(
        "drive_lost", Kind.DISK, 0.8,
        r"nvme (?P<device>nvme\d+): (?:Removing after probe failure|Device not ready; aborting reset)",
    ),
    _template("drive_lost", Kind.DISK, 0.8, rf"\[{_DISK}\].*[Rr]ejecting I/O to (?:dead|offline) device"),
    _template("drive_reset", Kind.DISK, 0.3, r"nvme (?P<device>nvme\d+): (?:I/O .*timeout, |controller is down; )"),
    _template("io_error", Kind.DISK, 0.3, rf"I/O error(?:,| on) dev(?:ice)? {_DISK}, (?:sector|log)"),
    _template("nic_reset", Kind.NETWORK, 0.5, rf"NETDEV WATCHDOG: (?:CPU: \d+: )?{_NIC} ?\(.*(?:timed out|$)"),
    _template("nic_reset", Kind.NETWORK, 0.5, rf" {_NIC}: (?:Reset adapter|Detected (?:Tx Unit|Hardware Unit) Hang)"),
    _template("link_down", Kind.NETWORK, 0.2, rf"(?:^| ){_NIC}:? (?:NIC )?[Ll]ink (?:is )?[Dd]own"),
    _template(
        "thermal_trip", Kind.CPU, 0.8,
        r"thermal \S+: .*critical temperature reached|critical temperature reached.*shut",
    ),
    _template("thermal_throttle", Kind.CPU, 0.0, r"(?:Core|Package) temperature (?:is )?above threshold"),
)  # fmt: skip


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
            return Said(template.name, template.kind, device, template.confidence if failed else 0.0)
    return None
