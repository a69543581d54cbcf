"""How concentrated a map is, and how rough. None of these numbers depends on the map's unit."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from ..errors import ResultError
from ..top_pixels import TOP_SHARE, finite_values, top_pixels
from .maps import Array, share_of_absolute


def gini(values: ArrayLike) -> float:
    """Gini index of the absolute values: sum over i of (2 i - n - 1) |v|_(i) / (n sum |v|), |v|_(1) the smallest.

    Hurley and Rickard, *Comparing measures of sparsity*, IEEE Transactions on Information Theory 55, 2009
    (arXiv:0811.4706); as a measure of explanations: Chalasani et al., *Concise explanations of neural networks using
    adversarial training*, ICML 2020 (arXiv:1810.06583).

    Parameters
    ----------
    values : ndarray, any shape, float
        A map, or activations; n of them.

    Returns
    -------
    float
        0 (the same absolute value everywhere) to 1 - 1 / n (all but one are zero); higher is sparser.

    Raises
    ------
    ResultError
        If there are fewer than two values, one is NaN or infinite, or all are zero.
    """
    ordered = np.sort(_absolute(values), axis=None)
    n = ordered.size
    weights = 2.0 * np.arange(1, n + 1) - n - 1
    return max(0.0, float((weights * ordered).sum()) / (n * float(ordered.sum())))


def hoyer(values: ArrayLike) -> float:
    """Hoyer's sparseness: (sqrt(n) - L1 / L2) / (sqrt(n) - 1).

    Hoyer, *Non-negative matrix factorization with sparseness constraints*, JMLR 5, 2004 (arXiv:cs/0408058).

    Parameters
    ----------
    values : ndarray, any shape, float
        A map, or activations; n of them. Their signs do not matter.

    Returns
    -------
    float
        0 (the same absolute value everywhere) to 1 (all but one are zero); higher is sparser.

    Raises
    ------
    ResultError
        If there are fewer than two values, one is NaN or infinite, or all are zero.
    """
    array = _absolute(values)
    ratio = float(array.sum() / np.sqrt((array * array).sum()))
    return float(np.clip((np.sqrt(array.size) - ratio) / (np.sqrt(array.size) - 1), 0, 1))


def share_in_top(values: ArrayLike, share: float = TOP_SHARE) -> float:
    """Share of the absolute relevance that lies in the top pixels. Stands for: a map is sharp.

    Parameters
    ----------
    values : ndarray, shape (H, W), float
    share : float
        Of pixels; see `predict_diff.top_pixels.top_pixels`.

    Returns
    -------
    float
        From about `share` (the same absolute value everywhere) to 1; higher is sharper. Null for "sharper": another
        map's.

    Raises
    ------
    ConfigurationError, ResultError
        As `top_pixels`; ResultError also for a map that is zero everywhere.
    """
    marked = top_pixels(values, share)
    return share_of_absolute(finite_values(values, "map"), marked)


def total_variation(values: ArrayLike) -> float:
    """Anisotropic total variation at norm 1: sum of |steps to right and lower neighbours| / L2 norm.

    After Rudin, Osher and Fatemi, *Nonlinear total variation based noise removal algorithms*, Physica D 60, 1992.

    Parameters
    ----------
    values : ndarray, shape (H, W), float

    Returns
    -------
    float
        0 (a constant map, also one that is zero everywhere) to almost 4 sqrt(H W) (a checkerboard); 4 for a single
        pixel. Higher is rougher, which sharp edges make a map, and noise too. Compare maps of one size only. Null for
        "sharper": another map's.

    Raises
    ------
    ResultError
        If the values are no map, or hold NaN or infinity.
    """
    array = finite_values(values, "map", dimensions=2)
    largest = float(np.abs(array).max())
    if largest == 0:
        return 0.0
    array = array / largest  # then no norm overflows, and none vanishes
    variation = sum(float(np.abs(np.diff(array, axis=axis)).sum()) for axis in (0, 1))
    return variation / float(np.linalg.norm(array))


def _absolute(values: ArrayLike) -> Array:
    """Absolute values, the largest of them 1: then no norm overflows, and none vanishes."""
    array = np.abs(finite_values(values, "values"))
    if array.size < 2 or not array.any():
        raise ResultError(
            f"values: expected at least two, not all zero, found {array.size} from {array.min():g} to "
            f"{array.max():g}; there is nothing that could be sparse"
        )
    return np.asarray(array / array.max())
