"""Eq. 6, which marginalises any relation between input and a unit, is eq. 1 where the unit is a probability."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from predict_diff.algorithm import marginalise

from ...subject import Subject
from ..material import Material
from ..measurement import Measurement
from ..registry import check


@check("equation6")
def equation6(material: Material) -> Measurement:
    """Largest difference between the two expectations of the highest class's probability.

    Eq. 6 as Algorithm 1 computes it for any unit; eq. 1 as it is written: the network's output for every sample, each
    pasted into the photo by hand, and their mean. Of conditional samples, for nine windows all over each photo.
    Null: 0, but for rounding. The number is exact: no photo may be farther off.
    """
    largest, windows = 0.0, 0
    networks, photos = material.networks(), material.photos
    for classifier in networks:
        for photo in photos:
            subject = material.subject(photo, classifier, ("conditional",))
            scattered = subject.grid.scattered()
            sampler = subject.sampler("conditional")
            patches = sampler.sample(subject.x, scattered, subject.settings.samples, subject.settings.seed)
            expected, _ = marginalise(subject.x, subject.evaluator, scattered, patches)
            differences = np.abs(expected[0] - _by_hand(subject, scattered, patches))
            # Unlike max, it does not pass over NaN.
            largest, windows = float(np.maximum(largest, differences.max())), windows + len(scattered)
            subject.release()
    titles = ", ".join(classifier.card.title for classifier in networks)
    samples = material.settings(material.seeds[0]).samples
    return Measurement(
        largest, detail=f"{titles}; {len(photos)} photos; {windows} windows, {samples} conditional samples of each"
    )


def _by_hand(subject: Subject, windows: NDArray[np.int64], patches: NDArray[np.float32]) -> NDArray[np.float64]:
    """Eq. 1 for some windows, (n,): literally, one photo at a time.

    Parameters
    ----------
    windows : ndarray, shape (n, 2), int64
    patches : ndarray, shape (n, S, C, k, k), float32
    """
    network, (target,), k = subject.classifier.network, subject.targets, subject.settings.k
    expectations = []
    for (row, column), samples in zip(windows, patches, strict=True):
        total = 0.0
        for sample in samples:
            changed = subject.x.copy()
            changed[:, row : row + k, column : column + k] = sample
            total += float(network.run(changed, target.blob)[target.blob][0][target.index])
        expectations.append(total / len(samples))
    return np.array(expectations)
