"""Penultimate-layer maps of similar classes look alike, output-layer maps do not (figure 4)."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...classifier import Classifier
from ...photos import Photo
from ..material import Material
from ..measurement import Measurement
from ..over_photos import Terms, contrast
from ..registry import check
from ..standard_maps import output_maps, penultimate_maps, standard_maps
from ..statistics import rank_correlation

_LAYERS = ("penultimate layer", "output layer")


@check("similar_classes")
def similar_classes(material: Material) -> Measurement:
    """Mean rank correlation of the three highest classes' maps: penultimate (AD) less output layer (WE).

    Conditional sampling. Null: 0, classes look as much alike in one layer as in the other. All six maps come from one
    pass, as in the figure: they share samples, and with them noise. The detail has the same for maps that do not.
    """
    found = contrast(material, _terms(material, same_samples=True), _LAYERS)
    if len(set(material.seeds)) < 2:
        return found
    apart = contrast(material, _terms(material, same_samples=False), _LAYERS)
    return replace(found, detail=f"{found.detail}; {apart.value:.3g} with other samples for each class")


def _terms(material: Material, same_samples: bool) -> Terms:
    def terms(photo: Photo, classifier: Classifier, seed: int) -> tuple[float, float]:
        other = seed if same_samples else next(number for number in material.seeds if number != seed)
        maps = [standard_maps(material, photo, classifier, number) for number in (seed, other)]
        penultimate, output = ([of(found) for found in maps] for of in (penultimate_maps, output_maps))
        return _alike(*penultimate), _alike(*output)

    return terms


def _alike(first: NDArray[np.floating[Any]], second: NDArray[np.floating[Any]]) -> float:
    """Mean rank correlation of one class's map and another class's, of all pairs in (classes, H, W)."""
    return float(np.mean([rank_correlation(first[a], second[b]) for a, b in combinations(range(len(first)), 2)]))
