"""What tests of any tier may lean on: waiting for something real without a fixed sleep."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(predicate: Callable[[], T], deadline: float = 10.0, every: float = 0.02) -> T:
    """Returns the first true value of `predicate`, or fails once `deadline` seconds have passed.

    For real processes and sockets only: what runs on a simulated clock has no need to wait.
    """
    end = time.monotonic() + deadline
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() >= end:
            raise AssertionError(f"still {value!r} after {deadline:g} s: {predicate}")
        time.sleep(every)
