"""A controller as a process of its own, made to be killed: it moves VMs without end until somebody stops it.

Its placement service is a folder of files, so that it outlives the controller as a real one would: one file per move,
made as the move starts. `python -m tests.integration.restless STATE.db SERVICE`.
"""

import sys
from pathlib import Path

from forewarn.act.executor import Executor
from forewarn.act.guards import Guards, GuardSettings
from forewarn.act.journal import Journal
from forewarn.clock import RealClock
from forewarn.domain.inventory import Cluster
from forewarn.domain.plan import Move, MoveState, Plan
from forewarn.drivers.base import MoveProgress
from forewarn.errors import MoveRefused
from forewarn.state.database import Database
from tests.moves import move, small_cluster, vm

UNLIMITED = GuardSettings(10**6, 10**6, 10**6, 10**6)
VMS = tuple(f"vm{number}" for number in range(4))


class FileService:
    """A placement service whose moves end the third time that somebody asks; `started` holds one line per call."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def check(self, move: Move) -> None:
        if self._file(move).exists():
            raise MoveRefused(f"a move {move.id} was started before")

    def expect(self, move: Move) -> None:
        """Nothing is to be foretold."""

    def start(self, move: Move) -> None:
        with self._file(move).open("a") as file:
            file.write("started\n")

    def poll(self, move: Move) -> MoveProgress:
        if not self._file(move).exists():
            return MoveProgress(MoveState.FAILED, text=f"never heard of {move.id}")
        with self._file(move).open("a") as file:
            file.write("asked\n")
        asked = self._file(move).read_text().count("asked")
        return MoveProgress(MoveState.SUCCEEDED if asked > 2 else MoveState.RUNNING, min(1.0, asked / 3))

    def cancel(self, move: Move) -> None:
        """Every move of this service arrives: nothing here is ever called off."""

    def starts(self) -> dict[str, int]:
        """How often each move was started."""
        return {file.name: file.read_text().count("started") for file in self._folder.iterdir()}

    def _file(self, move: Move) -> Path:
        return self._folder / move.id


def main(state: Path, service: Path) -> None:
    clock = RealClock()
    journal = Journal(Database(f"sqlite:///{state}", clock))
    executor = Executor(FileService(service), journal, Guards(UNLIMITED), clock)
    executor.reconcile()
    cycle = 0
    while True:
        cycle += 1
        now = clock.now()
        cluster = Cluster(now, 1, small_cluster().hosts, (), tuple(vm(name, "a") for name in VMS))
        moves = tuple(move(name, name=f"{now:%H%M%S%f}-{cycle}-{name}") for name in VMS)
        executor.run(Plan(f"plan {now.isoformat()}", now, 1, moves), cluster)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
