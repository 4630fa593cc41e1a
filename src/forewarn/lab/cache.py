"""What is built once for all laboratories of this machine: whole or not at all, by one process at a time."""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from forewarn.lab.commands import locked


def built(cache: Path, name: str, build: Callable[[Path], Path]) -> Path:
    """The folder `name` of the cache, built first where there is none.

    `build` is given a folder to work in, which is removed afterwards, and returns the folder within it that is kept.
    """
    wanted = cache / name
    with locked(cache / "lock"):
        if not wanted.exists():
            draft = Path(tempfile.mkdtemp(prefix="draft-", dir=cache))
            try:
                build(draft).rename(wanted)
            finally:
                shutil.rmtree(draft, ignore_errors=True)
    return wanted
