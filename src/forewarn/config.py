"""Machinery for settings: TOML and FOREWARN_* environment variables into frozen dataclasses, strictly.

It knows no setting. Each stands in a dataclass beside what it sets, with a docstring under the field; `assemble` joins
those classes into one tree and hands it to `load`. An unknown key refuses to start and names its nearest neighbour. The
reference page and the sample file are generated from the same docstrings.
"""

import ast
import dataclasses
import difflib
import inspect
import itertools
import textwrap
import tomllib
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from forewarn.errors import ConfigurationError

T = TypeVar("T")

ENVIRONMENT_PREFIX = "FOREWARN_"


def load(tree: type[T], path: Path | None = None, environment: Mapping[str, str] | None = None) -> T:
    """Read `path` (if given), lay the environment over it, and build `tree`.

    `FOREWARN_WEB__PORT=8443` sets `port` of the section `web`. Raises ConfigurationError with the place and the nearest
    right name; nothing is built half.
    """
    values = _read(path) if path else {}
    place = str(path) if path else "the defaults"
    for name, text in _variables(environment):
        _lay_over(values, name, text, tree)
    return _build(tree, values, place, ())


def _variables(environment: Mapping[str, str] | None) -> list[tuple[str, str]]:
    """The environment's variables that name a setting, in the order of their names."""
    ours = ((name, text) for name, text in (environment or {}).items() if name.startswith(ENVIRONMENT_PREFIX))
    return sorted((name, text) for name, text in ours if "__" in name)


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"cannot read the configuration {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is not valid TOML: {error}") from error


def _lay_over(values: dict[str, Any], name: str, text: str, tree: type) -> None:
    """Put one environment variable into the nested values, read as the type that the setting has."""
    keys = name.removeprefix(ENVIRONMENT_PREFIX).lower().split("__")
    section, kind = values, tree
    for key in keys[:-1]:
        kind = _below(kind, key)
        inner = section.setdefault(key, {})
        if not isinstance(inner, dict):
            raise ConfigurationError(f"{name} names a section inside {key!r}, which is a single setting")
        section = inner
    wanted = _types(kind).get(keys[-1], str) if dataclasses.is_dataclass(kind) else str
    section[keys[-1]] = _from_text(wanted, text, name)


def _below(kind: Any, key: str) -> Any:
    """What stands under a key: a field of a section, or one of the many of a setting that holds them by name."""
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return _types(kind).get(key, kind)
    return _entry(kind) or kind


def _from_text(wanted: Any, text: str, name: str) -> Any:
    if wanted is str or _is_enum(wanted) or wanted is Path or text == "":
        return text
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text  # `_convert` refuses it by name if it does not fit
    except RecursionError as error:
        raise ConfigurationError(f"{name} is nested too deeply") from error


def _build(tree: type[T], values: Mapping[str, Any], place: str, path: tuple[str, ...]) -> T:
    known = _types(tree)
    for key in values:
        if key not in known:
            raise ConfigurationError(_unknown(key, known, place, path))
    arguments = {key: _convert(known[key], value, place, (*path, key)) for key, value in values.items()}
    try:
        return tree(**arguments)
    except ValueError as error:
        raise ConfigurationError(f"{place}: in [{'.'.join(path)}]: {error}") from error


def _unknown(key: str, known: Mapping[str, Any], place: str, path: tuple[str, ...]) -> str:
    full = ".".join((*path, key))
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(sorted(known))}"
    return f"{place}: there is no setting {full!r}; {hint}"


def _convert(wanted: Any, value: Any, place: str, path: tuple[str, ...]) -> Any:
    if dataclasses.is_dataclass(wanted) and isinstance(wanted, type):
        if not isinstance(value, Mapping):
            raise _wrong(path, "a section", value, place)
        return _build(wanted, value, place, path)
    if isinstance(wanted, types.UnionType):
        return _convert(_without_none(wanted), value, place, path)
    if _is_enum(wanted):
        return _one_of(wanted, value, place, path)
    if typing.get_origin(wanted) is not None:
        return _convert_many(wanted, value, place, path)
    return _convert_scalar(wanted, value, place, path)


def _convert_many(wanted: Any, value: Any, place: str, path: tuple[str, ...]) -> Any:
    arguments = typing.get_args(wanted)
    if typing.get_origin(wanted) is tuple:
        if not isinstance(value, list | tuple):
            raise _wrong(path, "a list", value, place)
        return tuple(_convert(arguments[0], item, place, path) for item in value)
    if not isinstance(value, Mapping):
        raise _wrong(path, "a section", value, place)
    return {key: _convert(arguments[1], item, place, (*path, key)) for key, item in value.items()}


def _convert_scalar(wanted: Any, value: Any, place: str, path: tuple[str, ...]) -> Any:
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if wanted is Path and isinstance(value, str):
        return Path(value)
    if isinstance(value, wanted) and (wanted is bool or not isinstance(value, bool)):
        return value
    raise _wrong(path, wanted.__name__, value, place)


def _one_of(wanted: type[StrEnum], value: Any, place: str, path: tuple[str, ...]) -> StrEnum:
    try:
        return wanted(value)
    except ValueError as error:
        raise _wrong(path, f"one of {', '.join(wanted)}", value, place) from error


def _wrong(path: tuple[str, ...], wanted: str, value: Any, place: str) -> ConfigurationError:
    return ConfigurationError(f"{place}: {'.'.join(path)} must be {wanted}, not {value!r}")


def _is_enum(wanted: Any) -> bool:
    return isinstance(wanted, type) and issubclass(wanted, StrEnum)


def _without_none(wanted: types.UnionType) -> Any:
    return next(kind for kind in typing.get_args(wanted) if kind is not type(None))


def _types(tree: type) -> dict[str, Any]:
    hints = typing.get_type_hints(tree)
    return {field.name: hints[field.name] for field in dataclasses.fields(tree)}


# --- Reference and sample ---------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Setting:
    """One setting as the documents show it; `path` is `section.name`."""

    path: str
    kind: str
    default: str  # as TOML; empty where there is none
    text: str


def settings(tree: type, prefix: str = "") -> Iterator[Setting]:
    """Every setting of the tree, depth first. Raises ConfigurationError for a field without a docstring."""
    texts = _docstrings(tree)
    for field in dataclasses.fields(tree):
        wanted = _types(tree)[field.name]
        path = f"{prefix}{field.name}"
        if dataclasses.is_dataclass(wanted) and isinstance(wanted, type):
            yield from settings(wanted, f"{path}.")
            continue
        if field.name not in texts:
            raise ConfigurationError(f"{tree.__name__}.{field.name} has no docstring under it")
        yield Setting(path, _type_name(wanted), _as_toml(_default(field)), texts[field.name])


def tables(tree: type, prefix: str = "") -> Iterator[tuple[str, type]]:
    """The settings of which there are many, with the dataclass of one: `hosts.NAME` by name, `links` in a list."""
    for name, wanted in _types(tree).items():
        if dataclasses.is_dataclass(wanted) and isinstance(wanted, type):
            yield from tables(wanted, f"{prefix}{name}.")
        elif entry := _entry(wanted):
            path = f"{prefix}{name}" if typing.get_origin(wanted) is tuple else f"{prefix}{name}.NAME"
            yield path, entry
            yield from tables(entry, f"{path}.")


def _entry(wanted: Any) -> type | None:
    """The dataclass of which a setting holds many, None for any other setting."""
    found = [kind for kind in typing.get_args(wanted) if isinstance(kind, type) and dataclasses.is_dataclass(kind)]
    return found[0] if found and not isinstance(wanted, types.UnionType) else None


def sample(tree: type) -> str:
    """A TOML file with every setting at its default, commented out and explained; each section stands once."""
    sections: dict[str, list[Setting]] = {"": []}  # TOML: bare keys come first
    for setting in settings(tree):
        sections.setdefault(setting.path.rpartition(".")[0], []).append(setting)
    lines: list[str] = []
    for head, those in sections.items():
        lines += ["", f"[{head}]"] if head else []
        for setting in those:
            lines += [f"# {line}" for line in textwrap.wrap(setting.text, 108)]
            lines.append(f"# {setting.path.rpartition('.')[2]} = {setting.default or '...'}")
    return "\n".join(lines).strip() + "\n"


@dataclasses.dataclass(frozen=True)
class Effective:
    """A setting as it holds; `source` is "default", "file", or the name of an environment variable."""

    setting: Setting
    value: str  # as TOML; empty where there is none
    source: str


def effective(tree: type, path: Path | None = None, environment: Mapping[str, str] | None = None) -> list[Effective]:
    """Every setting with the value that `load` gives it, and where that comes from. Raises as `load` does."""
    built: Any = load(tree, path, environment)
    in_file = _read(path) if path else {}
    sources = {
        ".".join(name.removeprefix(ENVIRONMENT_PREFIX).lower().split("__")): name for name, _ in _variables(environment)
    }
    found = []
    for setting in settings(tree):
        value: Any = built
        for key in setting.path.split("."):
            value = getattr(value, key)
        origin = "file" if _is_named(in_file, setting.path.split(".")) else "default"
        inner = (name for named, name in sources.items() if f"{named}.".startswith(f"{setting.path}."))
        found.append(Effective(setting, _as_toml(value), next(inner, origin)))
    return found


def _is_named(values: Any, keys: list[str]) -> bool:
    """Whether nested values hold something under these keys."""
    for key in keys:
        if not isinstance(values, Mapping) or key not in values:
            return False
        values = values[key]
    return True


def reference(tree: type, prefix: str = "") -> str:
    """The reference of all settings of a tree whose place is `prefix`, as a table in Markdown."""
    rows = ["| setting | type | default | meaning |", "| --- | --- | --- | --- |"]
    for setting in settings(tree, prefix):
        cells = (f"`{setting.path}`", setting.kind, f"`{setting.default or '—'}`", setting.text)
        rows.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(rows) + "\n"


def _docstrings(tree: type) -> dict[str, str]:
    """The string under each annotated field of a dataclass or of its bases, by field, white space folded."""
    bases = [base for base in reversed(tree.__mro__) if dataclasses.is_dataclass(base)]
    return {name: text for base in bases for name, text in _own_docstrings(base).items()}


def _own_docstrings(tree: type) -> dict[str, str]:
    body = ast.parse(textwrap.dedent(inspect.getsource(tree))).body[0]
    fields = body.body if isinstance(body, ast.ClassDef) else []
    found: dict[str, str] = {}
    for field, below in itertools.pairwise(fields):
        if isinstance(field, ast.AnnAssign) and isinstance(below, ast.Expr):
            name, text = field.target, below.value
            if isinstance(name, ast.Name) and isinstance(text, ast.Constant):
                found[name.id] = " ".join(str(text.value).split())
    return found


def _default(field: Field[Any]) -> Any:
    if field.default_factory is not MISSING:
        return field.default_factory()
    return field.default


def _type_name(wanted: Any) -> str:
    if _is_enum(wanted):
        return " or ".join(wanted)
    if isinstance(wanted, types.UnionType):
        return f"{_type_name(_without_none(wanted))} or none"
    if entry := _entry(wanted):
        return f"tables of {entry.__name__}" if typing.get_origin(wanted) is tuple else f"{entry.__name__} by name"
    if typing.get_origin(wanted) is tuple:
        return f"tuple[{_type_name(typing.get_args(wanted)[0])}, ...]"
    plain = isinstance(wanted, type) and not typing.get_args(wanted)
    return str(wanted.__name__) if plain else str(wanted).removeprefix("collections.abc.")


def _as_toml(value: Any) -> str:
    if value is MISSING or value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if dataclasses.is_dataclass(value):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {_as_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, tuple):
        return "[" + ", ".join(_as_toml(item) for item in value) + "]"
    if isinstance(value, str | Path):
        return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'
    return str(value)
