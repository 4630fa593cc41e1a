"""How a move stands follows from where its VM is seen to run, whatever a call has returned."""

from typing import Any

import pytest

libvirt = pytest.importorskip("libvirt", reason="the binding to libvirt is not installed (make setup says why)")

from forewarn.drivers.libvirt.connections import Connections  # noqa: E402
from forewarn.drivers.libvirt.sight import Job, Sight, Standing, job_of, judge, look  # noqa: E402

AWAY = Sight()
LEFTOVER = Sight(defined=True, persistent=True)
RUNS = Sight(defined=True, active=True, running=True)
LEAVING = Sight(defined=True, active=True, running=True, job=Job())
PAUSED = Sight(defined=True, active=True, halted=True)  # by its owner
STOPPED = Sight(defined=True, active=True, stopped_by_migration=True)
SENDING_LAST = Sight(defined=True, active=True, stopped_by_migration=True, job=Job())


@pytest.mark.parametrize(
    ("source", "target", "standing"),
    [
        (AWAY, RUNS, Standing.ARRIVED),
        (LEFTOVER, RUNS, Standing.ARRIVED),
        (STOPPED, RUNS, Standing.ARRIVED),
        (RUNS, AWAY, Standing.STAYED),
        (RUNS, LEFTOVER, Standing.STAYED),
        (RUNS, STOPPED, Standing.STAYED),
        (RUNS, None, Standing.STAYED),
        (LEAVING, STOPPED, Standing.UNDER_WAY),
        (LEAVING, None, Standing.UNDER_WAY),
        (SENDING_LAST, RUNS, Standing.UNDER_WAY),
        (STOPPED, STOPPED, Standing.UNDER_WAY),
        (STOPPED, None, Standing.UNDER_WAY),
        (STOPPED, AWAY, Standing.STRANDED),
        (STOPPED, LEFTOVER, Standing.STRANDED),
        (AWAY, STOPPED, Standing.ASLEEP),
        (AWAY, PAUSED, Standing.ARRIVED),
        (LEFTOVER, PAUSED, Standing.ARRIVED),
        (PAUSED, AWAY, Standing.STAYED),
        (PAUSED, None, Standing.STAYED),
        (AWAY, AWAY, Standing.NOWHERE),
        (LEFTOVER, AWAY, Standing.NOWHERE),
        (AWAY, None, Standing.UNSEEN),
        (None, RUNS, Standing.UNSEEN),
        (None, None, Standing.UNSEEN),
    ],
)
def test_both_hosts_decide(source: Sight | None, target: Sight | None, standing: Standing) -> None:
    assert judge(source, target) is standing


def test_a_source_that_told_of_the_leave_and_then_fell_silent_is_believed() -> None:
    assert judge(None, RUNS, told_gone=True) is Standing.ARRIVED
    assert judge(None, STOPPED, told_gone=True) is Standing.UNSEEN


def test_a_vm_that_libvirt_does_not_know_is_seen_nowhere() -> None:
    connections = Connections({"a": "test:///default"})
    assert connections.call("a", look("99999999-0000-0000-0000-000000000001"), "look") == AWAY
    assert connections.call("a", look("no-such-vm"), "look") == AWAY


LAST_WORDS = {
    "type": libvirt.VIR_DOMAIN_JOB_UNBOUNDED,
    "operation": libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT,
}


@pytest.mark.parametrize("job", ["leaves", "none"])
def test_a_migration_that_ends_while_its_guest_is_looked_at_shows_one_that_has_left(
    monkeypatch: pytest.MonkeyPatch, job: str
) -> None:
    """Read the other way round, the state from before and no job any more would tell of a guest that stays."""
    connections = Connections({"a": "test:///default"}, writing=True)

    def end(domain: Any) -> dict[str, int]:
        domain.destroy()
        if job == "leaves":
            return LAST_WORDS
        error = libvirt.libvirtError("domain is not running")
        code = libvirt.VIR_ERR_OPERATION_INVALID
        error.err = (code, libvirt.VIR_FROM_QEMU, "on purpose", 2, None, None, None, -1, -1)
        raise error

    monkeypatch.setattr(libvirt.virDomain, "jobStats", end)
    seen = connections.call("a", look("6695eb01-f6a4-8304-79aa-97f2502e193f"), "look")
    assert seen == Sight(defined=True, persistent=True)
    assert judge(seen, RUNS) is Standing.ARRIVED
    connections.close()


def test_only_a_migration_that_leaves_is_our_job() -> None:
    out = libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT
    running = libvirt.VIR_DOMAIN_JOB_UNBOUNDED
    assert job_of({"type": libvirt.VIR_DOMAIN_JOB_NONE}) is None
    assert job_of({"type": running, "operation": libvirt.VIR_DOMAIN_JOB_OPERATION_BACKUP}) is None
    assert job_of({"type": libvirt.VIR_DOMAIN_JOB_COMPLETED, "operation": out}) is None
    assert job_of({"type": running, "operation": out}) == Job()


def test_a_job_tells_how_far_it_is() -> None:
    stats = {
        "type": libvirt.VIR_DOMAIN_JOB_UNBOUNDED,
        "operation": libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT,
        "time_elapsed": 1500,
        "memory_total": 100 << 20,
        "memory_remaining": 40 << 20,
        "disk_total": 100 << 20,
        "disk_remaining": 10 << 20,
        "memory_iteration": 1,
        "memory_dirty_rate": 256,
        "memory_page_size": 4096,
        "auto_converge_throttle": 20,
    }
    job = job_of(stats)
    assert job is not None
    assert (job.elapsed_s, job.progress) == (1.5, 0.75)
    assert str(job.copying) == "round 1, 50 of 200 MiB left, dirtying 1.0 MiB/s, slowed down by 20 %"
    later = job_of({**stats, "memory_iteration": 2})
    assert later is not None
    assert later.progress == 1.0
