"""Upkeep beside the loop: what people ask of models, who serves, and a champion that gives way."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from forewarn.assemble.site import Site, SiteSettings
from forewarn.cli import app
from forewarn.clock import SimulatedClock
from forewarn.control import Control
from forewarn.domain.events import LabelState
from forewarn.domain.inventory import Kind
from forewarn.domain.risk import FailureForecast
from forewarn.domain.situation import LadderStep, Rung, Snapshot
from forewarn.features.catalog import CATALOG
from forewarn.predict import registry
from forewarn.predict.trees import TreesPredictor
from forewarn.predict.versions import Registry
from forewarn.sim.play import Simulation, SimulationSettings
from forewarn.state.requests import RequestKind

START = datetime(2026, 11, 2, tzinfo=UTC)


def variant(number: int) -> TreesPredictor:
    """The shipped model of drives as if it had been trained at another time, and alarmed at another risk."""
    model = registry.starter(Kind.DISK, CATALOG)
    assert model is not None
    few = model.booster[:3]
    thresholds = tuple(0.1 * number + 0.01 for _ in model.card.thresholds)
    card = replace(model.card, rows_until=START + timedelta(days=number), thresholds=thresholds, version="")
    return TreesPredictor(few, registry.sealed(card, few), CATALOG)


class Place:
    """A small simulated site, its loop and its upkeep, all on one virtual clock."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.clock = folder, SimulatedClock(START)
        self.simulation = Simulation(3, self.clock, SimulationSettings(hosts=2, vms=2), faults=())
        self.site = Site(folder, self.clock, SiteSettings())
        self.control: Control = self.site.control(self.simulation.driver)
        self.models = Registry(str(folder / "models"), CATALOG)

    def cycle(self) -> Snapshot:
        self.clock.sleep(60.0)
        self.site.take(self.simulation.world.advance(self.clock.now()), self.clock.now())
        return self.control.cycle()

    def ask(self, asked: RequestKind, **args: str) -> None:
        self.site.memory.orders.requests.make(asked, "ann", "because", args)
        self.cycle()
        self.site.upkeep.look()

    def forecaster(self) -> str:
        models = {f.model for f in self.cycle().forecasts if f.kind is Kind.DISK and f.model.startswith("trees")}
        (model,) = {name.removesuffix(" and rules").removeprefix("trees ") for name in models}
        return model

    def log(self) -> str:
        return "\n".join(line.text for line in self.site.memory.log.recent())


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.site.close()


def test_a_model_that_somebody_promotes_forecasts_from_the_next_cycle_on_by_its_own_threshold(place: Place) -> None:
    first, second = (place.models.add(variant(number)) for number in (1, 2))
    for name in (first, second):
        place.ask(RequestKind.PROMOTE, kind="disk", version=name)
    assert place.forecaster() == second
    assert place.cycle().thresholds["disk"] == pytest.approx(0.21)
    place.ask(RequestKind.ROLL_BACK, kind="disk")
    assert place.forecaster() == first
    assert place.cycle().thresholds["disk"] == pytest.approx(0.11)
    assert f"request 3: back to version {first} for disk" in place.log()
    assert [one.who for one in place.models.line(Kind.DISK).promotions] == ["ann", "ann", "ann"]


def test_what_was_asked_is_done_once_also_after_a_restart(place: Place) -> None:
    for number in (1, 2):
        place.ask(RequestKind.PROMOTE, kind="disk", version=place.models.add(variant(number)))
    place.ask(RequestKind.ROLL_BACK, kind="disk")
    place.site.close()
    place.site = Site(place.folder, place.clock, SiteSettings())
    place.site.upkeep.look()
    assert len(place.models.line(Kind.DISK).promotions) == 3


def test_a_damaged_version_is_refused_and_the_champion_serves_on(place: Place) -> None:
    good, bad = (place.models.add(variant(number)) for number in (1, 2))
    place.ask(RequestKind.PROMOTE, kind="disk", version=good)
    trees = place.folder / "models" / "disk" / bad / registry.TREES
    trees.write_bytes(trees.read_bytes().replace(b"0", b"1", 1))
    place.ask(RequestKind.PROMOTE, kind="disk", version=bad)
    assert "is refused" in place.log()
    assert bad in place.log()
    assert place.forecaster() == good


def test_a_champion_that_is_damaged_while_it_serves_is_named_once_after_a_restart(place: Place) -> None:
    names = [place.models.add(variant(number)) for number in (1, 2)]
    for name in names:
        place.ask(RequestKind.PROMOTE, kind="disk", version=name)
    (place.folder / "models" / "disk" / names[1] / registry.MANIFEST).unlink()
    place.site.close()
    place.site = Site(place.folder, place.clock, SiteSettings())
    place.control = place.site.control(place.simulation.driver)
    place.site.upkeep.begin()
    place.site.upkeep.look()
    assert place.forecaster() == names[0]
    assert place.log().count("a champion for disk is refused") == 1


def test_a_champion_whose_forecasts_do_not_come_true_gives_way(place: Place) -> None:
    first, second = (place.models.add(variant(number)) for number in (1, 2))
    for name in (first, second):
        place.ask(RequestKind.PROMOTE, kind="disk", version=name)
    ledger, now = place.site.memory.ledger, place.clock.now()
    for number in range(12):
        part = f"disk:S{number}"
        told = FailureForecast(part, Kind.DISK, "h", "sda", now, (0.7,) * 6, model=f"trees {second} and rules")
        ledger.record([told], [LadderStep(part, Rung.MOVE, now)], lambda _kind: 0.2, timedelta(days=7))
        ledger.say(part, LabelState.REFUTED, "it lives")
    place.clock.sleep(2 * 86_400.0)
    place.site.upkeep.look()
    place.site.upkeep.look()
    assert place.forecaster() == first
    assert "0 of 12 judged forecasts came true" in place.log()
    assert place.models.line(Kind.DISK).promotions[-1].back


def test_a_site_without_models_is_as_it_was(place: Place) -> None:
    before = place.forecaster()
    place.site.upkeep.look()
    assert place.forecaster() == before
    place.ask(RequestKind.ROLL_BACK, kind="disk")
    assert "nothing to go back to" in place.log()


def test_people_see_and_promote_models_at_the_command_line(place: Place) -> None:
    name, run = place.models.add(variant(1)), CliRunner()
    state = ["--state", str(place.folder)]
    assert f"{name}" in run.invoke(app, ["models", "list", *state]).stdout
    assert "learned_from" in run.invoke(app, ["models", "show", "disk", name, *state]).stdout
    asked = run.invoke(app, ["models", "promote", "disk", name, "--reason", "better", *state])
    assert "Asked (request 1)" in asked.stdout
    place.cycle()
    place.site.upkeep.look()
    assert place.forecaster() == name
    assert "serves" in run.invoke(app, ["models", "list", *state]).stdout
    deed = place.site.audit.page()[0][0].deed
    assert (deed.action, deed.why) == ("request.promote", "better")
