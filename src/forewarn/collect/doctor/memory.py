"""Whether corrected memory errors can be seen at all: a count of zero that nobody counts is not health.

On machines whose firmware takes errors first (ACPI's HEST, the kernel's GHES) corrected errors may never reach the
kernel. Then what looks like zero means unknown.
"""

import re
from collections.abc import Iterator

from forewarn.collect.doctor.examination import Examination
from forewarn.collect.firmware_first import CONTROLLERS
from forewarn.domain.finding import Finding, State

ACPI_TABLES = "sys/firmware/acpi/tables"
UNKNOWN = "zero corrected errors means unknown here, not none"
MADE_UP = re.compile(r"mc\d+_csrow\w*_channel\w*|mc#\d+\S*|(unknown|no)\S*", re.IGNORECASE)
# EDAC drivers of server CPUs of Intel, by the model of family 6, as the drivers' own tables name them.
INTEL_DRIVERS: dict[int, str] = {
    **dict.fromkeys((45, 62, 63, 79, 86, 87, 133), "sb_edac"),
    85: "skx_edac",
    **dict.fromkeys((106, 108, 134, 143, 173, 174, 175, 182, 207), "i10nm_edac"),
}


def edac_driver(cpuinfo: str) -> str:
    r"""The EDAC driver of the CPU that `/proc/cpuinfo` tells of, empty where none is known.

    >>> edac_driver("vendor_id : GenuineIntel\ncpu family : 6\nmodel : 85\n")
    'skx_edac'
    """
    fields = dict.fromkeys(("vendor_id", "cpu family", "model"), "")
    for line in cpuinfo.partition("\n\n")[0].splitlines():
        name, _, value = line.partition(":")
        if name.strip() in fields:
            fields[name.strip()] = value.strip()
    if fields["vendor_id"] in ("AuthenticAMD", "HygonGenuine"):
        return "amd64_edac"
    if fields["vendor_id"] == "GenuineIntel" and fields["cpu family"] == "6" and fields["model"].isdecimal():
        return INTEL_DRIVERS.get(int(fields["model"]), "")
    return ""


def edac(seen: Examination) -> Iterator[Finding]:
    """Whether memory controllers count errors, and whether the firmware keeps them to itself."""
    controllers = seen.tree.numbered(CONTROLLERS, "mc")
    makers = {seen.tree.words(f"{CONTROLLERS}/{controller}/mc_name") for controller in controllers}
    if controllers and any("ghes" in maker.lower() for maker in makers):
        text = f"the firmware takes memory errors first (ghes_edac) and tells what it likes: {UNKNOWN}"
        remedy = "read the BMC's event log too; or turn off firmware-first handling in the set-up of the board"
        yield Finding("memory", State.WARNING, text, remedy, f"/{CONTROLLERS}")
    elif controllers:
        text = f"{len(controllers)} memory controllers count errors ({', '.join(sorted(filter(None, makers)))})"
        yield Finding("memory", State.OK, text)
    elif seen.virtual:
        yield Finding("memory", State.NOTE, "memory errors are not told to a virtual machine")
    else:
        yield from _no_controller(seen)


def _no_controller(seen: Examination) -> Iterator[Finding]:
    driver, place = edac_driver(seen.tree.words("proc/cpuinfo")), f"/{CONTROLLERS}"
    firmware = _firmware_first(seen)
    if firmware:
        text = f"no memory controller counts errors, and the firmware may take them first ({firmware}): {UNKNOWN}"
        remedy = "turn off firmware-first handling in the set-up of the board, or read the BMC's event log"
        if driver and not seen.tree.has(f"sys/module/{driver}"):
            remedy = f"try `modprobe {driver}`; if it refuses, {remedy}"
        yield Finding("memory", State.WARNING, text, remedy, place)
    elif not driver:
        remedy = "load the EDAC driver of this CPU, where there is one; ECC memory is needed"
        yield Finding("memory", State.WARNING, f"no memory controller counts errors: {UNKNOWN}", remedy, place)
    elif seen.tree.has(f"sys/module/{driver}"):
        remedy = "without ECC memory there is nothing to count; else the kernel's log (dmesg) says why it found none"
        text = f"{driver} is loaded and found no memory controller: {UNKNOWN}"
        yield Finding("memory", State.WARNING, text, remedy, place)
    else:
        text = f"the EDAC driver of this CPU, {driver}, is not loaded: {UNKNOWN}"
        yield Finding("memory", State.WARNING, text, f"`modprobe {driver}`, and name it in /etc/modules-load.d", place)


def _firmware_first(seen: Examination) -> str:
    """By what it shows that the firmware may handle errors first; empty where nothing does."""
    if seen.tree.words("sys/module/ghes/parameters/disable") in ("Y", "1"):
        return ""
    if "HEST" in seen.tree.names(ACPI_TABLES):
        return "ACPI table HEST"
    return "module ghes_edac" if seen.tree.has("sys/module/ghes_edac") else ""


def labels(seen: Examination) -> Iterator[Finding]:
    """Whether memory modules are called as the board calls them: whoever swaps one needs its slot."""
    named = {sample.labels["dimm_label"] for sample in seen.of("node_edac_channel_correctable_errors_total")}
    made_up = sorted(label for label in named if MADE_UP.fullmatch(label))
    if made_up:
        text = f"{len(made_up)} of {len(named)} memory modules have no label of the board, such as {made_up[0]}"
        remedy = "`ras-mc-ctl --register-labels` (rasdaemon) or `edac-ctl --register-labels` (edac-utils)"
        yield Finding("memory", State.NOTE, text, remedy, f"/{CONTROLLERS}")
    elif named:
        yield Finding("memory", State.OK, f"all {len(named)} memory modules have labels")
