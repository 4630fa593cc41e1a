"""How fast a guest dirties memory: measured by its QEMU, only where it is about to move, never while it moves.

A guest whose move waits for its turn is measured, so that the next plan knows; a move that starts waits for the end of
its guest's measurement, and none begins until that move is over.

QEMU samples pages and compares them (page sampling): a second or so, a few milliseconds of work, coarse. Its two other
ways are none here: the dirty bitmap answers 0 where QEMU emulates the CPU, the dirty ring wants a guest made for it.
"""

import threading
from typing import Any

import libvirt

from forewarn.clock import Clock
from forewarn.drivers.libvirt.connections import Connections
from forewarn.drivers.libvirt.settings import LibvirtSettings
from forewarn.errors import ForewarnError

KEPT_S = 900.0  # for how long a measurement tells what the guest does
LOOKS_MAX, LOOK_S = 20, 0.25  # at the end of a measurement, and seconds between two of them
MIB = 2**20
MEASURED = 2  # libvirt's virDomainDirtyRateStatus


class DirtyRates:
    """The rates that were measured lately."""

    def __init__(self, settings: LibvirtSettings, connections: Connections, clock: Clock) -> None:
        self._settings, self._connections, self._clock = settings, connections, clock
        self._lock = threading.Lock()
        self._found: dict[str, tuple[float, float]] = {}  # by VM: bytes per second, and when
        self._measuring: dict[str, threading.Event] = {}  # by VM: set once it is not measured any more

    def sample(self, host: str, vm: str) -> float | None:
        """Measure a VM that is about to move, in bytes per second, and remember it.

        None where the settings or a read-only connection forbid it, where a job runs on the VM, or where it fails:
        a move does not depend on it.
        """
        return self._await(host, vm) if self._begin(host, vm) else None

    def begin(self, host: str, vm: str) -> None:
        """The same, without waiting for it: what was measured is known a moment later.

        Nothing happens for a VM that was measured lately, nor while as many are measured as the settings allow.
        """
        known = self.known()
        with self._lock:
            if vm in known or vm in self._measuring or len(self._measuring) >= self._settings.dirty_rates_at_once:
                return
            ended = self._measuring[vm] = threading.Event()
        threading.Thread(
            target=self._measure, args=(host, vm, ended), name=f"libvirt dirty {host}", daemon=True
        ).start()

    def await_quiet(self, vm: str) -> None:
        """Until the VM is not measured any more; at once for any other."""
        with self._lock:
            ended = self._measuring.get(vm)
        if ended is not None:
            ended.wait()

    def known(self) -> dict[str, float]:
        """By VM the rates of the last quarter of an hour, in bytes per second."""
        now_s = self._clock.monotonic()
        with self._lock:
            self._found = {vm: (rate, at) for vm, (rate, at) in self._found.items() if now_s - at <= KEPT_S}
            return {vm: rate for vm, (rate, _) in self._found.items()}

    def _measure(self, host: str, vm: str, ended: threading.Event) -> None:
        try:
            self.sample(host, vm)
        finally:
            with self._lock:
                del self._measuring[vm]
            ended.set()

    def _begin(self, host: str, vm: str) -> bool:
        """Whether a measurement runs now."""
        seconds = self._settings.dirty_rate_s
        if not seconds or not self._connections.writing:
            return False
        try:
            return self._connections.call(host, lambda c: _start(c, vm, seconds), "measure its dirty rate", vm=vm)
        except ForewarnError:
            return False

    def _await(self, host: str, vm: str) -> float | None:
        """The rate, once it is measured."""
        self._clock.sleep(self._settings.dirty_rate_s)
        try:
            for _ in range(LOOKS_MAX):
                rate = self._connections.call(host, lambda c: _measured(c, vm), "tell its dirty rate", vm=vm)
                if rate is not None:
                    with self._lock:
                        self._found[vm] = (rate, self._clock.monotonic())
                    return rate
                self._clock.sleep(LOOK_S)
        except ForewarnError:
            return None  # it has left, or its host does not answer
        return None


def _start(connection: Any, vm: str, seconds: int) -> bool:
    """Start a measurement, unless a job such as a migration runs on the VM."""
    domain = connection.lookupByUUIDString(vm)
    if domain.jobStats().get("type", libvirt.VIR_DOMAIN_JOB_NONE) != libvirt.VIR_DOMAIN_JOB_NONE:
        return False
    domain.startDirtyRateCalc(seconds, libvirt.VIR_DOMAIN_DIRTYRATE_MODE_PAGE_SAMPLING)
    return True


def _measured(connection: Any, vm: str) -> float | None:
    """What was measured, in bytes per second; None while it is being measured."""
    domain = connection.lookupByUUIDString(vm)
    told = connection.domainListGetStats([domain], libvirt.VIR_DOMAIN_STATS_DIRTYRATE)
    found = told[0][1] if told else {}  # of a VM that leaves while it is asked, nothing is told
    if found.get("dirtyrate.calc_status") != MEASURED:
        return None
    return float(found.get("dirtyrate.megabytes_per_second", 0)) * MIB
