"""What methods refuse before they start: images, targets and parameters that do not fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import ConfigurationError, ImageError, NetworkError, closest
from ..network.choosing import EvaluatorName
from ..network.minibatch import checked_targets
from ..network.predictor import Predictor
from ..targets import Target


def subject(
    network: Predictor, x: NDArray[np.float32], targets: Sequence[Target]
) -> tuple[NDArray[np.float32], tuple[Target, ...]]:
    """The image that is explained, (C, H, W) float32, and the targets under the names of their blobs.

    Raises
    ------
    NetworkError
        If the network takes no images, or none of this shape, or has no such blob.
    ImageError
        If the image holds something else than finite numbers.
    ConfigurationError
        If there are no targets, or the network does not have one.
    """
    if len(network.input_shape) != 3:
        raise NetworkError(
            f"{network.name}: expected a network of images (C, H, W), found one that takes {network.input_shape}"
        )
    x = np.asarray(x)
    if x.shape != network.input_shape:
        raise NetworkError(
            f"{network.name}: expected one image of shape {network.input_shape}, found {x.shape}; prepare it as the "
            f"network sees images, and pass one at a time"
        )
    image = _in_single_precision(x) if x.dtype.kind in "fiu" else None
    if image is None or not np.isfinite(image).all():
        found = f"values of {x.dtype}" if image is None else "NaN, infinity or numbers too large for float32"
        raise ImageError(f"image: expected finite numbers, found {found}; check how the image was prepared")
    for target in [targets] if isinstance(targets, Target | str) else targets:
        if isinstance(targets, Target | str) or not isinstance(target, Target):
            raise ConfigurationError(
                f"targets: expected a list of targets, such as [Target('prob', (281,))], found {targets!r}"
            )
    return image, checked_targets(network, targets, None)


def whole(name: str, value: int, most: float = np.inf, why: str = "") -> int:
    """A parameter as a whole number. ConfigurationError unless it is one from 1 to `most`."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not 1 <= value <= most:
        limits = "1 or more" if most == np.inf else f"from 1 to {most:g}"
        raise ConfigurationError(f"{name}: expected a whole number, {limits}{why}, found {value!r}")
    return int(value)


def size_of_batch(value: int | None) -> int | None:
    """The batch size that was asked for, if one was. ConfigurationError if it is impossible."""
    return None if value is None else whole("batch_size", value)


def check_evaluation(kind: EvaluatorName, batch_size: int | None) -> None:
    """ConfigurationError unless there is such an evaluator, and such a batch size."""
    size_of_batch(batch_size)
    kinds = get_args(EvaluatorName)
    if kind not in kinds:
        raise ConfigurationError(f"evaluator: expected {', '.join(kinds)}, found {kind!r}{closest(str(kind), kinds)}")


def baseline_image(baseline: ArrayLike, x: NDArray[np.float32]) -> NDArray[np.float64]:
    """A baseline as an image.

    Parameters
    ----------
    baseline : float, or array_like of shape (C,) or (C, H, W)
        One value, one for each channel, or a whole image, in the network's input space.
    x : ndarray, shape (C, H, W), float32
        The image that is explained.

    Returns
    -------
    ndarray, shape (C, H, W), float64

    Raises
    ------
    ConfigurationError
        If it is none of these, or not finite in float32.
    """
    try:
        values = np.asarray(baseline, np.float64)
    except (TypeError, ValueError):
        values = np.full(1, np.nan)
    if values.shape == (len(x),):
        values = values[:, None, None]
    elif values.shape not in {(), x.shape}:
        raise ConfigurationError(
            f"baseline: expected one number, {len(x)} for the channels, or an image of shape {x.shape}, found shape "
            f"{values.shape}"
        )
    if not np.isfinite(_in_single_precision(values)).all():
        raise ConfigurationError("baseline: expected finite numbers, found something else among them")
    return np.broadcast_to(values, x.shape)


def _in_single_precision(values: NDArray[Any]) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):  # what does not fit is infinite then
        return np.ascontiguousarray(values, np.float32)
