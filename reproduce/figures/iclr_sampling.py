"""ICLR 2017: marginal beside conditional sampling, for the class that the network chose; in one scale of colours."""

from __future__ import annotations

from typing import get_args

import numpy as np

from predict_diff.plot import Palette

from ..config import Figure, SamplerName
from ..explanation import Explanation
from ..subject import Subject
from .drawing import Drawing
from .iclr import later_version
from .panels import GROUP, TEXT_WIDTH, Panels, headline, label, settings_line, sheet, stand_ins
from .scene import Scene

#: Inches: the side of one of the five panels in a row; what a row's title, labels and colour bars take.
_SIDE, _LABELS = TEXT_WIDTH / 5, 0.44

_CAPTION = (
    "Relevance of each pixel for the class with the highest probability, in bits, and the same over the photo. Both "
    "samplers' maps of a photo share one scale of colours, up to the largest absolute value of the two."
)


class Configuration(Figure):
    """What every figure has; a row for each photo before each network."""


def subjects(configuration: Configuration, scene: Scene) -> list[Subject]:
    """Every photo before every network, with both samplers."""
    return [
        scene.subject(photo, classifier, get_args(SamplerName))
        for classifier in scene.classifiers
        for photo in scene.photos
    ]


def draw(configuration: Configuration, explanations: list[Explanation], palette: Palette) -> Drawing:
    """Draw the figure."""
    below = (
        _CAPTION,
        settings_line(explanations, palette),
        later_version("iclr_sampling", explanations),
        stand_ins(explanations),
    )
    picture = sheet(TEXT_WIDTH, len(explanations) * (_SIDE + _LABELS), configuration.title, *below)
    panels = Panels(palette)
    rows = picture.subfigures(len(explanations), 1, squeeze=False)[:, 0]
    for row, item in zip(rows, explanations, strict=True):
        row.suptitle(headline(item), fontsize=GROUP, parse_math=False)
        first, *others = row.subplots(1, 5)
        panels.photo(first, item)
        limit = common_limit(item)
        for number, sampler in enumerate(get_args(SamplerName)):
            alone, over = others[2 * number : 2 * number + 2]
            panels.relevance(alone, item, sampler, limit=limit)
            label(alone, sampler)
            panels.overlay(over, item, sampler, limit=limit)
            label(over, f"{sampler}, over the photo")
    return panels.drawing(picture)


def common_limit(explanation: Explanation) -> float:
    """Where colours saturate in all maps of a photo: the largest absolute value, whatever the sampler."""
    return max(float(np.abs(found.maps).max()) for found in explanation.relevance.values())
