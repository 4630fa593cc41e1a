"""The inventory over real hosts of libvirt: guests of every kind, and hosts that die, hang, refuse and come back."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from forewarn.clock import RealClock
from forewarn.collect.vms import VmsCollector, VmsSettings
from forewarn.decide.criticality import infer
from forewarn.domain.inventory import Cluster, Criticality, HostState, VirtualMachine, VmState
from forewarn.domain.situation import Workload
from forewarn.domain.telemetry import Sample
from forewarn.drivers.libvirt.connections import Connections
from forewarn.drivers.libvirt.inventory import LibvirtInventory
from forewarn.drivers.libvirt.settings import ConnectionSettings, HostSettings, LibvirtSettings
from forewarn.errors import DriverUnavailable, MoveRefused
from forewarn.lab.libvirt.guests import Guest
from forewarn.lab.libvirt.host import Host
from forewarn.lab.libvirt.laboratory import Laboratory
from forewarn.testing import check_collector
from tests.integration.libvirt.moving import driver_of, libvirt_settings, move_of
from tests.support import eventually

pytestmark = [pytest.mark.integration, pytest.mark.slow]

SHARED = Guest("vm-a", 1, disk_mib=16)
LOCAL = Guest("vm-local", 3, disk_mib=16, disk_shared=False)
OURS = "urn:forewarn:vm"
BRISK = ConnectionSettings(open_s=3.0, call_s=3.0, keepalive_s=1, keepalive_count=2)


@contextmanager
def watching(laboratory: Laboratory, *, writing: bool = False, **changes: object) -> Iterator[LibvirtInventory]:
    """An inventory of the laboratory's hosts; read-only ones over the socket of those who only look."""
    hosts = {
        host.name: HostSettings(host.uri if writing else host.uri_read_only, groups=("lab",))
        for host in laboratory.hosts
    }
    given = {"look_s": 5.0, "round_s": 15.0, "retry_s": 0.1, "facts_s": 1.0, "shared_directories": ("/lab/shared",)}
    settings = LibvirtSettings(hosts=hosts, connections=BRISK, **{**given, **changes})  # type: ignore[arg-type]
    connections = Connections({name: host.uri for name, host in hosts.items()}, BRISK, writing=writing)
    watched = LibvirtInventory(settings, connections, RealClock(), infer)
    try:
        yield watched
    finally:
        watched.close()
        connections.close()


def seen(cluster: Cluster, name: str) -> VirtualMachine:
    return next(vm for vm in cluster.vms if vm.name == name)


def states(cluster: Cluster) -> list[HostState]:
    return [host.state for host in cluster.hosts]


def until(watched: LibvirtInventory, holds: Callable[[Cluster], bool], deadline: float = 30.0) -> Cluster:
    """The first picture of which this holds."""
    pictures: list[Cluster] = []

    def found() -> bool:
        pictures.append(watched.inventory())
        return holds(pictures[-1])

    eventually(found, deadline, every=0.2)
    return pictures[-1]


def test_hosts_and_guests_are_shown_with_what_they_offer_and_need_over_a_read_only_connection(
    laboratory: Laboratory, running: Callable[..., Host]
) -> None:
    here = running(SHARED)
    running(LOCAL, "host02")
    here.virsh("metadata", "vm-a", OURS, "--key", "forewarn", "--set", "<vm><criticality>high</criticality></vm>")
    with watching(laboratory) as watched:
        cluster = until(watched, lambda found: all("bridge:br0" in host.offers for host in found.hosts))
        assert states(cluster) == [HostState.UP] * 3
        for host in cluster.hosts:
            assert host.memory_bytes > 2**30
            assert {
                "arch:x86_64",
                "virt:qemu",
                "machine:pc-i440fx-10.0",
                "storage:/lab/shared",
                "group:lab",
            } <= host.offers
            assert host.hypervisor is not None
            assert (host.hypervisor.emulator[:8], host.hypervisor.service[:11]) == ("QEMU 10.", "libvirt 11.")
            assert sum(node.memory_bytes for node in host.hypervisor.nodes) > 2**30
            assert sum(node.cpus for node in host.hypervisor.nodes) == os.cpu_count()
        vm = seen(cluster, "vm-a")
        assert (vm.id, vm.host, vm.state, vm.immovable_because) == (SHARED.uuid, "host01", VmState.RUNNING, "")
        assert (vm.vcpus, vm.memory_bytes) == (1, 96 * 2**20)
        assert (vm.criticality, vm.criticality_source) == (Criticality.HIGH, "declared: forewarn:criticality=high")
        assert {"bridge:br0", "storage:/lab/shared", "virt:qemu"} <= vm.needs
        assert all(vm.needs <= host.offers for host in cluster.hosts)
        local = seen(cluster, "vm-local")
        assert local.immovable_because == (
            "disk vda (/lab/local/vm-local.img) is on its host alone, and copying is not allowed (libvirt.copy_disks)"
        )
        assert cluster.remarks == ()
        with pytest.raises(MoveRefused, match="may only read"):
            watched._connections.call("host01", lambda c: c.lookupByName("vm-a").destroy(), "stop it")
    assert laboratory.where("vm-a") == ("host01",)


def test_a_bridge_that_a_target_lacks_and_a_pool_that_takes_a_copy_decide_where_a_guest_can_go(
    laboratory: Laboratory, running: Callable[..., Host]
) -> None:
    running(LOCAL)
    for name in ("host01", "host02"):
        host = laboratory.host(name)
        host.virsh("pool-create-as", "local", "dir", "--target", "/lab/local")
    try:
        with watching(laboratory, copy_disks=True) as watched:
            cluster = until(watched, lambda found: "storage:/lab/local" in seen(found, "vm-local").needs)
            vm = seen(cluster, "vm-local")
            assert vm.immovable_because == ""
            assert [vm.needs - host.offers for host in cluster.hosts] == [set(), set(), {"storage:/lab/local"}]
            laboratory.host("host02").virsh("pool-destroy", "local")
            cluster = until(watched, lambda found: bool(seen(found, "vm-local").immovable_because))
            assert "lacks storage:/lab/local" in seen(cluster, "vm-local").immovable_because
    finally:
        laboratory.host("host01").virsh("pool-destroy", "local")


def test_what_guests_do_is_known_from_one_look_to_the_next(
    laboratory: Laboratory, running: Callable[..., Host]
) -> None:
    running(SHARED)
    with watching(laboratory) as watched:
        watched.inventory()
        assert watched.workloads() == ()
        loads: list[Workload] = []

        def counted() -> bool:
            watched.inventory()
            loads[:] = watched.workloads()
            return bool(loads) and (loads[0].disk_bytes_per_s or 0) > 0

        eventually(counted, deadline=20, every=0.5)
        (load,) = loads
        assert load.vm == SHARED.uuid
        assert 0 < load.cpu_cores <= 1.5
        assert load.network_bytes_per_s is not None
        assert load.memory_used_bytes
        assert (load.dirty_bytes_per_s, load.working_set_bytes) == (None, None)


def measurement(host: Host) -> object:
    """The last measurement of the guest's dirty rate: its state, and when its QEMU began it."""
    answer = host.virsh("qemu-monitor-command", "vm-a", '{"execute": "query-dirty-rate"}')
    told = json.loads(answer)["return"]
    return told["status"], told["start-time"]


def test_a_guest_that_is_about_to_move_is_measured_and_one_that_moves_is_not(
    laboratory: Laboratory, running: Callable[..., Host]
) -> None:
    here = running(SHARED)
    with watching(laboratory, writing=True) as watched:
        watched.inventory()
        rate = watched.dirty.sample("host01", SHARED.uuid)
        assert rate is not None
        assert 0 < rate < 200e6
        watched.inventory()
        assert [load.dirty_bytes_per_s for load in watched.workloads()] == [rate]
        assert watched.dirty.sample("host02", SHARED.uuid) is None  # it is not there
        here.cable.slow(20)
        command = ["virsh", "-c", "qemu:///system", "migrate", "--live", "--p2p", "vm-a", "qemu+tcp://host02/system"]
        with subprocess.Popen(here.node.entered(command, inside=True)) as moving:
            eventually(lambda: "Memory processed" in here.virsh("domjobinfo", "vm-a"), deadline=30)
            cluster = watched.inventory()
            assert (seen(cluster, "vm-a").host, seen(cluster, "vm-a").state) == ("host01", VmState.MIGRATING)
            assert len(cluster.vms) == 1
            before = measurement(here)
            assert watched.dirty.sample("host01", SHARED.uuid) is None
            assert measurement(here) == before  # none was begun
            here.cable.slow(None)
            assert moving.wait(60) == 0
        cluster = watched.inventory()
        assert (seen(cluster, "vm-a").host, seen(cluster, "vm-a").state) == ("host02", VmState.RUNNING)


def test_a_guest_whose_qemu_hangs_hides_neither_its_host_nor_any_other_guest(
    laboratory: Laboratory, running: Callable[..., Host]
) -> None:
    here = running(SHARED)
    running(LOCAL)
    with watching(laboratory) as watched:
        watched.inventory()
        stop = "kill -{} $(cat /run/libvirt/qemu/vm-a.pid)"
        here.node.run_inside("sh", "-c", stop.format("STOP"))
        try:
            first = watched.inventory()
            assert states(first) == [HostState.UP] * 3
            assert {vm.name for vm in first.vms} == {"vm-a", "vm-local"}
            second = watched.inventory()
            assert states(second) == [HostState.UP] * 3
            assert [(remark.host, remark.vm) for remark in second.remarks] == [("host01", SHARED.uuid)]
            assert "its QEMU is busy or does not answer" in second.remarks[0].text
            assert seen(second, "vm-a").needs == seen(first, "vm-a").needs
            collector = VmsCollector(VmsSettings(uri=here.uri_read_only))
            assert {one.labels["domain"] for one in collector.collect()} == {"vm-a", "vm-local"}
        finally:
            here.node.run_inside("sh", "-c", stop.format("CONT"))
        until(watched, lambda found: not found.remarks)


def test_a_guest_that_is_backed_up_or_copied_says_why_it_stays(
    laboratory: Laboratory, running: Callable[..., Host]
) -> None:
    here = running(SHARED)
    with watching(laboratory) as watched:
        (laboratory.shared / "copy.img").write_bytes(bytes(SHARED.disk_mib << 20))
        copy = ("vm-a", "vda", "/lab/shared/copy.img", "--format", "raw", "--reuse-external", "--transient-job")
        here.virsh("blockcopy", *copy)
        stays = until(watched, lambda found: bool(seen(found, "vm-a").immovable_because))
        assert seen(stays, "vm-a").immovable_because == "a block job (copy) runs on disk vda"
        here.virsh("blockjob", "vm-a", "vda", "--abort")
        until(watched, lambda found: not seen(found, "vm-a").immovable_because)


def test_a_dead_host_is_shown_as_last_seen_and_its_guests_with_it(
    laboratory: Laboratory, running: Callable[..., Host]
) -> None:
    running(SHARED)
    with watching(laboratory) as watched:
        before = watched.inventory()
        laboratory.host("host01").power_off()
        after = until(watched, lambda found: states(found)[0] is HostState.UNKNOWN)
        assert states(after)[1:] == [HostState.UP, HostState.UP]
        gone = after.host_by_name["host01"]
        assert gone.seen_at is not None
        assert before.time - timedelta(seconds=1) <= gone.seen_at <= after.time
        assert gone.offers == before.host_by_name["host01"].offers
        assert seen(after, "vm-a").host == "host01"
        assert [remark.host for remark in after.remarks] == ["host01"]
        assert "host01" in after.remarks[0].text
        laboratory.power_on("host01")
        back = until(watched, lambda found: states(found) == [HostState.UP] * 3)
        assert back.vms == ()
        assert back.remarks == ()


def test_a_host_that_hangs_delays_the_others_by_its_deadline_once_and_never_again(
    laboratory: Laboratory, running: Callable[..., Host]
) -> None:
    running(SHARED, "host02")
    clock, hung = RealClock(), laboratory.host("host01")
    with watching(laboratory) as watched:
        watched.inventory()
        hung.node.run_inside("sh", "-c", "kill -STOP $(cat /run/libvirtd.pid)")
        try:
            started = clock.monotonic()
            cluster = watched.inventory()
            first_s = clock.monotonic() - started
            assert states(cluster) == [HostState.UNKNOWN, HostState.UP, HostState.UP]
            assert first_s < 5.0 + 3.0 + 2.0
            started = clock.monotonic()
            cluster = watched.inventory()
            assert clock.monotonic() - started < 2.0
            assert states(cluster) == [HostState.UNKNOWN, HostState.UP, HostState.UP]
            assert seen(cluster, "vm-a").host == "host02"
            assert "host01" in cluster.remarks[0].text
            counted = watched._connections.metrics()
            assert counted['forewarn_libvirt_calls_abandoned_total{host="host01"}'] >= 1
            assert counted['forewarn_libvirt_calls_hanging{host="host02"}'] == 0
        finally:
            hung.node.run_inside("sh", "-c", "kill -CONT $(cat /run/libvirtd.pid)")
        until(watched, lambda found: states(found) == [HostState.UP] * 3)


def test_malformed_metadata_is_told_for_that_guest_alone(laboratory: Laboratory, running: Callable[..., Host]) -> None:
    here = running(SHARED)
    running(LOCAL)
    here.virsh("metadata", "vm-a", OURS, "--key", "forewarn", "--set", "<criticality>urgent</criticality>")
    here.virsh("metadata", "vm-local", OURS, "--key", "forewarn", "--set", "<criticality>low</criticality>")
    with watching(laboratory) as watched:
        cluster = watched.inventory()
        assert [(remark.host, remark.vm) for remark in cluster.remarks] == [("host01", SHARED.uuid)]
        assert "<criticality> is 'urgent', which is none of high, normal, low" in cluster.remarks[0].text
        assert seen(cluster, "vm-a").criticality is Criticality.NORMAL
        assert seen(cluster, "vm-local").criticality is Criticality.LOW


def test_a_guest_that_ends_between_two_looks_is_gone_and_hides_no_other(
    laboratory: Laboratory, running: Callable[..., Host]
) -> None:
    here = running(SHARED)
    running(LOCAL)
    with watching(laboratory) as watched:
        assert {vm.name for vm in watched.inventory().vms} == {"vm-a", "vm-local"}
        here.virsh("destroy", "vm-a")
        assert [vm.name for vm in watched.inventory().vms] == ["vm-local"]


def test_a_wrong_uri_and_a_refused_sign_in_are_told_for_that_host_alone(laboratory: Laboratory) -> None:
    strict = laboratory.host("host02")
    conf = strict.plan.folder / "etc/libvirtd.conf"
    kept = conf.read_text()
    conf.write_text(kept.replace('auth_unix_ro = "none"', 'auth_unix_ro = "sasl"'))
    strict.kill_libvirt()
    try:
        strict.start_libvirt()
        hosts = {
            "host01": laboratory.host("host01").uri_read_only,
            "host02": strict.uri_read_only,
            "host03": "qemu+unix:///system?socket=/nowhere/libvirt-sock-ro",
            "host04": "nonsense:///system",
        }
        settings = LibvirtSettings(hosts={name: HostSettings(uri) for name, uri in hosts.items()}, connections=BRISK)
        connections = Connections(hosts, BRISK)
        watched = LibvirtInventory(settings, connections, RealClock(), infer)
        cluster = watched.inventory()
        said = {remark.host: remark.text for remark in cluster.remarks}
        watched.close()
        connections.close()
    finally:
        conf.write_text(kept)
        strict.kill_libvirt()
        strict.start_libvirt()
    assert states(cluster) == [HostState.UP, HostState.UNKNOWN, HostState.UNKNOWN, HostState.UNKNOWN]
    assert said.keys() == {"host02", "host03", "host04"}
    assert "libvirt on host02 refuses the sign-in" in said["host02"]
    assert "host03 cannot be reached at qemu+unix:///system?socket=/nowhere/libvirt-sock-ro" in said["host03"]
    assert "nonsense:///system" in said["host04"]


def test_a_site_where_no_host_answers_has_no_inventory(laboratory: Laboratory) -> None:
    for host in laboratory.hosts:
        host.power_off()
    with watching(laboratory) as watched, pytest.raises(DriverUnavailable, match="no libvirt host answers: host01"):
        watched.inventory()


def test_the_agent_of_a_host_tells_what_its_guests_use(running: Callable[..., Host]) -> None:
    here = running(SHARED)
    collector = VmsCollector(VmsSettings(uri=here.uri_read_only))
    found = [one for one in check_collector(collector) if isinstance(one, Sample)]
    values = {(one.name, one.labels.get("target_device", "")): one.value for one in found}
    assert {one.labels["domain"] for one in found} == {"vm-a"}
    assert values["libvirt_domain_info_cpu_time_seconds_total", ""] > 0
    assert values["libvirt_domain_info_maximum_memory_bytes", ""] == 96 * 2**20
    assert values["libvirt_domain_block_stats_write_bytes_total", "vda"] > 0
    assert ("libvirt_domain_interface_stats_receive_bytes_total", "vnet0") in values
    assert values["libvirt_domain_memory_stats_rss_bytes", ""] > 0


def test_a_guest_whose_move_waits_is_measured_and_the_next_plan_knows_its_rate(
    laboratory: Laboratory, running: Callable[..., Host]
) -> None:
    running(SHARED)
    driver = driver_of(replace(libvirt_settings(laboratory), dirty_rate_s=1))
    try:
        driver.inventory()
        driver.expect(move_of(SHARED, "host01", "host02"))

        def known() -> bool:
            driver.inventory()
            (load,) = driver.workloads()
            return load.vm == SHARED.uuid and load.dirty_bytes_per_s is not None  # 0 is told of less than 1 MiB/s

        eventually(known, deadline=30, every=0.2)
        assert laboratory.where("vm-a") == ("host01",)
    finally:
        driver.close()


def test_the_doctor_tells_each_host_as_the_settings_file_names_it(
    laboratory: Laboratory, running: Callable[..., Host], tmp_path: Path
) -> None:
    running(SHARED)
    laboratory.host("host03").power_off()
    lines = ['[driver]\nkind = "libvirt"\n[libvirt]\nshared_directories = ["/lab/shared"]']
    lines += [f'[libvirt.hosts.{host.name}]\nuri = "{host.uri_read_only}"' for host in laboratory.hosts]
    config = tmp_path / "forewarn.toml"
    config.write_text("\n".join(lines))
    command = [sys.executable, "-m", "forewarn", "doctor", "--json", "--state", str(tmp_path), "--config", str(config)]
    ran = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "FOREWARN_WEB__PORT": "1"})
    told = [finding for finding in json.loads(ran.stdout)["findings"] if finding["check"] == "libvirt"]
    assert [(finding["state"], finding["text"].split()[0]) for finding in told] == [
        ("ok", "host01"),
        ("ok", "host02"),
        ("error", "host03"),
    ]
    assert "is only read: libvirt 11." in told[0]["text"]
    assert "QEMU 10." in told[0]["text"]
    assert "1 VMs run" in told[0]["text"]
    assert ran.returncode == 2
