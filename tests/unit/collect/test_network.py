"""Network interfaces on frozen machines: hardware, a bond of two, a link that is down, guests' taps."""

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from forewarn.clock import SimulatedClock
from forewarn.collect.base import Collected
from forewarn.collect.ethtool import statistics
from forewarn.collect.neighbors import neighbor_samples
from forewarn.collect.network import NetworkCollector, NetworkSettings, parse_net_dev
from forewarn.domain.telemetry import Sample
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


def test_the_links_of_a_bond_stand_in_for_each_other(thaw: Callable[[str], Path]) -> None:
    root = thaw("two-socket-server")
    samples = list(NetworkCollector(root).collect())
    assert find(samples, "node_bonding_slaves") == {"master=bond0": 2}
    assert find(samples, "node_bonding_active") == {"master=bond0": 2}
    assert find(samples, "forewarn_redundancy_spares") == {"group=bond0 kind=network": 1}
    (root / "sys/class/net/eno2/bonding_slave/mii_status").write_text("down\n")
    (root / "sys/class/net/bond0/bonding/active_slave").write_text("eno1\n")
    samples = list(NetworkCollector(root).collect())
    assert find(samples, "node_bonding_active") == {"master=bond0": 1}
    assert find(samples, "forewarn_redundancy_spares") == {"group=bond0 kind=network": 0}
    assert set(find(samples, "forewarn_redundancy_member_info")) == {
        "device=eno1 group=bond0 kind=network state=active",
        "device=eno2 group=bond0 kind=network state=failed",
    }
    assert find(samples, "forewarn_bonding_active_info") == {"device=eno1 master=bond0": 1}


def test_a_bond_that_needs_two_links_has_none_to_spare(thaw: Callable[[str], Path]) -> None:
    root = thaw("two-socket-server")
    (root / "sys/class/net/bond0/bonding/min_links").write_text("2\n")
    assert find(NetworkCollector(root).collect(), "forewarn_redundancy_spares") == {"group=bond0 kind=network": 0}


def test_errors_of_the_cards_pci_link_are_told_by_severity(machines: Path) -> None:
    samples = list(NetworkCollector(machines / "two-socket-server").collect())
    assert find(samples, "forewarn_network_pci_errors_total") == {
        "device=eno1 severity=correctable": 5,
        "device=eno1 severity=nonfatal": 0,
        "device=eno1 severity=fatal": 0,
    }


SPEED, DUPLEX = "device=eth0 what=speed", "device=eth0 what=duplex"


def test_a_link_is_degraded_below_the_highest_speed_that_it_has_shown(thaw: Callable[[str], Path]) -> None:
    root = thaw("bare-vm")
    card = root / "sys/class/net/eth0"
    collector = NetworkCollector(root)
    found = []
    for speed, duplex in (("10000", "full"), ("1000", "half"), ("10000", "full"), ("-1", "unknown")):
        (card / "speed").write_text(f"{speed}\n")
        (card / "duplex").write_text(f"{duplex}\n")
        degraded = find(collector.collect(), "forewarn_network_link_degraded")
        found.append((degraded.get(SPEED), degraded.get(DUPLEX)))
    assert found == [(0, 0), (1, 1), (0, 0), (None, None)]


ETHTOOL = """Settings for eth0:
    Supported ports: [ FIBRE ]
    Supported link modes:   1000baseT/Full
                            25000baseCR/Full
    Advertised link modes:  1000baseT/Half 1000baseT/Full
                            10000baseT/Full
    Advertised pause frame use: Symmetric
    Speed: 1000Mb/s
"""
OPTICS = """    Identifier                                : 0x03 (SFP)
    Laser bias current                        : 6.172 mA
    Laser output power                        : 0.5432 mW / -2.65 dBm
    Receiver signal average optical power     : 0.4567 mW / -3.40 dBm
    Module temperature                        : 33.21 degrees C / 91.78 degrees F
    Module voltage                            : 3.2890 V
    Laser bias current high alarm             : Off
    Laser rx power low alarm                  : On
    Laser rx power low warning                : On
    Laser bias current high alarm threshold   : 15.000 mA
"""
QSFP = """    Laser tx bias current (Channel 1)         : 6.750 mA
    Laser tx bias current (Channel 2)         : 6.800 mA
    Rcvr signal avg optical power(Channel 2)  : 0.7700 mW / -1.14 dBm
    Laser tx power low alarm   (Channel 2)    : On
"""
LLDP = {
    "lldp": {
        "interface": [
            {
                "eth0": {
                    "via": "LLDP",
                    "chassis": {"leaf-12": {"id": {"type": "mac", "value": "02:00:5e:00:00:12"}}},
                    "port": {"id": {"type": "ifname", "value": "Ethernet7"}, "descr": "host03 eth0"},
                }
            },
            {"eth0": {"chassis": {"other": {}}}},
        ]
    }
}


class Commands:
    """The commands ethtool and lldpcli of the test's own."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, command: Sequence[str], timeout_s: float) -> bytes:
        assert timeout_s > 0
        self.asked.append(" ".join(command[1:]))
        if "neighbors" in command:
            return json.dumps(LLDP).encode()
        return (OPTICS + QSFP if "--module-info" in command else ETHTOOL).encode()


@pytest.fixture
def told(thaw: Callable[[str], Path]) -> Iterator[Callable[[], list[Collected]]]:
    """What a card tells with its driver's counters and with the commands installed."""
    counters = {
        "rx_crc_errors_phy": 5,
        "rx_crc_errors": 3,
        "rx_fec_uncorrectable_blocks": 2,
        "rx0_drops": 9,
        "tx_ok": 1,
    }
    clock, commands = SimulatedClock(datetime(2026, 1, 5, tzinfo=UTC)), Commands()
    settings = NetworkSettings(ethtool="sh", lldpcli="sh")  # any program that is on PATH
    root = thaw("bare-vm")
    (root / "sys/class/net/eth0/speed").write_text("1000\n")
    collector = NetworkCollector(root, settings, clock, commands, lambda _: counters)
    yield lambda: list(collector.collect())
    assert len(commands.asked) == 3  # once per interval, however often it is collected


def test_crc_and_fec_errors_have_one_name_whatever_the_driver_calls_them(
    told: Callable[[], list[Collected]],
) -> None:
    samples = told()
    assert find(samples, "forewarn_network_crc_errors_total") == {"device=eth0": 5}
    assert find(samples, "forewarn_network_fec_uncorrectable_total") == {"device=eth0": 2}
    assert find(samples, "node_ethtool_received_crc_errors_phy") == {"device=eth0": 5}
    assert not any("rx0" in sample.name or "_ok" in sample.name for sample in samples if isinstance(sample, Sample))


def test_a_link_is_degraded_below_what_it_advertises(told: Callable[[], list[Collected]]) -> None:
    for _ in range(2):
        samples = told()
    assert find(samples, "node_network_advertised_speed_bytes") == {
        "device=eth0 duplex=half mode=1000baseT": 1.25e8,
        "device=eth0 duplex=full mode=1000baseT": 1.25e8,
        "device=eth0 duplex=full mode=10000baseT": 1.25e9,
    }
    assert find(samples, "forewarn_network_link_degraded")[SPEED] == 1


def test_optics_tell_what_they_measure_and_which_alarms_are_on(told: Callable[[], list[Collected]]) -> None:
    samples = told()
    assert find(samples, "forewarn_optics_temperature_celsius") == {"device=eth0": 33.21}
    assert find(samples, "forewarn_optics_volts") == {"device=eth0": 3.289}
    bias = find(samples, "forewarn_optics_bias_amperes")
    assert bias["device=eth0"] == pytest.approx(0.006172)
    assert bias["device=eth0 lane=2"] == pytest.approx(0.0068)
    assert find(samples, "forewarn_optics_receive_watts")["device=eth0 lane=2"] == pytest.approx(0.00077)
    assert set(find(samples, "forewarn_optics_alarm")) == {
        "alarm=laser rx power low alarm device=eth0 lane=",
        "alarm=laser tx power low alarm device=eth0 lane=2",
    }


def test_the_switch_behind_a_card_is_told_as_lldp_hears_it(told: Callable[[], list[Collected]]) -> None:
    (neighbor,) = find(told(), "forewarn_network_neighbor_info")
    assert neighbor == (
        "chassis=leaf-12 chassis_id=02:00:5e:00:00:12 device=eth0 port=Ethernet7 port_description=host03 eth0"
    )


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"lldp": {"interface": [3, {"eth0": 4}]}}', '{"lldp": []}'])
def test_an_answer_without_neighbours_gives_none(text: str) -> None:
    assert list(neighbor_samples(text)) == []


def test_one_neighbour_alone_is_no_list() -> None:
    heard = {"lldp": {"interface": {"eth1": {"chassis": {"id": {"value": "02:00"}}, "port": {}}}}}
    (sample,) = neighbor_samples(json.dumps(heard))
    assert (sample.labels["device"], sample.labels["chassis"], sample.labels["chassis_id"]) == ("eth1", "", "02:00")


def test_drivers_of_this_machine_answer_or_have_nothing_to_tell() -> None:
    assert statistics("lo") == {}
    assert statistics("no-such-card") == {}
    for card in (path.name for path in Path("/sys/class/net").iterdir()):
        found = statistics(card)
        assert all(name and name.isprintable() for name in found), card
        assert all(0 <= count < 2**64 for count in found.values()), card
