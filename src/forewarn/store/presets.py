"""The series of well-known exporters that say under other names or labels what the catalogue says.

One line is one series. What an exporter names as the catalogue does stands nowhere here.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Rename:
    """A series by name and labels, and which of the catalogue's it is."""

    name: str
    """The name of the series in the database."""
    means: str
    """The catalogue's name for it."""
    where: Mapping[str, str] = field(default_factory=dict)
    """Labels and regular expressions that must match their whole values."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """The catalogue's labels: a text in which `{label}` stands for the series' own label. Its other labels stay."""
    scale: float = 1.0
    """What its values are to be multiplied by."""

    def fits(self, labels: Mapping[str, str]) -> bool:
        """Whether a series of this name is meant."""
        return all(re.fullmatch(pattern, labels.get(label, "")) for label, pattern in self.where.items())

    def labels_of(self, labels: Mapping[str, str]) -> dict[str, str]:
        """The catalogue's labels of a series; one whose text comes out empty is left out."""
        made = {
            label: re.sub(r"\{(\w+)\}", lambda found: labels.get(found[1], ""), text)
            for label, text in self.labels.items()
        }
        return {label: text for label, text in {**labels, **made}.items() if text}


PRESETS: Mapping[str, tuple[Rename, ...]] = {
    "node_exporter": (),
    "smartctl_exporter": (),
    "ipmi_exporter": (),
    "libvirt_exporter": (),
    "telegraf": (),
}
