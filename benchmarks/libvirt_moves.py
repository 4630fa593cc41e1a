"""How soon a libvirt host's VM moves once a forecast calls for it, and how well the model foretells real moves.

Runs in a laboratory on this machine, as root; says so and ends where none can be raised. Guests are emulated, so their
seconds are not those of KVM: what travels is how the model's error changes with what it has learned before.
"""

import os
import statistics
import sys
from dataclasses import replace
from time import perf_counter

from forewarn.clock import RealClock
from forewarn.decide.migration_cost import MigrationEstimate, MigrationSettings, estimate, learned
from forewarn.decide.policy import PolicySettings
from forewarn.domain.plan import Move, MoveState, Outcome, Plan
from forewarn.domain.situation import Situation, Workload
from forewarn.drivers.libvirt.driver import LibvirtDriver
from forewarn.errors import LaboratoryError
from forewarn.lab.libvirt.guests import Guest
from forewarn.lab.libvirt.laboratory import Laboratory, raise_laboratory
from forewarn.lab.settings import LabSettings
from tests import clusters
from tests.integration.libvirt.moving import arrives, driver_of, libvirt_settings, move_of
from tests.support import eventually

CLOCK = RealClock()
LINK_MBIT = 200
LINK_BYTES_PER_S = LINK_MBIT / 8 * 1e6
CYCLE_S, CYCLES = 1.0, 5
# Memory and what of it is written over and over, in MiB, and how fast, in MiB per second.
LOADS = ((96, 4, 1.0), (96, 16, 4.0), (128, 32, 8.0), (192, 32, 2.0), (192, 64, 12.0), (256, 48, 6.0))
WAY = ("host01", "host02", "host03")


def crossing_to_start(laboratory: Laboratory) -> list[float]:
    """Seconds from a forecast that crosses, at any moment between two cycles, until libvirt is told to move."""
    guest = Guest("vm-r", 60)
    took = []
    for number in range(CYCLES):
        laboratory.cupboard.take_out(laboratory.host("host01"), guest)
        driver = driver_of(libvirt_settings(laboratory))
        crossed = perf_counter() + CYCLE_S * number / CYCLES
        moves: tuple[Move, ...] = ()
        while not moves:
            began = perf_counter()
            moves = planned(driver, 0.9 if began >= crossed else 1e-6).moves
            if not moves:
                CLOCK.sleep(CYCLE_S - (perf_counter() - began))
        driver.check(moves[0])
        driver.start(moves[0])
        took.append(perf_counter() - crossed)
        eventually(lambda driver=driver, move=moves[0]: driver.poll(move).state.final, deadline=120)  # type: ignore[misc]
        laboratory.host(moves[0].target).virsh("destroy", guest.name)
    return took


def planned(driver: LibvirtDriver, risk: float) -> Plan:
    """One cycle's plan over the laboratory as it is now."""
    now, seen = CLOCK.now(), driver.inventory()
    parts = tuple(clusters.part(host.name) for host in seen.hosts)
    forecasts = tuple(
        replace(clusters.forecast(part, risk if part.host == "host01" else 1e-6), time=now) for part in parts
    )
    situation = Situation(replace(seen, components=parts), forecasts, driver.workloads())
    plan, _ = clusters.plan(situation, PolicySettings(), now)
    return plan


def foretold(laboratory: Laboratory) -> list[tuple[str, MigrationEstimate, MigrationEstimate, Outcome]]:
    """Each move with what the bare model foretold, and the model with what the moves before it had taught."""
    for host in laboratory.hosts:
        host.cable.slow(LINK_MBIT)
    ended: list[Outcome] = []
    found = []
    for number, (memory, written, rate) in enumerate(LOADS):
        guest = Guest(f"vm-f{number}", 70 + number, memory_mib=memory, written_mib=written, write_mib_per_s=rate)
        laboratory.cupboard.take_out(laboratory.host(WAY[0]), guest)
        driver = driver_of(libvirt_settings(laboratory))
        for source, target in (WAY[:2], WAY[1:]):
            load = workload(driver, source, guest)
            bare = estimate(guest.memory_mib << 20, load, LINK_BYTES_PER_S, MigrationSettings())
            wise = estimate(guest.memory_mib << 20, load, LINK_BYTES_PER_S, learned(MigrationSettings(), ended))
            move = replace(move_of(guest, source, target), copy_s=wise.copy_s, stop_ms=wise.stop_ms)
            progress = arrives(driver, move)
            measured = (progress.duration_s, progress.downtime_ms)
            now = CLOCK.now()
            ended.append(Outcome(move, MoveState.SUCCEEDED, now, duration_s=measured[0], downtime_ms=measured[1]))
            found.append((f"{memory} MiB, {written} written at {rate:g} MiB/s", bare, wise, ended[-1]))
        driver.close()
        laboratory.host(WAY[-1]).virsh("destroy", guest.name)
    return found


def workload(driver: LibvirtDriver, host: str, guest: Guest) -> Workload:
    """What the driver knows of a guest whose move waits, its dirty rate measured by QEMU."""
    driver.expect(move_of(guest, host, ""))

    def known() -> Workload | None:
        driver.inventory()
        load = next((load for load in driver.workloads() if load.vm == guest.uuid), None)
        return load if load and load.memory_filled_bytes and load.dirty_bytes_per_s is not None else None

    return eventually(known, deadline=30, every=0.5) or Workload(guest.uuid, 0.0, None, None)


def errors(pairs: list[tuple[float, float]]) -> str:
    """The median share by which a prediction misses what was measured."""
    return f"{statistics.median(abs(told / measured - 1.0) for told, measured in pairs if measured > 0):.0%}"


def main() -> None:
    if os.geteuid() != 0:
        sys.exit("libvirt_moves: a laboratory needs root")
    try:
        laboratory = raise_laboratory(f"bench-{os.getpid()}", 3, LabSettings(), CLOCK)
    except LaboratoryError as error:
        sys.exit(f"libvirt_moves: {error}")
    print(f"load of this machine {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs, {LINK_MBIT} Mbit/s between hosts")
    try:
        took = crossing_to_start(laboratory)
        seconds = f"median {statistics.median(took):.2f} s, at most {max(took):.2f} s"
        print(f"from a forecast that crosses to libvirt being told, in a cycle of {CYCLE_S:g} s: {seconds}")
        moves = foretold(laboratory)
    finally:
        laboratory.down()
    print(f"{'guest':38} {'took s':>7} {'bare':>6} {'learned':>8} {'stopped ms':>11} {'bare':>6} {'learned':>8}")
    for words, bare, wise, outcome in moves:
        durations = f"{outcome.duration_s:7.1f} {bare.duration_s:6.1f} {wise.duration_s:8.1f}"
        print(f"{words:38} {durations} {outcome.downtime_ms:11.0f} {bare.downtime_ms:6.0f} {wise.downtime_ms:8.0f}")
    later = moves[MigrationSettings().learned_from :]
    for what, pick in (("duration", "duration_s"), ("downtime", "downtime_ms")):
        told = [(getattr(bare, pick), getattr(outcome, pick)) for _, bare, _, outcome in later]
        wiser = [(getattr(wise, pick), getattr(outcome, pick)) for _, _, wise, outcome in later]
        print(f"median error of the {what}: {errors(told)} by the bare model, {errors(wiser)} with what it has learned")


if __name__ == "__main__":
    main()
