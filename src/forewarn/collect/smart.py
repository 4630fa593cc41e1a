"""What drives say of themselves, asked by `smartctl` on a live host or read from recorded outputs of it.

Asking wakes and slows drives, so it happens at an interval of its own and the answers stand in between. Each drive has
a time limit; one that hangs or answers nonsense hides no other. Parsing is `smart_json.py`'s.
"""

import json
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forewarn.clock import Clock
from forewarn.collect.smart_json import parse
from forewarn.collect.tree import label_text
from forewarn.domain.telemetry import Sample
from forewarn.errors import RecordingError, SourceAbsent

INT_DIGITS_MAX = 300  # longer numbers are beyond any float


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
            found = list(zip(asked, answers, strict=True))
        for (device, _), (_, unreadable) in found:
            self._unreadable.update((device, why) for why in unreadable)
        return [sample for _, (samples, _) in found for sample in samples]

    def _scan(self, program: str) -> list[tuple[str, list[str]]]:
        """The drives and how to ask for each: name for the label, and arguments."""
        try:
            document = load(self._run([program, "--scan-open", "--json"], self._settings.timeout_s))
        except (OSError, subprocess.SubprocessError, ValueError, RecursionError) as problem:
            raise SourceAbsent(f"{self._settings.command} --scan-open gives no list of drives: {problem}") from problem
        named = list(_scanned(document))
        times = Counter(name for name, _ in named)
        return [
            (device_label(name, kind if times[name] > 1 else ""), [*(("--device", kind) if kind else ()), name])
            for name, kind in named
        ]

    def _drive(self, program: str, device: str, arguments: list[str]) -> tuple[list[Sample], list[str]]:
        """One drive's samples, and what could not be read."""
        command = [program, "--json", "--all", "--tolerance=verypermissive", "--nocheck=standby", *arguments]
        try:
            return parse(device, load(self._run(command, self._settings.timeout_s)))
        except subprocess.TimeoutExpired:
            return [], [f"no answer within {self._settings.timeout_s:g} s"]
        except (OSError, ValueError, RecursionError) as problem:
            return [], [f"no answer in JSON: {type(problem).__name__}"]


def _scanned(document: object) -> Iterator[tuple[str, str]]:
    """Name and type of each drive in the answer to `--scan-open`."""
    found = document.get("devices") if isinstance(document, dict) else None
    for drive in found if isinstance(found, list) else ():
        if isinstance(drive, dict) and str(drive.get("name", "")).startswith("/dev/"):
            yield str(drive["name"]), str(drive.get("type", ""))


class RecordedSmartCollector:
    """Drives whose answers lie recorded in a folder. They are read once, when this is made.

    Raises RecordingError where the folder is absent or a file in it is no JSON at all; JSON of any shape is taken for
    what it is, and what cannot be read of it is counted.
    """

    name = "smart"

    def __init__(self, folder: Path, bytes_max: int = SmartSettings.recorded_bytes_max) -> None:
        self._folder = folder
        self._unreadable: Counter[tuple[str, str]] = Counter()
        self._samples: list[Sample] = []
        if not folder.is_dir():
            raise RecordingError(f"{folder}: not a folder of recorded smartctl outputs")
        for file in sorted(folder.glob("*.json")):
            self._read(file, bytes_max)

    def collect(self) -> Iterator[Sample]:
        """The same answers each time; raises SourceAbsent where the folder holds no recording."""
        if not self._samples and not self._unreadable:
            raise SourceAbsent(f"{self._folder} holds no recorded smartctl output (*.json)")
        yield from self._samples
        yield from _count(self._unreadable)

    def _read(self, file: Path, bytes_max: int) -> None:
        device = label_text(file.name.removesuffix(".json"))
        try:
            if file.stat().st_size > bytes_max:
                self._unreadable[device, f"more than {bytes_max} bytes"] += 1
                return
            document = load(file.read_bytes())
        except OSError as problem:
            self._unreadable[device, (problem.strerror or "unknown error").lower()] += 1
        except RecursionError:
            self._unreadable[device, "nested too deeply"] += 1
        except ValueError as problem:
            raise RecordingError(f"{file}: not JSON: {problem}") from problem
        else:
            samples, unreadable = parse(device, document)
            self._samples += samples
            self._unreadable.update((device, why) for why in unreadable)


def load(content: bytes) -> Any:
    """The JSON in what smartctl printed; ValueError with line and column where it is none."""
    return json.loads(content.decode("utf-8-sig", "replace"), parse_int=_integer)


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= INT_DIGITS_MAX else float(digits)


def device_label(name: str, kind: str) -> str:
    """The label of a drive: its kernel name, with the place behind a controller that shows several under one name.

    >>> device_label("/dev/sda", ""), device_label("/dev/bus/0", "megaraid,5")
    ('sda', 'bus_0_megaraid_5')
    """
    place = f"_{kind.replace(',', '_').replace('+', '_')}" if kind else ""
    return label_text(name.removeprefix("/dev/").replace("/", "_") + place)


def _count(unreadable: Counter[tuple[str, str]]) -> Iterator[Sample]:
    for (device, why), count in sorted(unreadable.items()):
        yield Sample("forewarn_smartctl_unreadable_total", {"device": device, "why": why}, float(count))
