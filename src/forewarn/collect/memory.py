"""Memory: how much is used, and the errors that EDAC counts per controller, row, channel and DIMM.

Names and labels are node_exporter's (collectors `meminfo` and `edac`). A machine without an EDAC driver shows no error
counters here, and one whose firmware takes errors first shows no corrected ones while they are zero: their absence is
not health. Addresses of errors are `rasdaemon.py`'s. Everything here is readable by any user, but for the ACPI table.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from forewarn.collect.firmware_first import CONTROLLERS, firmware_first
from forewarn.collect.tree import Tree, label_text, parse_number
from forewarn.domain.telemetry import Sample
from forewarn.errors import SourceAbsent

NODES = "sys/devices/system/node"
LOCATION = re.compile(r"(\w+) (\d+)")
LABEL_FILE = re.compile(r"ch(\d+)_dimm_label")


class FirmwareFirst(StrEnum):
    """Who takes memory errors first."""

    AUTO = "auto"
    YES = "yes"
    NO = "no"


@dataclass(frozen=True)
class MemorySettings:
    """How counts of memory errors are taken."""

    firmware_first: FirmwareFirst = FirmwareFirst.AUTO
    """Whether the firmware takes corrected errors before the kernel counts them, so that zero of them is unknown and no
    health. `auto` asks the driver and ACPI's table HEST, which is readable by root or with CAP_DAC_READ_SEARCH; say
    `yes` or `no` where the agent may not read it, or the table is wrong."""


def parse_meminfo(text: str) -> Iterator[Sample]:
    """One sample per line of `/proc/meminfo`; `Active(anon)` becomes `Active_anon`, kB become bytes."""
    for line in text.splitlines():
        field, _, rest = line.partition(":")
        number, *unit = rest.split() or [""]
        value = parse_number(number)
        if value is None:
            continue
        name = re.sub(r"[^a-zA-Z0-9_]+", "_", field.strip()).strip("_")
        kilobytes = unit == ["kB"]
        yield Sample(f"node_memory_{name}{'_bytes' if kilobytes else ''}", {}, value * 1024 if kilobytes else value)


@dataclass(frozen=True, slots=True)
class Dimm:
    """One memory module as EDAC knows it; a count is None where this kernel does not keep it for the module."""

    controller: str
    csrow: str
    channel: str
    label: str
    corrected: float | None
    uncorrected: float | None


def read_edac(tree: Tree) -> Iterator[Sample]:
    """The error counts of every memory controller, its rows, and its DIMMs."""
    for entry in tree.numbered(CONTROLLERS, "mc"):
        yield from _controller(tree, f"{CONTROLLERS}/{entry}", entry.removeprefix("mc"))


def telling(samples: Iterable[Sample], first: str) -> Iterator[Sample]:
    """What counts of errors tell where the firmware takes them first (`first` says by what): there zero is unknown."""
    for sample in samples:
        if not (first and sample.value == 0 and "_correctable_" in sample.name):
            yield sample


def read_modules(tree: Tree) -> Iterator[Sample]:
    """What each DIMM is, as EDAC knows it; a slot that is empty is none."""
    for entry in tree.numbered(CONTROLLERS, "mc"):
        folder = f"{CONTROLLERS}/{entry}"
        for module in (*tree.numbered(folder, "dimm"), *tree.numbered(folder, "rank")):
            files = ("dimm_location", "dimm_mem_type", "dimm_edac_mode", "dimm_dev_type", "size")
            location, *words = (label_text(tree.words(f"{folder}/{module}/{file}")) for file in files)
            label = tree.words(f"{folder}/{module}/dimm_label")
            if label:
                named = dict(zip(("mem_type", "edac_mode", "dev_type", "size_mb"), words, strict=True))
                where = {"controller": entry.removeprefix("mc"), "module": module, "location": location}
                yield Sample("forewarn_dimm_info", {"dimm_label": label, **where, **named}, 1.0)


def read_offlined(tree: Tree) -> Iterator[Sample]:
    """Pages that the kernel took out of use for errors, per NUMA node and what came of it (kernel 6.3 and newer)."""
    for node in tree.numbered(NODES, "node"):
        for result in ("recovered", "delayed", "failed", "ignored"):
            pages = tree.number(f"{NODES}/{node}/memory_failure/{result}")
            if pages is not None:
                labels = {"node": node.removeprefix("node"), "result": result}
                yield Sample("forewarn_memory_failure_pages_total", labels, pages)


def _controller(tree: Tree, folder: str, controller: str) -> Iterator[Sample]:
    where = {"controller": controller}
    yield from _pair(tree, "node_edac", where, f"{folder}/ce_count", f"{folder}/ue_count")
    unknown = {**where, "csrow": "unknown"}  # errors that the controller could not place
    yield from _pair(tree, "node_edac_csrow", unknown, f"{folder}/ce_noinfo_count", f"{folder}/ue_noinfo_count")
    rows = tree.numbered(folder, "csrow")
    for row in rows:
        labels = {**where, "csrow": row.removeprefix("csrow")}
        yield from _pair(tree, "node_edac_csrow", labels, f"{folder}/{row}/ce_count", f"{folder}/{row}/ue_count")
    by_row = [dimm for row in rows for dimm in _dimms_of_row(tree, f"{folder}/{row}", controller, row[5:])]
    for dimm in _merged(by_row, _dimms_of_controller(tree, folder, controller)):
        labels = {**where, "csrow": dimm.csrow, "channel": dimm.channel, "dimm_label": dimm.label}
        for kind, count in (("correctable", dimm.corrected), ("uncorrectable", dimm.uncorrected)):
            if count is not None:
                yield Sample(f"node_edac_channel_{kind}_errors_total", labels, count)


def _pair(tree: Tree, prefix: str, labels: dict[str, str], corrected: str, uncorrected: str) -> Iterator[Sample]:
    for kind, file in (("correctable", corrected), ("uncorrectable", uncorrected)):
        count = tree.number(file)
        if count is not None:
            yield Sample(f"{prefix}_{kind}_errors_total", labels, count)


def _dimms_of_row(tree: Tree, folder: str, controller: str, csrow: str) -> Iterator[Dimm]:
    """The older layout, `csrow0/ch1_ce_count`. Uncorrected errors are the row's: a DIMM's only where it is alone."""
    channels = [str(match[1]) for name in tree.names(folder, "ch") if (match := LABEL_FILE.fullmatch(name))]
    for channel in channels:
        stem = f"{folder}/ch{channel}"
        uncorrected = tree.number(f"{stem}_ue_count")
        if uncorrected is None and len(channels) == 1:
            uncorrected = tree.number(f"{folder}/ue_count")
        label = tree.words(f"{stem}_dimm_label") or _made_up_label(controller, csrow, channel)
        yield Dimm(controller, csrow, channel, label, tree.number(f"{stem}_ce_count"), uncorrected)


def _dimms_of_controller(tree: Tree, folder: str, controller: str) -> Iterator[Dimm]:
    """The newer layout, `dimm3/dimm_ce_count`, with a place such as `csrow 0 channel 1` or `channel 1 slot 0`."""
    for entry in (*tree.numbered(folder, "dimm"), *tree.numbered(folder, "rank")):
        place: dict[str, str] = dict(LOCATION.findall(tree.words(f"{folder}/{entry}/dimm_location")))
        csrow, channel = place.get("csrow", place.get("slot", "")), place.get("channel", "")
        label = tree.words(f"{folder}/{entry}/dimm_label") or _made_up_label(controller, csrow or entry[4:], channel)
        corrected = tree.number(f"{folder}/{entry}/dimm_ce_count")
        yield Dimm(controller, csrow, channel, label, corrected, tree.number(f"{folder}/{entry}/dimm_ue_count"))


def _made_up_label(controller: str, csrow: str, channel: str) -> str:
    return f"mc{controller}_csrow{csrow}_channel{channel}"


def _merged(by_row: list[Dimm], by_module: Iterator[Dimm]) -> Iterator[Dimm]:
    """Kernels show a module in both layouts: it counts once, at the row's place, with the module's own counts."""
    modules = {dimm.label: dimm for dimm in by_module}
    for row in by_row:
        module = modules.pop(row.label, None)
        if module is None:
            yield row
            continue
        corrected = row.corrected if module.corrected is None else module.corrected
        uncorrected = row.uncorrected if module.uncorrected is None else module.uncorrected
        yield Dimm(row.controller, row.csrow, row.channel, row.label, corrected, uncorrected)
    yield from modules.values()


class MemoryCollector:
    """How full and how sound the memory of this host is."""

    name = "memory"

    def __init__(self, root: Path = Path("/"), settings: MemorySettings | None = None) -> None:
        self._tree, self._settings = Tree(root), settings or MemorySettings()

    def collect(self) -> Iterator[Sample]:
        """Read usage and error counts once; raises SourceAbsent where there is neither."""
        usage = list(parse_meminfo(self._tree.text("proc/meminfo") or ""))
        first = self._firmware_first()
        errors = list(read_edac(self._tree))
        yield from (*usage, *telling(errors, first), *read_modules(self._tree), *read_offlined(self._tree))
        if first:
            yield Sample("forewarn_memory_firmware_first", {"by": first}, 1.0)
        yield from self._tree.report(self.name, (("meminfo", bool(usage)), ("edac", bool(errors))))
        if not usage and not errors:
            raise SourceAbsent("no memory telemetry: neither /proc/meminfo nor EDAC can be read")

    def _firmware_first(self) -> str:
        said = self._settings.firmware_first
        if said is FirmwareFirst.AUTO:
            return firmware_first(self._tree)
        return "setting" if said is FirmwareFirst.YES else ""
