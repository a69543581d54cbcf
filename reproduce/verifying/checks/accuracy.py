"""Accuracy on ILSVRC-2012's validation photos, for those who have them."""

from __future__ import annotations

from typing import Literal

from ...accuracy import READING_TOLERANCE, compare, measure_accuracy
from ...progress import Progress
from ..material import Material
from ..measurement import Measurement, NotMeasurableError
from ..registry import check


@check("accuracy")
def accuracy(material: Material, network: str, top: Literal[1, 5], least: int) -> Measurement:
    """Share of the photos whose label is the highest class, or among the five highest, in percent.

    One centre crop each. The interval is that of `reproduce.accuracy.compare`, whose half point for the reading of
    photos is the claim's tolerance. What has been found of each photo is kept under the folder for results: it goes on
    where it was stopped.

    Parameters
    ----------
    network : str
        In models/.
    top : {1, 5}
    least : int
        Photos, with fewer of which any network would pass.
    """
    photos = material.labelled_photos
    classifier = material.classifier(network)
    choices = material.request.choices
    with Progress(f"Accuracy, {classifier.card.title}", len(photos), "photos") as progress:
        found = measure_accuracy(
            classifier,
            photos,
            choices.out / "accuracy",
            choices.batch_size,
            lambda done, total: progress.to(done),
        )
    published = classifier.card.accuracy
    value, expected = (found.top1, published.top1) if top == 1 else (found.top5, published.top5)
    if expected is None:
        raise NotMeasurableError(f"no top-{top} accuracy of {classifier.card.title} has been published")
    if found.count < least:
        raise NotMeasurableError(
            f"{found.count:,} photos do not tell this network from others ({value:.1f} % of them): {least:,} do"
        )
    half = compare(value, expected, found.count).allowed - READING_TOLERANCE
    detail = f"{found.count:,} photos, {found.unreadable:,} more cannot be read; top-1 {found.top1:.2f} %"
    return Measurement(value, value - half, value + half, "%", f"{detail}, top-5 {found.top5:.2f} %", found.count)
