"""What people at the command line see of a site's models, and what they ask of the controller about them."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from forewarn import config
from forewarn.assemble import steer
from forewarn.assemble.up import UpSettings
from forewarn.domain.inventory import COMPONENT_KINDS, Kind
from forewarn.errors import ConfigurationError, ModelError
from forewarn.features.catalog import CATALOG
from forewarn.predict.trees import Card
from forewarn.predict.versions import Registry
from forewarn.state.requests import RequestKind

# What of a card only a program reads.
_NUMBERS = ("calibration", "reference", "rates", "baseline")


def listed(folder: Path, configuration: Path | None, environment: Mapping[str, str]) -> list[dict[str, Any]]:
    """Every version of every kind. Raises ModelError for a registry that cannot be reached."""
    kept, found = _registry(folder, configuration, environment), []
    for kind in COMPONENT_KINDS:
        line = kept.line(kind)
        found += [
            {
                "kind": kind,
                "version": one.name,
                "champion": one.name == line.champion,
                "learned_from": one.card.learned_from if one.card else "",
                "outcomes_until": one.card.outcomes_until.isoformat() if one.card else "",
                "refusal": one.verdict.get("refusal"),
                "refused": one.refused,
            }
            for one in kept.versions(kind)
        ]
    return found


def list_text(found: Sequence[Mapping[str, Any]]) -> str:
    """A line per version."""
    if not found:
        return "No models are kept here: rules and the models of the package serve. See `forewarn models train`."
    return "\n".join(_line(one) for one in found)


def _line(one: Mapping[str, Any]) -> str:
    mark = "serves" if one["champion"] else ""
    if one["refused"]:
        said = f"cannot be used: {one['refused']}"
    elif one["refusal"] is None:
        said = "not judged"
    else:
        said = one["refusal"] or "not worse than the champion it was judged against"
    return f"{one['kind']:8} {one['version']:9} {mark:7} {one['learned_from']}; {said}"


def shown(
    folder: Path, configuration: Path | None, environment: Mapping[str, str], kind: str, version: str
) -> dict[str, Any]:
    """A version's card and verdict. Raises ModelError where there is no such version."""
    kept, named = _registry(folder, configuration, environment), kind_of(kind)
    one = next((one for one in kept.versions(named) if one.name == version), None)
    if one is None:
        raise ModelError(f"there is no version {version!r} of kind {kind} in {kept.url}: see `forewarn models list`")
    if one.card is None:
        raise ModelError(one.refused)
    line = [{**asdict(p), "at": p.at.isoformat()} for p in kept.line(named).promotions if p.version == version]
    return {"card": _plain(one.card), "verdict": dict(one.verdict), "line": line}


def show_text(found: Mapping[str, Any]) -> str:
    """A line per fact."""
    card, verdict = found["card"], found["verdict"]
    lines = [f"{name:28} {value}" for name, value in card.items() if name != "columns"]
    lines.append(f"{'columns':28} {len(card['columns'])}")
    for one in (*verdict.get("differences", ()), *verdict.get("families", ())):
        against = f"{one['candidate']:.4f} against {one['champion']:.4f}"
        lines.append(f"{one['measure']:28} {against}, better by {one['low']:.4f} to {one['high']:.4f}")
    if verdict:
        lines.append(f"{'judged':28} {verdict['refusal'] or 'not worse than ' + verdict['champion']}")
    lines += [
        f"{one['at']:28} {'back to it' if one['back'] else 'promoted'} by {one['who']}: {one['why']}"
        for one in found["line"]
    ]
    return "\n".join(lines)


def ask(
    folder: Path,
    configuration: Path | None,
    environment: Mapping[str, str],
    asked: str,
    why: str,
    kind: str,
    version: str,
) -> int:
    """Leave a request for the controller; returns its number. Raises StateError without a reason."""
    with steer.desk(folder, configuration, environment) as desk:
        args = {"kind": str(kind_of(kind)), "version": version}
        return desk.ask(RequestKind(asked), why, args).id


def kind_of(text: str) -> Kind:
    """A kind as it was typed. Raises ConfigurationError."""
    if text not in COMPONENT_KINDS:
        raise ConfigurationError(f"{text!r} is no kind of part; known are: {', '.join(COMPONENT_KINDS)}")
    return Kind(text)


def _registry(folder: Path, configuration: Path | None, environment: Mapping[str, str]) -> Registry:
    settings = config.load(UpSettings, configuration, environment)
    return Registry(settings.upkeep.registry or str(folder / "models"), CATALOG)


def _plain(card: Card) -> dict[str, Any]:
    return {
        name: str(value) if hasattr(value, "isoformat") else value
        for name, value in vars(card).items()
        if name not in _NUMBERS
    }
