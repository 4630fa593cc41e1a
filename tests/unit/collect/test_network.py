"""Network interfaces on frozen machines: hardware, a bond of two, a link that is down, guests' taps."""

from collections.abc import Callable
from pathlib import Path

import pytest

from forewarn.collect.network import NetworkCollector, NetworkSettings, parse_net_dev
from forewarn.errors import SourceAbsent
from tests.frozen import find, unreadable


def test_only_hardware_is_watched_unless_asked_for(machines: Path) -> None:
    root = machines / "two-socket-server"
    assert set(find(NetworkCollector(root).collect(), "node_network_up")) == {
        "device=eno1",
        "device=eno2",
        "device=eno3",
    }
    everything = NetworkCollector(root, NetworkSettings(ignored="lo", virtual=True))
    assert {"device=bond0", "device=vnet0"} < set(find(everything.collect(), "node_network_up"))


def test_traffic_errors_and_drops_are_told_by_direction(machines: Path) -> None:
    samples = list(NetworkCollector(machines / "two-socket-server").collect())
    counted = {
        name: find(samples, f"node_network_{name}_total")["device=eno1"]
        for name in (
            "receive_bytes",
            "receive_errs",
            "receive_drop",
            "receive_frame",
            "transmit_errs",
            "transmit_carrier",
        )
    }
    assert counted == {
        "receive_bytes": 912233441,
        "receive_errs": 3,
        "receive_drop": 12,
        "receive_frame": 2,
        "transmit_errs": 1,
        "transmit_carrier": 1,
    }


def test_speed_is_told_in_bytes_and_an_unknown_speed_not_at_all(machines: Path) -> None:
    samples = list(NetworkCollector(machines / "two-socket-server").collect())
    assert find(samples, "node_network_speed_bytes") == {"device=eno1": 1.25e9, "device=eno2": 1.25e9}
    assert find(samples, "node_network_up") == {"device=eno1": 1, "device=eno2": 1, "device=eno3": 0}
    assert find(samples, "node_network_carrier_changes_total")["device=eno1"] == 7


def test_cards_of_one_bond_are_told_apart_by_their_own_addresses(machines: Path) -> None:
    samples = list(NetworkCollector(machines / "two-socket-server").collect())
    info = {s.labels["device"]: s.labels for s in samples if s.name == "node_network_info"}
    assert info["eno1"]["address"] == "02:00:5e:10:00:01"
    assert info["eno2"]["address"] == "02:00:5e:10:00:02"
    assert info["eno3"]["adminstate"] == "up"
    assert info["eno3"]["operstate"] == "down"


def test_an_interface_shut_by_its_administrator_is_told_from_a_dead_link(thaw: Callable[[str], Path]) -> None:
    root = thaw("bare-vm")
    (root / "sys/class/net/eth0/flags").write_text("0x1002\n")
    first = [s.labels for s in NetworkCollector(root).collect() if s.name == "node_network_info"]
    (root / "sys/class/net/eth0/flags").unlink()
    second = [s.labels for s in NetworkCollector(root).collect() if s.name == "node_network_info"]
    assert [first[0]["adminstate"], second[0]["adminstate"]] == ["down", "unknown"]


def test_a_counter_may_stand_right_behind_the_colon() -> None:
    text = "Inter-|   Receive  | Transmit\n face |bytes packets\n  eth0:123 4 x\n"
    assert list(parse_net_dev(text)) == [("eth0", (123, 4, None))]


def test_a_count_that_is_no_number_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "proc/net").mkdir(parents=True)
    (tmp_path / "proc/net/dev").write_text("eth0: 5 x 7")
    names = [sample.name for sample in NetworkCollector(tmp_path).collect() if sample.name.startswith("node_")]
    assert names == ["node_network_receive_bytes_total", "node_network_receive_errs_total"]


def test_an_interface_whose_state_vanishes_between_two_reads_keeps_its_counters(thaw: Callable[[str], Path]) -> None:
    root = thaw("bare-vm")
    collector = NetworkCollector(root)
    assert find(collector.collect(), "node_network_up") == {"device=eth0": 1}
    (root / "sys/class/net/eth0").unlink()
    after = list(collector.collect())
    assert find(after, "node_network_up") == {}
    assert find(after, "node_network_receive_bytes_total") == {"device=eth0": 115994}


def test_a_property_that_cannot_be_read_is_absent(thaw: Callable[[str], Path]) -> None:
    root = thaw("bare-vm")
    unreadable(root / "sys/class/net/eth0/carrier_changes")
    (root / "sys/class/net/eth0/speed").write_text("fast")
    samples = list(NetworkCollector(root).collect())
    assert find(samples, "node_network_carrier_changes_total") == {}
    assert find(samples, "node_network_speed_bytes") == {}
    assert sum(find(samples, "forewarn_collector_refused").values()) == 2


def test_without_hardware_the_collector_is_absent(tmp_path: Path) -> None:
    with pytest.raises(SourceAbsent, match="no network interface"):
        list(NetworkCollector(tmp_path).collect())
