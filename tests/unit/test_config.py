"""Settings are read strictly, and their documents come from the same source as their values."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import pytest

from forewarn.config import effective, load, reference, sample, settings, tables
from forewarn.errors import ConfigurationError


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class Pump:
    speed_rpm: float = 100.0
    """Revolutions per minute."""
    names: tuple[str, ...] = ("a",)
    """Whom to call."""
    limits: Mapping[str, float] = field(default_factory=lambda: {"low": 0.5})
    """Limits by name."""
    colour: Colour = Colour.RED
    """Its colour."""
    place: Path | None = None
    """Where it stands; nowhere if absent."""

    def __post_init__(self) -> None:
        if self.speed_rpm < 0:
            raise ValueError("speed_rpm must not be negative")


@dataclass(frozen=True)
class Plant:
    pump: Pump = field(default_factory=Pump)
    open: bool = False
    """Whether it is open."""
    workers: int = 3
    """How many work there."""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "plant.toml"
    path.write_text(text)
    return path


def test_without_a_file_every_setting_has_its_default() -> None:
    assert load(Plant) == Plant()


def test_a_file_sets_what_it_names_and_leaves_the_rest(tmp_path: Path) -> None:
    text = 'open = true\n[pump]\nspeed_rpm = 7\nnames = ["x", "y"]\nlimits = {high = 2}\ncolour = "blue"\nplace = "/p"'
    plant = load(Plant, written(tmp_path, text))
    assert plant == Plant(Pump(7.0, ("x", "y"), {"high": 2.0}, Colour.BLUE, Path("/p")), open=True)


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, "workers = 5")
    environment = {
        "FOREWARN_WORKERS": "9",  # no section: not one of ours
        "FOREWARN_PUMP__SPEED_RPM": "8.5",
        "FOREWARN_PUMP__NAMES": '["n"]',
        "FOREWARN_PUMP__COLOUR": "blue",
        "OTHER": "x",
    }
    plant = load(Plant, path, environment)
    assert (plant.workers, plant.pump.speed_rpm, plant.pump.names, plant.pump.colour) == (
        5,
        8.5,
        ("n",),
        Colour.BLUE,
    )


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("opne = true", "there is no setting 'opne'; did you mean 'open'?"),
        ("zzzzzz = 1", "known here: open, pump, workers"),
        ("[pump]\nspeed_rmp = 1", "no setting 'pump.speed_rmp'; did you mean 'speed_rpm'?"),
        ("workers = 'many'", "workers must be int, not 'many'"),
        ("workers = true", "workers must be int, not True"),
        ("pump = 3", "pump must be a section, not 3"),
        ("[pump]\nnames = 'x'", "pump.names must be a list, not 'x'"),
        ("[pump]\nlimits = 3", "pump.limits must be a section, not 3"),
        ("[pump]\nlimits = {low = 'x'}", "pump.limits.low must be float, not 'x'"),
        ("[pump]\ncolour = 'green'", "pump.colour must be one of red, blue, not 'green'"),
        ("[pump]\nspeed_rpm = -1", "speed_rpm must not be negative"),
        ("[pump", "is not valid TOML"),
    ],
)
def test_a_wrong_setting_is_named_with_its_place_and_the_remedy(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(Plant, written(tmp_path, text))
    assert complaint in str(caught.value)
    assert "plant.toml" in str(caught.value)


def test_an_absent_file_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot read the configuration .*nowhere\.toml"):
        load(Plant, tmp_path / "nowhere.toml")


def test_a_wrong_environment_variable_is_refused_by_its_setting() -> None:
    with pytest.raises(ConfigurationError, match=r"pump\.speed_rpm must be float, not 'fast'"):
        load(Plant, environment={"FOREWARN_PUMP__SPEED_RPM": "fast"})


def test_an_environment_variable_cannot_turn_a_setting_into_a_section(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="which is a single setting"):
        load(Plant, written(tmp_path, "workers = 1"), {"FOREWARN_WORKERS__X": "1"})


def test_the_sample_file_is_valid_toml_and_its_values_are_the_defaults(tmp_path: Path) -> None:
    text = sample(Plant)
    assert tomllib.loads(text) == {"pump": {}}
    opened = re.sub(r"^# (\w+ = (?!\.\.\.))", r"\1", text, flags=re.MULTILINE)
    assert "speed_rpm = 100.0\n" in opened
    assert load(Plant, written(tmp_path, opened)) == Plant()


def test_the_reference_names_type_default_and_meaning() -> None:
    assert "| `pump.speed_rpm` | float | `100.0` | Revolutions per minute. |" in reference(Plant)
    assert "| `pump.colour` | red or blue |" in reference(Plant)
    assert "| `pump.place` | Path or none | `—` |" in reference(Plant)
    assert "| `pump.limits` | Mapping[str, float] |" in reference(Plant)
    assert "| `x.open` | bool | `false` |" in reference(Plant, "x.")


def test_a_setting_without_a_docstring_is_found() -> None:
    @dataclass(frozen=True)
    class Bare:
        x: int = 1

    with pytest.raises(ConfigurationError, match=r"Bare\.x has no docstring"):
        list(settings(Bare))


def test_each_setting_tells_what_holds_and_where_that_comes_from(tmp_path: Path) -> None:
    path = written(tmp_path, "workers = 3\n[pump]\nspeed_rpm = 2\n")
    environment = {"FOREWARN_PUMP__SPEED_RPM": "7.5", "FOREWARN_CONFIG": str(path)}
    found = {one.setting.path: (one.value, one.source) for one in effective(Plant, path, environment)}
    assert found["workers"] == ("3", "file")
    assert found["pump.speed_rpm"] == ("7.5", "FOREWARN_PUMP__SPEED_RPM")
    assert found["pump.colour"] == ('"red"', "default")
    assert found.keys() == {setting.path for setting in settings(Plant)}


@dataclass(frozen=True)
class Valve:
    """One valve."""

    uri: str
    """Where it is."""
    colours: tuple[Colour, ...] = ()
    """Its colours."""


@dataclass(frozen=True)
class Works:
    valves: Mapping[str, Valve] = field(default_factory=dict)
    """A table for each valve."""
    spare: tuple[Valve, ...] = ()
    """Those in the cupboard."""
    pump: Pump = field(default_factory=Pump)

    label: str = "w"
    """Its name, below a section of its own."""


@dataclass(frozen=True)
class Site:
    works: Works = field(default_factory=Works)


def test_many_of_a_kind_are_read_by_name_from_file_and_environment(tmp_path: Path) -> None:
    path = written(tmp_path, '[works.valves.one]\nuri = "a"\ncolours = ["red"]\n[[works.spare]]\nuri = "s"\n')
    site = load(Site, path, {"FOREWARN_WORKS__VALVES__ONE__URI": "true", "FOREWARN_WORKS__VALVES__TWO__URI": "b"})
    assert site.works.valves == {"one": Valve("true", (Colour.RED,)), "two": Valve("b")}
    assert site.works.spare == (Valve("s"),)
    with pytest.raises(ConfigurationError, match=r"there is no setting 'works\.valves\.one\.url'; did you mean 'uri'"):
        load(Site, written(tmp_path, '[works.valves.one]\nurl = "a"'))


def test_many_of_a_kind_are_shown_with_the_settings_of_one(tmp_path: Path) -> None:
    assert list(tables(Site)) == [("works.valves.NAME", Valve), ("works.spare", Valve)]
    kinds = {setting.path: setting.kind for setting in settings(Site)}
    assert (kinds["works.valves"], kinds["works.spare"]) == ("Valve by name", "tables of Valve")
    assert "| tuple[red or blue, ...] |" in reference(Valve)
    path = written(tmp_path, '[works.valves.one]\nuri = "a"\n')
    valves, *_ = effective(Site, path)
    assert tomllib.loads(f"v = {valves.value}")["v"] == {"one": {"uri": "a", "colours": []}}


def test_a_section_stands_once_in_the_sample_also_where_another_stands_between_its_settings() -> None:
    text = sample(Site)
    assert text.count("[works]") == 1
    assert tomllib.loads(text) == {"works": {"pump": {}}}
