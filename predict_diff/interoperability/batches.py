"""Many images, each with a class of its own, explained by any method."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigurationError, in_short
from ..methods.method import Method
from ..methods.prediction_difference import PredictionDifference
from ..network.predictor import Predictor
from ..target_names import find_targets


def checked_method(method: Method | None) -> Method:
    """The method, by default prediction difference analysis. ConfigurationError if it is none."""
    if method is None:
        return PredictionDifference()
    if isinstance(method, type) or not callable(getattr(method, "explain", None)):
        hint = f"{method.__name__}()" if isinstance(method, type) else "Occlusion()"
        raise ConfigurationError(
            f"method: expected one of predict_diff.methods, such as {hint}, found {in_short(method)}"
        )
    return method


def maps(
    method: Method, network: Predictor, images: NDArray[np.float32], classes: Sequence[int], seed: int
) -> NDArray[np.float64]:
    """The map of each image for its class.

    Every image gets the same seed, so that its map does not depend on those beside it.

    Parameters
    ----------
    method : Method
    network : Predictor
    images : ndarray, shape (N, C, H, W), float32
    classes : sequence of int
        One for each image.
    seed : int

    Returns
    -------
    ndarray, shape (N, H, W), float64

    Raises
    ------
    PredictDiffError
        If the network has no such class, or the method refuses an image.
    """
    targets = [find_targets(network, image, [number]) for image, number in zip(images, classes, strict=True)]
    found = [method.explain(network, image, target, seed)[0] for image, target in zip(images, targets, strict=True)]
    return np.asarray(found, np.float64)


def class_numbers(target: Any, images: int) -> list[int]:
    """The class of each image.

    Parameters
    ----------
    target : int, or int array_like or tensor of shape (), (1,) or (images,)
        One class for all images, or one for each.
    images : int

    Raises
    ------
    ConfigurationError
        If it is something else.
    """
    try:
        numbers = np.asarray(target.detach().cpu() if hasattr(target, "detach") else target)
    except (TypeError, ValueError):
        numbers = np.array(None)
    if numbers.dtype.kind not in "iu" or numbers.shape not in ((), (1,), (images,)):
        raise ConfigurationError(
            f"target: expected the number of a class, or one for each of {images} images, found {in_short(target)}"
        )
    return [int(number) for number in np.broadcast_to(numbers, images)]
