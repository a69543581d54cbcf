"""Sensitivity maps of Simonyan et al.: where the score reacts most to a small change of a pixel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .network.predictor import Predictor
from .targets import Target


def sensitivity_map(
    network: Predictor, x: NDArray[np.float32], target: Target, from_activation: bool = False
) -> NDArray[np.float32]:
    """One backward pass from a unit to the photo.

    Parameters
    ----------
    network : Predictor
    x : ndarray, shape (C, H, W), float32
    target : Target
        A single unit. Paper: the class's unit in the penultimate layer.
    from_activation : bool, default False
        Start from the unit's activation instead of 1. Authors' code: this scales the map, and changes nothing else.

    Returns
    -------
    ndarray, shape (H, W), float32
        Maximum over channels of the absolute gradient.
    """
    target.check(network.blobs)
    scale = 1.0
    if from_activation:
        scale = float(network.run(x, target.blob)[target.blob][(0, *target.index)].mean())
    gradient = network.gradient(x, target.blob, target.index, scale)
    return np.asarray(np.abs(gradient).max(axis=0))
