"""Whether drives can be asked for their own health: smartctl, its version, the privileges, and who did not answer."""

import re
import subprocess
from collections.abc import Iterator

from forewarn.collect.doctor.examination import READS_ALL, Examination
from forewarn.domain.finding import Finding, State
from forewarn.domain.metrics import DISK

VERSION = re.compile(rb"smartctl (\d+)\.(\d+)")
VERSION_MIN = (7, 0)  # the first that writes JSON
INSTALL = "install smartmontools 7.0 or newer"
NAMES_MAX = 5  # names in one sentence; more are counted


def listed(names: list[str]) -> str:
    """Names in a sentence, the first few of many.

    >>> listed(["sda", "sdb"]), listed([f"sd{letter}" for letter in "abcdefg"])
    ('sda, sdb', 'sda, sdb, sdc, sdd, sde and 2 more')
    """
    more = f" and {len(names) - NAMES_MAX} more" if len(names) > NAMES_MAX else ""
    return ", ".join(names[:NAMES_MAX]) + more


def _drive(device: str) -> str:
    """The drive behind a kernel name: of an NVMe namespace its controller."""
    found = re.match(DISK, device)
    return found.group(1) if found else device


def known_drives(seen: Examination) -> list[str]:
    """The drives that the kernel shows, by the names that smartctl gives them; without those that have no SMART."""
    devices = {_drive(sample.labels["device"]) for sample in seen.of("node_disk_info")}
    return sorted(device for device in devices if device.startswith(("sd", "hd", "nvme")))


def smartctl(seen: Examination) -> Iterator[Finding]:
    """Whether there is a smartctl that writes JSON."""
    settings = seen.settings.smart
    if "smart" not in seen.settings.collectors:
        yield Finding("drives", State.NOTE, "drives are not asked: the setting agent.collectors leaves smart out")
        return
    if settings.recorded is not None:
        yield Finding("drives", State.OK, "answers of drives are read from recordings", place=str(settings.recorded))
        return
    program = seen.which(settings.command)
    if program is None:
        text = f"{settings.command} is not on PATH: what drives say of themselves is unknown"
        yield Finding("drives", seen.amiss, text, INSTALL)
        return
    try:
        said = seen.run([program, "--version"], settings.timeout_s)
    except (OSError, subprocess.SubprocessError) as problem:
        yield Finding("drives", State.WARNING, f"smartctl does not run: {problem}", INSTALL, program)
        return
    found = VERSION.search(said)
    version = (int(found[1]), int(found[2])) if found else (0, 0)
    if version < VERSION_MIN:
        told = f"{version[0]}.{version[1]}" if found else "of a version that it does not tell"
        text = f"smartctl is {told} and writes no JSON: what drives say of themselves is unknown"
        yield Finding("drives", State.ERROR, text, INSTALL, program)
        return
    yield Finding("drives", State.OK, f"smartctl {version[0]}.{version[1]} writes JSON", place=program)
    yield from _answers(seen)


def _answers(seen: Examination) -> Iterator[Finding]:
    """Which drives answer, and which stay silent."""
    told = (*seen.of("smartctl_device"), *seen.of("forewarn_smartctl_standby"))  # one that sleeps has answered
    answered = {_drive(sample.labels["device"]) for sample in told}
    silent = [drive for drive in known_drives(seen) if drive not in answered]
    if answered:
        yield Finding("drives", State.OK, f"{len(answered)} drives tell of themselves")
    elif problem := seen.problem("smart"):
        yield Finding("drives", seen.amiss, f"no drive tells of itself: {problem}", "see the privileges of the agent")
    if silent:
        remedy = "behind a RAID controller ask it by its own tool; `smartctl --scan-open` shows what can be opened"
        text = f"{len(silent)} drives of the kernel do not tell of themselves: {listed(silent)}"
        yield Finding("drives", seen.amiss, text, remedy)
    for sample in seen.of("forewarn_smartctl_unreadable_total"):
        device, why = sample.labels["device"], sample.labels["why"]
        yield Finding("drives", State.NOTE, f"{device}: {why}", f"try `smartctl --all --json /dev/{device}`", device)


def permissions(seen: Examination) -> Iterator[Finding]:
    """Whether this process may send drives the commands that ask for their health."""
    drives, settings = known_drives(seen), seen.settings.smart
    if "smart" not in seen.settings.collectors or settings.recorded is not None or not drives:
        return
    ata, nvme = [d for d in drives if not d.startswith("nvme")], [d for d in drives if d.startswith("nvme")]
    opens = seen.may(*READS_ALL)
    if ata and not (seen.may("CAP_SYS_RAWIO") and (opens or _opens(seen, ata))):
        text = f"ATA and SAS drives may not be asked: {listed(ata)}"
        remedy = "give the agent CAP_SYS_RAWIO, and CAP_DAC_READ_SEARCH or the group disk to open the devices"
        yield Finding("privileges", seen.amiss, text, remedy, f"/dev/{ata[0]}")
    if nvme and not (seen.may("CAP_SYS_ADMIN") and (opens or _opens(seen, nvme))):
        text = f"NVMe drives may not be asked: {listed(nvme)}"
        remedy = "give the agent CAP_SYS_ADMIN, and CAP_DAC_READ_SEARCH or the device's group to open it"
        yield Finding("privileges", seen.amiss, text, remedy, f"/dev/{nvme[0]}")


def _opens(seen: Examination, drives: list[str]) -> bool:
    """Whether every device can be opened for reading, as through the group disk."""
    for drive in drives:
        try:
            seen.tree.path(f"dev/{drive}").open("rb").close()
        except OSError:
            return False
    return True
