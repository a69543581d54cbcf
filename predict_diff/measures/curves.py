"""What a target's score does while pixels are removed or revealed, the most relevant first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.integrate import trapezoid
from scipy.ndimage import gaussian_filter

from ..errors import ConfigurationError, ImageError, ResultError
from ..methods.checking import baseline_image, whole
from ..top_pixels import finite_values
from .maps import Array, check_varies
from .scores import Scores, checked_scores, parts

Image = NDArray[np.float32]


@dataclass(frozen=True)
class Curve:
    """A target's score against the share of pixels that have been changed.

    Attributes
    ----------
    fractions : ndarray, shape (T + 1,), float64
        Share of the pixels; from 0 upwards.
    scores : ndarray, shape (T + 1,), float64
    """

    fractions: Array
    scores: Array

    @property
    def area(self) -> float:
        """Area under the curve, by the trapezium rule; the mean score if the curve ends at 1."""
        return float(trapezoid(self.scores, self.fractions))


def deletion(scores: Scores, x: Image, relevance: ArrayLike, baseline: ArrayLike = 0.0, steps: int = 100) -> Curve:
    """Deletion curve: pixels are replaced by a baseline, the most relevant first.

    Petsiuk, Das and Saenko, *RISE: Randomized input sampling for explanation of black-box models*, BMVC 2018
    (arXiv:1806.07421).

    Parameters
    ----------
    scores : function
        Of images (n, C, H, W) float32 to (n,) scores; see `scorer`. The paper: the probability of the class.
    x : ndarray, shape (C, H, W), float32
        The image, as the network sees it.
    relevance : ndarray, shape (H, W), float
        Signed: what speaks against the target goes last. Of equal values, the first in reading order goes first.
    baseline : number, one for each channel, or ndarray, shape (C, H, W), default 0
        What takes the place of pixels: 0 is the mean where the network's input has its mean subtracted. Paper: "zero
        or any other constant". `blurred` makes another one.
    steps : int, default 100
        T, the curve's resolution; at most one for each pixel.

    Returns
    -------
    Curve
        From the image itself to the baseline. The lower its area, the better; for probabilities between 0 and 1. Null:
        the area of a random map.

    Raises
    ------
    ImageError
        If the image is none, or holds NaN or infinity.
    ResultError
        If the map has another size, the same value everywhere, or holds NaN or infinity; or the scores are not one
        finite number for each image.
    ConfigurationError
        If the baseline does not fit the image, or no step is asked for.
    """
    x, values = checked_image_and_map(x, relevance)
    return curve(scores, x, baseline_image(baseline, x).astype(np.float32), in_order(values), steps)


def insertion(
    scores: Scores, x: Image, relevance: ArrayLike, baseline: ArrayLike | None = None, steps: int = 100
) -> Curve:
    """Insertion curve: pixels are revealed in a baseline, the most relevant first.

    Petsiuk, Das and Saenko, *RISE: Randomized input sampling for explanation of black-box models*, BMVC 2018
    (arXiv:1806.07421).

    Parameters
    ----------
    scores, x, relevance, steps
        As `deletion` takes them.
    baseline : number, one for each channel, or ndarray, shape (C, H, W), optional
        What is there at first. Paper, and the default: the image, `blurred`, since a constant's sharp edges are
        evidence of their own.

    Returns
    -------
    Curve
        From the baseline to the image itself. The higher its area, the better; for probabilities between 0 and 1.
        Null: the area of a random map.

    Raises
    ------
    ImageError, ResultError, ConfigurationError
        As `deletion`.
    """
    x, values = checked_image_and_map(x, relevance)
    start = baseline_image(blurred(x) if baseline is None else baseline, x).astype(np.float32)
    return curve(scores, start, x, in_order(values), steps)


def blurred(x: Image, sigma: float = 5.0) -> Image:
    """The image, blurred by a Gaussian, each channel by itself; pixels at the border go on beyond it.

    Authors' code: RISE's has a kernel of 11 x 11 pixels and sigma 5, cut off so early that it is almost a mean, and
    black beyond the border. Its paper gives no numbers.

    Parameters
    ----------
    x : ndarray, shape (C, H, W), float32
    sigma : float, default 5
        In pixels; for photos some 200 pixels wide.

    Returns
    -------
    ndarray, shape (C, H, W), float32

    Raises
    ------
    ImageError
        If this is no image, or it holds NaN or infinity.
    ConfigurationError
        If sigma is not positive.
    """
    if not 0 < sigma < np.inf:
        raise ConfigurationError(f"sigma: expected a positive number of pixels, found {sigma}; 5 is the default")
    return np.asarray(gaussian_filter(checked_image(x), (0, sigma, sigma), mode="nearest"), np.float32)


def curve(scores: Scores, start: Image, end: Image, ranks: NDArray[np.int64], steps: int, last: int = 0) -> Curve:
    """Scores on the way from one image to another.

    Parameters
    ----------
    scores : function
    start, end : ndarray, shape (C, H, W), float32
    ranks : ndarray, shape (H, W), int64
        When each pixel changes, from 0 on. Those with equal ranks change together.
    steps : int
        At most one for each rank.
    last : int
        So many ranks are changed in the end; 0 for all.
    """
    steps = whole("steps", steps)
    last = last or int(ranks.max()) + 1
    # Whole ranks, as evenly as they come.
    limits = np.rint(np.linspace(0, last, min(steps, last) + 1)).astype(np.int64)
    found = np.empty(len(limits))
    for part in parts(len(limits), start.shape):
        changed = ranks < limits[part, None, None]
        found[part] = checked_scores(scores, np.where(changed[:, None], end, start))
    ordered = np.sort(ranks, axis=None)
    return Curve(np.searchsorted(ordered, limits) / ranks.size, found)


def in_order(values: Array) -> NDArray[np.int64]:
    """Rank of each value, the largest first, from 0 on; of equal values, the first in reading order comes first."""
    ranks = np.empty(values.size, np.int64)
    ranks[np.argsort(-values, axis=None, kind="stable")] = np.arange(values.size)
    return ranks.reshape(values.shape)


def checked_image_and_map(x: Image, relevance: ArrayLike) -> tuple[Image, Array]:
    """The image as float32, and a map of its size as float64.

    Raises
    ------
    ImageError, ResultError
        As `deletion`.
    """
    x, values = checked_image(x), finite_values(relevance, "map", dimensions=2)
    if values.shape != x.shape[1:]:
        raise ResultError(
            f"map: expected the size of the image, {x.shape[1]} x {x.shape[2]}, found {values.shape[0]} x "
            f"{values.shape[1]}; pass the image as the network sees it"
        )
    check_varies(values)
    return x, values


def checked_image(x: Image) -> Image:
    """The image as float32. ImageError if it is none, or holds NaN or infinity."""
    image = np.asarray(x, np.float32)
    if image.ndim != 3 or image.size == 0:
        raise ImageError(f"image: expected one of shape (C, H, W), found {image.shape}; pass one at a time")
    if not np.isfinite(image).all():
        raise ImageError("image: expected finite numbers, found NaN or infinity; check the photo and its mean")
    return image
