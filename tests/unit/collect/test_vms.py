"""The VMs of this host: the exporters' names, a deadline of its own, and no libvirt where it is not asked for."""

import importlib
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from forewarn.collect.vms import HANGING_MAX, VmsCollector, VmsSettings, parse
from forewarn.domain.inventory import Kind
from forewarn.domain.metrics import METRICS
from forewarn.domain.telemetry import Sample
from forewarn.errors import SourceAbsent
from forewarn.store.mapping import Mapper
from forewarn.testing import check_collector

UUID = "7f2c1b0a-8f1e-4d5e-9c43-0b1e5a7d0001"
STATS = {
    "state.state": 1, "cpu.time": 2_500_000_000, "vcpu.current": 2, "balloon.maximum": 1024, "balloon.current": 512,
    "balloon.rss": 2048, "balloon.usable": 100, "balloon.major_fault": 3,
    "block.count": 2,
    "block.0.name": "vda", "block.0.rd.bytes": 100, "block.0.rd.reqs": 4, "block.0.rd.times": 500_000_000,
    "block.1.name": "vdb", "block.1.rd.bytes": 11, "block.1.wr.bytes": 7,
    "net.count": 1, "net.0.name": "vnet3", "net.0.rx.bytes": 9, "net.0.rx.pkts": 1, "net.0.tx.drop": 2,
}  # fmt: skip


def by_name(samples: list[Sample]) -> dict[tuple[str, str], float]:
    return {(s.name.removeprefix("libvirt_domain_"), s.labels.get("target_device", "")): s.value for s in samples}


def test_a_vm_is_told_under_the_exporters_names_in_their_units() -> None:
    found = list(parse("web-1", UUID, STATS))
    assert {sample.labels["domain"] for sample in found} == {"web-1"}
    assert by_name(found) == {
        ("info_meta", ""): 1.0,
        ("info_cpu_time_seconds_total", ""): 2.5,
        ("info_virtual_cpus", ""): 2.0,
        ("info_maximum_memory_bytes", ""): 1024 * 1024.0,
        ("info_memory_usage_bytes", ""): 512 * 1024.0,
        ("memory_stats_rss_bytes", ""): 2048 * 1024.0,
        ("memory_stats_usable_bytes", ""): 100 * 1024.0,
        ("memory_stats_major_fault_total", ""): 3.0,
        ("info_vstate", ""): 1.0,
        ("block_stats_read_bytes_total", "vda"): 100.0,
        ("block_stats_read_requests_total", "vda"): 4.0,
        ("block_stats_read_time_seconds_total", "vda"): 0.5,
        ("block_stats_read_bytes_total", "vdb"): 11.0,
        ("block_stats_write_bytes_total", "vdb"): 7.0,
        ("interface_stats_receive_bytes_total", "vnet3"): 9.0,
        ("interface_stats_receive_packets_total", "vnet3"): 1.0,
        ("interface_stats_transmit_drops_total", "vnet3"): 2.0,
    }


def test_what_libvirt_does_not_count_is_left_out_and_never_zero() -> None:
    assert [sample.name for sample in parse("idle", UUID, {})] == ["libvirt_domain_info_meta"]
    nameless = {"block.count": 1, "block.0.rd.bytes": 5}
    assert [sample.name for sample in parse("idle", UUID, nameless)] == ["libvirt_domain_info_meta"]


def test_a_vm_is_one_component_by_its_uuid_on_whatever_host_it_is() -> None:
    mapper, now = Mapper(), datetime(2026, 1, 5, tzinfo=UTC)
    for host in ("h1", "h2"):
        rows = mapper.map(host, parse("web-1", UUID, STATS), now).samples.to_pylist()
        assert {row["component"] for row in rows} == {f"vm:{UUID}"}
        values = {row["metric"]: row["value"] for row in rows}
        assert (values["vm_cpu_seconds"], values["vm_read_bytes"], values["vm_receive_bytes"]) == (2.5, 111.0, 9.0)


def test_the_catalogue_knows_only_names_that_the_collector_gives() -> None:
    every = {**STATS, **{f"block.0.{name}": 1 for name in ("wr.bytes", "wr.reqs", "wr.times")}}
    every |= {f"net.0.{way}.{what}": 1 for way in ("rx", "tx") for what in ("bytes", "drop")}
    given = {sample.name for sample in parse("web-1", UUID, every)}
    assert {metric.name for metric in METRICS if metric.kind is Kind.VM} <= given


def test_nothing_of_libvirt_is_loaded_before_it_is_asked() -> None:
    program = "import sys, forewarn.collect.agent; print('libvirt' in sys.modules, 'numpy' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", "False"]


def test_a_host_without_the_binding_says_what_is_missing() -> None:
    program = (
        "import sys; sys.modules['libvirt'] = None\n"
        "from forewarn.collect.vms import VmsCollector\n"
        "from forewarn.errors import SourceAbsent\n"
        "try: list(VmsCollector().collect())\n"
        "except SourceAbsent as absent: print(absent)\n"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout == "the collector vms needs the binding libvirt-python (docs/install.md says how)\n"


def test_a_deadline_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="deadline_s must be above 0"):
        VmsSettings(deadline_s=0)


@pytest.fixture
def silent() -> Iterator[str]:
    """The URI of a libvirt that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"qemu+tcp://127.0.0.1:{listener.getsockname()[1]}/system"


@pytest.fixture
def binding() -> None:
    pytest.importorskip("libvirt", reason="the binding to libvirt is not installed (make setup says why)")


@pytest.mark.usefixtures("binding")
def test_the_collector_keeps_the_contract_over_libvirts_own_test_driver() -> None:
    collector = VmsCollector(VmsSettings(uri="test:///default"))
    for _ in range(2):
        found = check_collector(collector)
        assert [s.labels for s in found if isinstance(s, Sample) and s.name.endswith("_meta")] == [
            {"domain": "test", "uuid": "6695eb01-f6a4-8304-79aa-97f2502e193f"}
        ]


@pytest.mark.usefixtures("binding")
def test_a_libvirt_that_is_not_there_is_an_absent_source() -> None:
    with pytest.raises(SourceAbsent, match=r"does not answer: .*Connection refused"):
        list(VmsCollector(VmsSettings(uri="qemu+tcp://127.0.0.1:1/system")).collect())


@pytest.mark.usefixtures("binding")
def test_a_libvirt_that_hangs_costs_the_deadline_and_three_threads_however_often_it_is_asked(silent: str) -> None:
    collector = VmsCollector(VmsSettings(uri=silent, deadline_s=0.1))
    threads = threading.active_count()
    for words in [r"has not answered for 0\.1 s"] * HANGING_MAX + ["has not answered 3 times in a row"] * 2:
        with pytest.raises(SourceAbsent, match=words):
            list(collector.collect())
    assert threading.active_count() == threads + HANGING_MAX


@pytest.mark.usefixtures("binding")
def test_a_question_that_ends_by_a_defect_is_no_host_without_vms(monkeypatch: pytest.MonkeyPatch) -> None:
    libvirt = importlib.import_module("libvirt")
    told: list[object] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: told.append(args.exc_type))
    monkeypatch.setattr(libvirt.virConnect, "getAllDomainStats", lambda *_: int("no number"))
    with pytest.raises(SourceAbsent, match="ended by a defect"):
        list(VmsCollector(VmsSettings(uri="test:///default")).collect())
    assert told == [ValueError]
