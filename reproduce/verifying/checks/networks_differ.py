"""The three networks' explanations of one photo differ."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.transform import resize

from predict_diff.measures import rank_correlation

from ...classifier import Classifier
from ...photos import Photo
from ..material import Material
from ..measurement import Measurement, NotMeasurableError
from ..over_photos import over_photos, two_seeds
from ..registry import check
from ..standard_maps import standard_maps, top_class_map


@check("networks_differ")
def networks_differ(material: Material) -> Measurement:
    """Rank correlation of a network's map with itself for another seed, less that with another network's map.

    Of the highest class, conditional sampling, on the smallest network's input, for each pair of networks. Two networks
    have different samples, as two seeds have. Maps of two networks that differ in nothing but noise correlate as the
    geometric mean of what each does with itself. Null: 0, but not exactly: inputs of other sizes, of which a window
    covers another share, and maps resized to one size add to the difference, by how much is not known. So do photos to
    which networks give different classes; the detail counts these.

    Raises
    ------
    NotMeasurableError
        If there are fewer than two networks, or than two seeds.
    """
    networks, photos, seeds = material.networks(), material.photos, two_seeds(material)
    if len(networks) < 2:
        raise NotMeasurableError(f"expected at least two networks to compare, found {len(networks)}; name more")
    pairs = list(combinations(range(len(networks)), 2))
    values = np.array([_by_pair(_maps(material, photo, networks, seeds), pairs) for photo in photos])
    within, between = values.mean(axis=(0, 1))
    words = ", ".join(
        f"{networks[a].card.title} and {networks[b].card.title} {within - between:.3g}"
        for (a, b), (within, between) in zip(pairs, values.mean(axis=0), strict=True)
    )
    same = sum(len({_top_class(photo, network) for network in networks}) == 1 for photo in photos)
    detail = (
        f"between two seeds {within:.3g}, minus between networks {between:.3g}; by pair: {words}; all networks name "
        f"one class in {same} of {len(photos)} photos"
    )
    return over_photos(photos, values[..., 0].mean(axis=1) - values[..., 1].mean(axis=1), detail)


def _maps(material: Material, photo: Photo, networks: list[Classifier], seeds: tuple[int, int]) -> NDArray[np.float64]:
    """(networks, 2, H, W): the highest class's maps for both seeds, at the size of the smallest."""
    found = [[top_class_map(standard_maps(material, photo, network, seed)) for seed in seeds] for network in networks]
    size = min(maps[0].shape for maps in found)
    return np.array([[_resized(values, size) for values in maps] for maps in found])


def _resized(values: NDArray[np.floating[Any]], size: tuple[int, ...]) -> NDArray[np.float64]:
    return np.asarray(resize(values.astype(np.float64), size, order=1, anti_aliasing=True, preserve_range=True))


def _by_pair(maps: NDArray[np.float64], pairs: list[tuple[int, int]]) -> list[tuple[float, float]]:
    """For each pair of networks: their rank correlation but for what differs between them, and as it is."""
    # Noise may even turn a correlation negative: then nothing is left of the map.
    repeats = [max(0.0, rank_correlation(first, second)) for first, second in maps]
    crossed = [
        (rank_correlation(maps[a, 0], maps[b, 1]) + rank_correlation(maps[a, 1], maps[b, 0])) / 2 for a, b in pairs
    ]
    return [(float(np.sqrt(repeats[a] * repeats[b])), between) for (a, b), between in zip(pairs, crossed, strict=True)]


def _top_class(photo: Photo, network: Classifier) -> str:
    return network.describe_target(network.top(network.preprocessing(photo.pixels)))
