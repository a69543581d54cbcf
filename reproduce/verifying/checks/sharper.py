"""Conditional sampling gives sharper maps than marginal sampling."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...classifier import Classifier
from ...photos import Photo
from ..material import Material
from ..measurement import Measurement
from ..over_photos import contrast
from ..registry import check
from ..standard_maps import standard_maps, top_class_map
from ..statistics import share_in_top, total_variation

_WORDS = ("conditional", "marginal")


@check("sharper")
def sharper(material: Material) -> Measurement:
    """Share of the highest class's absolute relevance in the top 5 % of pixels: conditional less marginal.

    Null: 0, both maps equally sharp.
    """
    return _conditional_less_marginal(material, share_in_top)


@check("sharper_variation")
def sharper_variation(material: Material) -> Measurement:
    """Total variation at equal norm of the highest class's map: conditional less marginal.

    Null: 0. It asks for sharp steps wherever they lie, `sharper` for relevance in few places: they may disagree.
    Sampling noise is steps too, and adds to whichever map has more of it.
    """
    return _conditional_less_marginal(material, total_variation)


def _conditional_less_marginal(
    material: Material, statistic: Callable[[NDArray[np.floating[Any]]], float]
) -> Measurement:
    def terms(photo: Photo, classifier: Classifier, seed: int) -> tuple[float, float]:
        maps = standard_maps(material, photo, classifier, seed)
        return statistic(top_class_map(maps, "conditional")), statistic(top_class_map(maps, "marginal"))

    return contrast(material, terms, _WORDS)
