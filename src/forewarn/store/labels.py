"""How the series of a site's database are found to be of a host: which label names it, and what becomes of the name."""

from collections.abc import Mapping
from dataclasses import dataclass

from forewarn.store.scrapes import Key


@dataclass(frozen=True, slots=True)
class Located:
    """A series of the catalogue's own name and labels, on a host. Its values are to be multiplied by `scale`."""

    host: str
    name: str
    labels: tuple[tuple[str, str], ...]
    scale: float = 1.0

    @property
    def key(self) -> Key:
        return self.name, self.labels

    @property
    def subject(self) -> str:
        """What an info series speaks of, by the labels that name devices."""
        named = dict(self.labels)
        return "/".join(named.get(label, "") for label in ("device", "domain", "chip", "sensor"))


def host_of(labels: Mapping[str, str]) -> str:
    """The host of which a series speaks: its `instance` without a port, else its `host`; empty where it says neither.

    >>> host_of({"instance": "host03:9100"}), host_of({"host": "host03"}), host_of({"instance": "[::1]:9100"})
    ('host03', 'host03', '::1')
    """
    instance = labels.get("instance", "") or labels.get("host", "")
    if instance.startswith("["):
        return instance[1:].partition("]")[0]
    name, _, port = instance.rpartition(":")
    return name if port.isdecimal() and name and ":" not in name else instance
