"""Runs the programs that a laboratory is raised with; what fails is one sentence with the program's own last words."""

import fcntl
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from forewarn.errors import LaboratoryError

LAST_LINES = 3  # of what a failed program said
SBIN = ("/usr/local/sbin", "/usr/sbin", "/sbin")


def search_path() -> str:
    """Where programs are looked for: also where Debian keeps what only root runs, which a root by `su` has not."""
    return os.pathsep.join((os.environ.get("PATH", os.defpath), *SBIN))


def run(
    command: Sequence[str | Path], timeout_s: float = 60.0, environment: Mapping[str, str] | None = None, text: str = ""
) -> str:
    """What `command` prints, given `text` to read; `environment` takes the place of this process's own.

    Raises LaboratoryError where it fails, is missing or takes longer.
    """
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words,
            capture_output=True,
            check=False,
            encoding="utf-8",
            env={**(os.environ if environment is None else environment), "LC_ALL": "C", "PATH": search_path()},
            errors="replace",
            input=text,
            timeout=timeout_s,
        )
    except FileNotFoundError as error:
        raise LaboratoryError(f"the laboratory needs the program {words[0]}, which this machine lacks") from error
    except subprocess.TimeoutExpired as error:
        raise LaboratoryError(f"{_shown(words)} was not done within {timeout_s:.0f} s") from error
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()[-LAST_LINES:]
        raise LaboratoryError(f"{_shown(words)} failed ({done.returncode}): {' / '.join(said) or 'it said nothing'}")
    return done.stdout


def _shown(words: Sequence[str]) -> str:
    line = " ".join(words)
    return line if len(line) <= 120 else f"...{line[-117:]}"  # what comes first only leads into a node


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path`: one process on this machine at a time. It is let go when the process dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
