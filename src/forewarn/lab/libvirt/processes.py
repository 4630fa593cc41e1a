"""Processes by an id that stays true: the number together with when it started, so a number used anew is no match."""

import contextlib
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from forewarn.clock import Clock
from forewarn.errors import LaboratoryError

PROC = Path("/proc")
STEP_S = 0.02


@dataclass(frozen=True)
class ProcessId:
    """One process of this boot of this machine."""

    number: int
    started: str
    """When it started, in ticks since the machine did, with the id of that boot."""

    @property
    def alive(self) -> bool:
        """Whether it still runs; one that ended and that nobody waited for does not."""
        return _told(self.number) == (self.started, True)

    def kill(self, clock: Clock, timeout_s: float = 10.0) -> None:
        """End it at once, and wait until it is gone."""
        if not self.alive:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.number, signal.SIGKILL)
        wait(lambda: not self.alive, clock, timeout_s, f"the end of process {self.number}")
        with contextlib.suppress(ChildProcessError):  # of another process, which looks after it
            os.waitpid(self.number, os.WNOHANG)


def identify(number: int) -> ProcessId:
    """The process that has this number now. Raises LaboratoryError where none has."""
    told = _told(number)
    if told is None or not told[1]:
        raise LaboratoryError(f"process {number} of the laboratory has ended already")
    return ProcessId(number, told[0])


def spawn(command: list[str], log: Path, environment: Mapping[str, str] | None = None) -> tuple[ProcessId, int]:
    """Start a process that outlasts this one; returns it with a file descriptor that leads to its standard input.

    What it says goes into `log`. Whoever got the descriptor closes it.
    """
    reading, writing = os.pipe()
    written = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        actions = [(os.POSIX_SPAWN_DUP2, reading, 0), (os.POSIX_SPAWN_DUP2, written, 1)]
        actions.append((os.POSIX_SPAWN_DUP2, written, 2))
        number = os.posix_spawnp(command[0], command, environment or os.environ, file_actions=actions, setsid=True)
    except OSError:
        os.close(writing)
        raise
    finally:
        os.close(reading)
        os.close(written)
    return identify(number), writing


def children(number: int) -> list[int]:
    """The processes that this one started and that run, by number."""
    numbers = [int(folder.name) for folder in PROC.iterdir() if folder.name.isdigit()]
    return [one for one in numbers if (fields := _stat(one)) and fields[1] == str(number)]


def wait(condition: Callable[[], object], clock: Clock, timeout_s: float, what: str) -> None:
    """Return once `condition` holds. Raises LaboratoryError with `what` was waited for where it takes too long."""
    end = clock.monotonic() + timeout_s
    while not condition():
        if clock.monotonic() > end:
            raise LaboratoryError(f"the laboratory waited {timeout_s:.0f} s in vain for {what}")
        clock.sleep(STEP_S)


def _told(number: int) -> tuple[str, bool] | None:
    """When the process started, and whether it still runs."""
    fields = _stat(number)
    boot = (PROC / "sys/kernel/random/boot_id").read_text().strip()
    return (f"{fields[19]}@{boot}", fields[0] not in "ZX") if fields else None


def _stat(number: int) -> list[str] | None:
    """The fields of /proc/N/stat from the state on; the name before them may hold blanks."""
    try:
        return (PROC / str(number) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
