"""Networks as their publishers trained them: their own weights, and their own preprocessing."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

from .. import networks
from ..classifier import Classifier
from ..photos import Photo

#: A photo is recognised if one of so many highest classes is right.
_HIGHEST = 5


def as_published(classifier: Classifier) -> Classifier:
    """A network with its card's own preprocessing, whatever the variant does to photos.

    Authors' code: photos are not resized, which is none of what the network was trained and published with.
    """
    return dataclasses.replace(classifier, preprocessing=networks.preprocessing(classifier.card))


def untrained(
    classifier: Classifier, recognised: Mapping[str, Sequence[str]], read: Callable[[str], Photo]
) -> str | None:
    """None if a network's weights are the published ones and do what trained weights do; else the reason.

    The second counts, too, since a card can be edited: of the photos whose class is known, most must have it among the
    five highest. Random weights put one of three synsets there once in 67 photos.

    Parameters
    ----------
    classifier : Classifier
    recognised : mapping
        Names of photos whose class is known -> the synset ids that are right for it.
    read : callable
        From a name to the photo.
    """
    card = classifier.card
    if classifier.network.metadata.get("weights_sha256") != card.weights.sha256:
        return f"the weights of {card.title} are not the published ones, which the claim needs"
    published = as_published(classifier)
    missed = [name for name, synsets in recognised.items() if not _recognises(published, read(name), synsets)]
    if 2 * len(missed) >= len(recognised):
        return (
            f"{card.title} does not recognise {', '.join(missed)}, as if its weights were random; the claim needs "
            f"trained ones"
        )
    return None


def _recognises(classifier: Classifier, photo: Photo, synsets: Sequence[str]) -> bool:
    x = classifier.preprocessing(photo.pixels)
    return any(classifier.classes[index].synset in synsets for index, _ in classifier.best(x, _HIGHEST))
