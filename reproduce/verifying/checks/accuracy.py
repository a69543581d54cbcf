"""Accuracy on ILSVRC-2012's validation photos, for those who have them."""

from __future__ import annotations

from typing import Literal

from pydantic import PositiveInt

from ...accuracy import half_interval, measure_accuracy
from ...progress import Progress
from ..material import Material
from ..measurement import Measurement, NotMeasurableError
from ..registry import check
from ..trained import as_published

#: Share of the classes that has to occur among the labels. Of 5,000 photos drawn at random from a thousand classes, 7
#: classes are missing; of photos of a few classes nothing follows for the others, however many they are.
_CLASSES = 0.9


@check("accuracy")
def accuracy(material: Material, network: str, top: Literal[1, 5], least: PositiveInt) -> Measurement:
    """Share of the photos whose label is the highest class, or among the five highest, in percent.

    One centre crop each, as the network's card says. The interval allows for the draw of the photos; what decoder and
    resizing may cost is the claim's tolerance. What has been found of each photo is kept under the folder for results:
    it goes on where it was stopped.

    Parameters
    ----------
    network : str
        In models/.
    top : {1, 5}
    least : int
        Photos, with fewer of which any network would pass.
    """
    photos = material.labelled_photos
    classifier = as_published(material.classifier(network))
    published = classifier.card.accuracy
    expected = published.top1 if top == 1 else published.top5
    if expected is None:
        raise NotMeasurableError(f"no top-{top} accuracy of {classifier.card.title} has been published")
    # Before hours are spent.
    occurring = len({photo.label for photo in photos})
    if occurring < _CLASSES * len(classifier.classes):
        raise NotMeasurableError(
            f"the photos are of {occurring:,} of {len(classifier.classes):,} classes, and say nothing of the others; "
            f"take some of at least {_CLASSES:.0%} of the classes"
        )
    choices = material.request.choices
    with Progress(f"Accuracy, {classifier.card.title}", len(photos), "photos") as progress:
        found = measure_accuracy(
            classifier,
            photos,
            choices.out / "accuracy",
            choices.batch_size,
            lambda done, total: progress.to(done),
            choices.force,
        )
    value = found.top1 if top == 1 else found.top5
    if found.count < least:
        raise NotMeasurableError(
            f"{found.count:,} photos do not tell this network from others ({value:.1f} % of them): {least:,} do"
        )
    half = half_interval(expected, found.count)
    detail = f"{found.count:,} photos, {found.unreadable:,} more cannot be read; top-1 {found.top1:.2f} %"
    return Measurement(value, value - half, value + half, "%", f"{detail}, top-5 {found.top5:.2f} %", found.count)
