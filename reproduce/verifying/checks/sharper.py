"""Conditional sampling gives sharper maps than marginal sampling."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from predict_diff.measures import share_in_top, total_variation

from ...classifier import Classifier
from ...photos import Photo
from ..between_samplers import contrast_of_samplers
from ..material import Material
from ..measurement import Measurement
from ..registry import check
from ..standard_maps import standard_maps, top_class_map

_WORDS = ("conditional", "marginal")


@check("sharper")
def sharper(material: Material, samples: int) -> Measurement:
    """Share of the highest class's absolute relevance in the top 5 % of pixels: conditional less marginal.

    Null: 0, both maps equally sharp. Noise spreads relevance over all pixels: what is left of it at this S favours the
    map that has less of it.

    Parameters
    ----------
    material : Material
    samples : int
        S.
    """
    return _conditional_less_marginal(material, share_in_top, samples)


@check("sharper_variation")
def sharper_variation(material: Material, samples: int) -> Measurement:
    """Total variation at equal norm of the highest class's map: conditional less marginal; parameters as `sharper`.

    Null: 0. It asks for sharp steps wherever they lie, `sharper` for relevance in few places: they may disagree.
    Sampling noise is steps too, and adds to whichever map has more of it.
    """
    return _conditional_less_marginal(material, total_variation, samples)


def _conditional_less_marginal(
    material: Material, statistic: Callable[[NDArray[np.floating[Any]]], float], samples: int
) -> Measurement:
    def terms(photo: Photo, classifier: Classifier, seed: int) -> tuple[float, float]:
        maps = standard_maps(material, photo, classifier, seed, samples)
        return statistic(top_class_map(maps, "conditional")), statistic(top_class_map(maps, "marginal"))

    return contrast_of_samplers(material, terms, _WORDS, samples)
