"""Accuracy of a network on labelled photos.

What has been found of each photo is kept in a file as soon as it is known, so that hours of work on 50,000 photos can
be stopped anywhere.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from predict_diff.errors import ConfigurationError, ImageError, NetworkError
from predict_diff.network.minibatch import suggested_batch_size

from .classifier import Classifier
from .imagenet import LabelledPhoto
from .photos import printable, read_photo
from .ranks import Ranks

logger = logging.getLogger(__name__)

#: Two-sided 95 % of a normal distribution, in standard errors.
_QUANTILE = 1.96

#: As many unreadable photos are named in the warning.
_NAMED = 10


@dataclass(frozen=True)
class Accuracy:
    """How often a network is right.

    Attributes
    ----------
    top1, top5 : float
        Share of the photos whose label is the most probable class, or among the five most probable, in percent.
    count : int
        Photos that were classified.
    unreadable : int
        Photos that could not be read; they are in none of the shares.
    """

    top1: float
    top5: float
    count: int
    unreadable: int


def half_interval(published: float, count: int) -> float:
    """How far the accuracy on some photos may be from the published one by chance alone, in percentage points.

    Half of the 95 % interval: 1.96 standard errors, the binomial sqrt(p (1 - p) / n) of n photos drawn at random, with
    p the published accuracy, which is what is doubted: with the measured one, three photos that are all right would
    have none. On all 50,000 photos it is 0.4. Photos of a few classes only are not drawn at random; nothing follows
    from them.

    Parameters
    ----------
    published : float
        In percent.
    count : int
        Photos that were measured; at least 1.
    """
    share = published / 100
    return _QUANTILE * 100 * math.sqrt(share * (1 - share) / count)


def measure_accuracy(
    classifier: Classifier,
    photos: Sequence[LabelledPhoto],
    store: Path,
    batch_size: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    force: bool = False,
) -> Accuracy:
    """Classify photos as the network's card says, one centre crop each.

    Parameters
    ----------
    classifier : Classifier
    photos : sequence of LabelledPhoto
        Each name once.
    store : Path
        Folder for the ranks found so far. The file in it is of this network, preprocessing, provider and precision;
        a later call with the same goes on where this one was stopped, whatever stopped it. A photo whose label or
        size in bytes has changed is classified anew, and so is the rest of its batch, so that a resumed run has the
        batches, and hence the numbers, of an uninterrupted one.
    batch_size : int, optional
        Photos in a batch; chosen from memory by default.
    progress : callable, optional
        Called with the photos done and all photos, after each batch.
    force : bool
        What is damaged of the file of ranks is found again.

    Raises
    ------
    ImageError
        If no photo can be read. Where some can, the others are named in one warning and excluded.
    ConfigurationError
        If a label is none of the network's classes, a name comes twice, or the batch size is not positive.
    NetworkError
        If the network does not give one probability for each class.
    ResultError
        If the file of ranks is another's, or cannot be read or written.
    """
    _check(classifier, photos, batch_size)
    known = Ranks(classifier, store, force)
    ranks: list[int] = []
    unreadable: dict[str, ImageError] = {}
    # Never larger than the set: a padded batch costs as much as a full one.
    size = min(batch_size or suggested_batch_size(classifier.network), len(photos))
    for start in range(0, len(photos), size):
        batch = photos[start : start + size]
        found = known.of(batch)
        inputs: dict[str, NDArray[np.float32]] = {}
        refused: dict[str, ImageError] = {}
        for photo in [photo for photo in batch if photo.name not in found]:
            _read(classifier, photo, inputs, refused)
        if inputs:
            # All of the batch, and in its order: the last bits of a probability depend on who else is in it.
            for photo in [photo for photo in batch if photo.name in found]:
                _read(classifier, photo, inputs, refused)
            found = _classify(classifier, batch, inputs, size)
            known.add([(photo, found[photo.name]) for photo in batch if photo.name in found])
        ranks += [found[photo.name] for photo in batch if photo.name in found]
        unreadable |= refused
        if progress is not None:
            progress(start + len(batch), len(photos))
    return _accuracy(ranks, unreadable)


def rank(probabilities: NDArray[np.floating], label: int) -> int:
    """How many classes come before a label: those more probable, and of equally probable ones those listed first."""
    own = probabilities[label]
    return int((probabilities > own).sum() + (probabilities[:label] == own).sum())


def _check(classifier: Classifier, photos: Sequence[LabelledPhoto], batch_size: int | None) -> None:
    if batch_size is not None and batch_size < 1:
        raise ConfigurationError(f"batch_size: expected a whole number from 1 on, found {batch_size}")
    if not photos:
        raise ImageError("accuracy: expected labelled photos, found none; name a folder with some")
    seen = set()
    for photo in photos:
        if not 0 <= photo.label < len(classifier.classes):
            raise ConfigurationError(
                f"{printable(photo.name)}: expected a label from 0 to {len(classifier.classes) - 1}, the classes of "
                f"{classifier.card.title}, found {photo.label}; use the labels of this network"
            )
        if photo.name in seen:
            raise ConfigurationError(
                f"{printable(photo.name)}: expected each photo once, found it twice; remove one of the two"
            )
        seen.add(photo.name)


def _read(
    classifier: Classifier,
    photo: LabelledPhoto,
    inputs: dict[str, NDArray[np.float32]],
    refused: dict[str, ImageError],
) -> None:
    """Put a photo into the inputs, or why that is not possible among the refused."""
    try:
        inputs[photo.name] = classifier.preprocessing(read_photo(photo.path.absolute()).pixels)
    except ImageError as problem:
        refused[photo.name] = problem


def _classify(
    classifier: Classifier, batch: Sequence[LabelledPhoto], inputs: dict[str, NDArray[np.float32]], size: int
) -> dict[str, int]:
    """The ranks of the labels of photos, by name. Every batch has the same shape; places without a photo are zero."""
    x = np.zeros((size, *classifier.network.input_shape), np.float32)
    for place, photo in enumerate(batch):
        if photo.name in inputs:
            x[place] = inputs[photo.name]
    blob = classifier.card.blobs.output
    probabilities = classifier.network.run(x, blob)[blob].reshape(size, -1)
    places = [place for place, photo in enumerate(batch) if photo.name in inputs]
    if probabilities.shape[1] != len(classifier.classes) or not np.isfinite(probabilities[places]).all():
        raise NetworkError(
            f"{classifier.card.title}: expected a finite probability for each of {len(classifier.classes)} classes in "
            f"blob '{blob}', found {probabilities.shape[1]} numbers, or NaN or infinity among them; try full precision"
        )
    return {batch[place].name: rank(probabilities[place], batch[place].label) for place in places}


def _accuracy(ranks: Sequence[int], unreadable: dict[str, ImageError]) -> Accuracy:
    if not ranks:
        reason = next(iter(unreadable.values()))
        raise ImageError(f"accuracy: expected photos that can be read, found none among {len(unreadable)}: {reason}")
    if unreadable:
        names = ", ".join(map(printable, list(unreadable)[:_NAMED])) + (", ..." if len(unreadable) > _NAMED else "")
        reason = next(iter(unreadable.values()))
        logger.warning("accuracy: %d photos cannot be read and are left out: %s (%s)", len(unreadable), names, reason)
    top1, top5 = (100 * sum(rank < best for rank in ranks) / len(ranks) for best in (1, 5))
    return Accuracy(top1, top5, len(ranks), len(unreadable))
