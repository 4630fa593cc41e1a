"""How good forecasts were, once outcomes are known: discrimination, calibration, and what alarms would have cost.

Pure: arrays in, numbers out. Rows are those of one cadence, one per part and time, or one per part where nothing is
known of time; a label is "fails within the horizon", which the shape of the recording sets. Whoever asks has dropped
rows whose outcome is not known. The measures are defined where they are computed.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]
Flags = NDArray[np.bool_]

ECE_BINS = 20
FALSE_ALARM_RATE = 0.005
MOVED_SHARE = 0.1  # y of VIRR: what of a VM's interruption by failure its migration costs
_LEAST = 1e-12  # a forecast of 0 or 1 that turns out wrong costs this much surprise, not an infinite one


@dataclass(frozen=True)
class Judged:
    """Forecasts beside what became of them. `part` numbers the part of each row, `month` its calendar month.

    `reference` is what a forecast that never learns would have said.
    """

    probability: Floats
    failed: Flags
    part: Numbers
    month: Numbers
    reference: Floats
    timed: bool = True  # whether rows of a part follow each other; else they are one picture of it


@dataclass(frozen=True)
class Measures:
    """What came out; NaN where there was nothing to measure it on."""

    n: int
    failures: int  # rows that failed within the horizon
    parts: int
    failed_parts: int
    base_rate: float
    average_precision: float
    roc_auc: float
    brier_skill: float
    ece: float
    recall_at_far: float
    drive_month_f05: float
    drive_month_precision: float
    drive_month_recall: float
    log_loss_skill: float
    virr: float
    by_part: float  # average precision of parts, each at its highest forecast

    def numbers(self) -> dict[str, float | int | None]:
        """As JSON knows them: under the names that are published, None where there was nothing to measure."""
        published = {
            "recall_at_far": f"recall_at_far_{FALSE_ALARM_RATE}",
            "virr": f"virr_{MOVED_SHARE}",
            "by_part": "average_precision_by_part",
        }
        named = {published.get(name, name): value for name, value in vars(self).items()}
        return {name: None if value != value else value for name, value in named.items()}  # NaN alone differs


def measure(judged: Judged) -> Measures:
    """All measures of one set of forecasts."""
    failed, probability = judged.failed, judged.probability
    count, failures = len(failed), int(failed.sum())
    f05, precision, recall = best_f05(*_highest_per_month(judged))
    return Measures(
        n=count,
        failures=failures,
        parts=len(np.unique(judged.part)),
        failed_parts=len(np.unique(judged.part[failed])),
        base_rate=failures / count if count else np.nan,
        average_precision=average_precision(probability, failed),
        roc_auc=roc_auc(probability, failed),
        brier_skill=brier_skill(probability, failed),
        ece=expected_calibration_error(probability, failed),
        recall_at_far=recall_at_false_alarm_rate(judged),
        drive_month_f05=f05,
        drive_month_precision=precision,
        drive_month_recall=recall,
        log_loss_skill=log_loss_skill(judged),
        virr=virr(judged),
        by_part=average_precision(*highest_per(judged.part, judged)),
    )


def average_precision(probability: Floats, failed: Flags) -> float:
    """The precision at each threshold, weighted by the recall that it adds.

    >>> average_precision(np.array([0.9, 0.8, 0.7]), np.array([True, False, True])).__round__(3)
    0.833
    """
    precision, recall = precision_recall(probability, failed)
    return float((np.diff(recall, prepend=0.0) * precision).sum()) if failed.any() else np.nan


def roc_auc(probability: Floats, failed: Flags) -> float:
    """The chance that a row which fails is forecast above one that does not; ties count half."""
    failures = int(failed.sum())
    if failures in (0, len(failed)):
        return np.nan
    _, tie, size = np.unique(probability, return_inverse=True, return_counts=True)
    rank = np.cumsum(size) - (size - 1) / 2.0
    wins = float(rank[tie][failed].sum()) - failures * (failures + 1) / 2.0
    return wins / (failures * (len(failed) - failures))


def log_loss(probability: Floats, failed: Flags) -> float:
    """The mean surprise at what came, in nats per row."""
    said = np.clip(np.where(failed, probability, 1.0 - probability), _LEAST, 1.0)
    return float(-np.log(said).mean()) if len(said) else np.nan


def log_loss_skill(judged: Judged) -> float:
    """How much of the reference's surprise is gone; 0 is no skill, 1 perfect, below 0 worse than the reference."""
    if not judged.failed.any():
        return np.nan
    before = log_loss(judged.reference, judged.failed)
    return 1.0 - log_loss(judged.probability, judged.failed) / before


def virr(judged: Judged, moved_share: float = MOVED_SHARE) -> float:
    """The share of VM interruptions that is avoided by moving off parts above the best threshold: recall x (1 - y / P).

    Each part counts once, at its highest forecast. Only thresholds with a precision P above y avoid any.
    """
    highest, right = alarms_by_part(judged)
    if not (right >= 0.0).any():
        return np.nan
    thresholds = thresholds_of(highest, right)
    hits, alarms = (np.searchsorted(np.sort(-one), -thresholds, side="right") for one in (right, highest))
    precision, recall = hits / alarms, hits / (right >= 0.0).sum()
    worth = recall * (1.0 - moved_share / np.maximum(precision, 1e-300))
    return float(max(0.0, worth[precision > moved_share].max(initial=0.0)))


def alarms_by_part(judged: Judged) -> tuple[Floats, Floats]:
    """Per part its highest forecast, and the highest threshold at which an alarm of it is right; -1 if it never is.

    An alarm is right if one of the rows above the threshold fails within the horizon: what is forecast once a part has
    failed foretells nothing. Where rows know no time, a part that fails is right at its highest forecast.
    """
    highest, failed = highest_per(judged.part, judged)
    if not judged.timed:
        return highest, np.where(failed, highest, -1.0)
    _, place = np.unique(judged.part, return_inverse=True)
    right = np.full(len(highest), -1.0)
    np.maximum.at(right, place[judged.failed], judged.probability[judged.failed])
    return highest, right


def thresholds_of(highest: Floats, right: Floats) -> Floats:
    """Where an alarm is added or becomes right, from the highest down."""
    thresholds: Floats = np.unique(np.concatenate((highest, right[right >= 0.0])))[::-1]
    return thresholds


def brier_skill(probability: Floats, failed: Flags) -> float:
    """How much of the squared error of always forecasting the base rate is gone; 0 is no skill, 1 perfect."""
    if not 0 < failed.sum() < len(failed):
        return np.nan
    rate = failed.mean()
    return float(1.0 - np.mean((probability - failed) ** 2) / (rate * (1.0 - rate)))


def expected_calibration_error(probability: Floats, failed: Flags, bins: int = ECE_BINS) -> float:
    """The mean distance between forecast and seen rate over bins of equally many rows."""
    if len(failed) == 0:
        return np.nan
    order = np.argsort(probability, kind="stable")
    parts = np.array_split(order, min(bins, len(order)))
    return float(sum(len(b) * abs(probability[b].mean() - failed[b].mean()) for b in parts) / len(order))


def recall_at_false_alarm_rate(judged: Judged, rate: float = FALSE_ALARM_RATE) -> float:
    """Of the parts that fail, those with a row of their last 30 days above the threshold.

    The threshold is what that share of the parts that never fail ever crosses.
    """
    _, part = np.unique(judged.part, return_inverse=True)
    fails = np.bincount(part, weights=judged.failed) > 0
    highest = np.zeros(len(fails))
    np.maximum.at(highest, part, judged.probability)
    last = np.zeros(len(fails))
    np.maximum.at(last, part[judged.failed], judged.probability[judged.failed])
    healthy = np.sort(highest[~fails])[::-1]
    if not len(healthy) or not fails.any():
        return np.nan
    threshold = healthy[int(rate * len(healthy))]
    return float((last[fails] > threshold).mean())


def best_f05(probability: Floats, failed: Flags) -> tuple[float, float, float]:
    """F0.5, precision and recall at the threshold where F0.5 is highest: precision counts double."""
    if not failed.any():
        return np.nan, np.nan, np.nan
    precision, recall = precision_recall(probability, failed)
    scores = 1.25 * precision * recall / np.maximum(0.25 * precision + recall, 1e-300)
    best = int(np.argmax(scores))
    return float(scores[best]), float(precision[best]), float(recall[best])


def _highest_per_month(judged: Judged) -> tuple[Floats, Flags]:
    """Per part and calendar month the highest forecast, and whether one of its rows failed."""
    _, part = np.unique(judged.part, return_inverse=True)
    _, month = np.unique(judged.month, return_inverse=True)
    return highest_per(part.astype(np.int64) * (len(month) + 1) + month, judged)


def highest_per(group: Numbers, judged: Judged) -> tuple[Floats, Flags]:
    """Per group of rows the highest forecast, and whether one of them failed."""
    groups, place = np.unique(group, return_inverse=True)
    highest, failed = np.zeros(len(groups)), np.zeros(len(groups), dtype=np.bool_)
    np.maximum.at(highest, place, judged.probability)
    np.logical_or.at(failed, place, judged.failed)
    return highest, failed


def precision_recall(probability: Floats, failed: Flags) -> tuple[Floats, Floats]:
    """At each different forecast, from the highest down: precision and recall of alarming from there on."""
    order = np.argsort(-probability, kind="stable")
    ranked = probability[order]
    last_of_tie = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True)) if len(ranked) else np.empty(0, np.int64)
    hits = np.cumsum(failed[order])[last_of_tie]
    return hits / (last_of_tie + 1.0), hits / max(1, int(failed.sum()))
