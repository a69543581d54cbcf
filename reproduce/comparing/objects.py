"""Where the object of a photo is, as the network sees the photo: from boxes and masks in the photo's own pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from predict_diff.errors import ImageError

from ..classifier import Classifier
from ..photos import Photo, read_photo
from ..photos_and_networks import folder_of, under
from .configuration import Region


def region_seen(region: Region, photo: Photo, classifier: Classifier, source: Path) -> NDArray[np.bool_]:
    """A region as a mask of what the network sees.

    Parameters
    ----------
    region : Region
    photo : Photo
    classifier : Classifier
    source : Path
        The YAML that says so, in whose folder relative paths of masks start.

    Returns
    -------
    ndarray, shape (H, W), bool
        A pixel counts if more than half of what it is made from lies in the region.

    Raises
    ------
    ImageError
        If a mask cannot be read or has another size than the photo, a box does not lie in the photo, or nothing or all
        of what the network sees lies in the region.
    """
    (height, width), where = photo.pixels.shape[:2], f"{source}: objects: {photo.name}"
    if region.mask is not None:
        drawn = read_photo(under(folder_of(source), region.mask))
        where, pixels = drawn.source, drawn.pixels
        if pixels.shape[:2] != (height, width):
            raise ImageError(
                f"{where}: expected {width} x {height} pixels, as {photo.name} has, found {pixels.shape[1]} x "
                f"{pixels.shape[0]}; save the mask in the photo's size"
            )
    else:
        row, column, rows, columns = region.box or (0, 0, 0, 0)
        if min(rows, columns) < 1 or row + rows > height or column + columns > width:
            raise ImageError(
                f"{where}: expected a box [row, column, height, width] inside the photo, {height} x "
                f"{width} pixels, found {region.box}; correct it"
            )
        pixels = np.zeros((height, width, 3), np.float32)
        pixels[row : row + rows, column : column + columns] = 1
    mask = np.asarray(classifier.preprocessing.view(pixels).mean(axis=2) > 0.5)
    if mask.all() or not mask.any():
        raise ImageError(
            f"{where}: expected an object in a part of {photo.name} as {classifier.card.title} sees it, found it "
            f"{'all over' if mask.all() else 'nowhere'}; correct the {'mask' if region.mask else 'box'}"
        )
    return mask
