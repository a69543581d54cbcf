"""Figure 4: a column for each of the highest classes; in the penultimate layer, and below in the output layer."""

from __future__ import annotations

from typing import Annotated

from numpy.typing import NDArray
from pydantic import Field

from predict_diff.plot import Palette

from ..config import Figure
from ..explanation import Explanation
from ..subject import Subject
from .drawing import Drawing
from .panels import (
    COLUMN_WIDTH,
    GROUP,
    LABEL,
    TEXT_WIDTH,
    Panels,
    beside_photo,
    headline,
    label,
    settings_line,
    sheet,
    shortened,
    stand_ins,
)
from .scene import Scene

#: How many panels a photo is wide. Inches: the side of a panel, three of which and the photo fill the text; what
#: labels, colour bars and the title of a photo's panels take.
_PHOTO = 1.2
_SIDE, _LABELS = TEXT_WIDTH / (3 + _PHOTO), 0.8

#: Letters of a class's name that there is room for above a panel.
_LETTERS = 24

#: What is shown in each row, from above.
_LAYERS = ("penultimate layer", "output layer")

_MEASURES = {"WE": "weight of evidence, bits", "AD": "activation difference"}


class Configuration(Figure):
    """Fields as explained in figure4.yaml."""

    classes: Annotated[int, Field(ge=1, le=20)]


def subjects(configuration: Configuration, scene: Scene) -> list[Subject]:
    """Each photo before each network; all classes in both layers are explained in one pass."""
    found = []
    for classifier in scene.classifiers:
        for photo in scene.photos:
            # Authors' code: the last blob gets weight of evidence, hence the output layer comes last.
            targets = classifier.best_targets(classifier.preprocessing(photo.pixels), configuration.classes)
            found.append(scene.subject(photo, classifier, ("conditional",), targets))
    return found


def draw(configuration: Configuration, explanations: list[Explanation], palette: Palette) -> Drawing:
    """Draw the figure."""
    shows = (
        "The classes with the highest scores, conditional sampling: above for their units in the penultimate layer, "
        "below for those in the output layer. Above each map the value of the unit, below it its scale."
    )
    below = (shows, settings_line(explanations, palette), stand_ins(explanations))
    width = max(COLUMN_WIDTH, (_PHOTO + configuration.classes) * _SIDE)
    picture = sheet(width, len(explanations) * (2 * _SIDE + _LABELS), configuration.title, *below)
    panels = Panels(palette)
    places = picture.subfigures(len(explanations), 1, squeeze=False)[:, 0]
    for place, item in zip(places, explanations, strict=True):
        place.suptitle(headline(item), fontsize=GROUP, parse_math=False)
        photo, grid = beside_photo(place, len(_LAYERS), configuration.classes, _PHOTO)
        panels.photo(photo, item)
        _draw_maps(panels, grid, item)
    return panels.drawing(picture)


def _draw_maps(panels: Panels, grid: NDArray, item: Explanation) -> None:
    """The map of each target, under its class's name and its value."""
    found = item.relevance["conditional"]
    for number, (target, ax) in enumerate(zip(item.targets, grid.ravel(), strict=True)):
        panels.relevance(ax, item, "conditional", number)
        name = shortened(item.classifier.describe_target(target), _LETTERS)
        label(ax, f"{name}: {found.known[number]:#.3g}")
    for ax, layer, measure in zip(grid[:, 0], _LAYERS, found.measures[:: grid.shape[1]], strict=True):
        ax.set_ylabel(f"{layer}\n{_MEASURES[measure]}", fontsize=LABEL, labelpad=2)
