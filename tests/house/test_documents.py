"""The documents say what the code does: reference pages are written from it, and links lead somewhere."""

import ast
import re
from pathlib import Path

import pytest

from docs import generate
from forewarn import config
from forewarn.assemble.agent import AgentTree
from forewarn.assemble.up import UpSettings
from forewarn.domain.own_metrics import OWN_METRICS
from forewarn.lab.settings import LabTree
from tests.house.repository import ROOT, text, tree, under

RENEW = "run `make docs`"
OWN_NAME = re.compile(r"forewarn_[a-z0-9_]*[a-z0-9]")
TABLE = Path("src/forewarn/domain/own_metrics.py")
# How names begin that the code puts together from parts; showing one that the table lacks raises KeyError.
COMPOSED = ("forewarn_events_", "forewarn_alerts_", "forewarn_ingest_", "forewarn_push_")
TOP = tuple(map(Path, ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md")))
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)")


def page(name: str) -> str:
    path = generate.FOLDER / name
    return path.read_text(encoding="utf-8") if path.exists() else ""


@pytest.mark.parametrize("name", generate.PAGES)
def test_a_reference_page_says_what_the_code_says(name: str) -> None:
    assert page(name) == generate.PAGES[name](), f"docs/reference/{name} lags behind the code: {RENEW}"


def test_every_setting_is_documented() -> None:
    told = page("settings.md")
    paths = {setting.path for tree in (UpSettings, AgentTree, LabTree) for setting in config.settings(tree)}
    assert [path for path in sorted(paths) if f"| `{path}` |" not in told and f"`[[{path}]]`" not in told] == [], RENEW


def test_every_command_and_option_is_documented() -> None:
    told = page("commands.md")
    missing = [typed for typed, _ in generate.commands() if f"## `{typed}`\n" not in told]
    missing += [
        f"{typed} {option}"
        for typed, command in generate.commands()
        for parameter in command.params
        if parameter.name not in generate.UNTOLD_OPTIONS
        for option in parameter.opts
        if f"`{option}`" not in told.partition(f"## `{typed}`\n")[2].partition("\n## ")[0]
    ]
    assert missing == [], RENEW


def test_every_command_option_and_route_says_what_it_is_for() -> None:
    silent = [typed for typed, command in generate.commands() if not command.help]
    silent += [
        f"{typed} {option.name}"
        for typed, command in generate.commands()
        for option in command.params
        if not getattr(option, "help", None)
    ]
    assert silent == []
    sections = page("api.md").split("\n## ")[1:]
    assert sections
    assert [section.partition("\n")[0] for section in sections if not section.partition("\n\n")[2].strip()] == []


def test_every_metric_of_our_own_is_in_the_table_with_its_words() -> None:
    shown = {
        f"{path}: {node.value}"
        for path in under("src", ".py")
        if path != TABLE
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and OWN_NAME.fullmatch(node.value)
    }
    names = {metric.name for metric in OWN_METRICS}
    assert len(names) == len(OWN_METRICS)
    assert sorted(place for place in shown if place.rpartition(" ")[2] not in names) == []
    used = {place.rpartition(" ")[2] for place in shown}
    assert sorted(name for name in names - used if not name.startswith(COMPOSED)) == []
    assert [name for name in names if f"| `{name}` |" not in page("metrics.md")] == [], RENEW


def test_links_between_documents_lead_to_files() -> None:
    broken = [
        f"{path}: {link}"
        for path in (
            *under("docs", ".md"),
            *(Path(name) for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md")),
        )
        for link in LINK.findall(text(path) or "")
        if not (ROOT / path.parent / link).exists()
    ]
    assert broken == []
