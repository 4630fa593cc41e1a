"""Calls that cannot be interrupted, on threads of their own: whoever asks waits no longer than its deadline.

A call past its deadline is abandoned: its thread stays until the library returns, if it ever does. It keeps its slot,
so that a host which answers nothing costs a few threads and no more. The threads are daemons; one that hangs keeps
no process from ending.
"""

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar, cast

import libvirt

from forewarn.errors import DriverUnavailable, ForewarnError

T = TypeVar("T")


class Late(Exception):
    """A call did not return by its deadline, or never got a slot because others do not return."""


class _Call(Generic[T]):
    """One call: its answer or its error, once it is over. `given_up` and `returned` are its `Threads`' to set."""

    def __init__(self, work: Callable[[], T]) -> None:
        self.given_up = self.returned = False
        self._work: Callable[[], T] | None = work
        self._answer: T | None = None
        self._answered = False
        self._error: ForewarnError | libvirt.libvirtError | None = None
        self._over = threading.Event()

    def run(self) -> None:
        """In its thread. What is neither ours nor libvirt's is a defect, and goes to the thread's hook."""
        try:
            if self._work is not None:
                self._answer = self._work()
                self._answered = True
        except libvirt.libvirtError as error:
            self._error = error.with_traceback(None)  # its frames hold connections, which shall close in this thread
        except ForewarnError as error:
            self._error = error
        finally:
            self._work = None
            self._over.set()

    def answer(self, deadline_s: float) -> T:
        if not self._over.wait(deadline_s):
            raise Late
        if self._error is not None:
            raise self._error
        if not self._answered:
            raise DriverUnavailable("a question to libvirt ended by a defect of Forewarn; its traceback is in the log")
        return cast(T, self._answer)


class Threads:
    """At most `slots` threads for each host, and some more for `urgent` calls."""

    def __init__(self, slots: int, urgent_slots: int = 2) -> None:
        self._slots, self._urgent_slots = slots, urgent_slots
        self._changed = threading.Condition()
        self._busy: Counter[str] = Counter()
        self._hanging: Counter[str] = Counter()
        self._abandoned: Counter[str] = Counter()

    def run(self, host: str, work: Callable[[], T], deadline_s: float, *, urgent: bool = False) -> T:
        """The answer of `work`. Raises Late after `deadline_s`, and what `work` raises."""
        self._take(host, deadline_s, self._slots + self._urgent_slots * urgent)
        call = _Call(work)
        threading.Thread(target=self._serve, args=(host, call), name=f"libvirt {host}", daemon=True).start()
        try:
            return call.answer(deadline_s)
        except Late:
            self._give_up(host, call)
            raise

    def hanging(self) -> Mapping[str, int]:
        """By host, the threads that are given up and have not come back."""
        with self._changed:
            return dict(self._hanging)

    def abandoned(self) -> Mapping[str, int]:
        """By host, how often a call was given up."""
        with self._changed:
            return dict(self._abandoned)

    def _take(self, host: str, deadline_s: float, slots: int) -> None:
        with self._changed:
            stuck = self._hanging[host] >= slots  # then waiting is in vain
            if stuck or not self._changed.wait_for(lambda: self._busy[host] < slots, deadline_s):
                raise Late
            self._busy[host] += 1

    def _serve(self, host: str, call: _Call[T]) -> None:
        try:
            call.run()
        finally:
            with self._changed:
                call.returned = True
                self._busy[host] -= 1
                self._hanging[host] -= call.given_up
                self._changed.notify_all()

    def _give_up(self, host: str, call: _Call[T]) -> None:
        with self._changed:
            self._abandoned[host] += 1
            if not call.returned:
                call.given_up = True
                self._hanging[host] += 1
