"""What a simulated run came to, in numbers and in plain sentences: what was avoided, and what was not.

"Without Forewarn" is a second run of the same seed at the same times in which nothing moves. All figures are simulated,
and the sentences say so.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from forewarn.domain.plan import MoveState
from forewarn.domain.situation import Rung, Snapshot
from forewarn.sim.world import Failure

_STARTED = frozenset(MoveState) - {MoveState.INTENDED, MoveState.REFUSED}
_NOT_DONE = frozenset({MoveState.FAILED, MoveState.CANCELLED})


@dataclass(frozen=True, slots=True)
class Report:
    """A run in numbers. A VM that went down twice is counted twice."""

    cycles: int
    forecasts: int
    moves_started: int
    moves_succeeded: int
    moves_failed: int  # those that were cancelled among them; the VM stayed where it was
    host_failures: int
    host_failures_warned: int  # Forewarn had the failing part on the rung `move` before
    vm_interruptions: int
    vm_interruptions_without_forewarn: int
    vms_lost: int  # on no host, or on two
    seed: int

    def numbers(self) -> dict[str, int]:
        """The fields by name, ready to be printed as one JSON object."""
        return asdict(self)

    def sentences(self) -> tuple[str, ...]:
        """The run for a person: the avoided first, then what was not."""
        lost = "no VM was" if self.vms_lost == 0 else f"{_of(self.vms_lost, 'VM')} were"
        moves = f"{self.moves_started} started, {self.moves_succeeded} succeeded, {self.moves_failed} failed"
        return (
            f"Simulated, seed {self.seed}: {_of(self.host_failures, 'host failure')} in {_of(self.cycles, 'cycle')}.",
            f"Avoided: {self._avoided()}",
            f"Not avoided: {self._suffered()}",
            f"Moves: {moves}; {lost} lost.",
        )

    def _avoided(self) -> str:
        spared = self.vm_interruptions_without_forewarn - self.vm_interruptions
        if spared > 0:
            share = f"{spared / self.vm_interruptions_without_forewarn:.0%}"
            warned = f"warning of {self.host_failures_warned} of {_of(self.host_failures, 'host failure')}"
            whole = f"of {self.vm_interruptions_without_forewarn} ({share})"
            return f"{_of(spared, 'VM interruption')} {whole}, by {warned} and moving VMs in time."
        if spared < 0:
            return f"nothing; moves cost {_of(-spared, 'VM interruption')} more than there were without them."
        if self.vm_interruptions_without_forewarn == 0:
            return "nothing, since no VM would have gone down."
        return "nothing; as many VMs went down as without Forewarn."

    def _suffered(self) -> str:
        unwarned = self.host_failures - self.host_failures_warned
        if self.vm_interruptions == unwarned == 0:
            return "nothing."
        return f"{_of(self.vm_interruptions, 'VM interruption')}; {_of(unwarned, 'host')} failed without a warning."


def _of(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"


class Tally:
    """Counts what a run's snapshots say, and which failures were forewarned."""

    def __init__(self) -> None:
        self.cycles = self.forecasts = self.warned = 0
        self._moves: dict[str, MoveState] = {}
        self._on_move: frozenset[str] = frozenset()

    def note(self, snapshot: Snapshot | None) -> None:
        """Count one cycle; one that failed has no snapshot, and what was known before it still holds."""
        self.cycles += 1
        if snapshot is None:
            return
        self.forecasts += len(snapshot.forecasts)
        self._on_move = frozenset(step.component for step in snapshot.ladder if step.rung == Rung.MOVE)
        for outcome in snapshot.moves:
            self._moves[outcome.move.id] = outcome.state

    def judge(self, failure: Failure) -> None:
        """Count a failure that came after the last noted cycle."""
        self.warned += failure.host_failed and failure.event.component in self._on_move

    def moves(self) -> Mapping[str, int]:
        """How many moves started, succeeded and failed."""
        states = list(self._moves.values())
        return {
            "moves_started": sum(state in _STARTED for state in states),
            "moves_succeeded": sum(state is MoveState.SUCCEEDED for state in states),
            "moves_failed": sum(state in _NOT_DONE for state in states),
        }

    def report(self, seed: int, failures: tuple[Failure, ...], without: tuple[Failure, ...], lost: int) -> Report:
        """The run so far; `without` are the failures of the run in which nothing moves."""
        return Report(
            cycles=self.cycles,
            forecasts=self.forecasts,
            **self.moves(),
            host_failures=sum(failure.host_failed for failure in failures),
            host_failures_warned=self.warned,
            vm_interruptions=_interruptions(failures),
            vm_interruptions_without_forewarn=_interruptions(without),
            vms_lost=lost,
            seed=seed,
        )


def _interruptions(failures: tuple[Failure, ...]) -> int:
    return sum(len(failure.interrupted) for failure in failures)
