"""Figure 5: beside a photo, rows of feature maps; each row is a blob, from early to late."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from matplotlib.figure import SubFigure
from pydantic import Field

from predict_diff.plot import Palette

from ..config import Figure
from ..explanation import Explanation
from ..subject import Subject
from .drawing import Drawing
from .feature_maps import SAMPLER, Choice, largest, subjects_of
from .panels import (
    CAPTION,
    GROUP,
    TEXT_WIDTH,
    Panels,
    headline,
    label,
    settings_line,
    sheet,
    stand_ins,
)
from .scene import Scene

#: Maps in a row; the photo's width in theirs.
_COLUMNS, _PHOTO = 8, 1.5

#: Inches: a map; what stands above and below it; the title of a blob, or of a photo.
_MAP, _LABELS, _TITLE = TEXT_WIDTH / (_COLUMNS + _PHOTO), 0.1, 0.16

_KEY = (
    "Above each panel: the number of the feature map; below it: where its colours end. Relevance is the activation "
    "difference of the mean of the map's units (eq. 7), in units of activation."
)


class Configuration(Figure):
    blobs: Annotated[list[str], Field(min_length=1)]
    maps: Choice


def subjects(configuration: Configuration, scene: Scene) -> list[Subject]:
    """All feature maps of each blob."""
    return subjects_of(scene, configuration.blobs, configuration.maps)


def draw(configuration: Configuration, explanations: list[Explanation], palette: Palette) -> Drawing:
    """Draw the figure; what belongs to one photo before one network stands together."""
    count = len(configuration.blobs)
    blocks = [explanations[start : start + count] for start in range(0, len(explanations), count)]
    below = (_KEY, configuration.maps.describe(), settings_line(explanations, palette), stand_ins(explanations))
    chosen = {id(item): configuration.maps.choose([item]) for item in explanations}
    rows = -(-len(chosen[id(explanations[0])]) // _COLUMNS)
    block = _TITLE + count * (_TITLE + rows * (_MAP + _LABELS))
    picture = sheet(TEXT_WIDTH, len(blocks) * block, configuration.title, *below)
    panels = Panels(palette)
    for place, items in zip(picture.subfigures(len(blocks), 1, squeeze=False)[:, 0], blocks, strict=True):
        place.suptitle(headline(items[0]), fontsize=GROUP, parse_math=False)
        left, right = place.subfigures(1, 2, width_ratios=(_PHOTO, _COLUMNS))
        panels.photo(left.subplots(), items[0])
        for row, item in zip(right.subfigures(count, 1, squeeze=False)[:, 0], items, strict=True):
            _draw_blob(row, panels, item, chosen[id(item)], rows)
    return panels.drawing(picture)


def _draw_blob(place: SubFigure, panels: Panels, item: Explanation, numbers: Sequence[int], rows: int) -> None:
    title = f"{item.targets[0].blob}: {len(numbers)} of {len(item.targets)} feature maps"
    place.suptitle(title, fontsize=GROUP, parse_math=False)
    axes = place.subplots(rows, _COLUMNS, squeeze=False).ravel()
    for ax, number in zip(axes, numbers, strict=False):
        # A colour bar would be too small for its labels.
        panels.relevance(ax, item, SAMPLER, number, bar=False)
        label(ax, str(number))
        ax.set_xlabel(f"±{largest(item, number):.2g}", fontsize=CAPTION, labelpad=1)
    for ax in axes[len(numbers) :]:
        ax.set_axis_off()
