"""What several photos or seeds say together, and on which side of a threshold that lies."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from scipy import stats

from predict_diff.errors import ConfigurationError, ResultError
from predict_diff.top_pixels import finite_values

Relation = Literal["above", "below"]
Decision = Literal["reproduced", "deviates", "undecided"]

#: How often an interval is to hold the true mean: the convention of the field.
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean over independent units, and where the true mean may lie.

    Attributes
    ----------
    mean : float
        In the unit of the statistic.
    low, high : float
        Ends of the 95 % interval; NaN if there is but one unit, which says nothing of others.
    count : int
        How many independent units there are.
    """

    mean: float
    low: float
    high: float
    count: int


def interval(values: Sequence[float]) -> Interval:
    """Student's t-interval for the mean: mean -+ t(0.975, n - 1) * s / sqrt(n).

    Parameters
    ----------
    values : sequence of float, n
        One value for each independent unit: each photo. Several seeds of one photo are not independent photos: average
        them first (and see `spread`).

    Returns
    -------
    Interval
        It takes the values for normal, which matters less the more there are; if all are equal it has no width.

    Raises
    ------
    ResultError
        If there are no values, or one is NaN or infinite.
    """
    array = finite_values(values, "values by photo", dimensions=1)
    mean, count = float(array.mean()), len(array)
    if count == 1:
        return Interval(mean, math.nan, math.nan, count)
    quantile = float(stats.t.ppf((1 + CONFIDENCE) / 2, count - 1))
    half = quantile * spread(values) / math.sqrt(count)
    return Interval(mean, mean - half, mean + half, count)


def spread(values: Sequence[float]) -> float:
    """How much a statistic moves from seed to seed: the standard deviation, unbiased in its square.

    Parameters
    ----------
    values : sequence of float, n
        One value for each seed.

    Returns
    -------
    float
        In the unit of the values; NaN for a single one, which cannot tell.

    Raises
    ------
    ResultError
        If there are no values, or one is NaN or infinite.
    """
    array = finite_values(values, "values by seed", dimensions=1)
    return float(np.std(array, ddof=1)) if len(array) > 1 else math.nan


def decide(measured: Interval | float, relation: Relation, threshold: float) -> Decision:
    """Whether a statistic lies where the claim puts it.

    Parameters
    ----------
    measured : Interval or float
        A float is exact: a count, or a number without uncertainty.
    relation : {"above", "below"}
        On which side of the threshold the claim puts the statistic.
    threshold : float
        In the unit of the statistic.

    Returns
    -------
    {"reproduced", "deviates", "undecided"}
        Of an interval: reproduced if all of it lies on the claim's side, deviates if all of it lies on the other, else
        undecided. The threshold itself is on neither side: a statistic that equals its null in every photo decides
        nothing. Of an exact number: never undecided, and the threshold is on the claim's side ("at least", "at most").

    Raises
    ------
    ConfigurationError
        If there is no such relation, or the threshold is NaN.
    ResultError
        If an exact number is NaN, which is no measurement.
    """
    if relation not in get_args(Relation):
        raise ConfigurationError(f"relation: expected one of {', '.join(get_args(Relation))}, found '{relation}'")
    if math.isnan(threshold):
        raise ConfigurationError("threshold: expected a number, found NaN; state the threshold of the claim")
    sign = 1 if relation == "above" else -1
    if not isinstance(measured, Interval):
        if math.isnan(measured):
            raise ResultError("measured value: expected a number, found NaN; compute it again")
        return "reproduced" if sign * (measured - threshold) >= 0 else "deviates"
    # With one unit the ends are NaN, and all comparisons with NaN are false.
    ends = [sign * (end - threshold) for end in (measured.low, measured.high)]
    if all(end > 0 for end in ends):
        return "reproduced"
    return "deviates" if all(end < 0 for end in ends) else "undecided"
