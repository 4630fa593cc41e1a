"""The recording rules of the package: promtool takes them, a Prometheus evaluates them, the store uses them."""

import subprocess
from collections.abc import Collection
from contextlib import closing
from pathlib import Path
from shutil import copy

import pytest

from forewarn.clock import RealClock
from forewarn.domain.inventory import Kind
from forewarn.features.catalog import CATALOG
from forewarn.store.http import HttpSettings
from forewarn.store.labels import Located
from forewarn.store.mapping import Mapper
from forewarn.store.prometheus import Prometheus
from forewarn.store.recording import NAMES, record, recorded_metrics, renames, rules_file, spared
from forewarn.store.remote import CacheSettings, RemoteStore
from forewarn.store.source import Readings
from tests import databases
from tests.exposed import exporter
from tests.support import eventually

pytestmark = pytest.mark.integration
FOLDER = Path(__file__).resolve().parents[2] / "packaging" / "prometheus"


def test_the_rules_file_is_what_the_catalogue_says() -> None:
    assert (FOLDER / "forewarn.rules.yml").read_text(encoding="utf-8") == rules_file(), "run `make docs`"


def test_promtool_takes_the_rules_and_their_tests_hold() -> None:
    promtool = databases.needed("promtool")
    for command in (["check", "rules", "forewarn.rules.yml"], ["test", "rules", "forewarn.rules.test.yml"]):
        done = subprocess.run([promtool, *command], cwd=FOLDER, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    tests = (FOLDER / "forewarn.rules.test.yml").read_text(encoding="utf-8")
    assert sum(record(metric) in tests for metric in recorded_metrics()) >= 7


def test_a_recorded_series_means_what_it_was_made_of() -> None:
    mapper = Mapper()
    now = RealClock().now()
    for rename, metric in zip(renames(), recorded_metrics(), strict=True):
        labels = rename.labels_of({"instance": "h:1"}) or {}
        place = Located("h", rename.means, tuple(sorted(labels.items())))
        [leads] = mapper.targets("h", [place.key], now)
        assert [target.metric for target in leads] == [metric.key]


class Watched(Prometheus):
    """Notes what is asked for."""

    def __init__(self, url: str) -> None:
        super().__init__(HttpSettings(url), RealClock())
        self.asked: list[Collection[str]] = []

    def read(self, names: Collection[str], start: int, end: int, step: int = 0) -> Readings:
        self.asked.append(names)
        return super().read(names, start, end, step)


def cores(number: int) -> str:
    """A page of many cores, of which each has worked for a hundred seconds."""
    return "".join(
        f'node_cpu_seconds_total{{cpu="{core}",mode="{mode}"}} {100 if mode == "user" else 7}\n'
        for core in range(number)
        for mode in ("user", "idle")
    )


def test_what_the_rules_of_a_prometheus_record_is_not_read_core_by_core(tmp_path: Path) -> None:
    folder, clock = tmp_path / "prometheus", RealClock()
    folder.mkdir()
    rules = rules_file().replace("interval: 1m", "interval: 1s")
    (folder / "forewarn.rules.yml").write_text(rules, encoding="utf-8")
    copy(FOLDER / "forewarn.rules.test.yml", folder)
    with exporter(lambda: cores(64)) as target:
        config = (
            "global: {scrape_interval: 1s, scrape_timeout: 1s}\n"
            f"rule_files: [{folder}/forewarn.rules.yml]\n"
            "scrape_configs:\n- job_name: node\n"
            f'  static_configs: [{{targets: ["{target}"], labels: {{instance: "host07:9100"}}}}]\n'
        )
        with databases.prometheus(folder, config) as database:
            source = Watched(database.url)
            with closing(RemoteStore(source, None, clock, CacheSettings(history_days=1.0))) as store:

                def lean() -> bool:
                    store.features(CATALOG, Kind.CPU, [clock.now()])
                    return bool(source.asked) and not spared() & set(source.asked[-1])

                eventually(lean, deadline=60, every=1.0)
                assert set(source.asked[-1]) >= NAMES
                now = clock.now()
                found = store.series("cpu:host07/cpu", "cpu_busy_seconds", now.replace(hour=0, minute=0), now)
                assert set(found.column("value").to_pylist()) == {6400.0}
