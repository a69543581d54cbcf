"""Gradients of targets with respect to many versions of one image, in batches of one size."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from math import ceil, prod

import numpy as np
from numpy.typing import NDArray

from ..algorithm import check_finite
from ..errors import ConfigurationError
from ..network.minibatch import photos_that_fit
from ..network.network import Network
from ..network.predictor import Predictor
from ..targets import Target
from .checking import size_of_batch

#: Images that are differentiated at once, at most: more gain nothing on a CPU.
_LARGEST_BATCH = 20


def start(network: Predictor, target: Target, probability: bool) -> Target:
    """Where the backward pass of a target starts.

    Parameters
    ----------
    network : Predictor
    target : Target
        One that the network has.
    probability : bool
        Whether to differentiate a probability itself. Otherwise the class's score: what the softmax is applied to, as
        Simonyan et al. (2014, arXiv:1312.6034, section 3) do, since a probability also grows where the other classes
        shrink.

    Raises
    ------
    ConfigurationError
        If the score has no such unit.
    """
    before = network.resolve(network.penultimate(target.blob))
    if probability or before == target.blob:
        return target
    shape, scores = network.blobs[target.blob], network.blobs[before]
    if shape == scores:
        return Target(before, target.index)
    if len(target.index) < len(shape) or prod(shape) != prod(scores):
        raise ConfigurationError(
            f"target {target}: expected a unit, since '{before}', what the softmax is applied to, has another shape, "
            f"{scores}; name one, or say probability=True"
        )
    # Exporters put operators behind the softmax that change the shape only.
    unit = np.unravel_index(int(np.ravel_multi_index(target.index, shape)), scores)
    return Target(before, tuple(int(i) for i in unit))


def mean_gradients(
    network: Predictor,
    image: Callable[[int], NDArray[np.floating]],
    count: int,
    starts: Sequence[Target],
    batch_size: int | None = None,
) -> Iterator[NDArray[np.float64]]:
    """The mean gradient over some images, target by target.

    All batches of a call have one size, and the last is filled up, so that images are computed alike.

    Parameters
    ----------
    network : Predictor
    image : callable
        Gives image number i, (C, H, W), from 0 to `count` - 1.
    count : int
        How many images.
    starts : sequence of Target
        As `start` gives them.
    batch_size : int, optional
        Images that are differentiated at once; chosen from memory by default.

    Yields
    ------
    ndarray, shape (C, H, W), float64

    Raises
    ------
    ConfigurationError
        If the batch size is not positive.
    NetworkError
        If the network has no gradient, or it is not finite.
    """
    size = size_of_batch(batch_size) or _suggested(network, count)
    with keeping_gradient(network):
        for begin in starts:
            total = np.zeros(network.input_shape)
            for first in range(0, count, size):
                images = [image(number) for number in range(first, min(first + size, count))]
                batch = np.stack(images + images[-1:] * (size - len(images))).astype(np.float32)
                gradient = network.gradient(batch, begin.blob, begin.index)
                check_finite(network, gradient, "gradients")
                total += gradient[: len(images)].sum(axis=0, dtype=np.float64)
            yield total / count


def keeping_gradient(network: Predictor) -> AbstractContextManager[None]:
    """Meanwhile a network keeps the backward graph that it used last."""
    return network.keeping_gradient() if isinstance(network, Network) else nullcontext()


def _suggested(network: Predictor, count: int) -> int:
    # The activations, and the diff of each. Backward passes run on the CPU.
    numbers = 2 * sum(prod(shape) for shape in network.blobs.values()) + prod(network.input_shape)
    fit = photos_that_fit("cpu", numbers, _LARGEST_BATCH)
    return ceil(count / ceil(count / fit))  # nearly equal batches leave little to fill up
