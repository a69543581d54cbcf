"""One photo before one network: a row of panels for each target."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure as Picture

from predict_diff.plot import Palette

from ..config import Panel
from ..runner import Explanation
from .panels import PANEL, PANEL_HEIGHT, caption, draw_panels


def draw(explanation: Explanation, panels: Sequence[Panel], palette: Palette = "paper") -> Picture:
    """Draw the figure."""
    rows, columns = len(explanation.targets), 1 + len(panels)
    picture = Picture(figsize=(columns * PANEL + 0.2, rows * (PANEL_HEIGHT + 0.3) + 0.9), layout="constrained")
    best = ", ".join(f"{name} {probability:.3f}" for name, probability in explanation.best)
    picture.suptitle(f"{explanation.classifier.card.title}: {best}", fontsize=10, parse_math=False)
    picture.supxlabel(caption([explanation]), fontsize=7)
    cells = picture.subfigures(rows, 1, squeeze=False)[:, 0]
    for number, (cell, target) in enumerate(zip(cells, explanation.targets, strict=True)):
        known = next(iter(explanation.relevance.values())).known[number]
        words = explanation.classifier.describe_target(target)
        suffix = "" if words == str(target) else f" ({target})"
        cell.suptitle(f"{words}{suffix} = {known:.3g}", fontsize=9, parse_math=False)
        draw_panels(cell.subplots(1, columns, squeeze=False)[0], panels, explanation, number, palette)
    return picture
