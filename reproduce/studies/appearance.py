"""What a study's maps look like to people: the names of classes, and the photos below."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from predict_diff.caffe.preprocess import Preprocessing
from predict_diff.errors import PredictDiffError
from predict_diff.plot import Palette
from predict_diff.targets import Target

from ..classifier import Classifier
from ..jobs import Job, MapJob
from ..photos import Photo, read_photo

#: How many photos are kept, and how many views: jobs of one photo come one after the other, or nearly.
_PHOTOS, _VIEWS = 2, 8

Name = TypeVar("Name")
Value = TypeVar("Value")


class Appearance:
    """Of maps of which nothing is known: no names, no photos."""

    palette: Palette = "paper"

    def class_name(self, job: Job, target: Target) -> str:
        """The class that a target stands for, or an empty text."""
        return ""

    def view(self, job: Job) -> NDArray[np.float32] | None:
        """(H, W, 3) float32, RGB in [0, 1]: the photo as the network sees it; None if it cannot be shown."""
        return None


@dataclass(frozen=True, eq=False)
class Described:
    """What is kept of a network that has been opened.

    Attributes
    ----------
    preprocessing : Preprocessing
    blobs : tuple of str
        Those whose units are classes.
    classes : tuple of str
    """

    preprocessing: Preprocessing
    blobs: tuple[str, ...]
    classes: tuple[str, ...]

    @classmethod
    def of(cls, classifier: Classifier) -> Described:
        blobs = classifier.card.blobs.output, classifier.card.blobs.penultimate
        resolved = tuple(classifier.network.resolve(blob) for blob in blobs)
        return cls(classifier.preprocessing, resolved, tuple(label.short for label in classifier.classes))


class AppearanceOfMaps(Appearance):
    """Of maps of known networks, by name."""

    def __init__(self, networks: Mapping[str, Described], palette: Palette) -> None:
        self._networks, self.palette = networks, palette
        self._photos: OrderedDict[str, Photo] = OrderedDict()
        self._views: OrderedDict[tuple[str, str], NDArray[np.float32]] = OrderedDict()

    def class_name(self, job: Job, target: Target) -> str:
        known = self._networks.get(job.network) if isinstance(job, MapJob) else None
        if known is None or target.blob not in known.blobs or target.index[0] >= len(known.classes):
            return ""
        return known.classes[target.index[0]]

    def view(self, job: Job) -> NDArray[np.float32] | None:
        if not isinstance(job, MapJob) or job.network not in self._networks:
            return None
        place = job.photo, job.network
        if place not in self._views:
            try:
                if job.photo not in self._photos:
                    _keep(self._photos, job.photo, read_photo(job.photo), _PHOTOS)
                view = self._networks[job.network].preprocessing.view(self._photos[job.photo].pixels)
            except PredictDiffError:  # gone meanwhile: the map alone, then
                return None
            _keep(self._views, place, view, _VIEWS)
        return self._views[place]


def _keep(kept: OrderedDict[Name, Value], name: Name, value: Value, most: int) -> None:
    while len(kept) >= most:
        kept.popitem(last=False)
    kept[name] = value
