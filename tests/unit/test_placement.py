"""Where a VM can go, and why not elsewhere."""

from collections.abc import Iterable, Mapping

import pytest

from forewarn.decide.placement import Projection, suitable
from forewarn.decide.policy import PolicySettings
from forewarn.domain.inventory import Cluster, Host, HostState, VirtualMachine
from forewarn.domain.plan import Refusal, Verdict
from forewarn.domain.situation import Workload
from tests.clusters import GIB, NOW, host, vm

SETTINGS = PolicySettings()
CALM = Workload("v", 2.0, 1e6, GIB)
V = vm("v", "a")


SICK = (Refusal.TARGET_RISKY, "sick")


def projection(
    hosts: Iterable[Host],
    vms: Iterable[VirtualMachine] = (V,),
    workloads: Mapping[str, Workload] | None = None,
    arriving: Iterable[tuple[str, str]] = (),
) -> Projection:
    cluster = Cluster(NOW, 1, tuple(hosts), (), tuple(vms))
    return Projection(cluster, {"v": CALM} if workloads is None else workloads, arriving)


def search(
    over: Projection,
    mover: VirtualMachine = V,
    blocked: Mapping[str, tuple[Refusal, str]] | None = None,
    ceiling: float = 0.9,
    settings: PolicySettings = SETTINGS,
    wanted: int = 1,
) -> tuple[list[str], list[Verdict]]:
    targets, passed = suitable(mover, "cpu:a/cpu", over, blocked or {}, ceiling, settings, wanted)
    return [target.host.name for target in targets], list(passed)


def only_refusal(
    other: Host, *, blocked: str = "", ceiling: float = 0.9, vms: Iterable[VirtualMachine] = (V,)
) -> Verdict:
    """Why `other`, the only host beside the VM's own, is passed over."""
    sick = {other.name: (Refusal.TARGET_RISKY, blocked)} if blocked else {}
    found, passed = search(projection([host("a"), other], vms), blocked=sick, ceiling=ceiling)
    assert found == []
    (verdict,) = [verdict for verdict in passed if verdict.target == other.name]
    return verdict


def test_the_host_with_the_most_headroom_comes_first_and_equals_go_by_name() -> None:
    hosts = [host("a"), host("d"), host("c"), host("b", gib=512, cpus=128)]
    found, _ = search(projection(hosts, [V, vm("x", "b", gib=256)]), wanted=9)
    assert found == ["c", "d", "b"]


def test_the_host_of_the_vm_is_never_a_target() -> None:
    found, passed = search(projection([host("a")]))
    assert found == []
    assert [verdict.refusal for verdict in passed] == [Refusal.TARGET_SAME_HOST]


@pytest.mark.parametrize("state", [HostState.DOWN, HostState.MAINTENANCE, HostState.UNKNOWN])
def test_only_a_host_that_is_up_receives(state: HostState) -> None:
    verdict = only_refusal(host("b", state=state))
    assert (verdict.refusal, verdict.text) == (Refusal.TARGET_DOWN, f"vm-v cannot go to b: it is {state.words}")


def test_a_host_whose_driver_can_only_look_receives_nothing() -> None:
    assert only_refusal(host("b", can_receive=False)).refusal is Refusal.TARGET_CANNOT_RECEIVE


def test_a_host_that_lacks_what_the_vm_needs_is_passed_over_and_the_verdict_names_it() -> None:
    needs = ("storage:/srv/shared", "bridge:br0", "machine:q35")
    mover, offers = vm("v", "a", needs=needs), ("bridge:br0", "bridge:br1")
    found, passed = search(projection([host("a"), host("b", gib=512, offers=offers), host("c", offers=needs)]), mover)
    assert found == ["c"]
    assert passed[0].refusal is Refusal.TARGET_LACKS
    assert passed[0].text == "vm-v cannot go to b: it lacks machine:q35, storage:/srv/shared"


def test_of_many_things_that_a_host_lacks_the_first_few_are_named() -> None:
    _, passed = search(projection([host("a"), host("b")]), vm("v", "a", needs=[f"pcpu:{n}" for n in range(9)]))
    assert passed[0].text.endswith("it lacks pcpu:0, pcpu:1, pcpu:2, pcpu:3 and 5 more")


def test_a_vm_without_needs_goes_to_a_host_without_offers() -> None:
    assert search(projection([host("a"), host("b")]))[0] == ["b"]


def test_a_cordoned_host_receives_nothing() -> None:
    assert only_refusal(host("b", cordoned=True)).refusal is Refusal.TARGET_CORDONED


def test_a_blocked_host_receives_nothing_and_says_why() -> None:
    verdict = only_refusal(host("b"), blocked="disk X fails")
    assert (verdict.refusal, verdict.text) == (Refusal.TARGET_RISKY, "vm-v cannot go to b: disk X fails")


def test_a_host_without_the_memory_is_full_and_the_verdict_has_the_numbers() -> None:
    verdict = only_refusal(host("b", gib=8))
    assert verdict.refusal is Refusal.TARGET_FULL
    assert verdict.text.endswith("8.0 GiB and 64 CPUs are free there, 16.0 GiB and 4 CPUs are needed")


def test_a_host_without_the_cpus_is_full() -> None:
    assert only_refusal(host("b", cpus=2)).refusal is Refusal.TARGET_FULL


@pytest.mark.parametrize(("cpus", "gib"), [(0.0, 256), (64.0, 0)])
def test_a_host_of_unknown_capacity_is_full(cpus: float, gib: int) -> None:
    assert only_refusal(host("b", cpus=cpus, gib=gib)).refusal is Refusal.TARGET_FULL


def test_vms_that_must_stay_apart_do_not_meet() -> None:
    mover, other = vm("v", "a", apart="db"), vm("w", "b", apart="db")
    found, passed = search(projection([host("a"), host("b"), host("c")], [mover, other]), mover)
    assert found == ["c"]
    found, passed = search(projection([host("a"), host("b")], [mover, other]), mover)
    assert [v.refusal for v in passed if v.target == "b"] == [Refusal.TARGET_ANTI_AFFINITY]


def test_a_vm_without_a_group_stays_apart_from_nobody() -> None:
    assert search(projection([host("a"), host("b")], [V, vm("w", "b")]))[0] == ["b"]


def test_a_host_above_the_ceiling_is_passed_over_with_the_numbers() -> None:
    verdict = only_refusal(host("b", gib=32), ceiling=0.4)
    assert verdict.refusal is Refusal.TARGET_UTILIZATION
    assert verdict.text.endswith("it would be 50% utilized, the ceiling is 40%")


def test_a_host_exactly_at_the_ceiling_is_taken() -> None:
    assert search(projection([host("a"), host("b", gib=32)]), ceiling=0.5)[0] == ["b"]


def test_cores_at_work_count_for_utilization_and_promised_ones_for_room() -> None:
    busy = {"v": CALM, "w": Workload("w", 3.0, 0.0, 0)}
    over = projection([host("a"), host("b", cpus=8)], [V, vm("w", "b")], busy)
    assert over.utilization("b", V) == pytest.approx(5 / 8)
    assert over.utilization("b") == pytest.approx(3 / 8)
    assert over.free("b") == (240 * GIB, 4.0)
    assert over.fits("b", V)
    assert not over.fits("b", vm("u", "a", vcpus=5))


def test_a_vm_of_unknown_workload_counts_with_all_its_cpus() -> None:
    over = projection([host("a"), host("b", cpus=8)], [V, vm("w", "b")], {})
    assert over.utilization("b") == pytest.approx(0.5)


def test_what_is_on_its_way_counts_at_both_ends() -> None:
    over = projection([host("a"), host("b")], arriving=[("v", "b")])
    assert over.utilization("a") == over.utilization("b") == pytest.approx(16 / 256)


def test_what_has_arrived_or_is_unknown_counts_once_or_not_at_all() -> None:
    over = projection([host("a"), host("b")], arriving=[("v", "a"), ("ghost", "b"), ("v", "nowhere")])
    assert over.utilization("a") == pytest.approx(16 / 256)
    assert over.utilization("b") == 0.0


def test_a_placed_vm_changes_room_order_and_company() -> None:
    mover, twin = vm("v", "a", apart="db"), vm("w", "a", apart="db")
    over = projection([host("a"), host("b"), host("c")], [mover, twin])
    assert search(over, mover)[0] == ["b"]
    over.place(mover, "b")
    assert [each.name for each in over.ranked()] == ["c", "b", "a"]
    assert search(over, twin)[0] == ["c"]
    over.place(twin, "c")
    assert search(over, twin)[0] == []


def test_a_target_tells_its_utilization_and_the_move() -> None:
    (target,), _ = suitable(V, "cpu:a/cpu", projection([host("a"), host("b")]), {}, 0.9, SETTINGS)
    assert target.utilization == pytest.approx(16 / 256)
    assert target.estimate.converges
    assert target.estimate.duration_s == pytest.approx(16 * GIB / 1.25e9, rel=0.05)


def test_a_link_too_slow_for_the_guest_is_passed_over_and_a_faster_one_taken() -> None:
    busy = {"v": Workload("v", 2.0, 2e8, 16 * GIB)}
    hosts = [host("a"), host("b", link=1e8), host("c", link=1e8), host("d", gib=128)]
    found, passed = search(projection(hosts, workloads=busy))
    assert found == ["d"]
    assert [v.target for v in passed if v.refusal is Refusal.NO_CONVERGENCE] == ["b", "c"]
    assert passed[0].text == "vm-v cannot go to b: vm-v dirties memory faster than 100 MB/s can copy it"


def test_only_the_first_few_are_named_and_the_rest_is_summed_up() -> None:
    hosts = [host("a"), *(host(f"b{n}", cordoned=n % 3 > 0) for n in range(9))]
    _, passed = search(
        projection(hosts), blocked={each.name: SICK for each in hosts[1:]}, settings=PolicySettings(verdicts_per_vm=3)
    )
    assert [verdict.target for verdict in passed] == ["b0", "b1", "b2", ""]
    assert passed[-1].refusal is Refusal.TARGET_CORDONED
    assert passed[-1].text == ("7 more hosts cannot take vm-v: 4 target_cordoned, 2 target_risky, 1 target_same_host")
