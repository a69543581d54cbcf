"""ICLR 2017: what several networks see in one photo; rows are networks."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes

from predict_diff.plot import Palette

from ..config import Figure
from ..explanation import Explanation
from ..subject import Subject
from .drawing import Drawing
from .iclr import later_version
from .panels import GROUP, LABEL, TEXT_WIDTH, Panels, headline, label, settings_line, sheet, stand_ins
from .scene import Scene

#: Inches: the side of one of the four panels in a row; what a row's title, labels and colour bar take.
_SIDE, _LABELS = TEXT_WIDTH / 4 - 0.1, 0.52

#: What a bar takes of the room of a class, whose name stands above it.
_BAR = 0.35

_CAPTION = (
    "Conditional relevance of each pixel for the class that the network finds most probable, in bits, and the same "
    "over the photo; each map has its own scale of colours. On the right, the network's highest probabilities."
)


class Configuration(Figure):
    """What every figure has; a row for each network before each photo."""


def subjects(configuration: Configuration, scene: Scene) -> list[Subject]:
    """Every network before every photo."""
    return [
        scene.subject(photo, classifier, ("conditional",)) for photo in scene.photos for classifier in scene.classifiers
    ]


def draw(configuration: Configuration, explanations: list[Explanation], palette: Palette) -> Drawing:
    """Draw the figure."""
    below = (
        _CAPTION,
        settings_line(explanations, palette),
        later_version("iclr_networks", explanations),
        stand_ins(explanations),
    )
    picture = sheet(TEXT_WIDTH, len(explanations) * (_SIDE + _LABELS), configuration.title, *below)
    panels = Panels(palette)
    rows = picture.subfigures(len(explanations), 1, squeeze=False)[:, 0]
    for row, item in zip(rows, explanations, strict=True):
        row.suptitle(headline(item), fontsize=GROUP, parse_math=False)
        photo, alone, over, classes = row.subplots(1, 4)
        panels.photo(photo, item)
        panels.relevance(alone, item, "conditional")
        label(alone, "conditional")
        panels.overlay(over, item, "conditional")
        label(over, "conditional, over the photo")
        show_probabilities(classes, item.best)
        label(classes, "highest probabilities")
    return panels.drawing(picture)


def show_probabilities(ax: Axes, best: Sequence[tuple[str, float]]) -> Axes:
    """Classes and their probabilities, as bars from 0 to 1, the highest on top."""
    for place, (name, probability) in enumerate(best):
        ax.barh(place, probability, height=_BAR, color="0.45")
        ax.text(0, place - 0.6 * _BAR, f"{name}, {probability:.3f}", fontsize=LABEL, va="bottom", parse_math=False)
    ax.set(xlim=(0, 1), ylim=(len(best) - 0.5, -0.75), xticks=[0, 0.5, 1], yticks=[])
    ax.tick_params(labelsize=LABEL, length=1.5, width=0.4, pad=1)
    ax.set_box_aspect(1)
    for side, spine in ax.spines.items():
        spine.set_linewidth(0.4)
        spine.set_visible(side in ("left", "bottom"))
    return ax
