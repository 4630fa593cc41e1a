"""What of a site's database is understood and what is not: for the doctor, from the newest minutes alone."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from forewarn.domain.inventory import Kind
from forewarn.store import bulk, own_series
from forewarn.store.label_rules import UNAME, LabelRules
from forewarn.store.labels import Located
from forewarn.store.mapping import Mapper
from forewarn.store.scrapes import Key
from forewarn.store.source import Source
from forewarn.store.windows import MINUTE


@dataclass(frozen=True)
class Survey:
    """What was seen. Every name counts the series that showed something."""

    hosts: frozenset[str]
    parts: Counter[Kind]  # components by kind
    nowhere: Counter[str]  # series of known names that lead to no host
    nowhere_example: str  # one of them
    partless: Counter[str]  # series of known names that lead to no part of their host
    partless_example: str
    nameless: Counter[Kind]  # parts that are known by their place alone, for want of a serial number


def survey(source: Source, rules: LabelRules, now: int, length: int = 10 * MINUTE) -> Survey:
    """Look at what came within `length` before `now`, microseconds. Raises StoreUnavailable."""
    mapper = Mapper()
    readings = source.read(rules.asked(mapper.names), now - length, now)
    rules.learn(readings.series)
    places = [() if key[0] in own_series.NAMES else rules.locate(key) for key in readings.series]
    batch = bulk.mapped(mapper, readings, places)
    nowhere = [key for key, meanings in zip(readings.series, places, strict=True) if not meanings]
    partless = _partless(mapper, readings.series, places, now)
    rows = batch.devices.to_pylist()
    parts = {row["component"]: row for row in rows}
    return Survey(
        hosts=frozenset(place.host for meanings in places for place in meanings),
        parts=Counter(Kind(row["kind"]) for row in parts.values()),
        nowhere=Counter(key[0] for key in nowhere),
        nowhere_example=shown(nowhere[0]) if nowhere else "",
        partless=Counter(key[0] for key in partless),
        partless_example=shown(partless[0]) if partless else "",
        nameless=Counter(Kind(row["kind"]) for row in parts.values() if _by_place(row)),
    )


def _partless(mapper: Mapper, series: Sequence[Key], places: Sequence[Sequence[Located]], now: int) -> list[Key]:
    """The series that are of a host and of a known name, and yet mean nothing."""
    found = []
    for key, meanings in zip(series, places, strict=True):
        leads = [
            place.name in mapper.words or bool(mapper.targets(place.host, [place.key], bulk.moment(now))[0])
            for place in meanings
        ]
        if meanings and not any(leads) and key[0] != UNAME:
            found.append(key)
    return found


def _by_place(row: dict[str, str]) -> bool:
    return row["kind"] in (Kind.DISK, Kind.NETWORK, Kind.VM) and row["component"] == (
        f"{row['kind']}:{row['host']}/{row['device']}"
    )


def shown(key: Key) -> str:
    """A series as it is written in PromQL.

    >>> shown(("up", (("instance", "host03:9100"), ("job", "node"))))
    'up{instance="host03:9100",job="node"}'
    """
    name, pairs = key
    return name + "{" + ",".join(f'{label}="{text}"' for label, text in pairs) + "}"
