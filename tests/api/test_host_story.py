"""What the page of one host says beside its parts."""

from dataclasses import replace

from forewarn.domain.authority import Mode
from forewarn.domain.hypervisor import HugePages, Hypervisor, NumaNode, StoragePool, VirtualNetwork
from forewarn.domain.inventory import Criticality, HostState, Kind
from forewarn.domain.plan import Cordon, MoveState, Plan, Proposal, Refusal, Ticket, Verdict
from forewarn.domain.situation import Snapshot
from forewarn.web.fleet import fleet_of
from forewarn.web.host import Guest, HostStory, story_of
from tests.shown import NOW, snapshot_of

BUSY = snapshot_of()
OUTCOME = BUSY.moves[0]
HOST, VM = OUTCOME.move.source, OUTCOME.move.vm


def story(snapshot: Snapshot = BUSY, name: str = HOST) -> HostStory:
    return story_of(fleet_of(snapshot), name, 20, NOW)


def guest(**changes: object) -> Guest:
    snapshot = replace(BUSY, moves=(), **changes)  # type: ignore[arg-type]  # whatever the test wants otherwise
    return next(found for found in story(snapshot).guests if found.vm.id == VM)


def plan(**changes: object) -> Plan:
    return replace(BUSY.plan, **changes)  # type: ignore[arg-type]  # the same


def test_critical_vms_come_first() -> None:
    levels = [found.vm.criticality for found in story().guests]
    assert levels == sorted(levels, key=list(Criticality).index)


def test_a_vm_says_where_it_goes_is_to_go_or_would_go() -> None:
    target = OUTCOME.move.target
    assert next(found for found in story().guests if found.vm.id == VM).going == f"on its way to {target}"
    assert guest(plan=plan(moves=(OUTCOME.move,))).going.startswith(f"is to go to {target}, in about ")
    offer = Proposal(OUTCOME.move, Mode.OBSERVE, "nothing else was granted")
    offered = guest(plan=plan(proposals=(offer,)))
    assert offered.going.startswith(f"would go to {target}, in about ")
    assert offered.why == "nothing else was granted"


def test_a_vm_that_stays_says_why() -> None:
    text = "VM web (LOW) stays on h although disk sda fails: it does not pay"
    verdict = Verdict(VM, HOST, "disk:a", Refusal.DOES_NOT_PAY, text)
    assert guest(plan=plan(verdicts=(verdict,))).why == "it does not pay"
    assert guest().going == "can move"


def test_a_vm_that_cannot_move_says_so() -> None:
    vms = tuple(replace(vm, immovable_because="it has a PCI device") for vm in BUSY.cluster.vms)
    found = guest(cluster=replace(BUSY.cluster, vms=vms))
    assert (found.going, found.stuck) == ("no: it has a PCI device", True)


def test_a_cordon_comes_with_its_reason_or_says_that_it_is_not_ours() -> None:
    why = plan(cordons=(Cordon(HOST, "disk:a", Kind.DISK, "disk sda fails within 7 d"),))
    hosts = tuple(replace(host, cordoned=True) for host in BUSY.cluster.hosts)
    cordoned = replace(BUSY, cluster=replace(BUSY.cluster, hosts=hosts))
    assert story().cordon == ""
    assert story(replace(BUSY, plan=why)).cordon == "about to be: disk sda fails within 7 d"
    assert story(replace(cordoned, plan=why)).cordon == "disk sda fails within 7 d"
    assert story(cordoned).cordon == "not by a decision of Forewarn that still holds"


def test_its_moves_windows_and_tickets_are_its_own() -> None:
    ticket = Ticket("host03", "disk:a", Kind.DISK, "replace disk sda")
    snapshot = replace(BUSY, plan=plan(tickets=(ticket,)))
    assert story(snapshot, "host03").tickets == ("replace disk sda",)
    assert story(snapshot, "host03").windows == ("freeze of host0[1-4] until 14:00 UTC: quarter's end (bob)",)
    assert story(snapshot, "host20").tickets == story(snapshot, "host20").windows == ()
    assert all(HOST in (row.outcome.move.source, row.outcome.move.target) for row in story().moves)
    assert story().moves[0].outcome.state is MoveState.RUNNING


def test_a_hypervisor_is_told_by_what_is_known_of_it() -> None:
    told = Hypervisor(
        "QEMU 10.0.2",
        "libvirt 11.3.0",
        "Intel Skylake-Server",
        "0x2006e05",
        (NumaNode(0, 8, 64 << 30, (HugePages(2 << 20, 512),)), NumaNode(1, 1, 64 << 30)),
        (StoragePool("images", "dir", "/srv/images"), StoragePool("ceph", "rbd")),
        (VirtualNetwork("tenant", "nat", "virbr0"), VirtualNetwork("plain")),
    )
    hosts = tuple(replace(host, hypervisor=told) for host in BUSY.cluster.hosts)
    assert story(replace(BUSY, cluster=replace(BUSY.cluster, hosts=hosts))).hypervisor == (
        ("Versions", "QEMU 10.0.2, libvirt 11.3.0"),
        ("Processor", "Intel Skylake-Server, microcode 0x2006e05"),
        ("NUMA node 0", "8 CPUs, 64 GiB, 512 huge pages of 2.0 MiB"),
        ("NUMA node 1", "1 CPU, 64 GiB"),
        ("Pool images", "dir /srv/images"),
        ("Pool ceph", "rbd"),
        ("Network tenant", "nat, bridge virbr0"),
        ("Network plain", "without a bridge"),
    )
    assert story().hypervisor == ()


def test_a_host_that_is_not_heard_is_unreachable_and_one_that_is_heard_is_what_it_is() -> None:
    host = BUSY.cluster.host_by_name[HOST]
    assert replace(host, state=HostState.UNKNOWN, unheard_because="no answer").standing == "unreachable"
    assert (host.standing, replace(host, state=HostState.DOWN).standing) == ("up", "down")
