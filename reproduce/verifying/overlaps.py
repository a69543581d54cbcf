"""Where top pixels lie: the nulls of how far two masks overlap, and the outlines of a photo."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import binary_dilation
from skimage.color import rgb2gray
from skimage.feature import canny

from predict_diff.errors import ConfigurationError, ImageError, ResultError
from predict_diff.measures.regions import Mask, check_masks, overlap
from predict_diff.samplers import stream

#: Of Canny's edges, on the scale of Sobel's unnormalised filters (8 for a slope of 1 a pixel): scikit-image's own
#: defaults. Where grey levels blurred with sigma step by c, the slope is c / (sigma * sqrt(2 pi)), so at sigma = 2
#: an outline begins at c = 1/8 of the way from black to white and is followed down to 1/16.
EDGE_BEGINS, EDGE_CONTINUES = 0.2, 0.1


class Chance(NamedTuple):
    """Mean and standard deviation of a statistic under its null."""

    mean: float
    deviation: float


def shifted_overlaps(a: Mask, b: Mask, count: int, seed: int) -> NDArray[np.float64]:
    """Null of `overlap` that keeps how the pixels of `a` cluster: `a` lies anywhere, as one.

    `a` is shifted by random offsets, going in again on the other side; all offsets but zero are equally likely. What
    it does not keep is a preference of both masks for the middle of the photo.

    Returns
    -------
    ndarray, shape (count,), float64

    Raises
    ------
    ConfigurationError
        If no shift is asked for, or the seed is not a whole number from 0 to 2**64 - 1.
    ResultError
        As `overlap`; also if there is but one pixel.
    """
    check_masks(a, b)
    if count < 1:
        raise ConfigurationError(f"shifts: expected at least one, found {count}; ask for 1000 or so")
    if a.size < 2:
        raise ResultError("mask: expected at least two pixels, so that it can be shifted, found one")
    offsets = stream(seed, 0, 0, "shifts").integers(1, a.size, count)
    return np.array([overlap(np.roll(a, divmod(int(offset), a.shape[1]), axis=(0, 1)), b) for offset in offsets])


def random_overlap(b: Mask, pixels: int) -> Chance:
    """Null of `overlap` for `pixels` pixels placed at random, none twice: hypergeometric, in closed form.

    With p the share of pixels that `b` marks, and N all pixels: mean p, variance p (1 - p) / n * (N - n) / (N - 1).
    Relevant pixels cluster, so real overlaps vary more: `shifted_overlaps` is the stricter null.

    Raises
    ------
    ConfigurationError
        If there are not that many pixels.
    ResultError
        If `b` is no mask.
    """
    if not 1 <= pixels <= b.size:
        raise ConfigurationError(f"pixels: expected 1 to {b.size}, the size of the mask, found {pixels}")
    check_masks(b, b, marked=False)
    share = float(b.mean())
    variance = share * (1 - share) / pixels * (b.size - pixels) / max(b.size - 1, 1)
    return Chance(share, float(np.sqrt(variance)))


def edges(photo: ArrayLike, sigma: float = 2.0) -> Mask:
    """Where outlines run in a photo: Canny's edges of its grey levels, 3 pixels wide. For `overlap`.

    Parameters
    ----------
    photo : ndarray, shape (H, W, 3), float; RGB, 0-1
    sigma : float
        Blur before edges are looked for, in pixels: 2 keeps outlines and leaves out most of fur and grass.

    Returns
    -------
    ndarray, shape (H, W), bool
        Edges with their 8 neighbours, since a pixel beside an outline still touches it. Empty for an even photo.

    Raises
    ------
    ConfigurationError
        If sigma is not positive.
    ImageError
        If this is not such a photo.
    """
    array = np.asarray(photo, np.float64)
    if array.ndim != 3 or array.shape[2] != 3 or not ((array >= 0) & (array <= 1)).all():
        raise ImageError(f"photo: expected RGB from 0 to 1, of shape (H, W, 3), found {_range(array)}; scale it first")
    if not 0 < sigma < np.inf:
        raise ConfigurationError(f"sigma: expected a positive number of pixels, found {sigma}; 2 is the default")
    # "nearest": the photo's frame is no outline.
    lines = canny(rgb2gray(array), sigma, EDGE_CONTINUES, EDGE_BEGINS, mode="nearest")
    return np.asarray(binary_dilation(lines, np.ones((3, 3), bool)))


def _range(array: NDArray[np.float64]) -> str:
    return f"shape {array.shape}" + (f" and values from {array.min():g} to {array.max():g}" if array.size else "")
