"""Equations 3, 4 and 7: from predictions with and without a window to its relevance."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

#: Paper: the number of training instances, for the Laplace correction; here ILSVRC-2012's.
IMAGENET_TRAINING_INSTANCES = 1_281_167

Array = NDArray[np.float64]


def laplace_correction(probability: ArrayLike, instances: int, classes: int) -> Array:
    """p <- (p N + 1) / (N + K), which keeps probabilities away from 0 and 1.

    Paper: section 3.1. N is the number of training instances, K the number of classes.
    """
    return (np.asarray(probability, np.float64) * instances + 1) / (instances + classes)


def log_odds(probability: ArrayLike) -> Array:
    """log2(p / (1 - p)), in bits."""
    p = np.asarray(probability, np.float64)
    return np.asarray(np.log2(p) - np.log2(1 - p))


def expectation(values: ArrayLike) -> tuple[Array, Array]:
    """Eq. 1 (or 5) by Monte Carlo: the mean over samples, and its standard error.

    Parameters
    ----------
    values : ndarray, shape (n, S, U)
        A target's values for each window and sample.

    Returns
    -------
    mean, standard_error : ndarray, shape (U, n), float64
        The error is NaN for a single sample, which cannot tell.
    """
    samples = np.asarray(values, np.float64)
    count = samples.shape[1]
    mean = samples.mean(axis=1)
    if count < 2:
        return mean.T, np.full_like(mean.T, np.nan)
    return mean.T, samples.std(axis=1, ddof=1).T / np.sqrt(count)


def weight_of_evidence(known: ArrayLike, expected: ArrayLike, instances: int, classes: int) -> Array:
    """Eqs. 3 and 4: log2 odds(c | x) - log2 odds(c | x without the window), in bits.

    Parameters
    ----------
    known : array_like
        p(c | x), the prediction for the photo.
    expected : array_like
        p(c | x without the window).
    instances, classes : int
        N and K of the Laplace correction.

    Returns
    -------
    ndarray, float64
        Positive where the window speaks for the class.
    """
    before = log_odds(laplace_correction(known, instances, classes))
    return before - log_odds(laplace_correction(expected, instances, classes))


def weight_of_evidence_error(expected: ArrayLike, standard_error: ArrayLike, instances: int, classes: int) -> Array:
    """Standard error of the weight of evidence, in bits, given that of the expected probability.

    To first order: the slope of the log odds at the expected probability times its error.
    """
    p = laplace_correction(expected, instances, classes)
    slope = instances / (instances + classes) / (p * (1 - p) * np.log(2))
    return np.asarray(slope * np.asarray(standard_error, np.float64))


def activation_difference(known: ArrayLike, expected: ArrayLike) -> Array:
    """Eq. 7: a(x) - E[a(x without the window)], in the unit's own units."""
    return np.asarray(np.asarray(known, np.float64) - np.asarray(expected, np.float64))
