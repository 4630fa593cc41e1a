"""Marks on hosts that take no new VM, of drivers that keep them themselves: Forewarn's own end by themselves."""

from datetime import datetime

from forewarn.errors import CordonRefused


class Marks:
    """Which hosts are marked, by whom, and until when. A mark of people has no end."""

    def __init__(self) -> None:
        self.others: set[str] = set()
        self._ends: dict[str, datetime] = {}

    def mark(self, host: str, until: datetime) -> None:
        """Set or prolong Forewarn's mark. Raises CordonRefused for a host that somebody else has marked."""
        if host in self.others:
            raise CordonRefused(f"somebody else has cordoned {host}")
        self._ends[host] = until

    def lift(self, host: str) -> None:
        """Take Forewarn's mark away."""
        self._ends.pop(host, None)

    def ended(self, now: datetime) -> tuple[str, ...]:
        """The hosts whose mark has run out; they are forgotten."""
        over = tuple(host for host, until in self._ends.items() if until <= now)
        for host in over:
            del self._ends[host]
        return over

    def marked(self, host: str) -> bool:
        """Whether anybody has marked the host."""
        return host in self.others or host in self._ends
