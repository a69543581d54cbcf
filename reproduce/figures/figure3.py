"""Figure 3: a column for each photo; the top pixels of its sensitivity map, and below those of its relevance map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from matplotlib.axes import Axes
from pydantic import Field, PositiveInt

from predict_diff.plot import Palette
from predict_diff.top_pixels import top_pixels

from ..config import Figure
from ..explanation import Explanation
from ..subject import Subject
from .drawing import Drawing
from .panels import (
    COLUMN_WIDTH,
    GROUP,
    LABEL,
    Panels,
    label,
    settings_line,
    sheet,
    shortened,
    stand_ins,
)
from .scene import Scene

#: Inches: what the words beside the rows take; the side of a panel, three of which fill a column of the paper; what a
#: photo's labels and the name of a network take.
_WORDS = 0.25
_SIDE, _LABELS = (COLUMN_WIDTH - _WORDS) / 3, 0.42

#: What each row shows, from above.
_ROWS = ("", "sensitivity map", "prediction difference")

#: Letters of a class's name that there is room for above a panel.
_LETTERS = 20


class Configuration(Figure):
    """Fields as explained in figure3.yaml."""

    k: PositiveInt
    share: Annotated[float, Field(gt=0, le=1)]


def subjects(configuration: Configuration, scene: Scene) -> list[Subject]:
    """Each photo before each network, for the highest class's unit in the penultimate layer."""
    settings = scene.with_side(configuration.k)
    found = []
    for classifier in scene.classifiers:
        for photo in scene.photos:
            unit = classifier.best_targets(classifier.preprocessing(photo.pixels), 1)[:1]
            found.append(scene.subject(photo, classifier, ("conditional",), unit, settings, sensitivity=True))
    return found


def draw(configuration: Configuration, explanations: list[Explanation], palette: Palette) -> Drawing:
    """Draw the figure."""
    count = len(configuration.photos)
    blocks = [explanations[start : start + count] for start in range(0, len(explanations), count)]
    shows = (
        f"White: the top {100 * configuration.share:.4g} % of the pixels by absolute value, of the sensitivity map and "
        f"of prediction difference analysis with conditional sampling. Both for the unit of the highest class, whose "
        f"name stands above, in the penultimate layer."
    )
    below = (shows, settings_line(explanations, None), stand_ins(explanations))
    width = max(COLUMN_WIDTH, _WORDS + count * _SIDE)
    picture = sheet(width, len(blocks) * (len(_ROWS) * _SIDE + _LABELS), configuration.title, *below)
    panels = Panels(palette)
    for place, block in zip(picture.subfigures(len(blocks), 1, squeeze=False)[:, 0], blocks, strict=True):
        place.suptitle(block[0].classifier.card.title, fontsize=GROUP, parse_math=False)
        axes = place.subplots(len(_ROWS), count, squeeze=False)
        for item, column in zip(block, axes.T, strict=True):
            _draw_column(panels, column, item, configuration.share)
        for ax, words in zip(axes[:, 0], _ROWS, strict=True):
            ax.set_ylabel(words, fontsize=LABEL, labelpad=2)
    return panels.drawing(picture)


def _draw_column(panels: Panels, axes: Sequence[Axes], item: Explanation, share: float) -> None:
    """The photo and both masks, keeping the maps that they are made from."""
    name = item.classifier.describe_target(item.targets[0])
    panels.photo(axes[0], item)
    label(axes[0], f"{shortened(item.photo.name)}\n{shortened(name, _LETTERS)}")
    relevance = panels.relevance_map(item, "conditional")
    panels.keep(item, "sensitivity", item.sensitivity[0], 0)
    for ax, method, values in ((axes[1], "sensitivity", item.sensitivity[0]), (axes[2], "conditional", relevance)):
        panels.mask(ax, item, f"{method}_mask", top_pixels(values, share), share=str(share))
