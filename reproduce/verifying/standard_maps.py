"""The maps that most claims are about: one pass for the three highest classes, with both samplers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..classifier import Classifier
from ..config import SamplerName
from ..explanation import Explanation
from ..photos import Photo
from .material import Material

#: How many of the highest classes one pass explains, each in the penultimate layer, and then each in the output layer.
CLASSES = 3

#: Both; asked for together wherever maps may still have to be computed.
SAMPLERS: tuple[SamplerName, ...] = ("marginal", "conditional")


def standard_maps(material: Material, photo: Photo, classifier: Classifier, seed: int) -> Explanation:
    """The maps of one photo before one network, stored once for all claims.

    Returns
    -------
    Explanation
        Its targets are the units of the three highest classes in the penultimate layer (AD), and then in the output
        layer (WE).
    """
    return material.explanation(photo, classifier, SAMPLERS, material.best_three(photo, classifier), seed=seed)


def penultimate_maps(explanation: Explanation, sampler: SamplerName = "conditional") -> NDArray[np.floating[Any]]:
    """(3, H, W): activation differences of the three highest classes' penultimate units."""
    return explanation.relevance[sampler].maps_of(slice(CLASSES))


def output_maps(explanation: Explanation, sampler: SamplerName = "conditional") -> NDArray[np.floating[Any]]:
    """(3, H, W): weights of evidence of the three highest classes, in bits, the highest class first."""
    return explanation.relevance[sampler].maps_of(slice(CLASSES, 2 * CLASSES))


def top_class_map(explanation: Explanation, sampler: SamplerName = "conditional") -> NDArray[np.floating[Any]]:
    """(H, W): weight of evidence of the highest class, in bits."""
    return np.asarray(output_maps(explanation, sampler)[0])
