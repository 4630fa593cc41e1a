"""How a model is fitted, and what suits which recording and which kind of trees."""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Literal

from forewarn.domain.inventory import Kind
from forewarn.predict.shapes import Shape

Algorithm = Literal["boosting", "forest"]


@dataclass(frozen=True)
class TrainingSettings:
    """How a model is fitted. The defaults are those for drives; `suited` knows those for other shapes.

    They were compared on drives recorded in 2014. Which peer shares drift, the weight of a leaf, the days and
    the form of calibration were chosen while looking at 2015, so figures from that year are no untouched hold-out.
    """

    algorithm: Algorithm = "boosting"
    """`boosting`: each tree mends what those before it left; `forest`: the mean of trees that know nothing of each
    other."""
    plain: bool = False
    """Whether drives' columns are only their values as they stand, without a past and without peers: what a model with
    more is held against."""
    trees: int = 200
    """Number of trees. More of them fit closer, score slower and weigh more."""
    depth: int = 5
    """Depth of a tree, at most."""
    rate: float = 0.05
    """How much of each tree's step is taken."""
    leaf_weight: float = 20.0
    """Weight of evidence in a leaf, at least, as XGBoost counts it: what few drives say is not repeatable."""
    rows_share: float = 0.8
    """Share of person-periods that each tree sees."""
    columns_share: float = 0.3
    """Share of columns that each tree of boosting sees, or each split of a forest."""
    penalty: float = 5.0
    """Penalty on a leaf's squared weight."""
    bins: int = 128
    """Number of values at which a column may be split, at most."""
    keep: float = 0.25
    """Share of person-periods without failure that is fitted on; corrected afterwards."""
    small_share: float = 0.1
    """Share of person-periods that are learned from once more as a small or a new site would see them: without peers,
    without a past, or without both. No recording of a large fleet holds such rows, so that trees would read them by
    chance."""
    later_share: float = 1.0
    """Share of rows that are fitted on past the first interval too; less where rows are daily and months overlap."""
    proportional: bool = False
    """Whether trees give one score that moves the hazard of all intervals alike; else they look at the interval too and
    are asked once for each, which takes four times as long. What is nearer is told apart by the calibration alone."""
    calibrate_days: int = 180
    """Days at the end of the rows that are kept to calibrate on; a season says little of the next."""
    calibrate_prior: float = 0.0
    """Failures' worth of belief that nothing needs to be calibrated; see `CalibrationSettings.prior_failures`."""
    embargo_days: int = 30
    """Days between rows to fit on and rows to calibrate on: the longest horizon, so that they share no outcome."""
    alarms_per_1000_weeks: float = 1.0
    """Parts per 1,000 and week that may alarm for the first time: sets the default threshold."""
    threads: int = 2
    """Threads of fitting."""
    seed: int = 7
    """Seed of all that is drawn."""
    learned_from: str = ""
    """What the model says it has learned from; empty for the recording's years."""
    source: str = ""
    """Whom to cite for the recording."""

    @property
    def embargo(self) -> timedelta:
        return timedelta(days=self.embargo_days)


def suited(shape: Shape, algorithm: Algorithm, kind: Kind | None = None) -> TrainingSettings:
    """The defaults for a recording of this shape.

    Those for outages were compared on years before July 2003 of the LANL log, those for DIMMs by folds over four fifths
    of the SmartMem table's DIMMs.
    """
    settings = {
        Shape.DRIVES: TrainingSettings(proportional=True, trees=200, rate=0.05),
        Shape.OUTAGES: TrainingSettings(
            trees=150,
            depth=4,
            leaf_weight=30.0,
            rows_share=0.7,
            columns_share=0.4,
            penalty=10.0,
            bins=64,
            keep=0.1,
            small_share=0.0,
            later_share=0.01,
            calibrate_prior=500.0,
        ),
        Shape.SITE: TrainingSettings(
            trees=120,
            depth=4,
            leaf_weight=3.0,
            columns_share=0.5,
            keep=1.0,
            small_share=0.0,
            calibrate_days=30,
            threads=1,  # rows are few, and the controller beside it needs the other cores
        ),
        Shape.DIMMS: TrainingSettings(
            trees=150, depth=6, leaf_weight=5.0, bins=256, keep=1.0, small_share=0.0, calibrate_days=0, embargo_days=0
        ),
    }[shape]
    if shape is Shape.OUTAGES and kind is Kind.CPU:
        # Rates of CPU failures rose tenfold and fell again within a year: what deep trees learn of them holds nowhere.
        settings = replace(settings, trees=100, depth=2, columns_share=0.2)
    if algorithm == "forest":
        # A forest starts from no rate: all that it says must be calibrated.
        grown = replace(settings, algorithm=algorithm, trees=100, depth=12, leaf_weight=20.0)
        return replace(grown, rows_share=0.632, calibrate_prior=0.0, proportional=False)
    return settings
