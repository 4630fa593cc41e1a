"""Training and judging models."""

import json
from pathlib import Path
from typing import Annotated

import typer

from forewarn.cli.common import Json, progress

Recorded = Annotated[
    Path,
    typer.Option(
        "--from",
        help="A recording, told apart by its columns: drive intervals, Backblaze's daily snapshots, corrected-error"
        " features of DIMMs, or an outage log as Los Alamos published it.",
    ),
]
KindOption = Annotated[
    str,
    typer.Option(
        "--kind", help="Kind of component: disk (drives), memory (DIMMs, outages), cpu, network, power (outages)."
    ),
]


def train(
    recording: Recorded,
    out: Annotated[str, typer.Option(help="Where the model goes: an empty folder, or any fsspec URL.")] = "",
    kind: KindOption = "disk",
    until: Annotated[str, typer.Option(help="Learn from rows before this day (UTC) only; YYYY-MM-DD.")] = "",
    learned_from: Annotated[str, typer.Option(help="What the model says that it learned from.")] = "",
    source: Annotated[str, typer.Option(help="Whom the model cites for the recording.")] = "",
    algorithm: Annotated[
        str, typer.Option(help="boosting, or forest: trees grown apart from each other.")
    ] = "boosting",
    registry: Annotated[
        str,
        typer.Option(help="Instead of --out: the registry of a site, in which the model becomes a candidate, judged."),
    ] = "",
    judge_days: Annotated[
        float, typer.Option(help="With --registry: days at the end of the rows on which the candidate is judged.")
    ] = 30.0,
    as_json: Json = False,
) -> None:
    """Fit a failure model on recorded history and write it."""
    from forewarn.assemble import models

    order = models.Order(kind, recording, out, until, learned_from, source, algorithm)
    if registry:
        with progress() as say:
            candidate = models.candidate(order, registry, judge_days, say)
        typer.echo(json.dumps(candidate) if as_json else models.candidate_sentence(candidate))
        return
    with progress() as say:
        made = models.train(order, say)
    typer.echo(models.as_json(made) if as_json else models.training_sentence(made, out))


def evaluate(
    recording: Recorded,
    model: Annotated[str, typer.Option(help="Folder or fsspec URL of the model.")],
    kind: KindOption = "disk",
    since: Annotated[
        str, typer.Option(help="First day of the rows (UTC), YYYY-MM-DD; earlier ones feed features.")
    ] = "",
    until: Annotated[str, typer.Option(help="Day before which the rows end (UTC), YYYY-MM-DD.")] = "",
    rows: Annotated[
        str, typer.Option(help="weekly (Mondays 00:00 UTC) or daily; weekly for drives, daily for outages.")
    ] = "",
    predictions: Annotated[Path | None, typer.Option(help="Write every forecast to this Parquet file.")] = None,
    beside: Annotated[
        list[str] | None, typer.Option(help="Another model to judge on the same rows; may be given several times.")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Write figures and charts to this HTML file.")] = None,
    as_json: Json = False,
) -> None:
    """Judge a model on recorded history: was it right, and was it right as often as it said?"""
    from forewarn.assemble import models

    question = models.Question(kind, recording, model, since, until, rows, predictions, tuple(beside or ()), report)
    with progress() as say:
        judged = models.evaluate(question, say)
    typer.echo(models.evaluation_json(judged) if as_json else models.evaluation_text(judged))
