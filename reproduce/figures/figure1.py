"""Figure 1: rows are photos, groups of columns are networks; in each group the panels (a) to (e)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from predict_diff.plot import Palette

from ..config import Figure, Panel, samplers_of
from ..explanation import Explanation
from ..subject import Subject
from .drawing import Drawing
from .panels import GROUP, TEXT_WIDTH, Panels, headline, legend, settings_line, sheet, stand_ins
from .scene import Scene

#: Inches: the width of three groups fills the text; what a panel's label and colour bar take; the title of a group.
_GROUP_WIDTH, _LABELS, _GROUP_TITLE = TEXT_WIDTH / 3, 0.27, 0.22


class Configuration(Figure):
    panels: Annotated[list[Panel], Field(min_length=1)]


def subjects(configuration: Configuration, scene: Scene) -> list[Subject]:
    """Every photo before every network, for the class that the network chose."""
    samplers = samplers_of(configuration.panels)
    return [
        scene.subject(photo, classifier, samplers, sensitivity="sensitivity" in configuration.panels)
        for classifier in scene.classifiers
        for photo in scene.photos
    ]


def draw(configuration: Configuration, explanations: list[Explanation], palette: Palette) -> Drawing:
    """Draw the figure."""
    photos = list(dict.fromkeys(item.photo.source for item in explanations))
    networks = list(dict.fromkeys(item.classifier.name for item in explanations))
    by_place = {(item.photo.source, item.classifier.name): item for item in explanations}
    columns = -(-(len(configuration.panels) + 1) // 2)
    below = (legend(configuration.panels) + " In bits.", settings_line(explanations, palette), stand_ins(explanations))
    width = len(networks) * _GROUP_WIDTH
    cell = 2 * (_GROUP_WIDTH / columns + _LABELS) + _GROUP_TITLE
    picture = sheet(width, len(photos) * cell, configuration.title, *below)
    panels = Panels(palette)
    cells = picture.subfigures(len(photos), len(networks), squeeze=False)
    for row, photo in enumerate(photos):
        for column, network in enumerate(networks):
            item, place = by_place[photo, network], cells[row, column]
            place.suptitle(headline(item), fontsize=GROUP, parse_math=False)
            panels.draw(place.subplots(2, columns, squeeze=False).ravel(), configuration.panels, item)
    return panels.drawing(picture)
