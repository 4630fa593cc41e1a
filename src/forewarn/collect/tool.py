"""A command of this host that is asked at an interval of its own, within a time limit; its answer stands in between."""

import shutil
import subprocess
from collections.abc import Sequence

from forewarn.clock import Clock
from forewarn.collect.smart import Run


class Tool:
    """One command with its arguments. `problem` says why the last answer is empty."""

    def __init__(self, command: Sequence[str], clock: Clock, run: Run, interval_s: float, timeout_s: float) -> None:
        self._command = tuple(command)
        self._clock, self._run = clock, run
        self._interval_s, self._timeout_s = interval_s, timeout_s
        self._answer = b""
        self._asked_at: float | None = None
        self.problem = ""

    def answer(self) -> bytes:
        """What the command printed, at most an interval ago; empty where it is not installed, hangs or says nothing."""
        now = self._clock.monotonic()
        if self._asked_at is None or now - self._asked_at >= self._interval_s:
            self._asked_at = now
            self._answer, self.problem = self._ask()
        return self._answer

    def text(self) -> str:
        """The answer as text."""
        return self.answer().decode("utf-8", "replace")

    def _ask(self) -> tuple[bytes, str]:
        program = shutil.which(self._command[0])
        if program is None:
            return b"", f"{self._command[0]} is not on PATH"
        try:
            said = self._run((program, *self._command[1:]), self._timeout_s)
        except subprocess.TimeoutExpired:
            return b"", f"{self._command[0]}: no answer within {self._timeout_s:g} s"
        except (OSError, subprocess.SubprocessError) as problem:
            return b"", f"{self._command[0]}: {type(problem).__name__}"
        return said, "" if said.strip() else f"{self._command[0]} says nothing"


def nothing(_: Sequence[str], __: float) -> bytes:
    """In place of running commands where files are read below another root: they would tell of another machine."""
    return b""
