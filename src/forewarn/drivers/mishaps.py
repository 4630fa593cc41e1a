"""What can be told to go wrong with the simulated placement service: moves that break or get lost, calls unanswered."""

from threading import RLock

BROKEN_AT = 0.5  # share of the first copy at which a move breaks that was told to fail


class Mishaps:
    """What shall go wrong next. The simulated driver looks here before it answers."""

    def __init__(self) -> None:
        self._to_break: dict[str, tuple[str, float]] = {}
        self._to_lose: set[str] = set()
        self._to_time_out: set[str] = set()
        self._unreachable = ""
        self._uncordon_fails = False
        self._lock = RLock()

    def fail_next_move(self, vm: str, text: str = "", at: float = BROKEN_AT) -> None:
        """Let the next move of a VM break once the share `at` of its memory is sent."""
        with self._lock:
            self._to_break[vm] = (text or "the copy broke off", at)

    def lose_next_move(self, vm: str) -> None:
        """Accept the next start of a move of this VM, and forget it at once."""
        with self._lock:
            self._to_lose.add(vm)

    def time_out_next_start(self, vm: str) -> None:
        """Start the next move of this VM, but answer as if the call had timed out."""
        with self._lock:
            self._to_time_out.add(vm)

    def fail_next_uncordon(self) -> None:
        """Let the next call to lift a cordon go unanswered, and undone."""
        with self._lock:
            self._uncordon_fails = True

    def be_unreachable(self, text: str = "the simulated placement service does not answer") -> None:
        """Let every call of the driver raise DriverUnavailable; what runs goes on."""
        with self._lock:
            self._unreachable = text

    def be_reachable(self) -> None:
        """Answer again."""
        with self._lock:
            self._unreachable = ""
