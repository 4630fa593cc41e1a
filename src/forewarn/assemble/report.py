"""The report of an evaluation as one HTML page that needs nothing else: figures as numbers, Plotly's script inside.

The first evaluation is the one that is reported on; those beside it, on the same rows, are what it is compared with.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jinja2

from forewarn.errors import ConfigurationError
from forewarn.predict.evaluate import MOVED_SHARE
from forewarn.predict.figures import LEADS, Figures, figures
from forewarn.predict.scored import Evaluation

_HEADLINES = ("average precision", "ROC AUC", "Brier skill", "log-loss skill", "VIRR at y = 0.1")


def report(found: Evaluation, beside: Sequence[tuple[str, Evaluation]]) -> str:
    """The page. `beside` are other models' evaluations on the same rows, with their names.

    Raises ConfigurationError where one of them judged other rows.
    """
    for name, other in beside:
        if (other.rows, other.horizon, other.since) != (found.rows, found.horizon, found.since):
            raise ConfigurationError(f"{name} was judged on other rows than {found.model}: they cannot be compared")
    named = [("This model", found), *beside]
    made = [(name, figures(one)) for name, one in named]
    ours = made[0][1]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True, trim_blocks=True
    )
    environment.filters["figure"] = _figure
    return environment.get_template("report.html").render(
        found=found,
        measures=found.measures,
        ours=ours,
        made=made,
        headlines=_HEADLINES,
        leads=list(LEADS),
        constant=_constant(found),
        data=json.dumps(_blank(_drawn(made))).replace("</", "<\\/"),
        plotly=_plotly(),
        overlap=found.overlaps_training,
        plain=any(name.startswith("Plain") for name, _ in beside),
    )


def _constant(found: Evaluation) -> dict[str, float]:
    """What always forecasting the base rate scores, by definition."""
    rate, parts = found.measures.base_rate, found.measures.failed_parts / max(1, found.measures.parts)
    worth = max(0.0, 1.0 - MOVED_SHARE / parts) if parts else 0.0  # to move off all of them
    scores = {"average precision": rate, "ROC AUC": 0.5, "Brier skill": 0.0, "VIRR at y = 0.1": worth}
    return scores if found.frozen_rates else {**scores, "log-loss skill": 0.0}


def _drawn(made: Sequence[tuple[str, Figures]]) -> list[dict[str, Any]]:
    """The figures as the page's script draws them."""
    return [{"name": name, **asdict(one)} for name, one in made]


def _blank(value: Any) -> Any:
    """The same with nothing where there was nothing to measure it on: JSON knows no NaN."""
    if isinstance(value, dict):
        return {key: _blank(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_blank(one) for one in value]
    return None if isinstance(value, float) and value != value else value


def _figure(value: float | None) -> str:
    if value is None or value != value:
        return "-"
    return f"{value:.4f}" if abs(value) < 0.01 else f"{value:.3f}"


def _plotly() -> str:
    """Plotly's own script, out of the installed package."""
    spec = find_spec("plotly")
    if spec is None or not spec.submodule_search_locations:
        raise ConfigurationError("--report needs the package plotly: install forewarn[server]")
    folder = Path(next(iter(spec.submodule_search_locations))) / "package_data"
    return (folder / "plotly.min.js").read_text(encoding="utf-8").replace("</script", "<\\/script")
