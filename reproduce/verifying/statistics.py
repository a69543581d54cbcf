"""The statistics that stand for the paper's statements about pictures.

Each says what it stands for, and its null: the value to expect if the statement had no content. Maps are
(H, W), in bits or in a unit's own units; no statistic depends on the unit, but for `surprise`.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray
from scipy.stats import spearmanr

from predict_diff.errors import ConfigurationError, ResultError
from predict_diff.samplers.sampler import check_request
from predict_diff.top_pixels import TOP_SHARE, finite_values, top_pixels
from predict_diff.windows import WindowGrid

Array = NDArray[np.float64]


def share_in_top(values: ArrayLike, share: float = TOP_SHARE) -> float:
    """Share of the absolute relevance that lies in the top pixels. Stands for: a map is sharp.

    Parameters
    ----------
    values : ndarray, shape (H, W), float
    share : float
        Of pixels; see `top_pixels`.

    Returns
    -------
    float
        From about `share` (the same absolute value everywhere) to 1. Null for "sharper": another map's.

    Raises
    ------
    ConfigurationError, ResultError
        As `top_pixels`; ResultError also for a map that is zero everywhere.
    """
    marked = top_pixels(values, share)
    return _share_of_absolute(finite_values(values, "map"), marked)


def total_variation(values: ArrayLike) -> float:
    """Anisotropic total variation at norm 1: sum of |steps to right and lower neighbours| / L2 norm.

    Stands for: a map is sharp. Compare maps of one size only.

    Returns
    -------
    float
        0 for a constant map, also for one that is zero everywhere. Null for "sharper": another map's.

    Raises
    ------
    ResultError
        If the values (H, W) are no map, or hold NaN or infinity.
    """
    array = finite_values(values, "map", dimensions=2)
    variation = sum(float(np.abs(np.diff(array, axis=axis)).sum()) for axis in (0, 1))
    return variation / float(np.linalg.norm(array)) if variation else 0.0


def rank_correlation(a: ArrayLike, b: ArrayLike) -> float:
    """Spearman's rank correlation over pixels; equal values share their mean rank. Stands for: two maps look alike.

    Parameters
    ----------
    a, b : ndarray, shape (H, W), float
        Signed maps: relevance for and against is ranked from end to end.

    Returns
    -------
    float
        -1 to 1. Null for unrelated maps: 0; neighbouring pixels depend on each other, so its spread comes from seeds
        and photos, never from the number of pixels.

    Raises
    ------
    ResultError
        If the maps differ in shape or hold NaN or infinity, or one has the same value everywhere: it ranks nothing,
        and 0 would pass for evidence that maps differ.
    """
    first, second = _pair(a, b, "map")
    for values in (first, second):
        _check_varies(values)
    return float(spearmanr(first, second, axis=None).statistic)


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
    first, second = _pair(target, predictor, "map")
    _check_varies(first)
    first, second = first - first.mean(), second - second.mean()
    power = float((second * second).sum())
    if power == 0:
        return 1.0
    rest = first - second * (float((first * second).sum()) / power)
    return min(1.0, float((rest * rest).sum() / (first * first).sum()))


def hoyer(values: ArrayLike) -> float:
    """Hoyer's sparseness: (sqrt(n) - L1 / L2) / (sqrt(n) - 1). Stands for: activations are sparse.

    Parameters
    ----------
    values : ndarray, any shape, float
        Activations, n of them, none negative.

    Returns
    -------
    float
        0 (all equal) to 1 (all but one are zero). Null: `hoyer_of_exponential`.

    Raises
    ------
    ResultError
        If there are fewer than two values, or one is negative, NaN or infinite, or all are zero.
    """
    array = finite_values(values, "activations")
    if array.size < 2 or array.min() < 0 or not array.any():
        raise ResultError(
            f"activations: expected at least two values, none negative and not all zero, found {array.size} from "
            f"{array.min():g} to {array.max():g}; take a blob behind a ReLU"
        )
    # Neither norm overflows, and neither vanishes.
    array = array / array.max()
    ratio = float(array.sum() / np.sqrt((array * array).sum()))
    return float(np.clip((np.sqrt(array.size) - ratio) / (np.sqrt(array.size) - 1), 0, 1))


def hoyer_of_exponential(n: int) -> float:
    """Null of `hoyer`: n independent exponentials, (sqrt(n) - sqrt(n / 2)) / (sqrt(n) - 1).

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
    values, order = _pair(relevance, surprise, "windows")
    middle = np.median(order)
    below, at = order < middle, order == middle
    return _share_of_absolute(values, below + at * (order.size / 2 - below.sum()) / max(int(at.sum()), 1))


def _share_of_absolute(values: Array, weights: NDArray[np.floating] | NDArray[np.bool_]) -> float:
    absolute = np.abs(values)
    total = float(absolute.sum())
    if total == 0:
        raise ResultError("map: expected some relevance, found zero everywhere; no share of it can lie anywhere")
    return min(1.0, float((absolute * weights).sum()) / total)


def _pair(a: ArrayLike, b: ArrayLike, what: str) -> tuple[Array, Array]:
    first, second = finite_values(a, what), finite_values(b, what)
    if first.shape != second.shape:
        raise ResultError(
            f"{what}: expected two of one shape, found {first.shape} and {second.shape}; compare those of one photo"
        )
    return first, second


def _check_varies(values: Array) -> None:
    if np.ptp(values) == 0:
        raise ResultError(
            f"map: expected values that vary, found {values.flat[0]:g} everywhere; such a map cannot be compared"
        )
