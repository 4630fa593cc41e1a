import random
from collections import Counter

import pytest

from forewarn.domain.inventory import Component, Criticality, Kind, component_id
from forewarn.sim.scenario import ClusterSettings, demo_cluster, disk_serial, replacement

SEEDS = (1, 7, 42)


def test_the_same_seed_draws_the_same_cluster_and_another_seed_another_one() -> None:
    assert demo_cluster(7) == demo_cluster(7)
    assert demo_cluster(7) != demo_cluster(8)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_host_keeps_room_for_vms_of_others(seed: int) -> None:
    cluster, workloads = demo_cluster(seed)
    assert (len(cluster.hosts), len(cluster.vms), len(workloads)) == (24, 200, 200)
    for host in cluster.hosts:
        vms = cluster.vms_by_host[host.name]
        assert 0.4 < sum(vm.memory_bytes for vm in vms) / host.memory_bytes < 0.7
        assert 0.4 < sum(vm.vcpus for vm in vms) / host.cpus < 0.7


@pytest.mark.parametrize("seed", SEEDS)
def test_about_a_quarter_of_the_vms_is_declared_critical(seed: int) -> None:
    cluster, _ = demo_cluster(seed)
    critical = [vm for vm in cluster.vms if vm.criticality is Criticality.HIGH]
    assert 0.18 < len(critical) / len(cluster.vms) < 0.32
    assert all(vm.criticality_source.startswith("declared") for vm in critical)


@pytest.mark.parametrize("seed", SEEDS)
def test_vms_that_must_stay_apart_start_apart(seed: int) -> None:
    cluster, _ = demo_cluster(seed)
    seats = Counter((vm.host, vm.anti_affinity) for vm in cluster.vms if vm.anti_affinity)
    assert len(seats) > 10
    assert max(seats.values()) == 1


@pytest.mark.parametrize("seed", SEEDS)
def test_the_same_part_matters_differently_from_host_to_host(seed: int) -> None:
    cluster, _ = demo_cluster(seed)
    disks = [part for part in cluster.components if part.kind is Kind.DISK]
    assert any(part.whole_host and part.spares == 0 for part in disks)
    assert any(part.whole_host and part.spares == 1 and part.group for part in disks)
    assert any(part.vms and part.spares == 0 for part in disks)
    assert any(not part.vms and not part.whole_host for part in disks)
    for kind in (Kind.NETWORK, Kind.POWER):
        assert {part.spares for part in cluster.components if part.kind is kind} == {0, 1}


def test_sets_of_parts_have_as_many_members_as_their_spares_promise() -> None:
    cluster, _ = demo_cluster(3)
    members = Counter(part.group for part in cluster.components if part.group)
    assert set(members.values()) == {2}


def test_the_vms_on_a_disk_are_vms_of_its_host() -> None:
    cluster, _ = demo_cluster(5)
    pinned = [(cluster.vm_by_id[vm].host, part.host) for part in cluster.components for vm in part.vms]
    assert pinned
    assert all(at == host for at, host in pinned)


def test_ids_are_unique_and_bear_the_serial_or_the_place() -> None:
    cluster, _ = demo_cluster(11)
    ids = [part.id for part in cluster.components]
    assert len(set(ids)) == len(ids)
    dimm = next(part for part in cluster.components if part.kind is Kind.MEMORY)
    assert dimm.id == component_id(Kind.MEMORY, dimm.host, dimm.device)
    disk = next(part for part in cluster.components if part.kind is Kind.DISK)
    assert "/" not in disk.id


def test_a_cluster_without_vms_still_has_hosts() -> None:
    cluster, workloads = demo_cluster(1, hosts=2, vms=0)
    assert (len(cluster.hosts), cluster.vms, workloads) == (2, (), ())


def test_settings_decide_on_redundancy() -> None:
    bare = ClusterSettings(mirrored_share=0, bonded_share=0, twin_psu_share=0, nvme_share=1)
    cluster, _ = demo_cluster(1, hosts=4, vms=8, settings=bare)
    assert all(part.spares == 0 for part in cluster.components if part.whole_host)
    assert {part.device for part in cluster.components if part.kind is Kind.DISK and part.whole_host} == {"nvme0"}


def _part(kind: Kind, device: str, model: str = "", group: str = "") -> Component:
    return Component(component_id(kind, "host01", device), kind, "host01", device, model=model, group=group)


@pytest.mark.parametrize(
    ("part", "device"),
    [
        (_part(Kind.DISK, "sda", "ST4000DM000"), "sda"),
        (_part(Kind.NETWORK, "eth0"), "eth0"),
        (_part(Kind.MEMORY, "DIMM_A1"), "DIMM_A2"),
        (_part(Kind.MEMORY, "DIMM_A2"), "DIMM_A1"),
        (_part(Kind.POWER, "PSU1"), "PSU2"),
    ],
)
def test_a_new_part_is_told_apart_from_the_old_one(part: Component, device: str) -> None:
    new = replacement(random.Random(1), part)
    assert new.id != part.id
    assert (new.device, new.model, new.host) == (device, part.model, part.host)


@pytest.mark.parametrize("part", [_part(Kind.CPU, "cpu"), _part(Kind.POWER, "PSU1", group="host01/psu")])
def test_a_part_known_by_its_place_alone_keeps_its_name(part: Component) -> None:
    assert replacement(random.Random(1), part) == part


def test_a_serial_of_an_unknown_model_is_refused() -> None:
    with pytest.raises(ValueError, match="no drive model 'X1'"):
        disk_serial(random.Random(1), "X1")
