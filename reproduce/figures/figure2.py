"""Figure 2: a column for each side k of the windows; the map, and below it the map over the photo."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, PositiveInt

from predict_diff.plot import Palette

from ..config import Figure
from ..explanation import Explanation
from ..subject import Subject
from .drawing import Drawing
from .panels import (
    COLUMN_WIDTH,
    GROUP,
    TEXT_WIDTH,
    Panels,
    beside_photo,
    headline,
    label,
    settings_line,
    sheet,
    stand_ins,
)
from .scene import Scene

#: How many panels a photo is wide. Inches: the side of a panel, five of which and the photo fill the text; what
#: labels, a colour bar and the title of a photo's panels take.
_PHOTO = 1.5
_SIDE, _LABELS = TEXT_WIDTH / (5 + _PHOTO), 0.52


class Configuration(Figure):
    """Fields as explained in figure2.yaml."""

    sides: Annotated[list[PositiveInt], Field(min_length=1, max_length=20)]


def subjects(configuration: Configuration, scene: Scene) -> list[Subject]:
    """Each photo before each network, once for each side."""
    return [
        scene.subject(photo, classifier, ("conditional",), settings=scene.with_side(side))
        for classifier in scene.classifiers
        for photo in scene.photos
        for side in configuration.sides
    ]


def draw(configuration: Configuration, explanations: list[Explanation], palette: Palette) -> Drawing:
    """Draw the figure."""
    count = len(configuration.sides)
    rows = [explanations[start : start + count] for start in range(0, len(explanations), count)]
    shows = (
        "Conditional sampling with windows of k x k pixels; below, the same maps over the photo. Weight of evidence "
        "for the class with the highest probability, in bits; each map has its own scale."
    )
    below = (shows, settings_line(explanations, palette), stand_ins(explanations))
    width = max(COLUMN_WIDTH, (_PHOTO + count) * _SIDE)
    picture = sheet(width, len(rows) * (2 * _SIDE + _LABELS), configuration.title, *below)
    panels = Panels(palette)
    for place, row in zip(picture.subfigures(len(rows), 1, squeeze=False)[:, 0], rows, strict=True):
        place.suptitle(headline(row[0]), fontsize=GROUP, parse_math=False)
        photo, grid = beside_photo(place, 2, count, _PHOTO)
        panels.photo(photo, row[0])
        for item, above, under in zip(row, *grid, strict=True):
            panels.relevance(above, item, "conditional")
            panels.overlay(under, item, "conditional")
            label(above, f"k = {item.settings.k}")
    return panels.drawing(picture)
