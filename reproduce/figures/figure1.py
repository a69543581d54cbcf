"""Figure 1: rows are photos, groups of columns are networks; in each group the panels (a) to (e)."""

from __future__ import annotations

from matplotlib.figure import Figure as Picture

from predict_diff.plot import Palette

from ..config import Figure
from ..runner import Explanation
from .panels import PANEL, PANEL_HEIGHT, caption, draw_panels, stand_ins

#: Inches: title of a group, title and caption of the figure, gap between groups.
_GROUP_TITLE, _AROUND, _GAP = 0.3, 0.9, 0.25


def draw(configuration: Figure, explanations: list[Explanation], palette: Palette = "paper") -> Picture:
    """Draw the figure.

    Parameters
    ----------
    configuration : Figure
        Which panels, in which order.
    explanations : list of Explanation
        One for each network and photo.
    palette : {"paper", "safe"}
    """
    photos = list(dict.fromkeys(item.photo.source for item in explanations))
    networks = list(dict.fromkeys(item.classifier.name for item in explanations))
    by_place = {(item.photo.source, item.classifier.name): item for item in explanations}
    columns = -(-(len(configuration.panels) + 1) // 2)
    width = len(networks) * (columns * PANEL + _GAP)
    height = len(photos) * (2 * PANEL_HEIGHT + _GROUP_TITLE) + _AROUND
    picture = Picture(figsize=(width, height), layout="constrained")
    picture.suptitle(f"Figure {configuration.number}. {configuration.title}", fontsize=12)
    picture.supxlabel(f"{caption(explanations)}\n{stand_ins(explanations)}".rstrip(), fontsize=8)
    cells = picture.subfigures(len(photos), len(networks), squeeze=False)
    for row, photo in enumerate(photos):
        for column, network in enumerate(networks):
            item, cell = by_place[photo, network], cells[row, column]
            name, probability = item.best[0]
            cell.suptitle(f"{item.classifier.card.title}: {name}, p = {probability:.3f}", fontsize=10, parse_math=False)
            axes = cell.subplots(2, columns, squeeze=False).ravel()
            draw_panels(axes, configuration.panels, item, palette=palette)
    return picture
