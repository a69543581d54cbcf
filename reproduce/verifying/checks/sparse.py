"""In the last convolutional layer, activations are very sparse across feature maps (figure 5)."""

from __future__ import annotations

import numpy as np

from predict_diff.measures import hoyer

from ...classifier import Classifier
from ...photos import Photo
from ..material import Material
from ..measurement import Measurement
from ..over_photos import contrast
from ..registry import check
from ..statistics import hoyer_of_exponential


@check("sparse")
def sparse(material: Material, blob: str = "last") -> Measurement:
    """Hoyer's sparseness of the feature maps' mean absolute activations, less that of exponential activations.

    Of GoogLeNet, or what stands in for it. Null: 0. With a given mean, exponential activations have the largest
    entropy: they are as spread as can be.

    Parameters
    ----------
    material : Material
    blob : str
        A blob of feature maps, or early, middle or last; the detail has the sparseness of these three.
    """
    network = material.network("googlenet")
    others = {role: network.spatial_blob(role) for role in ("early", "middle", "last")}
    by_blob = {
        role: np.mean([_sparseness(photo, network, name)[0] for photo in material.photos])
        for role, name in others.items()
    }
    note = ", ".join(f"{role} blob {others[role]} {value:.3g}" for role, value in by_blob.items())
    name = network.spatial_blob(blob)
    return contrast(
        material,
        lambda photo, classifier, seed: _sparseness(photo, classifier, name),
        (f"sparseness of {name}", "of exponential activations"),
        classifiers=[network],
        # Nothing is drawn.
        seeds=[0],
        note=note,
    )


def _sparseness(photo: Photo, classifier: Classifier, blob: str) -> tuple[float, float]:
    """Sparseness across feature maps, and its null for as many."""
    found = classifier.network.run(classifier.preprocessing(photo.pixels), blob)[blob][0]
    return hoyer(np.abs(found).mean(axis=(1, 2))), hoyer_of_exponential(len(found))
