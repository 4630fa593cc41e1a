"""Collectors asked with a time limit, so that a file or a driver that hangs holds up no other source.

A read that hangs in the kernel cannot be ended from outside. It is left to a thread of its own; until that comes back
the collector is not asked again, and then its late answer counts. Python ends without waiting for such threads.
"""

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

Answer = TypeVar("Answer")


class _Worker(Generic[Answer]):
    """One thread that makes one call after the other."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[Callable[[], Answer] | None] = SimpleQueue()
        self._answers: SimpleQueue[Answer] = SimpleQueue()
        threading.Thread(target=self._work, name="collecting", daemon=True).start()

    def ask(self, call: Callable[[], Answer]) -> None:
        self._calls.put(call)

    def answer(self, timeout_s: float) -> Answer | None:
        """What the call that was asked for gave; None where it has not ended within the time."""
        try:
            return self._answers.get(timeout=max(timeout_s, 1e-3))
        except Empty:
            return None

    def end(self) -> None:
        self._calls.put(None)

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            self._answers.put(call())


class Patience(Generic[Answer]):
    """Makes calls, each for at most `timeout_s` seconds. Calls may not raise. To be used by one thread at a time.

    >>> Patience(5.0).ask("one", lambda: 7)
    7
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._worker: _Worker[Answer] | None = None
        self._hanging: dict[str, _Worker[Answer]] = {}

    def ask(self, name: str, call: Callable[[], Answer]) -> Answer | None:
        """What the call gives; None where it takes too long, or an earlier one of this name goes on still.

        Where the earlier one has ended meanwhile, its answer is given and nothing is called.
        """
        if (hanging := self._hanging.get(name)) is not None:
            late = hanging.answer(0.0)
            if late is not None:
                self._hanging.pop(name).end()
            return late
        worker = self._worker or _Worker()
        worker.ask(call)
        answer = worker.answer(self._timeout_s)
        self._worker = worker
        if answer is None:
            self._hanging[name], self._worker = worker, None
        return answer
