"""What drives say of themselves, asked by `smartctl` on a live host or read from recorded outputs of it.

Asking wakes and slows drives, so it happens at an interval of its own and the answers stand in between. Each drive has
a time limit; one that hangs or answers nonsense hides no other. Parsing is `smart_json.py`'s.

Privilege: read access to the drives (group `disk`), CAP_SYS_RAWIO for ATA and SCSI, CAP_SYS_ADMIN for NVMe; recorded
answers ask none.
"""

import json
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forewarn.clock import Clock
from forewarn.collect.smart_json import parse
from forewarn.collect.tree import label_text
from forewarn.domain.telemetry import Sample
from forewarn.errors import RecordingError, SourceAbsent

# All that is wanted of a drive in one run: `--all` leaves out ATA's device statistics and the endurance of SAS drives.
ASKED = ("--json", "--all", "--log=devstat", "--log=ssd", "--tolerance=verypermissive", "--nocheck=standby")
INT_DIGITS_MAX = 300  # longer numbers are beyond any float
IDENTITY, STANDBY = "smartctl_device", "forewarn_smartctl_standby"
DOCUMENT = re.compile(r"^[ \t]*\{", re.MULTILINE)  # where smartctl's answer begins behind a wrapper's words


@dataclass(frozen=True)
class SmartSettings:
    """How drives are asked."""

    command: str = "smartctl"
    """Name or path of smartctl; looked up on PATH, because distributions put it in different places."""

    interval_s: float = 300.0
    """Seconds between two questions to the drives; answers are repeated in between. Five minutes, because SMART
    counters move slowly and each question costs a drive some milliseconds of its time."""

    timeout_s: float = 20.0
    """Seconds that one drive may take to answer; a failing drive can hang for minutes, and others wait behind it."""

    at_once: int = 8
    """Drives asked at the same time, so that a few that hang do not hold up the rest."""

    drives_max: int = 256
    """Most drives asked per host; those beyond are counted as unreadable."""

    recorded: Path | None = None
    """Folder with recorded outputs of `smartctl --json`, read in place of drives; each file's name without `.json` is
    the label `device`."""

    recorded_bytes_max: int = 16 * 2**20
    """Largest recorded file that is read, in bytes; real ones have some 10 kB."""


Run = Callable[[Sequence[str], float], bytes]
"""Runs a command with a time limit in seconds, returns what it printed; raises OSError or TimeoutExpired."""


class Runner:
    """Runs commands that may hang beyond any signal, as those do that wait for a dying drive.

    The exit status is not looked at: most bits of smartctl's mean that the drive, not the command, is ill. A command
    that cannot even be killed is left to end when its drive lets go; until then the same one is not started again.
    """

    def __init__(self, grace_s: float = 1.0, end: Callable[["subprocess.Popen[bytes]"], None] | None = None) -> None:
        self._grace_s = grace_s
        self._end = end or subprocess.Popen.kill
        self._stuck: dict[tuple[str, ...], subprocess.Popen[bytes]] = {}

    def __call__(self, command: Sequence[str], timeout_s: float) -> bytes:
        stuck = self._stuck.pop(tuple(command), None)
        if stuck is not None and stuck.poll() is None:
            self._stuck[tuple(command)] = stuck
            raise subprocess.TimeoutExpired(command, timeout_s)
        nothing = subprocess.DEVNULL
        process = subprocess.Popen(command, stdin=nothing, stdout=subprocess.PIPE, stderr=nothing)
        try:
            return process.communicate(timeout=timeout_s)[0]
        except subprocess.TimeoutExpired:
            self._abandon(process, tuple(command))
            raise

    @property
    def stuck(self) -> tuple["subprocess.Popen[bytes]", ...]:
        """The processes that were left behind."""
        return tuple(self._stuck.values())

    def _abandon(self, process: "subprocess.Popen[bytes]", command: tuple[str, ...]) -> None:
        self._end(process)
        if process.stdout:
            process.stdout.close()
        try:
            process.wait(self._grace_s)
        except subprocess.TimeoutExpired:
            self._stuck[command] = process


class SmartCollector:
    """The drives of this host, asked by smartctl."""

    name = "smart"

    def __init__(self, clock: Clock, settings: SmartSettings | None = None, run: Run | None = None) -> None:
        self._clock = clock
        self._settings = settings or SmartSettings()
        self._run = run or Runner()
        self._unreadable: Counter[tuple[str, str]] = Counter()
        self._samples: list[Sample] = []
        self._identities: dict[str, Sample] = {}  # of drives that answered, for while they sleep
        self._absent = ""
        self._asked_at: float | None = None

    def collect(self) -> Iterator[Sample]:
        """The last answers, renewed when older than the interval; raises SourceAbsent without smartctl or drives."""
        now = self._clock.monotonic()
        if self._asked_at is None or now - self._asked_at >= self._settings.interval_s:
            self._asked_at, self._samples, self._absent = now, [], ""
            try:
                self._samples = self._ask()
            except SourceAbsent as absent:
                self._absent = str(absent)
        if self._absent:
            raise SourceAbsent(self._absent)
        yield from self._samples
        yield from _count(self._unreadable)

    def _ask(self) -> list[Sample]:
        program = shutil.which(self._settings.command)
        if program is None:
            raise SourceAbsent(f"{self._settings.command} is not on PATH: install smartmontools")
        drives = self._scan(program)
        if not drives:
            raise SourceAbsent(f"{self._settings.command} --scan-open finds no drive that this user may open")
        for device, _ in drives[self._settings.drives_max :]:
            self._unreadable[device, "more drives than are asked"] += 1
        asked = drives[: self._settings.drives_max]
        with ThreadPoolExecutor(self._settings.at_once) as pool:
            answers = pool.map(lambda drive: self._drive(program, *drive), asked)
            found = dict(zip((device for device, _ in asked), answers, strict=True))
        for device, (_, unreadable) in found.items():
            self._unreadable.update((device, why) for why in unreadable)
        self._identities = dict(self._identify({device: samples for device, (samples, _) in found.items()}))
        told = [sample for samples, _ in found.values() for sample in samples]
        asleep = [identity for identity in self._identities.values() if identity not in told]
        return [Sample("smartctl_devices", {}, float(len(drives))), *told, *asleep]

    def _identify(self, found: Mapping[str, Sequence[Sample]]) -> Iterator[tuple[str, Sample]]:
        """Which drive each device is; one that sleeps is still the one that it was."""
        for device, samples in found.items():
            by_name = {sample.name: sample for sample in samples}
            asleep = by_name.get(STANDBY, Sample(STANDBY, {}, 0.0)).value
            identity = by_name.get(IDENTITY) or (self._identities.get(device) if asleep else None)
            if identity is not None:
                yield device, identity

    def _scan(self, program: str) -> list[tuple[str, list[str]]]:
        """The drives and how to ask for each: name for the label, and arguments."""
        try:
            document = load(self._run([program, "--scan-open", "--json"], self._settings.timeout_s))
        except (OSError, subprocess.SubprocessError, ValueError, RecursionError) as problem:
            raise SourceAbsent(f"{self._settings.command} --scan-open gives no list of drives: {problem}") from problem
        named = dict.fromkeys(_scanned(document))
        times = Counter(name for name, _ in named)
        drives: dict[str, list[str]] = {}
        for name, kind in named:
            behind = kind if times[name] > 1 or "," in kind else ""
            drives.setdefault(device_label(name, behind), [*(("--device", kind) if kind else ()), name])
        return list(drives.items())

    def _drive(self, program: str, device: str, arguments: list[str]) -> tuple[list[Sample], list[str]]:
        """One drive's samples, and what could not be read."""
        command = [program, *ASKED, *arguments]
        try:
            return read(device, self._run(command, self._settings.timeout_s))
        except subprocess.TimeoutExpired:
            return [], [f"no answer within {self._settings.timeout_s:g} s"]
        except (OSError, subprocess.SubprocessError) as problem:
            return [], [f"no answer: {type(problem).__name__}"]


def _scanned(document: object) -> Iterator[tuple[str, str]]:
    """Name and type of each drive in the answer to `--scan-open`."""
    found = document.get("devices") if isinstance(document, dict) else None
    for drive in found if isinstance(found, list) else ():
        if isinstance(drive, dict) and str(drive.get("name", "")).startswith("/dev/"):
            yield str(drive["name"]), str(drive.get("type", ""))


class RecordedSmartCollector:
    """Drives whose answers lie recorded in a folder. They are read once, when this is made.

    Raises RecordingError where the folder is absent. Whatever lies in it is taken for what it is; what cannot be read
    is counted under the name of its file.
    """

    name = "smart"

    def __init__(self, folder: Path, bytes_max: int = SmartSettings.recorded_bytes_max) -> None:
        self._folder = folder
        self._unreadable: Counter[tuple[str, str]] = Counter()
        self._samples: list[Sample] = []
        if not folder.is_dir():
            raise RecordingError(f"{folder}: not a folder of recorded smartctl outputs")
        files = sorted(folder.glob("*.json"))
        taken: Counter[str] = Counter()
        for file in files:
            device = label_text(file.name.removesuffix(".json"))
            taken[device] += 1
            if taken[device] > 1:  # names that differ only in what a label cannot hold
                device = f"{device}#{taken[device]}"
            samples, unreadable = _recorded(file, device, bytes_max)
            self._samples += samples
            self._unreadable.update((device, why) for why in unreadable)
        if files:
            self._samples.insert(0, Sample("smartctl_devices", {}, float(len(files))))

    def collect(self) -> Iterator[Sample]:
        """The same answers each time; raises SourceAbsent where the folder holds no recording."""
        if not self._samples:
            raise SourceAbsent(f"{self._folder} holds no recorded smartctl output (*.json)")
        yield from self._samples
        yield from _count(self._unreadable)


def _recorded(file: Path, device: str, bytes_max: int) -> tuple[list[Sample], list[str]]:
    """One recording's samples, and what could not be read."""
    try:
        if not file.is_file() and not file.is_dir():
            return [], ["no file"]
        if file.is_file() and file.stat().st_size > bytes_max:
            return [], [f"more than {bytes_max} bytes"]
        return read(device, file.read_bytes())
    except OSError as problem:
        return [], [(problem.strerror or "unknown error").lower()]


def read(device: str, content: bytes) -> tuple[list[Sample], list[str]]:
    """The samples of one drive in what smartctl printed, and what could not be read. Never fails.

    >>> read("sda", b"Segmentation fault")
    ([], ['not JSON: Expecting value: line 1 column 1 (char 0)'])
    """
    text = content.decode(json.detect_encoding(content), "replace")
    notes = []
    if not text.lstrip().startswith(("{", "[")) and (begin := DOCUMENT.search(text)):
        text, notes = text[begin.start() :], ["words before the document"]
    try:
        document, end = DECODER.raw_decode(text, len(text) - len(text.lstrip()))
    except RecursionError:
        return [], ["nested too deeply"]
    except ValueError as problem:
        return [], [f"not JSON: {problem}"]
    if text[end:].strip("\0 \t\r\n"):
        notes.append("more behind the document")
    samples, unreadable = parse(device, document)
    return samples, [*unreadable, *notes]


def load(content: bytes) -> Any:
    """The JSON in what smartctl printed; ValueError with line and column where it is none."""
    return DECODER.decode(content.decode("utf-8-sig", "replace"))


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= INT_DIGITS_MAX else float(digits)


DECODER = json.JSONDecoder(parse_int=_integer, strict=False)


def device_label(name: str, kind: str) -> str:
    """The label of a drive as smartctl_exporter makes it: its kernel name, and its place behind a controller.

    >>> device_label("/dev/sda", ""), device_label("/dev/bus/0", "megaraid,5"), device_label("/dev/sg2", "areca,1/2")
    ('sda', 'bus_0_megaraid_5', 'sg2_areca_1_2')
    """
    place = re.sub(r"[,+/]", "_", f",{kind}") if kind else ""
    return label_text(name.removeprefix("/dev/").replace("/", "_") + place)


def _count(unreadable: Counter[tuple[str, str]]) -> Iterator[Sample]:
    for (device, why), count in sorted(unreadable.items()):
        yield Sample("forewarn_smartctl_unreadable_total", {"device": device, "why": why}, float(count))
