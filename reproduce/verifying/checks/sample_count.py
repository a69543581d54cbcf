"""S = 10 and S = 20 make no significant difference (ICLR 2017)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from predict_diff.measures import rank_correlation
from predict_diff.result import RelevanceMap

from ...explanation import Explanation
from ...photos import Photo
from ..material import Material
from ..measurement import Measurement
from ..over_photos import over_photos, two_seeds
from ..registry import check
from ..standard_maps import CLASSES, standard_maps, top_class_map

#: Of a normal distribution, 5 % lie further out.
_DEVIATIONS = 1.96


@check("sample_count")
def sample_count(material: Material, counts: Sequence[int] = (10, 20), photos: int = 3) -> Measurement:
    """Rank correlation of the highest class's maps with few and with many samples.

    AlexNet, or what stands in for it; conditional sampling. Seeds differ, since with one seed the first samples are the
    same; the maps with many samples are those that tell the samplers apart. The detail has the share of windows whose
    relevances differ by more than chance allows: 5 % by chance.

    Parameters
    ----------
    material : Material
    counts : sequence of int
        S of the one and of the other.
    photos : int
        How many, the first: a map at S = 10 takes five times as long as the quick maps of other claims.

    Raises
    ------
    NotMeasurableError
        If there are fewer than two seeds.
    """
    network, seeds = material.network("alexnet"), two_seeds(material)

    def maps(photo: Photo) -> list[Explanation]:
        targets = material.best_three(photo, network)
        few = material.explanation(photo, network, ("conditional",), targets, samples=counts[0], seed=seeds[1])
        # Both samplers, though one is looked at: as the claims about samplers ask for them, so that they are shared.
        return [few, standard_maps(material, photo, network, seeds[0], counts[1])]

    chosen = material.photos[:photos]
    found = [maps(photo) for photo in chosen]
    correlations = [rank_correlation(*map(top_class_map, pair)) for pair in found]
    significant = np.mean([_significant(*(one.relevance["conditional"] for one in pair)) for pair in found])
    detail = (
        f"S = {counts[0]} and S = {counts[1]}; of the windows, {significant:.3g} differ by more than {_DEVIATIONS} "
        f"standard errors (0.05 by chance)"
    )
    return over_photos(chosen, correlations, detail)


def _significant(few: RelevanceMap, many: RelevanceMap) -> float:
    """Share of windows whose relevances for the highest class differ by more than their standard errors allow."""
    difference = np.abs(few.relevance[CLASSES] - many.relevance[CLASSES])
    error = np.hypot(few.standard_error[CLASSES], many.standard_error[CLASSES])
    return float((difference > _DEVIATIONS * error).mean())
