"""A report shows how good forecasts were, next to others on the same rows, in one file that needs nothing else."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from forewarn.assemble.report import report
from forewarn.errors import ConfigurationError
from forewarn.predict.base import Curves
from forewarn.predict.evaluate import (
    Judged,
    alarms_by_part,
    average_precision,
    brier_skill,
    log_loss_skill,
    measure,
    roc_auc,
    virr,
)
from forewarn.predict.figures import LEADS, RATES, figures
from forewarn.predict.scored import Evaluation, judged, lines, measured

START = datetime(2015, 1, 5, tzinfo=UTC)
WEEKS, PARTS = 20, 400


def evaluation(*, timed: bool = True, noise: float = 0.3, seed: int = 1) -> Evaluation:
    """Weekly rows of parts of which one in ten fails; forecasts rise as the failure comes near."""
    random = np.random.default_rng(seed)
    fails_at = np.where(np.arange(PARTS) % 10 == 0, 3.0 + np.arange(PARTS) % 16, np.inf)
    part, week = (
        grid.ravel() for grid in np.meshgrid(np.arange(PARTS), np.arange(WEEKS if timed else 1), indexing="ij")
    )
    alive = week < fails_at[part]
    part, week = part[alive], week[alive]
    after_s = (fails_at[part] - week) * 7 * 86_400.0
    near = np.clip(1.0 - after_s / (40 * 86_400.0), 0.0, 1.0)
    odds = -5.0 + 5.0 * near + noise * random.normal(size=len(part))
    month = 1.0 / (1.0 + np.exp(-odds))
    curve = np.repeat(month[:, None], 6, axis=1)
    failed = after_s <= 30 * 86_400.0
    outcome = {
        "failed_after_s": after_s,
        "failed": failed,
        "judged": np.ones(len(part), dtype=np.bool_),
        "reference": np.full(len(part), np.nan),
    }
    device = pa.array([f"S{number}" for number in part])
    time = pa.array([START + timedelta(weeks=int(number)) for number in week]) if timed else None
    family = pa.array([f"M{number % 3}" for number in part])
    scored = lines(device, Curves(curve, curve, curve, np.zeros(len(part), np.bool_)), outcome, time, family)
    return Evaluation(
        model="trees 1234",
        kind="disk",
        learned_from="drives </script> of old",
        source="",
        caution="learned elsewhere",
        horizon="30d",
        since=START if timed else None,
        until=START + timedelta(weeks=WEEKS) if timed else None,
        rows=len(part),
        unknown=0,
        overlaps_training=False if timed else None,
        measures=measured(scored, "30d"),
        scored=scored,
    )


def test_an_estimate_is_the_measure_and_lies_within_its_interval() -> None:
    found = evaluation()
    rows, made = judged(found.scored, "30d"), figures(found).estimates
    expected = {
        "average precision": average_precision(rows.probability, rows.failed),
        "ROC AUC": roc_auc(rows.probability, rows.failed),
        "Brier skill": brier_skill(rows.probability, rows.failed),
        "log-loss skill": log_loss_skill(rows),
        "VIRR at y = 0.1": virr(rows),
    }
    assert {name: one.value for name, one in made.items()} == pytest.approx(expected)
    assert all(one.low <= one.value <= one.high for one in made.values())
    assert all(one.high - one.low < 0.2 for one in made.values())


def test_recall_falls_with_the_lead_and_rises_with_the_alarms_allowed() -> None:
    leads = figures(evaluation()).leads
    assert [one.rate for one in leads] == list(RATES)
    shares = np.array([one.recall for one in leads])
    assert shares.shape == (len(RATES), len(LEADS))
    assert (np.diff(shares, axis=1) <= 0).all()
    assert (np.diff(shares, axis=0) >= 0).all()
    assert shares[-1, 0] == 1.0


def test_the_precision_at_a_threshold_counts_parts_whose_alarm_came_within_the_horizon() -> None:
    rows = judged(evaluation().scored, "30d")
    for lead in figures(evaluation()).leads:
        above = rows.probability > lead.threshold
        alarmed, right = np.unique(rows.part[above]), np.unique(rows.part[above & rows.failed])
        assert lead.precision == pytest.approx(len(right) / len(alarmed))


def test_a_part_is_judged_at_its_highest_forecast() -> None:
    rows = Judged(
        probability=np.array([0.1, 0.9, 0.5, 0.2]),
        failed=np.array([False, True, False, False]),
        part=np.array([0, 0, 1, 1]),
        month=np.zeros(4, np.int64),
        reference=np.full(4, 0.25),
    )
    assert measure(rows).by_part == 1.0
    swapped = replace(rows, probability=np.array([0.1, 0.4, 0.5, 0.2]))
    assert measure(swapped).by_part == 0.5
    assert measure(swapped).numbers()["average_precision_by_part"] == 0.5


def test_alarms_count_parts_and_the_best_ones_are_right() -> None:
    alarms = figures(evaluation(noise=0.0)).alarms
    found = evaluation(noise=0.0)
    device_weeks = found.scored.num_rows
    assert alarms.per_1000[-1] == pytest.approx(1000.0 * PARTS / device_weeks)
    assert alarms.precision[0] == 1.0
    assert alarms.precision[-1] == pytest.approx(0.1)
    assert list(alarms.threshold) == sorted(alarms.threshold, reverse=True)


def test_reliability_bins_hold_all_rows_and_their_intervals_what_was_seen() -> None:
    made = figures(evaluation()).reliability
    assert len(made.forecast) > 5
    assert list(made.forecast) == sorted(made.forecast)
    assert all(a <= p <= b for a, p, b in zip(made.low, made.seen, made.high, strict=True))


def test_families_and_months_add_up_to_all_rows() -> None:
    found = evaluation()
    made = figures(found)
    for groups in (made.families, made.months):
        assert sum(one.rows for one in groups) == found.rows
        assert sum(one.failures for one in groups) == found.measures.failures
    assert [one.name for one in made.months][:2] == ["2015-01", "2015-02"]
    assert {one.name for one in made.families} == {"M0", "M1", "M2"}


def test_the_page_needs_nothing_from_elsewhere_and_escapes_what_it_was_told() -> None:
    page = report(evaluation(), [("worse", evaluation(noise=3.0))])
    ours = re.sub(r"<script>.{100000,}?</script>", "", page, flags=re.DOTALL)
    assert len(ours) < len(page) / 10
    assert re.findall(r"(?:src|href)=", ours) == []
    assert "drives &lt;/script&gt; of old" in ours
    assert "Learned elsewhere." in ours
    found = re.search(r'<script id="figures" type="application/json">(.*?)</script>', ours, re.DOTALL)
    assert found
    assert [one["name"] for one in json.loads(found[1])] == ["This model", "worse"]


def test_a_recording_without_times_has_no_lead_times() -> None:
    made = figures(evaluation(timed=False))
    assert made.leads == ()
    assert made.months == ()
    assert "tells no times" in report(evaluation(timed=False), [])


def test_models_that_judged_other_rows_are_not_compared() -> None:
    with pytest.raises(ConfigurationError, match="was judged on other rows"):
        report(evaluation(), [("other", evaluation(timed=False))])


def test_an_alarm_that_comes_after_the_failure_is_not_right() -> None:
    after = Judged(
        probability=np.array([0.1, 0.9, 0.2]),
        failed=np.array([True, False, False]),
        part=np.array([0, 0, 1]),
        month=np.zeros(3, dtype=np.int64),
        reference=np.full(3, 0.3),
    )
    highest, right = alarms_by_part(after)
    assert (highest.tolist(), right.tolist()) == ([0.9, 0.2], [0.1, -1.0])
    assert virr(after) == pytest.approx(0.8)  # at 0.1, where the sound part alarms too
    assert virr(replace(after, timed=False)) == pytest.approx(0.9)
