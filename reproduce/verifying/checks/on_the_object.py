"""The sensitivity map's top pixels lie on the object (figure 3), where the user says what the object is."""

from __future__ import annotations

import numpy as np

from predict_diff.errors import ImageError
from predict_diff.measures.regions import Mask, overlap
from predict_diff.top_pixels import top_pixels

from ... import home
from ...classifier import Classifier
from ...photos import MASK, Photo, entries, read_photo
from ..material import Material
from ..measurement import Measurement, NotMeasurableError
from ..over_photos import contrast
from ..overlaps import random_overlap
from ..registry import check


@check("on_the_object")
def on_the_object(material: Material) -> Measurement:
    """Share of the sensitivity map's top pixels on the object, less that of as many at random.

    Of the highest class, from its unit in the penultimate layer, over the photos that have a mask. Null: 0, for pixels
    that do not care for the object. None comes with the project: a mask drawn for this purpose would settle the verdict
    by how it is drawn.

    Raises
    ------
    NotMeasurableError
        If no photo has a mask.
    ImageError
        If a mask cannot be read, has another size than its photo, or marks nothing or everything.
    """
    network = material.network("alexnet")
    masks = {photo.name: mask for photo in material.photos if (mask := _mask(photo, network)) is not None}
    if not masks:
        raise NotMeasurableError(
            f"none of the photos has a mask of its object; put one at data/photos/<photo>{MASK}, of the photo's size, "
            f"white on the object"
        )

    def terms(photo: Photo, classifier: Classifier, seed: int) -> tuple[float, float]:
        target = material.best_three(photo, classifier)[:1]
        found = material.explanation(photo, classifier, (), target, seed=seed, sensitivity=True)
        sensitive = top_pixels(found.sensitivity[0])
        on = masks[photo.name]
        return overlap(sensitive, on), random_overlap(on, int(sensitive.sum())).mean

    photos = [photo for photo in material.photos if photo.name in masks]
    words = ("top pixels on the object", "as many at random")
    # Nothing is drawn.
    return contrast(material, terms, words, photos=photos, classifiers=[network], seeds=material.seeds[:1])


def _mask(photo: Photo, classifier: Classifier) -> Mask | None:
    """(H, W): what the network sees of the object; None if the user has no mask of this photo."""
    path = home.root() / "data" / "photos" / f"{photo.name}{MASK}"
    if path not in entries(path.parent):
        return None
    drawn = read_photo(path)
    (height, width), (rows, columns) = photo.pixels.shape[:2], drawn.pixels.shape[:2]
    if (rows, columns) != (height, width):
        raise ImageError(
            f"{drawn.source}: expected {width} x {height} pixels, as {photo.name} has, found {columns} x {rows}; save "
            f"the mask in the photo's size"
        )
    mask = np.asarray(classifier.preprocessing.view(drawn.pixels).mean(axis=2) > 0.5)
    if mask.all() or not mask.any():
        found = "white" if mask.all() else "black"
        raise ImageError(
            f"{drawn.source}: expected white on the object and black around it, found {found} all over the part that "
            f"{classifier.card.title} sees; draw it again, or delete it"
        )
    return mask
