"""The maps that most claims are about: one pass for the three highest classes, with both samplers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from predict_diff.result import RelevanceMap

from ..classifier import Classifier
from ..config import SamplerName
from ..explanation import Explanation
from ..photos import Photo
from .material import Material
from .measurement import NotMeasurableError

#: How many of the highest classes one pass explains, each in the penultimate layer, and then each in the output layer.
CLASSES = 3

#: Both; asked for together wherever maps may still have to be computed.
SAMPLERS: tuple[SamplerName, ...] = ("marginal", "conditional")


def standard_maps(
    material: Material, photo: Photo, classifier: Classifier, seed: int, samples: int | None = None
) -> Explanation:
    """The maps of one photo before one network, stored once for all claims.

    Parameters
    ----------
    samples : int, optional
        S. Default: that of the user's settings.

    Returns
    -------
    Explanation
        Its targets are the units of the three highest classes in the penultimate layer (AD), and then in the output
        layer (WE).
    """
    targets = material.best_three(photo, classifier)
    return material.explanation(photo, classifier, SAMPLERS, targets, samples=samples, seed=seed)


def penultimate_maps(explanation: Explanation, sampler: SamplerName = "conditional") -> NDArray[np.floating[Any]]:
    """(3, H, W): activation differences of the three highest classes' penultimate units."""
    return explanation.relevance[sampler].maps_of(slice(CLASSES))


def output_maps(explanation: Explanation, sampler: SamplerName = "conditional") -> NDArray[np.floating[Any]]:
    """(3, H, W): weights of evidence of the three highest classes, in bits, the highest class first."""
    return explanation.relevance[sampler].maps_of(slice(CLASSES, 2 * CLASSES))


def top_class_map(explanation: Explanation, sampler: SamplerName = "conditional") -> NDArray[np.floating[Any]]:
    """(H, W): weight of evidence of the highest class, in bits."""
    return np.asarray(output_maps(explanation, sampler)[0])


def noise_share(found: RelevanceMap, target: int) -> float:
    """Share of one target's squared relevance that is sampling noise: mean squared standard error over mean square.

    Relevance is an effect plus noise, whose variance the squared standard error estimates without bias, at any S of two
    or more.

    Returns
    -------
    float
        0 if samples agree, about 1 if there is no effect; 1 also for relevance that is zero everywhere.

    Raises
    ------
    NotMeasurableError
        At S = 1, where there are no standard errors.
    """
    relevance, error = found.relevance[target], found.standard_error[target]
    if np.isnan(error).any():
        raise NotMeasurableError("a single sample of each window does not tell an effect from noise; take two or more")
    power = float(np.square(relevance).mean())
    return float(np.square(error).mean()) / power if power else 1.0
