"""Trains and judges models on recordings, from what the command line says."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import get_args

import pyarrow as pa
import pyarrow.parquet as pq

from forewarn.assemble import report
from forewarn.domain.inventory import Kind
from forewarn.errors import ConfigurationError, FrameError
from forewarn.features.catalog import CATALOG
from forewarn.features.labels import Cadence
from forewarn.predict import backtest, contest, registry, site_rows, training
from forewarn.predict.history import Progress
from forewarn.predict.rules import RulePredictor
from forewarn.predict.scored import Evaluation, horizon_of
from forewarn.predict.settings import Algorithm, suited
from forewarn.predict.shapes import LEARNED_KINDS, Shape, shape_of
from forewarn.predict.trees import Card, TreesPredictor
from forewarn.predict.versions import Registry
from forewarn.state.snapshot import write_whole

_Window = tuple[datetime | None, datetime | None, Cadence | None]


@dataclass(frozen=True)
class Order:
    """A training that was asked for; days as they were typed."""

    kind: str
    recording: Path
    out: str
    until: str = ""
    learned_from: str = ""
    source: str = ""
    algorithm: str = "boosting"


@dataclass(frozen=True)
class Question:
    """A judgement that was asked for; days as they were typed."""

    kind: str
    recording: Path
    model: str
    since: str = ""
    until: str = ""
    rows: str = ""
    predictions: Path | None = None
    beside: tuple[str, ...] = ()
    report: Path | None = None


def train(order: Order, progress: Progress) -> TreesPredictor:
    """Fit and write a model. What is wrong with the order is said before the minutes of work, not after."""
    kind, until = _kind(order.kind), _day("--until", order.until)
    if not order.out:
        raise ConfigurationError("say where the model goes: --out DIR, or --registry URL for a candidate of a site")
    suiting = suited(shape_of(order.recording, kind), _algorithm(order.algorithm), kind)
    settings = replace(suiting, learned_from=order.learned_from, source=order.source)
    registry.check_free(order.out)
    made = training.train(order.recording, kind, CATALOG, progress, until, settings)
    registry.save(made, order.out)
    return made


def candidate(order: Order, url: str, judge_days: float, progress: Progress) -> dict[str, str]:
    """Train on a site's rows but for the newest, judge it on those against the champion, and keep it beside that.

    The champion is the registry's, else what comes in the package, else the rules.
    """
    kind, kept = _kind(order.kind), Registry(url, CATALOG)
    rows = site_rows.read(order.recording)
    settings = replace(suited(Shape.SITE, _algorithm(order.algorithm), kind), learned_from=order.learned_from)
    judged_since = rows.until - horizon_of(contest.HORIZON) - timedelta(days=judge_days)
    made = training.train(order.recording, kind, CATALOG, progress, judged_since - settings.embargo, settings)
    champion = kept.serving(kind).model or registry.starter(kind, CATALOG) or RulePredictor(kind)
    progress(f"judging it against {champion.name}")
    verdict = contest.contest(made, champion, rows, made.card.outcomes_until)
    version = kept.add(made, {**verdict.told(), "made_at": rows.until.isoformat()})
    return {"version": version, "champion": champion.name, "refusal": verdict.refusal}


def candidate_sentence(made: Mapping[str, str]) -> str:
    """What came of it, in a sentence."""
    said = made["refusal"] or f"it is not worse than {made['champion']}"
    return f"Candidate {made['version']} is kept: {said}."


def evaluate(question: Question, progress: Progress) -> tuple[tuple[str, Evaluation], ...]:
    """Judge a model, and those beside it on the same rows: each under its name, the asked one first."""
    kind, since, until = _kind(question.kind), _day("--since", question.since), _day("--until", question.until)
    cadence = next((known for known in get_args(Cadence) if known == question.rows), None)
    if cadence is None and question.rows:
        raise ConfigurationError(f"--rows {question.rows}: expected {' or '.join(get_args(Cadence))}")
    models = [(url, registry.load(url, CATALOG)) for url in (question.model, *question.beside)]
    for url, model in models:
        if model.kind != kind:
            raise ConfigurationError(f"{url} is a model of kind {model.kind}, not {kind}")
    judged = tuple(
        (_name(url, model), backtest.evaluate(question.recording, model, CATALOG, progress, since, until, cadence))
        for url, model in models
    )
    found = judged[0][1]
    if question.predictions:
        written = pa.BufferOutputStream()
        pq.write_table(found.forecasts, written)
        write_whole(question.predictions, written.getvalue().to_pybytes())
    if question.report:
        window = since, until, cadence
        drawn = (*judged[1:], *_plain(question.recording, models[0][1], window, progress))
        progress("drawing the report")
        write_whole(question.report, report.report(found, drawn).encode())
    return judged


def _algorithm(text: str) -> Algorithm:
    found: Algorithm | None = next((known for known in get_args(Algorithm) if known == text), None)
    if found is None:
        raise ConfigurationError(f"--algorithm {text}: expected {' or '.join(get_args(Algorithm))}")
    return found


def _plain(
    recording: Path, model: TreesPredictor, window: _Window, progress: Progress
) -> Iterator[tuple[str, Evaluation]]:
    """Plain models of drives on the same rows: fitted on the weeks before them, on values as they stand.

    None where the recording is of another shape, or tells too little of the time before the asked rows.
    """
    since, until, cadence = window
    if shape_of(recording, model.kind) is not Shape.DRIVES or since is None:
        return
    for algorithm in get_args(Algorithm):
        settings = replace(suited(Shape.DRIVES, algorithm), plain=True, small_share=0.0, calibrate_days=60)
        progress(f"fitting a plain {algorithm} on what came before {since:%Y-%m-%d}")
        try:
            made = training.train(recording, model.kind, CATALOG, progress, since - settings.embargo, settings)
        except FrameError as error:
            progress(f"no plain {algorithm} to compare with: {error}")
            continue
        words = {"boosting": "Plain boosting", "forest": "Plain random forest"}[algorithm]
        yield words, backtest.evaluate(recording, made, CATALOG, progress, since, until, cadence)


def _name(url: str, model: TreesPredictor) -> str:
    """What a model is called beside others: its folder, and how it was grown."""
    return f"{url.rstrip('/').rpartition('/')[2]} ({model.card.algorithm})"


def as_json(model: TreesPredictor) -> str:
    """What a model says of itself, without the numbers by which it is calibrated."""
    card = model.card
    told = {
        "model": model.name,
        "kind": card.kind,
        "learned_from": card.learned_from,
        "source": card.source,
        "columns": len(card.columns),
        "periods": card.periods,
        "failures": card.failures,
        "algorithm": card.algorithm,
        "caution": card.caution,
        **_dated(card),
    }
    return json.dumps(told)


def _dated(card: Card) -> dict[str, str | None]:
    """The times of the rows; none where the recording knows none."""
    timed = card.outcomes_until > card.rows_since
    times = {name: getattr(card, name) for name in ("rows_since", "rows_until", "outcomes_until")}
    return {name: time.isoformat() if timed else None for name, time in times.items()}


def training_sentence(model: TreesPredictor, out: str) -> str:
    """What was made, in a sentence."""
    card = model.card
    timed = card.outcomes_until > card.rows_since
    rows = f", rows {card.rows_since:%Y-%m-%d} to {card.rows_until:%Y-%m-%d}" if timed else ""
    caution = f" Mind: {card.caution}." if card.caution else ""
    return (
        f"{model.name} in {out}: learned from {card.learned_from}, {card.failures:,} failures among {card.periods:,}"
        f" person-periods of {len(card.columns)} columns{rows}.{caution}"
    )


def evaluation_json(judged: Sequence[tuple[str, Evaluation]]) -> str:
    """The measures of the first, and of those beside it under their names."""
    numbers: dict[str, object] = dict(judged[0][1].numbers())
    if len(judged) > 1:
        numbers["beside"] = {name: other.measures.numbers() for name, other in judged[1:]}
    return json.dumps(numbers)


def evaluation_text(judged: Sequence[tuple[str, Evaluation]]) -> str:
    """A line per measure, a column per model."""
    found = judged[0][1]
    rows = f", rows {found.since:%Y-%m-%d} to {found.until:%Y-%m-%d}" if found.since and found.until else ""
    lines = [f"{found.model} (learned from {found.learned_from}){rows}; failing within {found.horizon}"]
    if found.caution:
        lines.append(f"Mind: {found.caution}.")
    if found.overlaps_training:
        lines.append("These rows or their outcomes were learned from: such figures flatter.")
    if len(judged) > 1:
        lines.append("  ".join((f"  {'':24}", *(f"{name:>24}" for name, _ in judged))))
    columns = [other.measures.numbers() for _, other in judged]
    width = 24 if len(judged) > 1 else 0
    lines += (
        "  ".join((f"  {name:24}", *(f"{_figure(column[name]):>{width}}" for column in columns))) for name in columns[0]
    )
    return "\n".join(lines)


def _figure(value: float | int | None) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:.5f}"


def _kind(text: str) -> Kind:
    if text not in LEARNED_KINDS:
        raise ConfigurationError(f"--kind {text}: models are learned for {', '.join(LEARNED_KINDS)}")
    return Kind(text)


def _day(option: str, text: str) -> datetime | None:
    if not text:
        return None
    try:
        day = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigurationError(f"{option} {text}: expected a day such as 2015-03-02") from None
    return day if day.tzinfo else day.replace(tzinfo=UTC)
