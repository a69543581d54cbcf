"""The statistics that stand for the paper's statements about pictures.

Each says what it stands for, and its null: the value to expect if the statement had no content. Maps are
(H, W), in bits or in a unit's own units; no statistic depends on the unit, but for `surprise`.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

from predict_diff.errors import ConfigurationError, ResultError
from predict_diff.measures.maps import check_varies, share_of_absolute, two_alike
from predict_diff.samplers.sampler import check_request
from predict_diff.top_pixels import finite_values
from predict_diff.windows import WindowGrid

Array = NDArray[np.float64]


def box_average(values: ArrayLike, k: int, stride: int = 1) -> Array:
    """Algorithm 1's averaging of per-pixel values: mean of each k x k window, then of each pixel's windows.

    Stands for: what a map at window size k would be if windows only averaged the relevance of their pixels.

    Parameters
    ----------
    values : ndarray, shape (H, W), float
    k : int
        Side of a window, in pixels; 1 changes nothing.
    stride : int, default 1
        Step between windows, in pixels: that of the map which this is compared with.

    Returns
    -------
    ndarray, shape (H, W), float64
        In the unit of the values.

    Raises
    ------
    ConfigurationError
        If k does not fit into the map, or the step leaves pixels that no window covers.
    ResultError
        If the values are no map, or hold NaN or infinity.
    """
    array = finite_values(values, "map", dimensions=2)
    grid = WindowGrid(array.shape[0], array.shape[1], k, stride)
    windows = sliding_window_view(array, (k, k))[np.ix_(grid.rows, grid.columns)]
    return grid.average(windows.mean(axis=(2, 3)).ravel())


def unexplained(target: ArrayLike, predictor: ArrayLike) -> float:
    """Share of a map's variance that the best linear fit on another leaves: 1 - r^2.

    Stands for: a map is not a simple function (such as `box_average`) of another.

    Returns
    -------
    float
        0 (the null: a scaled and shifted copy) to 1 (nothing is explained, as by a constant predictor).

    Raises
    ------
    ResultError
        If the maps differ in shape or hold NaN or infinity, or the target has no variance.
    """
    first, second = two_alike(target, predictor)
    check_varies(first)
    first, second = first - first.mean(), second - second.mean()
    power = float((second * second).sum())
    if power == 0:
        return 1.0
    rest = first - second * (float((first * second).sum()) / power)
    return min(1.0, float((rest * rest).sum() / (first * first).sum()))


def hoyer_of_exponential(n: int) -> float:
    """Null of `predict_diff.measures.hoyer`: n independent exponentials, (sqrt(n) - sqrt(n / 2)) / (sqrt(n) - 1).

    Of all distributions of non-negative activations with a given mean it has the largest entropy: activations as
    spread as can be. In the limit of large n, where L1 / n is 1 and L2^2 / n is 2; for finite n it is too high by about
    7 / (8 n) * sqrt(n / 2) / (sqrt(n) - 1), 0.01 at n = 70, so that it never makes "sparser than that" easier.

    Raises
    ------
    ConfigurationError
        If there are fewer than two activations.
    """
    if n < 2:
        raise ConfigurationError(f"activations: expected at least two, found {n}; sparseness compares them")
    return float((np.sqrt(n) - np.sqrt(n / 2)) / (np.sqrt(n) - 1))


def surprise(
    x: NDArray[np.float32], windows: NDArray[np.int64], k: int, conditional_mean: NDArray[np.floating]
) -> Array:
    """How badly the surround predicts each window: mean squared distance from its conditional mean.

    Stands for: pixels are (not) easily predicted from their neighbours.

    Parameters
    ----------
    x : ndarray, shape (C, H, W), float32
        The photo, as the network sees it.
    windows : ndarray, shape (n, 2), int64
        Upper left pixels of the windows, (row, column).
    k : int
        Side of a window, in pixels.
    conditional_mean : ndarray, shape (n, C, k, k), float
        E[x_w | surround] of each window, under the Gaussian of eq. 5.

    Returns
    -------
    ndarray, shape (n,), float64
        Mean over channels and pixels, in the square of the unit of x (grey levels squared for Caffe's networks).

    Raises
    ------
    SamplerError
        If this is no photo, or a window does not lie in it.
    ResultError
        If the means do not fit the windows, or hold NaN or infinity.
    """
    check_request(x, windows, 1, k)
    mean = finite_values(conditional_mean, "conditional means")
    expected = (len(windows), len(x), k, k)
    if mean.shape != expected:
        raise ResultError(f"conditional means: expected shape {expected}, found {mean.shape}; compute them again")
    actual = sliding_window_view(x, (k, k), axis=(1, 2))[:, windows[:, 0], windows[:, 1]].swapaxes(0, 1)
    return np.asarray(np.square(actual - mean).mean(axis=(1, 2, 3)))


def share_on_predictable(relevance: ArrayLike, surprise: ArrayLike) -> float:
    """Share of the absolute relevance on the half of the windows with the smallest surprise.

    Stands for: pixels that are easily predicted from their neighbours are downweighted.

    Parameters
    ----------
    relevance : ndarray, shape (n,), float
        Of each window.
    surprise : ndarray, shape (n,), float
        Of the same windows; only its order counts.

    Returns
    -------
    float
        0 to 1. Null: exactly 1/2, for relevance that does not depend on surprise. Windows whose surprise is the median
        belong to both halves, to such shares that each half weighs n / 2.

    Raises
    ------
    ResultError
        If the two differ in shape or hold NaN or infinity, or the relevance is zero everywhere.
    """
    values, order = two_alike(relevance, surprise, "windows")
    middle = np.median(order)
    below, at = order < middle, order == middle
    return share_of_absolute(values, below + at * (order.size / 2 - below.sum()) / max(int(at.sum()), 1))
