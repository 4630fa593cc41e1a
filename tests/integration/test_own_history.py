"""A simulated site learns from its own history by the path that a real one takes, and forecasts better than the rules.

The faults are those of `sim/faults.py`: a CPU's cooling that ages, optics and cables whose errors grow and whose links
flap, supplies whose output ripples and whose fans wear, DIMMs whose corrected errors come in bursts. Neither features
nor models know that module; the world shows exporters' quantities, and the failures stand in the state database.
"""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from pathlib import Path

import pytest

from forewarn.assemble.site import Site, SiteSettings
from forewarn.assemble.telemetry import StoreSettings
from forewarn.clock import SimulatedClock
from forewarn.domain.inventory import Kind
from forewarn.drivers.simulated import SimulatedDriver
from forewarn.features.catalog import CATALOG
from forewarn.predict import registry, training
from forewarn.predict.settings import TrainingSettings
from forewarn.sim.faults import FaultSettings, Schedule
from forewarn.sim.scenario import demo_cluster
from forewarn.sim.world import World
from forewarn.state.requests import RequestKind
from forewarn.upkeep import UpkeepSettings
from tests.support import eventually

pytestmark = [pytest.mark.integration, pytest.mark.slow]
START = datetime(2026, 1, 5, tzinfo=UTC)
DAYS, HOSTS = 140, 16
END = START + timedelta(days=DAYS)
PACE = 2500.0  # a decline takes one to three days
SEED = 11


def lived(folder: Path, kind: Kind) -> tuple[Site, SimulatedDriver]:
    """A site that has watched hosts with parts of one kind for months, at the end of that time."""
    whole, workloads = demo_cluster(SEED, HOSTS, HOSTS * 2, at=START)
    cluster = replace(whole, components=tuple(part for part in whole.components if part.kind is kind))
    drawn = Schedule(SEED, cluster, START, FaultSettings(pace=PACE))
    faults = list(takewhile(lambda fault: fault.starts < END, drawn))
    driver = SimulatedDriver(cluster, workloads, SimulatedClock(START))
    world = World(driver, SEED, START, faults=faults)
    settings = SiteSettings(
        store=StoreSettings(raw_days=3650.0, hour_days=3650.0), upkeep=UpkeepSettings(promote=True, days_at_once=30)
    )
    site = Site(folder, SimulatedClock(END), settings)
    for batch in world.lived(DAYS):
        site.store.append(batch)
    site.store.roll_up(END)
    site.memory.failures.record(world.events())
    return site, driver


@pytest.mark.parametrize(
    "kind",
    [
        Kind.CPU,
        pytest.param(Kind.MEMORY, marks=pytest.mark.nightly),
        pytest.param(Kind.NETWORK, marks=pytest.mark.nightly),
        pytest.param(Kind.POWER, marks=pytest.mark.nightly),
    ],
)
def test_a_site_learns_from_its_own_history_and_is_served_what_beats_the_rules(tmp_path: Path, kind: Kind) -> None:
    site, driver = lived(tmp_path, kind)
    try:
        control, upkeep = site.control(driver), site.upkeep
        site.memory.orders.requests.make(RequestKind.TRAIN, "ann", "half a year is over", {"kind": kind})
        control.cycle()

        def served() -> bool:
            upkeep.look()
            said = site.memory.log.recent(1)[0].text
            return bool(upkeep.registry.line(kind).champion) or "no model" in said or "not promoted" in said

        eventually(served, 240.0)
        champion = upkeep.registry.line(kind).champion
        assert champion, [line.text for line in site.memory.log.recent(5)]
        (version,) = upkeep.registry.versions(kind)
        precision = next(one for one in version.verdict["differences"] if one["measure"] == "average precision")
        assert precision["champion"] < precision["candidate"], precision
        assert version.verdict["champion"] == "rules"
        assert version.card is not None
        assert "simulated" in version.card.learned_from
        upkeep.look()
        models = {one.model for one in control.cycle().forecasts if one.kind is kind and not one.unknown}
        assert any(champion in model for model in models), models
        assert all(one.only_watch for one in control.cycle().forecasts if champion in one.model)
        made_again(tmp_path, kind, champion)
    finally:
        upkeep.stop()
        site.close()


def made_again(folder: Path, kind: Kind, version: str) -> None:
    """What the manifest says is enough to make the same bytes from the same rows."""
    kept = folder / "models" / kind / version
    card = json.loads((kept / registry.MANIFEST).read_text())["card"]
    settings = TrainingSettings(**json.loads(card["settings"]))
    until = datetime.fromisoformat(card["rows_until"])
    again = training.train(folder / "training" / f"{kind}.parquet", kind, CATALOG, lambda _text: None, until, settings)
    registry.save(again, str(folder / "again"))
    for name in (registry.MANIFEST, registry.TREES):
        assert (folder / "again" / name).read_bytes() == (kept / name).read_bytes()
