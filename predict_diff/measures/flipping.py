"""Pixel flipping: how fast a score falls if the most relevant squares go first, or last."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import ConfigurationError
from ..methods.checking import baseline_image, whole
from .curves import Curve, Image, checked_image_and_map, curve, in_order
from .scores import Scores

#: Most or least relevant first.
Order = Literal["morf", "lerf"]


def pixel_flipping(
    scores: Scores,
    x: Image,
    relevance: ArrayLike,
    order: Order = "morf",
    square: int = 1,
    flips: int | None = None,
    steps: int | None = None,
    baseline: ArrayLike = 0.0,
) -> Curve:
    """Pixel flipping: squares of pixels are replaced, the most relevant first (MoRF) or the least (LeRF).

    Bach et al., *On pixel-wise explanations for non-linear classifier decisions by layer-wise relevance propagation*,
    PLoS ONE 10, 2015; by squares, and LeRF: Samek et al., *Evaluating the visualization of what a deep neural network
    has learned*, IEEE TNNLS 28, 2017 (arXiv:1509.06321).

    Parameters
    ----------
    scores : function
        Of images (n, C, H, W) float32 to (n,) scores; see `scorer`.
    x : ndarray, shape (C, H, W), float32
        The image, as the network sees it.
    relevance : ndarray, shape (H, W), float
        Signed. A square's relevance is its pixels' mean; of equal ones, the first in reading order goes first.
    order : {"morf", "lerf"}
    square : int, default 1
        Side of the squares in pixels. They lie side by side from the upper left corner on; those that the border cuts
        off are squares too. Samek et al. have 9.
    flips : int, optional
        So many squares are replaced in the end; all by default. Samek et al. have 100, a sixth of an image.
    steps : int, optional
        The curve's resolution; by default one step for each square.
    baseline : number, one for each channel, or ndarray, shape (C, H, W), default 0
        What takes their place. Bach et al. flip the sign of black and white pixels (``baseline=-x``), Samek et al.
        draw random colours: pass such an image.

    Returns
    -------
    Curve
        From the image itself on. See `aopc`; the area between both orders, ``lerf.area - morf.area``, is better if it
        is higher, and is 0 for a random map.

    Raises
    ------
    ImageError
        If the image is none, or holds NaN or infinity.
    ResultError
        If the map has another size, the same value everywhere, or holds NaN or infinity; or the scores are not one
        finite number for each image.
    ConfigurationError
        If a parameter is impossible, or the baseline does not fit the image.
    """
    x, values = checked_image_and_map(x, relevance)
    if order not in get_args(Order):
        raise ConfigurationError(f"order: expected {' or '.join(get_args(Order))}, found '{order}'")
    numbers = squares(values.shape, whole("square", square, max(values.shape), ", the image's size"))
    count = int(numbers.max()) + 1
    last = count if flips is None else whole("flips", flips, count, ", the number of squares")
    means = np.bincount(numbers.ravel(), values.ravel()) / np.bincount(numbers.ravel())
    ranks = in_order(means if order == "morf" else -means)[numbers]
    end = baseline_image(baseline, x).astype(np.float32)
    return curve(scores, x, end, ranks, last if steps is None else steps, last)


def aopc(flipped: Curve) -> float:
    """Area over the perturbation curve: (1 / (L + 1)) sum over steps 0 to L of f(x) - f(x after the step).

    Samek et al., *Evaluating the visualization of what a deep neural network has learned*, IEEE TNNLS 28, 2017
    (arXiv:1509.06321). They average it over images.

    Parameters
    ----------
    flipped : Curve
        Of `pixel_flipping` or `deletion`.

    Returns
    -------
    float
        In the unit of the score; at most 1 for probabilities. In MoRF order higher is better, in LeRF order lower.
        Null: that of a random map.
    """
    return float(np.mean(flipped.scores[0] - flipped.scores))


def squares(shape: tuple[int, ...], side: int) -> NDArray[np.int64]:
    """Number of the square in which each pixel lies, (H, W), in reading order."""
    rows, columns = (np.arange(size) // side for size in shape)
    return np.asarray(rows[:, None] * (columns[-1] + 1) + columns, np.int64)
