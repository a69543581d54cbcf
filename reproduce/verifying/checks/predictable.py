"""Conditional sampling downweights pixels that are easily predicted from their neighbours."""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import NDArray

from predict_diff.samplers import GaussianSampler

from ...classifier import Classifier
from ...photos import Photo
from ..between_samplers import contrast_of_samplers
from ..material import Material
from ..measurement import Measurement
from ..registry import check
from ..standard_maps import CLASSES, SAMPLERS, standard_maps
from ..statistics import share_on_predictable, surprise

#: Windows whose conditional means are held at once; 10 MB at k = 10.
_AT_ONCE = 4096


@check("predictable")
def predictable(material: Material, samples: int) -> Measurement:
    """Share of the absolute relevance on the more predictable half of the windows: marginal less conditional.

    Of the highest class, by window. How predictable a window is says the Gaussian of eq. 5: its squared distance from
    the mean that its surround leads to expect. Null: 0, conditional sampling takes nothing off the predictable half.
    Noise is absolute relevance, too, on all windows: what is left of it at this S favours the map that has less of it.

    Parameters
    ----------
    material : Material
    samples : int
        S.
    """

    def terms(photo: Photo, classifier: Classifier, seed: int) -> tuple[float, float]:
        found = standard_maps(material, photo, classifier, seed, samples).relevance
        order = _surprises(material, photo, classifier, seed)
        marginal, conditional = (share_on_predictable(found[name].relevance[CLASSES], order) for name in SAMPLERS)
        return marginal, conditional

    return contrast_of_samplers(material, terms, ("marginal", "conditional"), samples)


def _surprises(material: Material, photo: Photo, classifier: Classifier, seed: int) -> NDArray[np.float64]:
    """(n,): how badly the surround predicts each window of the photo's grid."""
    targets = material.best_three(photo, classifier)
    subject = material.subject(photo, classifier, SAMPLERS, targets, seed=seed)
    gaussian = cast(GaussianSampler, subject.sampler("conditional"))
    x, k, windows = subject.x, subject.settings.k, subject.grid.positions
    parts = [windows[start : start + _AT_ONCE] for start in range(0, len(windows), _AT_ONCE)]
    return np.concatenate([surprise(x, part, k, gaussian.conditional_mean(x, part)) for part in parts])
