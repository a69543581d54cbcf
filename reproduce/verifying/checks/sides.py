"""Maps for different sides of the window are not simple averages of one another (figure 2)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...classifier import Classifier
from ...photos import Photo
from ..material import Material
from ..measurement import Measurement, NotMeasurableError
from ..over_photos import contrast, two_seeds
from ..registry import check
from ..statistics import box_average, unexplained

Map = NDArray[np.floating[Any]]

#: Paper: figure 2. The side that is averaged: k = 1 takes minutes a photo.
_AVERAGED = 5

#: r r' below this is too little to divide by: noise moves what is explained by some hundredths, and so the share by a
#: half.
_REPEATS = 0.1


@check("sides")
def sides(material: Material, k: int) -> Measurement:
    """Of what repeats in a map of side k, the share of variance that the averaged map of side 5 leaves unexplained.

    The map of k = 5 is averaged as Algorithm 1 averages, over the windows of the map of side k. Both have noise: an
    average that is right explains but r r' of the variance, where r and r' are the correlations of each with itself for
    another seed. So what is explained counts in relation to that; the two maps that are compared have different seeds,
    too. Null: 0, for a map that is a scaled average of the other. In practice a little more: windows that just add up
    what their pixels count, for pixels as smooth as a Gaussian with a deviation of 1 pixel or more, leave up to 0.06,
    by the steps between windows and since a map of k = 5 is averaged already.

    Parameters
    ----------
    material : Material
    k : int
        Above 5.

    Raises
    ------
    NotMeasurableError
        If there are fewer than two seeds, or r r' of a photo is below 0.1: its maps hardly repeat.
    """
    network = material.network("alexnet")
    seeds = two_seeds(material)

    def terms(photo: Photo, classifier: Classifier, seed: int) -> tuple[float, float]:
        other = seeds[1] if seed == seeds[0] else seeds[0]
        stride = material.settings(seed, k).stride
        target, again = (_map(material, photo, classifier, k, number) for number in (seed, other))
        averaged_again, averaged = (
            box_average(_map(material, photo, classifier, _AVERAGED, number), k, stride) for number in (seed, other)
        )
        explainable = _correlation(target, again) * _correlation(averaged, averaged_again)
        if explainable < _REPEATS:
            raise NotMeasurableError(
                f"maps of {photo.name} for k = {k} and {_AVERAGED} hardly repeat with other samples: {explainable:.2g} "
                f"of the variance, less than {_REPEATS}, is left for an average to explain; take more samples"
            )
        return 1.0, (1 - unexplained(target, averaged)) / explainable

    words = ("all that repeats", f"what the average of k = {_AVERAGED} explains of it")
    return contrast(material, terms, words, classifiers=[network], seeds=seeds)


def _map(material: Material, photo: Photo, classifier: Classifier, k: int, seed: int) -> Map:
    """(H, W): the highest class's weight of evidence, as figure 2 shows it."""
    found = material.explanation(photo, classifier, ("conditional",), k=k, seed=seed)
    return np.asarray(found.relevance["conditional"].maps[0])


def _correlation(a: Map, b: Map) -> float:
    """0 where it is negative: noise may turn a correlation, and then nothing of the map repeats."""
    explained = 1 - unexplained(a, b)
    return float(np.sqrt(explained)) if ((a - a.mean()) * (b - b.mean())).sum() > 0 else 0.0
