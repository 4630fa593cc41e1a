"""Which telemetry store a site has: the embedded one, or the database of time series that it already runs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TypeAlias

from forewarn.clock import Clock
from forewarn.errors import ConfigurationError
from forewarn.store import duckdb_rescue
from forewarn.store.duckdb import DuckDBSettings, DuckDBStore
from forewarn.store.http import HttpSettings
from forewarn.store.influxdb import InfluxDB, InfluxSettings
from forewarn.store.label_rules import LabelRules, LabelSettings
from forewarn.store.mapping import Mapper
from forewarn.store.prometheus import Prometheus, PromSettings
from forewarn.store.remote import CacheSettings, RemoteStore
from forewarn.store.source import Source
from forewarn.store.victoriametrics import VictoriaMetrics

Store: TypeAlias = DuckDBStore | RemoteStore


class StoreKind(StrEnum):
    """Where samples are kept."""

    DUCKDB = "duckdb"
    PROMETHEUS = "prometheus"
    VICTORIAMETRICS = "victoriametrics"
    INFLUXDB = "influxdb"


@dataclass(frozen=True)
class StoreSettings(DuckDBSettings):
    """Where telemetry is kept. What is said of DuckDB holds for the embedded store and for the cache of another."""

    kind: StoreKind = StoreKind.DUCKDB
    """Where telemetry is kept: duckdb (embedded, beside the state), or the site's own prometheus, victoriametrics
    or influxdb at `store.remote.url`, whose samples stay there."""
    remote: HttpSettings = field(default_factory=HttpSettings)
    cache: CacheSettings = field(default_factory=CacheSettings)
    labels: LabelSettings = field(default_factory=LabelSettings)
    prometheus: PromSettings = field(default_factory=PromSettings)
    influxdb: InfluxSettings = field(default_factory=InfluxSettings)


_SOURCES: Mapping[StoreKind, Callable[[StoreSettings, Clock], Source]] = {
    StoreKind.PROMETHEUS: lambda settings, clock: Prometheus(settings.remote, clock, settings.prometheus),
    StoreKind.VICTORIAMETRICS: lambda settings, clock: VictoriaMetrics(settings.remote, clock, settings.prometheus),
    StoreKind.INFLUXDB: lambda settings, clock: InfluxDB(settings.remote, clock, settings.influxdb),
}


def source_of(settings: StoreSettings, clock: Clock) -> Source:
    """The site's database. Raises ConfigurationError where its address is missing."""
    if not settings.remote.url:
        raise ConfigurationError(f"store.kind is {settings.kind}: name its address in store.remote.url")
    return _SOURCES[settings.kind](settings, clock)


def open_store(folder: Path, clock: Clock, settings: StoreSettings, mapper: Mapper) -> Store:
    """The store that the settings name; `folder` keeps the embedded one, or the cache of another.

    No database is asked yet: one that does not answer now may do so later. Raises ConfigurationError.
    """
    if settings.kind is StoreKind.DUCKDB:
        return duckdb_rescue.open_store(folder / "telemetry.duckdb", settings)
    rules = LabelRules(settings.labels)
    return RemoteStore(source_of(settings, clock), folder, clock, settings.cache, settings, mapper, rules)
