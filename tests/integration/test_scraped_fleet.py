"""A fleet that a site's own Prometheus scrapes is forecast without an agent of ours."""

import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from forewarn.clock import RealClock
from forewarn.domain.inventory import COMPONENT_KINDS
from forewarn.features.catalog import CATALOG
from forewarn.state.snapshot import SnapshotFile
from forewarn.store.duckdb import DuckDBStore
from forewarn.store.http import HttpSettings
from forewarn.store.label_rules import LabelRules, LabelSettings
from forewarn.store.mapping import Mapper
from forewarn.store.prometheus import Prometheus
from forewarn.store.remote import CacheSettings, RemoteStore
from forewarn.store.source import Source
from forewarn.store.victoriametrics import VictoriaMetrics
from tests import databases
from tests.exposed import exporter, parsed
from tests.support import eventually

pytestmark = pytest.mark.integration

SCRAPES = """\
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
- job_name: node
  static_configs: [{{targets: ["{target}"], labels: {{instance: "host07:9100"}}}}]
"""
PLAIN = LabelSettings(presets=())  # what comes by remote write is taken as it is named, too
HISTORY = CacheSettings(history_days=2.0)


def golden(folder: Path) -> str:
    """node_exporter's own test page, without the lines to which it gives times of long ago."""
    text = (folder / "node_exporter" / "e2e-output.txt").read_text(encoding="utf-8")
    return "".join(line for line in text.splitlines(keepends=True) if not re.search(r" \d{13}$", line.rstrip()))


def rows_of(frame: Any) -> dict[str, dict[str, float]]:
    """By component, the newest values that a frame knows."""
    return {
        row["component"]: {
            name: value for name, value in row.items() if name.endswith("_last") and isinstance(value, float)
        }
        for row in frame.to_pylist()
    }


@contextmanager
def scraping_prometheus(folder: Path, config: str) -> Iterator[Source]:
    with databases.prometheus(folder, config) as database:
        yield Prometheus(HttpSettings(database.url), RealClock())


@contextmanager
def scraping_victoria(folder: Path, config: str) -> Iterator[Source]:
    folder.mkdir()
    (folder / "scrapes.yml").write_text(config, encoding="utf-8")
    with databases.victoria_metrics(folder, [f"-promscrape.config={folder}/scrapes.yml"]) as database:
        yield VictoriaMetrics(HttpSettings(database.url), RealClock())


@pytest.mark.parametrize("scraping", [scraping_prometheus, scraping_victoria])
def test_the_golden_page_of_node_exporter_flows_through_a_sites_database_into_features(
    tmp_path: Path,
    recorded_fixtures: Path,
    scraping: Callable[[Path, str], AbstractContextManager[Source]],
) -> None:
    page, clock = golden(recorded_fixtures), RealClock()
    now = clock.now()
    with closing(DuckDBStore(None)) as told:
        told.append(Mapper().map("host07", parsed(page), now))
        expected = {kind: rows_of(told.features(CATALOG, kind, [now])) for kind in COMPONENT_KINDS}
    assert sum(len(values) for rows in expected.values() for values in rows.values()) > 25
    with (
        exporter(lambda: page) as target,
        scraping(tmp_path / "database", SCRAPES.format(target=target)) as source,
        closing(RemoteStore(source, None, clock, HISTORY, rules=LabelRules(PLAIN))) as store,
    ):

        def found() -> bool:
            later = clock.now()
            return {kind: rows_of(store.features(CATALOG, kind, [later])) for kind in COMPONENT_KINDS} == expected

        eventually(found, deadline=60, every=0.5)
        parts = {row["component"]: row for row in store.devices().to_pylist()}
        assert {row["host"] for row in parts.values()} == {"host07"}
        assert parts["network:host07/eth0"]["device"] == "eth0"


@contextmanager
def serving(folder: Path, url: str) -> Iterator[SnapshotFile]:
    """`forewarn up` in observe mode over the database at `url`, a cycle each second; yields its snapshots."""
    folder.mkdir()
    config = folder / "forewarn.toml"
    port = databases.free_port()
    config.write_text(
        f'[store]\nkind = "prometheus"\n[store.remote]\nurl = "{url}"\nretries_max = 0\n'
        "[store.cache]\nhistory_days = 2.0\n"
        f"[control]\ninterval_s = 1.0\n[web]\nport = {port}\n",
        encoding="utf-8",
    )
    command = [sys.executable, "-m", "forewarn", "up", "--state", str(folder / "state"), "--config", str(config)]
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            yield SnapshotFile(folder / "state" / "snapshot.json")
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=60)


def forecasts_of(file: SnapshotFile, host: str) -> dict[str, str]:
    """By part of a host, why it is unknown; empty for a part that has a forecast."""
    snapshot = file.read()
    if snapshot is None:
        return {}
    return {one.component: one.unknown_because for one in snapshot.forecasts if one.host == host}


def written(url: str, part: str) -> list[float]:
    """The risks of a part that Forewarn has written back."""
    query = {"query": f'last_over_time(forewarn_risk{{component="{part}",job="forewarn"}}[5m])'}
    found = httpx.get(f"{url}/api/v1/query", params=query, timeout=10).json()["data"]["result"]
    return [float(series["value"][1]) for series in found]


def test_up_forecasts_what_a_prometheus_scrapes_and_goes_on_unknown_while_it_is_away(
    tmp_path: Path, recorded_fixtures: Path
) -> None:
    page, folder, port = golden(recorded_fixtures), tmp_path / "prometheus", databases.free_port()
    part = "network:host07/eth0"
    with exporter(lambda: page) as target, serving(tmp_path / "site", f"http://127.0.0.1:{port}") as snapshots:
        config = SCRAPES.format(target=target)
        with databases.prometheus(folder, config, port=port):
            eventually(lambda: forecasts_of(snapshots, "host07").get(part) == "", deadline=60, every=0.3)
            assert len(forecasts_of(snapshots, "host07")) > 10
            [risk] = eventually(lambda: written(f"http://127.0.0.1:{port}", part), deadline=30, every=0.3)
            assert 0.0 < risk < 1.0
        away = eventually(lambda: forecasts_of(snapshots, "host07").get(part), deadline=30, every=0.3)
        assert away is not None
        assert "telemetry cannot be read" in away
        assert "cannot be reached" in away
        with databases.prometheus(folder, config, port=port):
            eventually(lambda: forecasts_of(snapshots, "host07").get(part) == "", deadline=60, every=0.3)
