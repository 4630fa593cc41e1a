"""Counts what each receiver was sent, refused or spared, and logs when one stops answering and when it is back."""

import logging
import threading
from collections import Counter
from collections.abc import Mapping

logger = logging.getLogger(__name__)


class Tally:
    """Counters shared by the loop, the sending thread and the pages. A receiver is named without its secrets."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._failing: set[str] = set()

    def sent(self, receiver: str, number: int = 1) -> None:
        """It took `number` alerts or messages; if it did not answer before, that is logged."""
        with self._lock:
            self._counts[_sample("sent", receiver)] += number
            back = receiver in self._failing
            self._failing.discard(receiver)
        if back:
            logger.warning("%s takes alerts again", receiver)

    def failed(self, receiver: str, error: str) -> None:
        """It took nothing; only the first failure after a success is logged."""
        with self._lock:
            self._counts[_sample("failed", receiver)] += 1
            known = receiver in self._failing
            self._failing.add(receiver)
        if not known:
            logger.warning("%s takes no alerts: %s", receiver, error)

    def dropped(self, receiver: str, number: int) -> None:
        """`number` alerts or messages were not sent to it by themselves, because of a limit."""
        if number:
            with self._lock:
                self._counts[_sample("dropped", receiver)] += number

    def counts(self) -> Mapping[str, float]:
        """Every counter, under its name in Prometheus' text format, labels included."""
        with self._lock:
            return {name: float(number) for name, number in sorted(self._counts.items())}


def _sample(what: str, receiver: str) -> str:
    return f'forewarn_alerts_{what}_total{{receiver="{receiver}"}}'
