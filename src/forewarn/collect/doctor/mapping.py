"""What Forewarn makes of what is read: kinds of parts of which nothing tells, and parts that cannot be told apart.

A part is its serial number. Where it shows none, it is the kernel's name for it on this host, and its history ends when
that name changes.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping

from forewarn.collect.doctor.drives import listed
from forewarn.collect.doctor.examination import Examination
from forewarn.domain.finding import Finding, State
from forewarn.domain.inventory import COMPONENT_KINDS, Kind
from forewarn.domain.metrics import IDENTITIES, METRICS, SENSOR_LABEL
from forewarn.domain.telemetry import Metric

NAMELESS = "0:- "  # an address or serial of nothing else is nobody's
RANDOM_ADDRESS = "1"  # NET_ADDR_RANDOM, of linux/netdevice.h
REMEDIES: Mapping[Kind, str] = {
    Kind.DISK: "udev tells serials: let the agent see /run/udev; a virtual disk gets one with serial= at its host",
    Kind.NETWORK: "without a permanent address the card is known by its name only: keep names stable by udev",
}


def kinds(seen: Examination) -> Iterator[Finding]:
    """For each kind of part, how many metrics of the catalogue are read."""
    labels = {
        (sample.labels.get("chip"), sample.labels.get("sensor")): sample.labels.get("label", "")
        for sample in seen.of(SENSOR_LABEL)
    }
    by_name: dict[str, list[Metric]] = {}
    for metric in METRICS:
        by_name.setdefault(metric.name, []).append(metric)
    found: dict[Kind, set[str]] = {kind: set() for kind in Kind}
    for sample in seen.samples:
        named = labels.get((sample.labels.get("chip"), sample.labels.get("sensor")))
        held = {**sample.labels, "label": named} if named else sample.labels
        for metric in by_name.get(sample.name, ()):
            if _means(metric, held):
                found[metric.kind].add(metric.key)
    for kind in COMPONENT_KINDS:
        known = sum(metric.kind is kind for metric in METRICS)
        if found[kind]:
            text = f"{kind}: {len(found[kind])} of {known} metrics of the catalogue are read"
            yield Finding("mapping", State.OK, text, place=kind)
        else:
            text = f"{kind}: no metric of the catalogue is read, so its risk is unknown"
            yield Finding("mapping", seen.amiss, text, "the other findings name what is missing", kind)


def _means(metric: Metric, labels: Mapping[str, str]) -> bool:
    if any(not re.fullmatch(pattern, labels.get(label, "")) for label, pattern in metric.where):
        return False
    device = labels.get(metric.device_label, "")
    return not metric.device_label or bool(re.match(metric.device_pattern, device) if metric.device_pattern else device)


def unmapped(seen: Examination) -> Iterator[Finding]:
    """How many names of series mean nothing to Forewarn. Most of a scrape is for people: that is normal."""
    meant = {metric.name for metric in METRICS} | {identity.name for identity in IDENTITIES} | {SENSOR_LABEL}
    names = Counter(s.name for s in seen.samples if not s.name.startswith(("forewarn_", "process_")))
    left = [name for name in names if name not in meant]
    if left:
        text = f"{len(left)} of {len(names)} names of series feed no forecast; they are shown, and that is normal"
        yield Finding("mapping", State.NOTE, text, "a line in domain/metrics.py makes one a metric")


def identities(seen: Examination) -> Iterator[Finding]:
    """Drives and cards without a serial of their own, and such as share one."""
    for kind in (Kind.DISK, Kind.NETWORK):
        serials = _serials(seen, kind)
        nameless = sorted(device for device, serial in serials.items() if not serial.strip(NAMELESS))
        claims = Counter(serial for serial in serials.values() if serial.strip(NAMELESS))
        shared = sorted(device for device, serial in serials.items() if claims[serial] > 1)
        if nameless:
            text = f"{kind}: {listed(nameless)} show no serial: known by name, history ends when the name changes"
            yield Finding("identity", seen.amiss, text, REMEDIES[kind])
        if shared:
            text = f"{kind}: {listed(shared)} show one serial between them, so none is known by it"
            yield Finding("identity", seen.amiss, text, REMEDIES[kind])
        if serials and not nameless and not shared:
            yield Finding("identity", State.OK, f"{kind}: all {len(serials)} parts are known by a serial of their own")


def _serials(seen: Examination, kind: Kind) -> dict[str, str]:
    """The serial of each device, empty where it shows none; the earlier line of the table of identities holds."""
    serials: dict[str, str] = {}
    for identity in (one for one in IDENTITIES if one.kind is kind):
        for sample in seen.of(identity.name):
            device = sample.labels.get(identity.device_label, "")
            if identity.device_pattern and (found := re.match(identity.device_pattern, device)):
                device = found.group(1)
            serials[device] = serials.get(device) or sample.labels.get(identity.serial_label, "").strip()
    return serials


def addresses(seen: Examination) -> Iterator[Finding]:
    """Cards whose address is drawn at each start: each start makes them a new part."""
    devices = sorted({sample.labels["device"] for sample in seen.of("node_network_info")})
    drawn = [d for d in devices if seen.tree.words(f"sys/class/net/{d}/addr_assign_type") == RANDOM_ADDRESS]
    if drawn:
        text = f"network: the addresses of {listed(drawn)} are drawn at each start, so each start makes a new part"
        yield Finding("identity", seen.amiss, text, "give the card a permanent address in the network's configuration")
