"""Penultimate-layer maps of similar classes look alike, output-layer maps do not (figure 4)."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from predict_diff.measures import rank_correlation

from ...classifier import Classifier
from ...photos import Photo
from ..material import Material
from ..measurement import Measurement
from ..over_photos import contrast, two_seeds
from ..registry import check
from ..standard_maps import CLASSES, output_maps, penultimate_maps, standard_maps

Maps = NDArray[np.floating[Any]]

#: Pairs of different classes, and of each class with itself.
_PAIRS = list(combinations(range(CLASSES), 2))
_ITSELF = [(number, number) for number in range(CLASSES)]

_PENULTIMATE, _OUTPUT = "penultimate layer", "output layer"


@check("similar_classes")
def similar_classes(material: Material) -> Measurement:
    """Mean rank correlation of the three highest classes' maps: penultimate (AD) less output layer (WE).

    Conditional sampling. Null: 0, classes look as much alike in one layer as in the other. The maps of two classes have
    different seeds: those of one pass share samples, and with them noise, which looks alike, too. Noise lowers both
    layers' correlations, each by its own; the detail has how well each layer's maps repeat, and what maps of one pass
    give.

    Raises
    ------
    NotMeasurableError
        If there are fewer than two seeds.
    """
    seeds = two_seeds(material)
    shared, itself = [], []

    def terms(photo: Photo, classifier: Classifier, seed: int) -> tuple[float, float]:
        found, other = (standard_maps(material, photo, classifier, number) for number in _with_other(seed, seeds))
        layers = [(of(found), of(other)) for of in (penultimate_maps, output_maps)]
        shared.append([_mean_correlation(maps, maps, _PAIRS) for maps, _ in layers])
        itself.append([_mean_correlation(maps, again, _ITSELF) for maps, again in layers])
        penultimate, output = (_mean_correlation(maps, others, _PAIRS) for maps, others in layers)
        return penultimate, output

    found = contrast(material, terms, (_PENULTIMATE, _OUTPUT), seeds=seeds)
    repeats, together = np.mean(itself, axis=0), np.mean(shared, axis=0)
    return replace(
        found,
        detail=f"{found.detail}; a class with itself {repeats[0]:.3g} and {repeats[1]:.3g}; "
        f"{together[0] - together[1]:.3g} with the same samples for all classes",
    )


@check("similar_classes_penultimate")
def similar_classes_penultimate(material: Material) -> Measurement:
    """Mean rank correlation of the three highest classes' penultimate maps; samples and errors as `similar_classes`.

    Null: 0, maps that have nothing to do with each other. That they are of one photo may make them alike by itself,
    which is why the claim above compares layers.
    """
    seeds = two_seeds(material)

    def terms(photo: Photo, classifier: Classifier, seed: int) -> tuple[float, float]:
        maps, others = (
            penultimate_maps(standard_maps(material, photo, classifier, number)) for number in _with_other(seed, seeds)
        )
        return _mean_correlation(maps, others, _PAIRS), 0.0

    return contrast(material, terms, (_PENULTIMATE, "unrelated maps"), seeds=seeds)


def _with_other(seed: int, seeds: tuple[int, int]) -> tuple[int, int]:
    return seed, seeds[1] if seed == seeds[0] else seeds[0]


def _mean_correlation(first: Maps, second: Maps, pairs: list[tuple[int, int]]) -> float:
    """Mean rank correlation of classes' maps (classes, H, W) in the first, and in the second."""
    return float(np.mean([rank_correlation(first[a], second[b]) for a, b in pairs]))
