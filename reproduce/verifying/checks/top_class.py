"""Whether the networks' highest class is what a photo shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from predict_diff.errors import ConfigurationError, closest

from ...classifier import Classifier
from ...validation import Strict
from ..material import ROLES, Material
from ..measurement import Measurement, NotMeasurableError
from ..registry import check
from ..trained import as_published


class Reported(Strict):
    """Synset ids of the classes that the paper reports for one photo, network by network."""

    alexnet: list[str]
    googlenet: list[str]
    vgg16: list[str]


@check("top_class")
def top_class(material: Material, photos: Sequence[str]) -> Measurement:
    """Share of the pairs of photo and network in which the highest class is right.

    Exact: a count of what is here, which says nothing of other photos. Null: 1 in 1000, a class at random.

    Parameters
    ----------
    photos : sequence of str
        Names that claims.yaml has under ``recognised``, with the classes that are right.
    """
    right = right_synsets(photos, material.recognised)
    return _share(material, list(right), material.networks(), lambda name, classifier: right[name])


def right_synsets(photos: Sequence[str], recognised: Mapping[str, Sequence[str]]) -> dict[str, Sequence[str]]:
    """What claims.yaml has under ``recognised`` for some photos. ConfigurationError if it has none."""
    for name in photos:
        if name not in recognised:
            raise ConfigurationError(
                f"photos: expected names under recognised, such as {', '.join(list(recognised)[:3])}, found "
                f"'{name}'{closest(name, recognised)}; add its classes there"
            )
    return {name: recognised[name] for name in photos}


@check("top_class_paper")
def top_class_paper(material: Material, photos: Mapping[str, Reported]) -> Measurement:
    """Share of the pairs in which a network's highest class is what the paper reports, right or not.

    Of all three of the paper's own networks, and its own photos. Exact, as `top_class`.

    Parameters
    ----------
    photos : mapping
        Name of a photo in data/photos, or path -> what the paper reports of it.
    """
    if not photos:
        raise NotMeasurableError(
            "the paper's photos are ImageNet's, which may not be passed on, and it does not say which they are; put "
            "them into data/photos and name them, with their classes, under this claim in claims.yaml"
        )
    networks = [material.network(role) for role in ROLES]
    for classifier in networks:
        if classifier.card.kind != "paper":
            raise NotMeasurableError(
                f"{classifier.card.title} only stands in for the paper's network; run `reproduce weights`"
            )
    reported = {name: one.model_dump() for name, one in photos.items()}
    return _share(material, list(photos), networks, lambda name, classifier: reported[name][classifier.card.name])


def _share(
    material: Material,
    photos: Sequence[str],
    networks: Sequence[Classifier],
    expected: Callable[[str, Classifier], Sequence[str]],
) -> Measurement:
    """Of how many pairs the highest class is among the expected synsets; photos enter as the network's card says."""
    right, found = 0, []
    published = [as_published(classifier) for classifier in networks]
    for name in photos:
        pixels = material.photo(name).pixels
        for classifier in published:
            ((index, probability),) = classifier.best(classifier.preprocessing(pixels), 1)
            label = classifier.classes[index]
            right += label.synset in expected(name, classifier)
            found.append(f"{name}, {classifier.card.title}: {label.short} ({probability:.2f})")
    return Measurement(right / len(found), detail=f"{right} of {len(found)}; {'; '.join(found)}")
