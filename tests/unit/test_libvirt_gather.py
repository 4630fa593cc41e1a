"""From what each host claims to one list of VMs: each once, where it runs, and whether it could go anywhere."""

from collections.abc import Mapping

import pytest

from forewarn.decide.criticality import infer
from forewarn.domain.inventory import Criticality, VmState
from forewarn.drivers.libvirt.capabilities import Capabilities
from forewarn.drivers.libvirt.gather import Claim, gather, machine_of
from forewarn.drivers.libvirt.guests import Guest
from forewarn.drivers.libvirt.metadata import Metadata
from forewarn.drivers.libvirt.picture import Seen
from forewarn.drivers.libvirt.stats import Counters, counters, workload, workloads
from forewarn.drivers.libvirt.words import Facts

FACTS = Facts(Capabilities(machines=frozenset({"q35-9", "q35-10"})))
OFFERED = frozenset({"machine:q35-9", "machine:q35-10"})
GUEST = Guest("u1", "web", vcpus=2, memory_max_bytes=2**30, machine="q35-10")


def claim(
    host: str,
    state: int = 1,
    *,
    guest: Guest = GUEST,
    running: bool = True,
    fresh: bool = True,
    leaving: bool = False,
    arriving: bool = False,
    unread: str = "",
    jobs: tuple[str, ...] = (),
) -> Claim:
    seen = Seen(guest, state, running, leaving=leaving, arriving=arriving, unread=unread, jobs=jobs)
    return Claim(machine_of(host, seen, FACTS, OFFERED, infer), seen, fresh)


def where(*claims: Claim) -> list[tuple[str, VmState]]:
    return [(vm.host, vm.state) for vm in gather(claims, None)[0]]


def test_a_vm_is_where_it_runs_whatever_else_is_defined() -> None:
    left, runs = claim("h1", 5, running=False), claim("h2")
    assert where(left, runs) == where(runs, left) == [("h2", VmState.RUNNING)]


def test_a_vm_on_its_way_is_still_at_its_source() -> None:
    source, target = claim("h1", leaving=True), claim("h2", 3, arriving=True)
    assert where(source, target) == where(target, source) == [("h1", VmState.MIGRATING)]


def test_a_vm_that_left_a_silent_host_is_where_it_is_seen_now() -> None:
    old, new = claim("h1", fresh=False), claim("h2")
    vms, remarks = gather([old, new], None)
    assert [vm.host for vm in vms] == ["h2"]
    assert remarks == ()


def test_a_vm_on_a_silent_host_stays_there_though_another_has_it_defined() -> None:
    assert where(claim("h2", 5, running=False), claim("h1", fresh=False)) == [("h1", VmState.RUNNING)]


def test_a_vm_that_runs_twice_is_told_and_never_moved() -> None:
    vms, remarks = gather([claim("h1"), claim("h2")], None)
    assert [vm.immovable_because for vm in vms] == ["it runs on h1 and on h2 at once"]
    assert [(remark.host, remark.vm) for remark in remarks] == [("h1", "u1")]
    assert "stop one before both write" in remarks[0].text


@pytest.mark.parametrize(
    ("state", "running", "shown", "words"),
    [
        (1, True, VmState.RUNNING, ""),
        (2, True, VmState.RUNNING, ""),
        (3, True, VmState.RUNNING, "it is paused"),
        (4, True, VmState.RUNNING, "it is shutting down"),
        (7, True, VmState.RUNNING, "it is suspended by its own power management"),
        (6, True, VmState.INTERRUPTED, ""),
        (5, False, VmState.STOPPED, "it does not run"),
        (6, False, VmState.INTERRUPTED, "it does not run"),
    ],
)
def test_what_libvirt_calls_a_state_is_shown_in_our_words(
    state: int, running: bool, shown: VmState, words: str
) -> None:
    vm = claim("h1", state, running=running).vm
    assert (vm.state, vm.immovable_because) == (shown, words)


def test_a_vm_that_cannot_be_read_keeps_its_place_and_is_not_moved() -> None:
    vm = claim("h1", unread="libvirt failed to describe it").vm
    assert vm.immovable_because == "what it is made of is not known: libvirt failed to describe it"
    assert claim("h1", jobs=("a backup of it is running",)).vm.immovable_because == "a backup of it is running"


def offers(**machines: str) -> Mapping[str, frozenset[str]]:
    return {host: frozenset(f"machine:{name}" for name in names.split()) for host, names in machines.items()}


def test_a_vm_that_no_other_host_could_run_says_so_before_any_plan() -> None:
    (vm,), _ = gather([claim("h1")], offers(h1="q35-9 q35-10", h2="q35-9", h3=""))
    assert vm.immovable_because == (
        "no other host offers all that it needs; h2, which comes nearest, lacks machine:q35-10"
    )
    assert vm.needs == {"machine:q35-10"}


def test_a_vm_that_some_host_can_run_or_whose_hosts_are_not_all_known_is_left_to_the_planner() -> None:
    for known in (offers(h1="q35-10", h2="q35-9", h3="q35-10"), offers(h1="q35-10"), None):
        assert gather([claim("h1")], known)[0][0].immovable_because == ""


def test_a_stopped_vm_keeps_its_own_reason() -> None:
    (vm,), _ = gather([claim("h1", 5, running=False)], offers(h1="q35-10", h2=""))
    assert vm.immovable_because == "it does not run"


def test_malformed_metadata_is_a_remark_about_that_vm_alone_and_makes_it_normal() -> None:
    odd = Guest("u2", "test-2", metadata=Metadata(problem="<criticality> is 'urgent'"))
    (web, other), remarks = gather([claim("h1"), claim("h1", guest=odd)], None)
    assert [remark.vm for remark in remarks] == ["u2"]
    assert remarks[0].text == "VM test-2 on h1: its metadata counts for nothing: <criticality> is 'urgent'"
    assert (other.criticality, web.criticality_source) == (
        Criticality.NORMAL,
        "inferred: nothing declared, nothing in name or tags",
    )
    assert other.criticality_source == "its metadata counts for nothing: <criticality> is 'urgent'"


def test_a_declared_criticality_wins_over_what_the_name_says() -> None:
    declared = Guest("u3", "test-3", metadata=Metadata(criticality=Criticality.HIGH, apart="db"))
    vm = claim("h1", guest=declared).vm
    assert (vm.criticality, vm.criticality_source) == (Criticality.HIGH, "declared: forewarn:criticality=high")
    assert vm.anti_affinity == "db"
    assert claim("h1", guest=Guest("u4", "test-4")).vm.criticality is Criticality.LOW


# --- what they do -------------------------------------------------------------------------------------------------

TOLD = {
    "state.state": 1, "cpu.time": 5_000_000_000, "balloon.available": 1000, "balloon.usable": 400, "balloon.rss": 2000,
    "balloon.current": 1024, "balloon.unused": 300,
    "block.count": 2, "block.0.rd.bytes": 10, "block.0.wr.bytes": 20, "block.1.rd.bytes": 30, "block.0.rd.reqs": 7,
    "net.count": 1, "net.0.rx.bytes": 100, "net.0.tx.bytes": 50, "net.0.rx.pkts": 3,
}  # fmt: skip


def test_counters_are_summed_over_disks_and_interfaces() -> None:
    assert counters(TOLD, 7.0) == Counters(7.0, 5_000_000_000, 60, 150, 600 * 1024, 724 * 1024)
    assert counters({"state.state": 1, "balloon.rss": 2000}, 7.0) == Counters(7.0, memory_used_bytes=2000 * 1024)
    assert counters({}, 7.0) == Counters(7.0)


def test_a_workload_is_what_was_counted_between_two_looks() -> None:
    before, after = Counters(0.0, 0, 0, 0), Counters(10.0, 20_000_000_000, 1000, 500, 2**20)
    load = workload("u1", before, after, 3e6)
    assert load is not None
    assert (load.cpu_cores, load.disk_bytes_per_s, load.network_bytes_per_s) == (2.0, 100.0, 50.0)
    assert (load.dirty_bytes_per_s, load.working_set_bytes, load.memory_used_bytes) == (3e6, None, 2**20)


def test_a_guest_that_was_started_anew_has_no_workload_until_the_next_look() -> None:
    assert workload("u1", Counters(0.0, 9), Counters(10.0, 5)) is None
    assert workload("u1", Counters(5.0, 5), Counters(5.0, 9)) is None
    assert workload("u1", Counters(0.0), Counters(10.0, 9)) is None
    reset = workload("u1", Counters(0.0, 0, 50, None), Counters(10.0, 9, 5, 5))
    assert reset is not None
    assert (reset.disk_bytes_per_s, reset.network_bytes_per_s) == (None, None)


def test_only_guests_of_both_looks_have_a_workload() -> None:
    before = {"a": Counters(0.0, 0), "gone": Counters(0.0, 0)}
    after = {"a": Counters(1.0, 10), "new": Counters(1.0, 10)}
    assert [(load.vm, load.dirty_bytes_per_s) for load in workloads(before, after, {"a": 5.0})] == [("a", 5.0)]
