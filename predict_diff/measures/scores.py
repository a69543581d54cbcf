"""What curves ask of a classifier: one number for each image of a batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import prod

import numpy as np
from numpy.typing import NDArray

from ..errors import ResultError
from ..network.minibatch import checked_targets, suggested_batch_size
from ..network.predictor import Predictor
from ..network.target_values import TargetValues
from ..targets import Target
from ..top_pixels import finite_values
from .maps import Array

#: Images (n, C, H, W) float32 to one number for each, (n,).
Scores = Callable[[NDArray[np.float32]], NDArray[np.floating]]

#: What perturbed images may take that are made at once.
_BYTES_AT_ONCE = 1 << 27


def scorer(network: Predictor, target: Target, batch_size: int | None = None) -> Scores:
    """A target as a function of images.

    Every batch has the same size, and the last is filled up: an image's score does not depend on how many are asked
    for at once.

    Parameters
    ----------
    network : Predictor
    target : Target
        Deletion and insertion curves are defined for the probability of a class; AOPC for any score.
    batch_size : int, optional
        Images in a batch; chosen from memory and provider by default.

    Returns
    -------
    function
        Of images (n, C, H, W) float32, n any number; gives their scores, (n,) float64.

    Raises
    ------
    ConfigurationError
        If the network has no such target, or the batch size is not positive; the function itself raises NetworkError
        for images that do not fit the network.
    """
    values = TargetValues(network, checked_targets(network, [target], batch_size))
    size = batch_size or suggested_batch_size(network)

    def scores(images: NDArray[np.float32]) -> Array:
        images = network.batch(images)
        found = np.empty(len(images))
        for start in range(0, len(images), size):
            batch = images[start : start + size]
            filled = np.concatenate([batch, np.repeat(batch[-1:], size - len(batch), axis=0)])
            found[start : start + size] = values(filled)[: len(batch), 0]
        return found

    return scores


def checked_scores(scores: Scores, images: NDArray[np.float32]) -> Array:
    """The scores of some images, once they are known to be one finite number for each.

    Raises
    ------
    ResultError
        If they are not.
    """
    found = np.asarray(scores(images))
    if found.shape != (len(images),):
        raise ResultError(
            f"scores: expected one number for each of {len(images)} images, shape ({len(images)},), found shape "
            f"{found.shape}; return the score of one target, or let predict_diff.measures.scorer do so"
        )
    return finite_values(found, "scores")


def parts(count: int, shape: tuple[int, ...]) -> Iterator[slice]:
    """Ranges of so many images of a shape (C, H, W) which may be in memory at once."""
    at_once = max(1, _BYTES_AT_ONCE // (4 * prod(shape)))
    for start in range(0, count, at_once):
        yield slice(start, min(start + at_once, count))
