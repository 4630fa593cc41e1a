"""The simulated driver as the loop holds it: between a plan and its first move the world may still change."""

from collections.abc import Callable
from datetime import datetime

from forewarn.domain.inventory import Cluster
from forewarn.domain.plan import Move
from forewarn.domain.situation import Workload
from forewarn.drivers.base import Driver, MoveProgress


class MeddledDriver:
    """A driver that calls `before_check` each time a move is about to be checked, and is else the one it wraps."""

    def __init__(self, driver: Driver, before_check: Callable[[], None]) -> None:
        self.name = driver.name
        self._driver, self._before_check = driver, before_check

    def inventory(self) -> Cluster:
        return self._driver.inventory()

    def workloads(self) -> tuple[Workload, ...]:
        return self._driver.workloads()

    def check(self, move: Move) -> None:
        self._before_check()
        self._driver.check(move)

    def expect(self, move: Move) -> None:
        self._driver.expect(move)

    def start(self, move: Move) -> None:
        self._driver.start(move)

    def poll(self, move: Move) -> MoveProgress:
        return self._driver.poll(move)

    def cancel(self, move: Move) -> None:
        self._driver.cancel(move)

    def cordon(self, host: str, why: str, until: datetime) -> None:
        self._driver.cordon(host, why, until)

    def uncordon(self, host: str) -> None:
        self._driver.uncordon(host)
