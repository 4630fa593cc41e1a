"""Which series of a site's database mean what, and of which host they are: rules that an operator may change.

Exporters that use the catalogue's names need none. For others a preset says which of their series is which of the
catalogue's. A series of which no host is known, or which no rule knows, is counted and shown by the doctor.
"""

import hashlib
import ipaddress
import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field

from forewarn.store import recording
from forewarn.store.labels import Located, host_of
from forewarn.store.presets import PRESETS, Rename
from forewarn.store.scrapes import Key

UNAME = "node_uname_info"


@dataclass(frozen=True)
class LabelSettings:
    """How series of the site's database are found to be of hosts and parts."""

    presets: tuple[str, ...] = tuple(PRESETS)
    """The exporters whose series are known: node_exporter, smartctl_exporter, smartmon (scripts for its textfiles),
    ipmi_exporter, libvirt_exporter, telegraf. A preset that no series needs costs nothing but names in a query."""
    host_labels: tuple[str, ...] = ("instance", "host")
    """The labels that may name the host, the first that a series has counts; a port at its end is cut off."""
    hosts: Mapping[str, str] = field(default_factory=dict)
    """What a host is called here, by what the label says: addresses or names, without a port."""
    host_patterns: Mapping[str, str] = field(default_factory=dict)
    """The same for many: regular expressions that match the whole name, and what it becomes, as in
    "(.+)-bmc" = "\\\\1". The first that fits counts."""
    cut_domain: bool = False
    """Whether host03.example.org is host03 here: for sites whose placement service knows short names."""
    addresses_by_uname: bool = True
    """Whether a host that a label names by its address is called as node_exporter's node_uname_info says it is."""
    renames: tuple[Rename, ...] = ()
    """Further series that mean one of the catalogue's; they go before the presets'."""

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.presets) - set(PRESETS)):
            raise ValueError(f"presets names {unknown[0]}; known are: {', '.join(PRESETS)}")
        for pattern, text in self.host_patterns.items():
            try:
                re.sub(pattern, text, "")
            except (re.error, IndexError) as error:
                raise ValueError(f"host_patterns: {pattern!r} does not work: {error}") from error


class LabelRules:
    """Finds host and meaning of series.

    >>> rules = LabelRules()
    >>> [place] = rules.locate(("node_network_up", (("device", "eth0"), ("instance", "host03:9100"))))
    >>> place.host, place.name
    ('host03', 'node_network_up')
    """

    def __init__(self, settings: LabelSettings | None = None) -> None:
        self._settings = settings or LabelSettings()
        self._renames: dict[str, list[Rename]] = {}
        presets = [one for name in self._settings.presets for one in PRESETS[name]]
        for rename in (*self._settings.renames, *presets, *recording.renames()):
            self._renames.setdefault(rename.name, []).append(rename)
        self._called: dict[str, str] = {}  # by address, what a host calls itself
        self._claimed: dict[str, set[str]] = {}  # by such a name, the addresses

    @property
    def digest(self) -> str:
        """A hash of all that decides where series lead."""
        text = json.dumps(asdict(self._settings), sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def asked(self, names: Collection[str]) -> frozenset[str]:
        """The names to ask a database for, so that all of `names` are found."""
        foreign = {rename.name for renames in self._renames.values() for rename in renames if rename.means in names}
        return frozenset((*names, *foreign, *([UNAME] if self._settings.addresses_by_uname else [])))

    def learn(self, series: Iterable[Key]) -> bool:
        """Take in how hosts call themselves; whether that is news."""
        news = False
        for name, pairs in series:
            labels = dict(pairs)
            if name == UNAME and (called := labels.get("nodename", "")):
                address = self._named(labels)
                self._claimed.setdefault(called, set()).add(address)
                news |= self._called.get(address) != called
                self._called[address] = called
        return news

    def locate(self, key: Key) -> tuple[Located, ...]:
        """Where a series belongs, each with one meaning; nowhere where its host is not known."""
        name, pairs = key
        labels = dict(pairs)
        host = self.host(labels)
        if not host:
            return ()
        found: dict[str, Located] = {}
        own = True
        for rename in self._renames.get(name, ()):
            means = rename.labels_of(labels)
            if means is not None and rename.means not in found:
                found[rename.means] = Located(host, rename.means, tuple(sorted(means.items())), rename.scale)
                own = own and rename.also
        return (*found.values(), Located(host, name, pairs)) if own else tuple(found.values())

    def _named(self, labels: Mapping[str, str]) -> str:
        said = next((labels[label] for label in self._settings.host_labels if labels.get(label)), "")
        return host_of({"instance": said})

    def host(self, labels: Mapping[str, str]) -> str:
        """The host of which a series with these labels speaks; empty where it says none."""
        named = self._named(labels)
        if named in self._settings.hosts:
            return self._settings.hosts[named]
        if self._settings.addresses_by_uname and _is_address(named):
            called = self._called.get(named, "")
            named = called if called and len(self._claimed[called]) == 1 else named
        if self._settings.cut_domain and not _is_address(named):
            named = named.partition(".")[0]
        for pattern, text in self._settings.host_patterns.items():
            if found := re.fullmatch(pattern, named):
                named = found.expand(text)
                break
        return self._settings.hosts.get(named, named)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
