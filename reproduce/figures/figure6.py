"""Figure 6: rows are photos, columns are feature maps of one blob."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import SubFigure

from predict_diff.plot import Palette

from ..config import Figure
from ..explanation import Explanation
from ..subject import Subject
from .drawing import Drawing
from .feature_maps import SAMPLER, Choice, largest, subjects_of
from .panels import COLUMN_WIDTH, GROUP, TEXT_WIDTH, Panels, label, settings_line, sheet, stand_ins
from .scene import Scene

#: Maps beside a photo, at most, so that the labels of colour bars have room; more stand below.
_COLUMNS = 5

#: Inches: a panel, at most; what its label, or its colour bar, takes; the title of a network.
_PANEL, _LABELS, _TITLE = 1.35, 0.13, 0.3

_KEY = (
    "Left: the photo. Relevance is the activation difference of the mean of a feature map's units (eq. 7), in units of "
    "activation. Colours can be compared within a column: its panels share the limits that stand below it."
)


class Configuration(Figure):
    blob: str
    maps: Choice


def subjects(configuration: Configuration, scene: Scene) -> list[Subject]:
    """All feature maps of the blob, for every photo."""
    return subjects_of(scene, [configuration.blob], configuration.maps)


def draw(configuration: Configuration, explanations: list[Explanation], palette: Palette) -> Drawing:
    """Draw the figure; each network has maps of its own."""
    count = len(configuration.photos)
    blocks = []
    for start in range(0, len(explanations), count):
        items = explanations[start : start + count]
        numbers = configuration.maps.choose(items)
        blocks += [(items, numbers[first : first + _COLUMNS]) for first in range(0, len(numbers), _COLUMNS)]
    columns = 1 + max(len(numbers) for _, numbers in blocks)
    panel = min(_PANEL, TEXT_WIDTH / columns)
    below = (_KEY, configuration.maps.describe(), settings_line(explanations, palette), stand_ins(explanations))
    width = max(COLUMN_WIDTH, columns * panel)
    picture = sheet(width, len(blocks) * (_TITLE + count * (panel + _LABELS)), configuration.title, *below)
    panels = Panels(palette)
    for place, (items, numbers) in zip(picture.subfigures(len(blocks), 1, squeeze=False)[:, 0], blocks, strict=True):
        title = f"{items[0].classifier.card.title}, {items[0].targets[0].blob}: feature maps"
        place.suptitle(title, fontsize=GROUP, parse_math=False)
        _draw_block(place, panels, items, numbers, columns)
    return panels.drawing(picture)


def _draw_block(
    place: SubFigure, panels: Panels, items: Sequence[Explanation], numbers: Sequence[int], columns: int
) -> None:
    axes = place.subplots(len(items), columns, squeeze=False)
    limits = [max(largest(item, number) for item in items) for number in numbers]
    for row, item in zip(axes, items, strict=True):
        panels.photo(row[0], item)
        for ax, number, limit in zip(row[1:], numbers, limits, strict=False):
            panels.relevance(ax, item, SAMPLER, number, limit, bar=item is items[-1])
            if item is items[0]:
                label(ax, str(number))
        for ax in row[1 + len(numbers) :]:
            ax.set_axis_off()
