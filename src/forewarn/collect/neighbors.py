"""Which port of which switch a card is plugged into, as lldpd has heard it."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from forewarn.collect.tree import label_text
from forewarn.domain.telemetry import Sample

NEIGHBORS_MAX = 256


def neighbor_samples(text: str) -> Iterator[Sample]:
    """The neighbours in the output of `lldpcli -f json show neighbors`; one neighbour of a card, the first, counts."""
    try:
        document: Any = json.loads(text)
    except (ValueError, RecursionError):
        return
    seen: set[str] = set()
    for device, heard in _interfaces(document):
        if device in seen or len(seen) >= NEIGHBORS_MAX:
            continue
        seen.add(device)
        chassis, port = _inside(heard, "chassis"), _inside(heard, "port")
        name = "" if "id" in chassis else next((name for name, v in chassis.items() if isinstance(v, Mapping)), "")
        about = _inside(chassis, name) if name else chassis
        labels = {
            "device": device,
            "chassis": name,
            "chassis_id": _text(_inside(about, "id").get("value")),
            "port": _text(_inside(port, "id").get("value")),
            "port_description": _text(port.get("descr")),
        }
        yield Sample("forewarn_network_neighbor_info", {k: label_text(v) for k, v in labels.items()}, 1.0)


def _interfaces(document: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Interfaces with what they heard: lldpcli writes a list, or one object where there is only one."""
    found = _inside(document, "lldp").get("interface")
    for entry in found if isinstance(found, list) else [found]:
        for device, heard in entry.items() if isinstance(entry, Mapping) else ():
            if isinstance(heard, Mapping):
                yield str(device), heard


def _inside(found: Any, key: str) -> Mapping[str, Any]:
    inner = found.get(key) if isinstance(found, Mapping) else None
    return inner if isinstance(inner, Mapping) else {}


def _text(found: object) -> str:
    return str(found) if isinstance(found, str | int | float) else ""
