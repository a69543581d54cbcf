"""One photo before one network: a row of panels for each target."""

from __future__ import annotations

from collections.abc import Sequence

from predict_diff.plot import Palette

from ..config import Panel
from ..explanation import Explanation
from .drawing import Drawing
from .panels import GROUP, TEXT_WIDTH, Panels, legend, settings_line, sheet

#: Inches: the side of a panel if six are as wide as the text; what a row's titles and colour bars take.
_SIDE, _LABELS = TEXT_WIDTH / 6, 0.5


def draw(explanation: Explanation, shown: Sequence[Panel], palette: Palette) -> Drawing:
    """Draw the figure."""
    rows, columns = len(explanation.targets), 1 + len(shown)
    width = columns * _SIDE
    best = ", ".join(f"{name} {probability:.3f}" for name, probability in explanation.best)
    title, below = (
        f"{explanation.classifier.card.title}: {best}",
        (legend(shown), settings_line([explanation], palette)),
    )
    picture = sheet(width, rows * (_SIDE + _LABELS), title, *below)
    panels = Panels(palette)
    cells = picture.subfigures(rows, 1, squeeze=False)[:, 0]
    for number, (cell, target) in enumerate(zip(cells, explanation.targets, strict=True)):
        found = next(iter(explanation.relevance.values()))
        words = explanation.classifier.describe_target(target)
        suffix = "" if words == str(target) else f" ({target})"
        unit = " Relevance in bits." if found.measures[number] == "WE" else ""
        cell.suptitle(f"{words}{suffix} = {found.known[number]:.3g}.{unit}", fontsize=GROUP, parse_math=False)
        panels.draw(cell.subplots(1, columns, squeeze=False)[0], shown, explanation, number)
    return panels.drawing(picture)
