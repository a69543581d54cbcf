"""How alike two maps are."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import spearmanr

from ..top_pixels import TOP_SHARE, top_pixels
from .maps import check_varies, two_alike
from .regions import overlap


def rank_correlation(a: ArrayLike, b: ArrayLike) -> float:
    """Spearman's rank correlation over pixels; equal values share their mean rank. Stands for: two maps look alike.

    Spearman, *The proof and measurement of association between two things*, American Journal of Psychology 15, 1904.

    Parameters
    ----------
    a, b : ndarray, shape (H, W), float
        Signed maps: relevance for and against is ranked from end to end. Pass absolute values to compare where
        relevance is, whatever it speaks for.

    Returns
    -------
    float
        -1 to 1; higher is more alike. Null for unrelated maps: 0; neighbouring pixels depend on each other, so its
        spread comes from seeds and photos, never from the number of pixels.

    Raises
    ------
    ResultError
        If the maps differ in shape or hold NaN or infinity, or one has the same value everywhere: it ranks nothing,
        and 0 would pass for evidence that maps differ.
    """
    first, second = two_alike(a, b)
    for values in (first, second):
        check_varies(values)
    return float(spearmanr(first, second, axis=None).statistic)


def top_overlap(a: ArrayLike, b: ArrayLike, share: float = TOP_SHARE, absolute: bool = True) -> float:
    """Share of one map's top pixels that are also the other's: |top(a) & top(b)| / |top(a)|. Symmetric.

    Parameters
    ----------
    a, b : ndarray, shape (H, W), float
    share : float, default 0.05
        Of pixels, above 0, at most 1; see `predict_diff.top_pixels.top_pixels`.
    absolute : bool, default True
        Top by absolute value; otherwise by value, so that only what speaks for the target counts.

    Returns
    -------
    float
        0 to 1; higher is more alike. Null for unrelated maps: the share.

    Raises
    ------
    ConfigurationError
        If the share is not such a number.
    ResultError
        If the maps differ in shape or hold NaN or infinity, or one has the same value everywhere (with `absolute`:
        the same absolute value): it has no top.
    """
    first, second = two_alike(a, b)
    for values in (first, second):
        check_varies(np.abs(values) if absolute else values)
    return overlap(top_pixels(first, share, absolute), top_pixels(second, share, absolute))
