"""Whether the networks' highest class is what a photo shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...classifier import Classifier
from ..material import Material
from ..measurement import Measurement, NotMeasurableError
from ..registry import check


@check("top_class")
def top_class(material: Material, photos: Sequence[str]) -> Measurement:
    """Share of the pairs of photo and network in which the highest class is right.

    Exact: a count of what is here, which says nothing of other photos. Null: 1 in 1000, a class at random.

    Parameters
    ----------
    photos : sequence of str
        Names that claims.yaml has under ``recognised``, with the classes that are right.
    """
    return _share(material, {name: material.recognised[name] for name in photos}, material.networks())


@check("top_class_paper")
def top_class_paper(material: Material, photos: Mapping[str, Sequence[str]]) -> Measurement:
    """The same of the paper's own networks and photos.

    Parameters
    ----------
    photos : mapping
        Name of a photo in data/photos or path -> synset ids of the classes that the paper reports.
    """
    if not photos:
        raise NotMeasurableError(
            "the paper's photos are ImageNet's, which may not be passed on, and it does not say which they are; put "
            "them into data/photos and name them, with their classes, under this claim in claims.yaml"
        )
    networks = material.networks()
    for classifier in networks:
        if classifier.card.kind != "paper":
            raise NotMeasurableError(
                f"{classifier.card.title} only stands in for the paper's network; run `reproduce weights`"
            )
    return _share(material, photos, networks)


def _share(material: Material, photos: Mapping[str, Sequence[str]], networks: Sequence[Classifier]) -> Measurement:
    right, found = 0, []
    for name, synsets in photos.items():
        pixels = material.photo(name).pixels
        for classifier in networks:
            ((index, probability),) = classifier.best(classifier.preprocessing(pixels), 1)
            label = classifier.classes[index]
            right += label.synset in synsets
            found.append(f"{name}, {classifier.card.title}: {label.short} ({probability:.2f})")
    return Measurement(right / len(found), detail=f"{right} of {len(found)}; {'; '.join(found)}")
