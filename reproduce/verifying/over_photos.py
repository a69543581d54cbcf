"""From one number for each photo, network and seed to one measurement.

Photos are the independent units: networks and seeds are averaged within a photo first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from ..classifier import Classifier
from ..photos import Photo
from .interval import interval, spread
from .material import Material
from .measurement import Measurement, NotMeasurableError

#: Two terms of one photo before one network with one seed; the first less the second is what is measured.
Terms = Callable[[Photo, Classifier, int], tuple[float, float]]


def over_photos(photos: Sequence[Photo], values: ArrayLike, detail: str) -> Measurement:
    """The mean over photos of a pure number, and its 95 % interval.

    Parameters
    ----------
    photos : sequence of Photo
    values : ndarray, shape (photos,), float
        One for each photo, in order. A single one has no interval: nothing tells how much others would differ.
    detail : str
        What was measured, and against which null; the value of each photo is added.
    """
    numbers = np.asarray(values, np.float64).tolist()
    by_photo = ", ".join(f"{photo.name} {value:.3g}" for photo, value in zip(photos, numbers, strict=True))
    return Measurement.over(interval(numbers), detail=f"{detail}; by photo: {by_photo}")


def contrast(
    material: Material,
    terms: Terms,
    words: tuple[str, str],
    *,
    photos: Sequence[Photo] | None = None,
    classifiers: Sequence[Classifier] | None = None,
    seeds: Sequence[int] | None = None,
    note: str = "",
) -> Measurement:
    """How much larger one term is than another, which is its null or its rival.

    Parameters
    ----------
    material : Material
    terms : callable
        (photo, network, seed) -> both terms. Called photo by photo, and in each network by network.
    words : (str, str)
        What the terms are, for the detail.
    photos, classifiers, seeds : sequence, optional
        Default: all of the material's.
    note : str, optional
        What else the detail has to say.

    Returns
    -------
    Measurement
        The first term less the second: mean and interval over photos. The detail has both terms, the difference for
        each network and photo, and its spread over seeds (the mean over photos of their standard deviations).

    Raises
    ------
    NotMeasurableError
        If the networks are not there, or not trained.
    """
    photos = material.photos if photos is None else photos
    classifiers = material.networks() if classifiers is None else classifiers
    seeds = material.seeds if seeds is None else seeds
    pairs = np.array([[[terms(photo, network, seed) for seed in seeds] for network in classifiers] for photo in photos])
    first, second = pairs.mean(axis=(0, 1, 2))
    values = pairs[..., 0] - pairs[..., 1]
    by_network = ", ".join(
        f"{network.card.title} {value:.3g}"
        for network, value in zip(classifiers, values.mean(axis=(0, 2)), strict=True)
    )
    parts = [f"{words[0]} {first:.3g}, minus {words[1]} {second:.3g}", note, f"by network: {by_network}"]
    if len(seeds) > 1:
        spreads = [spread(by_seed.tolist()) for by_seed in values.mean(axis=1)]
        parts.append(f"spread over {len(seeds)} seeds {np.mean(spreads):.2g}")
    return over_photos(photos, values.mean(axis=(1, 2)), "; ".join(filter(None, parts)))


def two_seeds(material: Material) -> tuple[int, int]:
    """Two different seeds, the first.

    Raises
    ------
    NotMeasurableError
        If there is but one: then nothing tells what of a map is sampling noise.
    """
    first, *others = dict.fromkeys(material.seeds)
    if not others:
        raise NotMeasurableError(
            "expected two seeds, which tell a map from its sampling noise, found one; name several in claims.yaml"
        )
    return first, others[0]
