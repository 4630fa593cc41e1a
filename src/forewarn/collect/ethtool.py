"""What a network card's driver tells: its own counters by ioctl, advertised speeds and optics by the command ethtool.

Counters and speeds need no privilege; the optics' memory wants CAP_NET_ADMIN. Names are node_exporter's (collector
`ethtool`); what drivers call by many names, CRC and FEC errors, is told under one name of ours besides.
"""

import array
import fcntl
import re
import socket
import struct
from collections.abc import Iterator, Mapping
from functools import lru_cache

from forewarn.domain.telemetry import Sample

SIOCETHTOOL = 0x8946
GSSET_INFO, GSTRINGS, GSTATS = 0x37, 0x1B, 0x1D  # linux/ethtool.h
STATISTICS_SET = 1  # ETH_SS_STATS
NAME_BYTES, COUNT_BYTES = 32, 8
STATISTICS_MAX = 16_384  # drivers with hundreds of queues have some 5,000
CARDS_REMEMBERED = 64
SLACK = 256  # the kernel writes as many as there are by then, not as many as were asked for
BYTES_PER_MEGABIT = 125_000.0

RECEIVED, TRANSMITTED = re.compile(r"(^|_)rx(_|$)"), re.compile(r"(^|_)tx(_|$)")
# What drivers call these errors: of several names for one thing the highest count holds.
SUMMED = (
    ("forewarn_network_crc_errors_total", re.compile(r"(?i)(^|.*[._])(crc|fcs)_?(err\w*|errors?)?(_phy|\.nic)?")),
    ("forewarn_network_fec_uncorrectable_total", re.compile(r"(?i).*fec.*uncorrect.*|.*uncorrectable_(blocks|bits).*")),
    ("forewarn_network_fec_corrected_total", re.compile(r"(?i).*fec_corrected.*|.*rx_corrected_(blocks|bits).*")),
)
MODE = re.compile(r"(\d+)(base\w+)/(Full|Half)")
ADVERTISED = re.compile(r"^\s+Advertised link modes:((?:\s+\d+base\w+/(?:Full|Half))+)", re.MULTILINE)
VALUE = re.compile(r"^\s*(.+?)\s*(?:\((?:Channel|Chan) (\d+)\))?\s*: (-?[\d.]+) (mA|mW|degrees C|V)\b", re.MULTILINE)
ALARM = re.compile(r"^\s*(.+? alarm)\s*(?:\((?:Channel|Chan) (\d+)\))?\s*: On\b", re.MULTILINE)
# How ethtool begins the lines of the optics, the metric, and the factor to its unit.
OPTICS = (
    ("module temperature", "forewarn_optics_temperature_celsius", 1.0),
    ("module voltage", "forewarn_optics_volts", 1.0),
    ("laser bias current", "forewarn_optics_bias_amperes", 1e-3),
    ("laser tx bias current", "forewarn_optics_bias_amperes", 1e-3),
    ("laser output power", "forewarn_optics_transmit_watts", 1e-3),
    ("transmit avg optical power", "forewarn_optics_transmit_watts", 1e-3),
    ("receiver signal average optical power", "forewarn_optics_receive_watts", 1e-3),
    ("rcvr signal avg optical power", "forewarn_optics_receive_watts", 1e-3),
)


def statistics(device: str) -> Mapping[str, int]:
    """A driver's own counters of an interface on this machine, by the driver's names; empty where it has none."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
            return _statistics(channel, device.encode()[:15])
    except OSError:
        return {}


def _statistics(channel: socket.socket, device: bytes) -> Mapping[str, int]:
    info = _ask(channel, device, struct.pack("=IIQI", GSSET_INFO, 0, 1 << STATISTICS_SET, 0))
    known, count = struct.unpack_from("=QI", info, 8)
    if not known or not 0 < count <= STATISTICS_MAX:
        return {}
    head = struct.pack("=III", GSTRINGS, STATISTICS_SET, count)
    names = _ask(channel, device, head + bytes(NAME_BYTES * (count + SLACK)))[len(head) :]
    answer = _ask(channel, device, struct.pack("=II", GSTATS, count) + bytes(COUNT_BYTES * (count + SLACK)))
    counts = struct.unpack_from(f"={count}Q", answer, 8)
    return dict(zip(_names(names[: count * NAME_BYTES]), counts, strict=True))


@lru_cache(CARDS_REMEMBERED)
def _names(table: bytes) -> tuple[str, ...]:
    """The names in a driver's table, which is the same in each round."""
    found = (table[at : at + NAME_BYTES] for at in range(0, len(table), NAME_BYTES))
    return tuple(name.partition(b"\0")[0].decode("ascii", "replace").strip() for name in found)


def _ask(channel: socket.socket, device: bytes, request: bytes) -> bytes:
    """One ioctl: the kernel fills the buffer whose address stands behind the interface's name."""
    buffer = array.array("B", request)
    fcntl.ioctl(channel, SIOCETHTOOL, struct.pack("16sP16x", device, buffer.buffer_info()[0]))
    return buffer.tobytes()


def metric_name(statistic: str) -> str:
    """node_exporter's name for a driver's counter.

    >>> metric_name("rx_crc_errors_phy"), metric_name("port.tx_dropped")
    ('node_ethtool_received_crc_errors_phy', 'node_ethtool_port_transmitted_dropped')
    """
    clean = re.sub(r"[^a-zA-Z0-9_]", "_", statistic).lower().lstrip("_")
    spelled = TRANSMITTED.sub(r"\1transmitted\2", RECEIVED.sub(r"\1received\2", clean))
    return f"node_ethtool_{spelled}"


def statistic_samples(device: str, found: Mapping[str, int], wanted: re.Pattern[str], most: int) -> Iterator[Sample]:
    """The wanted counters of a card, and its CRC and FEC errors under one name whatever its driver calls them."""
    labels, told = {"device": device}, dict[str, float]()
    highest = dict[str, int]()
    for statistic, count in found.items():
        name, summed = _meaning(statistic, wanted)
        if name and len(told) < most:
            told.setdefault(name, float(count))
        for several in summed:
            highest[several] = max(count, highest.get(several, count))
    for name, total in (*told.items(), *highest.items()):
        yield Sample(name, labels, float(total))


@lru_cache(STATISTICS_MAX)
def _meaning(statistic: str, wanted: re.Pattern[str]) -> tuple[str, tuple[str, ...]]:
    """The metric of a driver's counter, empty where it is not wanted, and those that it shares with others.

    Remembered, because a card has a thousand counters, called the same in each round.
    """
    name = metric_name(statistic) if wanted.fullmatch(statistic) else ""
    return name, tuple(name for name, pattern in SUMMED if pattern.fullmatch(statistic))


def parse_advertised(text: str) -> tuple[tuple[float, str, str], ...]:
    """The link modes that a card offers, in the output of `ethtool DEVICE`: bytes per second, mode and duplex."""
    found = ADVERTISED.search(text)
    return tuple(
        (float(speed) * BYTES_PER_MEGABIT, f"{speed}{mode}", duplex.lower())
        for speed, mode, duplex in MODE.findall(found[1] if found else "")
    )


def optics_samples(device: str, text: str) -> Iterator[Sample]:
    """What the optics measure of themselves, in the output of `ethtool --module-info`, and alarms that are on."""
    seen: set[tuple[str, str]] = set()
    for what, lane, value, _ in VALUE.findall(text):
        for begin, name, factor in OPTICS:
            if what.lower() == begin and (name, lane) not in seen:
                seen.add((name, lane))
                labels = {"device": device, **({"lane": lane} if lane else {})}
                yield Sample(name, labels, float(value) * factor)
    for alarm, lane in ALARM.findall(text):
        labels = {"device": device, "alarm": " ".join(alarm.lower().split()), "lane": lane}
        yield Sample("forewarn_optics_alarm", labels, 1.0)
