"""Writes the reference pages in `docs/reference` from the code: settings, metrics, the API and the commands.

`make docs` runs it. A test holds the pages to what the code says, so they cannot lag.
"""

import dataclasses
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args, get_type_hints

import typer

from forewarn import cli, config
from forewarn.assemble.agent import AgentTree
from forewarn.assemble.up import UpSettings
from forewarn.clock import RealClock
from forewarn.domain.inventory import Kind
from forewarn.domain.metrics import METRICS
from forewarn.domain.own_metrics import OWN_METRICS
from forewarn.features import dimm_columns, outage_columns
from forewarn.features.dimm_columns import DIMM_CATALOG
from forewarn.features.outage_columns import OUTAGE_CATALOG
from forewarn.lab.settings import LabTree
from forewarn.predict.explain import window_in_words
from forewarn.store.recording import rules_file
from forewarn.web.app import create_app
from forewarn.web.settings import WebSettings

FOLDER = Path(__file__).parent / "reference"
RULES = FOLDER.parent.parent / "packaging" / "prometheus" / "forewarn.rules.yml"
MADE = "<!-- Written by `make docs` from the code: change the code, not this page. -->"

ABOUT_SETTINGS = """\
A file in TOML, named by `--config` or `FOREWARN_CONFIG`; each can be set by the environment too:
`FOREWARN_WEB__PORT=8443` sets `web.port`. `forewarn config` shows what holds, `forewarn config --init` prints a sample,
`forewarn config check` judges a file. A setting that is not known refuses to start."""
ABOUT_METRICS = """\
The names are those of node_exporter, smartctl_exporter, ipmi_exporter and the exporters of libvirt; whatever else is
sent is left aside."""
ABOUT_API = """\
A running server tells the same as OpenAPI at `/openapi.json`. Every error is `{"error": {"code", "message"}}`."""
UNTOLD_OPTIONS = ("install_completion", "show_completion")  # Typer's own


def _cell(text: str) -> str:
    """A text as it may stand in a cell of a table: on one line, without the table's own sign."""
    return " ".join(text.split()).replace("|", "\\|")


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines) + "\n"


def settings_page() -> str:
    """Every setting of `forewarn up`, of an agent and of laboratories, by section."""
    sections: dict[str, type] = {}
    for tree in (UpSettings, AgentTree, LabTree):
        hints = get_type_hints(tree)
        for field in dataclasses.fields(tree):
            sections.setdefault(field.name, hints[field.name])
    listed = {name: kind for name, kind in sections.items() if not dataclasses.is_dataclass(kind)}
    parts = ["# Settings", ABOUT_SETTINGS]
    for name, kind in listed.items():
        about = next(each.text for each in config.settings(UpSettings) if each.path == name)
        (entry, *_) = get_args(kind)
        parts += [f"## `[[{name}]]`", about, config.reference(entry, f"{name}.").rstrip()]
        del sections[name]
    for name, section in sections.items():
        about = " ".join((section.__doc__ or "").split("\n\n")[0].split())
        parts += [f"## `[{name}]`", about, config.reference(section, f"{name}.").rstrip()]
        for path, entry in config.tables(section, f"{name}."):
            about = " ".join((entry.__doc__ or "").split("\n\n")[0].split())
            head = f"[{path}]" if path.endswith("NAME") else f"[[{path}]]"
            parts += [f"### `{head}`", about, config.reference(entry, f"{path}.").rstrip()]
    return _page(parts)


def metrics_page() -> str:
    """Our own metrics, and those of the field that are understood."""
    own = [(f"`{m.name}`", m.type, ", ".join(m.labels) or "—", ", ".join(m.shown), m.help) for m in OWN_METRICS]
    known = [(f"`{m.key}`", m.kind, f"`{m.name}`", m.unit or "—", m.help) for m in METRICS]
    return _page(
        [
            "# Metrics",
            "## Forewarn's own",
            "An agent shows them at `/metrics`, a server at `/api/v1/metrics`, `store` is what a server writes there.",
            _table(("metric", "type", "labels", "shown by", "meaning"), own).rstrip(),
            "## What Forewarn understands",
            ABOUT_METRICS,
            _table(("key", "kind", "series", "unit", "meaning"), known).rstrip(),
        ]
    )


def api_page() -> str:
    """Every route of the API with its parameters."""
    schema = create_app(WebSettings(), lambda: None, None, None, RealClock()).openapi()
    parts = ["# API", ABOUT_API]
    for path, methods in schema["paths"].items():
        for method, route in methods.items():
            parts += [f"## {method.upper()} `{path}`", route.get("description") or route.get("summary", "")]
            if rows := [*map(_parameter, route.get("parameters", ()))]:
                parts.append(_table(("parameter", "in", "type", "default", "meaning"), rows).rstrip())
            if "requestBody" in route:
                parts.append(f"Body: {_body(route['requestBody'])}")
    return _page(parts)


def _parameter(told: Mapping[str, Any]) -> tuple[str, ...]:
    schema = told.get("schema", {})
    default = str(schema["default"]) if schema.get("default") not in (None, "") else "—"
    needed = " (required)" if told.get("required") else ""
    return f"`{told['name']}`", told["in"], _kind(schema) + needed, default, told.get("description", "—")


def _kind(schema: Mapping[str, Any]) -> str:
    """The type in a schema, or the name of what it refers to."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        return " or ".join(_kind(one) for one in schema["anyOf"] if one.get("type") != "null")
    return str(schema.get("type", "any"))


def _body(told: Mapping[str, Any]) -> str:
    kinds = (f"`{kind}`: {_kind(content.get('schema', {}))}" for kind, content in told.get("content", {}).items())
    return ", ".join(kinds) + "."


def commands() -> Iterator[tuple[str, Any]]:
    """Every command by what is typed, with what Typer knows of it."""
    yield from _commands("forewarn", typer.main.get_command(cli.app))


def _commands(typed: str, command: Any) -> Iterator[tuple[str, Any]]:
    yield typed, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from _commands(f"{typed} {name}", inner)


def commands_page() -> str:
    """Every command with its options."""
    parts = ["# Commands", "Exit code 1 and one sentence on stderr for whatever goes wrong; others are named here."]
    for typed, command in commands():
        parts += [f"## `{typed}`", (command.help or "").strip()]
        rows = [_option(parameter) for parameter in command.params if parameter.name not in UNTOLD_OPTIONS]
        if rows:
            parts.append(_table(("option", "default", "environment", "meaning"), rows).rstrip())
    return _page(parts)


def _option(parameter: Any) -> tuple[str, ...]:
    names = " ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
    untold = parameter.default in (None, False, "", ...) or callable(parameter.default)
    default = "" if untold else str(parameter.default)
    needed = " (required)" if parameter.required else ""
    variable = f"`{parameter.envvar}`" if parameter.envvar else "—"
    return f"{names}{needed}", default or "—", variable, getattr(parameter, "help", None) or "—"


def columns_page() -> str:
    """The columns that models read beside those of live telemetry."""
    metrics = {metric.key: metric for metric in DIMM_CATALOG.metrics}
    of_dimms = [(f"`{key.removeprefix('dimm_')}_W`", metric.help) for key, metric in metrics.items()]
    outages = {feature.name: feature for feature in OUTAGE_CATALOG.stored(Kind.CPU)}
    help_of = {metric.key: metric.help for metric in OUTAGE_CATALOG.metrics}
    of_outages = [
        (f"`{name}`", help_of[feature.metric], feature.text.format(value="x", window=window_in_words(feature.window)))
        for name, feature in outages.items()
    ]
    return _page(
        (
            "# Columns of recordings",
            inspect.cleandoc(dimm_columns.__doc__ or ""),
            f"Windows W: {', '.join(f'`{short}`' for short in dimm_columns.WINDOWS)}.",
            _table(("column", "over the window"), of_dimms).rstrip(),
            "## Outage logs",
            inspect.cleandoc(outage_columns.__doc__ or ""),
            _table(("column", "tells of", "said as"), of_outages).rstrip(),
        )
    )


def _page(parts: Iterable[str]) -> str:
    return "\n\n".join((MADE, *(part for part in parts if part))) + "\n"


PAGES: Mapping[str, Callable[[], str]] = {
    "settings.md": settings_page,
    "metrics.md": metrics_page,
    "api.md": api_page,
    "commands.md": commands_page,
    "columns.md": columns_page,
}


def main() -> None:
    """Write every page, and the recording rules."""
    FOLDER.mkdir(exist_ok=True)
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page(), encoding="utf-8")
        print(f"docs/reference/{name}")
    RULES.write_text(rules_file(), encoding="utf-8")
    print(RULES.relative_to(FOLDER.parent.parent))


if __name__ == "__main__":
    main()
