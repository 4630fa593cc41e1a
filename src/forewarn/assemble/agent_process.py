"""The agent as a process of its own: nothing but the agent, because it runs on every host.

The command line with all its commands weighs more than the agent does, so whoever asks it to serve gets this in its
place: the same process, started anew without them.
"""

import gc
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from forewarn.assemble import agent
from forewarn.assemble.stopping import until_signal
from forewarn.errors import ForewarnError

NEW_OBJECTS_MAX = 50_000  # between two looks; a round of a large server keeps fewer at a time
# One heap for the few threads, and large buffers apart from it: glibc's own default, which else grows by itself.
SPARING = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "131072"}
LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def become(config_file: Path | None, recorded: Path | None, address: str) -> NoReturn:
    """Turn this process into the agent; it bears the same number and ends when it is told to."""
    level = logging.getLogger().getEffectiveLevel()
    given = (str(level), str(config_file or ""), str(recorded or ""), address)
    package = Path(__file__).resolve().parents[2]
    os.execve(sys.executable, command(given), environment(os.environ, package))  # noqa: S606 - this very program


def command(given: Sequence[str]) -> list[str]:
    """How the process is started. `-P`: what lies in the folder from which it is started is not taken for modules."""
    return [sys.executable, "-P", "-m", "forewarn.assemble.agent_process", *given]


def environment(now: Mapping[str, str], package: Path) -> dict[str, str]:
    """The same environment, in which this very package is found, and glibc gives back what a round no longer needs.

    Other C libraries know no such settings; whoever sets them has his way.

    >>> environment({"MALLOC_ARENA_MAX": "4", "PYTHONPATH": "/b"}, Path("/a"))
    {'MALLOC_ARENA_MAX': '4', 'MALLOC_MMAP_THRESHOLD_': '131072', 'PYTHONPATH': '/a:/b'}
    """
    folders = filter(None, (str(package), now.get("PYTHONPATH", "")))
    return {**SPARING, **now, "PYTHONPATH": os.pathsep.join(folders)}


def spare_the_collector() -> None:
    """Look for circular garbage rarely: a round makes thousands of small values and no circle of them.

    What the program is made of is never looked at again.
    """
    gc.freeze()
    gc.set_threshold(NEW_OBJECTS_MAX)


def main(given: Sequence[str]) -> None:
    """Serve until a signal; a Forewarn error becomes one sentence on stderr and exit code 1."""
    level, config_file, recorded, address = given
    logging.basicConfig(level=int(level), format=LOG_FORMAT)
    try:
        tree = agent.read(
            Path(config_file) if config_file else None, os.environ, Path(recorded) if recorded else None, address
        )
        spare_the_collector()
        with until_signal() as clock:
            sys.stderr.write(f"Metrics: http://{tree.listen.host}:{tree.listen.port}/metrics\n")
            agent.serve(tree, clock)
    except ForewarnError as error:
        sys.exit(f"forewarn: {error}")


if __name__ == "__main__":
    main(sys.argv[1:])
