"""Pictures of the measures: curves with intervals over photos, what each measure says, and how alike methods are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure
from numpy.typing import NDArray

from predict_diff.plot import PALETTES, Palette

from ..figures.drawing import Drawing
from ..figures.panels import GROUP, LABEL, TEXT_WIDTH, Panels, label, sheet, shortened, wrapped
from ..progress import counted
from ..verifying.interval import interval
from .configuration import MeasureAsked
from .results import Results
from .summary import Direction

#: Curves in a row, and inches: the height of a row of curves, and of a method's line below.
_COLUMNS, _ROW, _LINE = 4, 1.35, 0.17

#: Inches of the agreement's cells; points of the numbers in them.
_CELL, _NUMBER = 0.27, 4.5

#: Measures in a row, at most: as many as have room for their headings and numbers.
_MEASURES = 6

#: Letters of a method's name for which there is room.
_LETTERS = 24

#: Width of a letter in its height, about.
_LETTER_WIDTH = 0.6

#: Absolute values whose colours are dark.
_DARK = 0.37

#: Of the two curves, in both palettes told apart by the colour-blind: pixels that are replaced, and revealed.
_CURVES = {"deletion": "#b2182b", "insertion": "#2166ac"}

#: Of the first, second and every further curve of one colour.
_DASHES = ("-", "--", "-.")

ARROWS: dict[Direction, str] = {"higher": " ↑", "lower": " ↓", "neither": ""}


def measures_figure(results: Results, palette: Palette) -> Drawing:
    """Draw deletion and insertion curves of each method, and the mean and interval of each measure."""
    curves = [measure for measure in results.measures if measure.key in _CURVES]
    names = [approach.name for approach in results.approaches]
    measures = results.measures
    rows = -(-len(names) // _COLUMNS) if curves else 0
    lines = -(-len(measures) // _MEASURES)
    heights = [rows * _ROW + 0.01, max(1, lines) * (len(names) * _LINE + 0.5)]
    photos = results.photos
    below = (
        f"Means over {counted(photos, 'photo')}{results.over_networks}; bands and bars: 95 % t-intervals over photos."
        + (
            " Curves: the probability of the class, from the photo while the most relevant pixels are replaced (red: "
            "deletion, lower is better), and from its baseline while they are revealed (blue: insertion, higher is "
            f"better){_other_curves(curves)}; grey, dotted: those of the random map."
            if curves
            else ""
        ),
        "Arrows: which values are better; none where a measure merely describes. Without a bar: of a single photo.",
    )
    picture = sheet(TEXT_WIDTH, sum(heights), f"{results.comparison.title}: measures", *below)
    above, beneath = picture.subfigures(2, 1, squeeze=False, height_ratios=heights)[:, 0]
    if curves:
        _draw_curves(above, results, curves, names, rows)
    if measures:
        _draw_measures(beneath, results, measures, names, lines)
    panels = Panels(palette)
    for outcome in results.cases:
        explanation = outcome.case.explanation
        for (method, measure), found in outcome.measured.items():
            for array, values in found.arrays.items():
                if values.ndim:
                    panels.keep(explanation, f"{measure} {method} {array}", values)
    return panels.drawing(picture)


def _draw_curves(
    place: SubFigure, results: Results, curves: Sequence[MeasureAsked], names: Sequence[str], rows: int
) -> None:
    cells = place.subplots(rows, _COLUMNS, sharex=True, sharey=True, squeeze=False).ravel()
    null = next((each.name for each in results.approaches if getattr(each, "kind", "") == "random"), None)
    for ax, name in zip(cells, names, strict=False):
        for measure in curves:
            colour, dashes = _CURVES[measure.key], _dashes(curves, measure)
            if null is not None and (known := _mean_curve(results, measure.name, null)) is not None:
                ax.plot(known[0], known[1], color="0.55", linewidth=0.7, linestyle=":")
            if (found := _mean_curve(results, measure.name, name)) is not None:
                ax.fill_between(found[0], found[2], found[3], color=colour, alpha=0.15, linewidth=0)
                ax.plot(found[0], found[1], color=colour, linewidth=1, linestyle=dashes)
        ax.set(xlim=(0, 1), ylim=(0, 1), xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
        label(ax, shortened(name, _LETTERS))
        _thin(ax)
    for ax in cells[len(names) :]:
        ax.set_axis_off()
    place.supxlabel("share of the pixels", fontsize=LABEL)
    place.supylabel("probability of the class", fontsize=LABEL)


def _dashes(curves: Sequence[MeasureAsked], measure: MeasureAsked) -> str:
    """How a curve is drawn that others of its colour are to be told from."""
    return _DASHES[min([each for each in curves if each.key == measure.key].index(measure), len(_DASHES) - 1)]


def _other_curves(curves: Sequence[MeasureAsked]) -> str:
    """Which curves are not drawn through, in words."""
    return "".join(
        f"; {words}: {', '.join(each.name for each in found)}"
        for dashes, words in (("--", "dashed"), ("-.", "dashes and dots"))
        if (found := [each for each in curves if _dashes(curves, each) == dashes])
    )


def _mean_curve(results: Results, measure: str, method: str) -> tuple[NDArray[np.float64], ...] | None:
    """Share of the pixels; mean, low and high of the probability there."""
    scores, fractions = results.curve(measure, method), results.curve(measure, method, "fractions")
    if scores is None or fractions is None:
        return None
    found = [interval(column.tolist()) for column in scores.T]
    return (
        fractions.mean(axis=0),
        *(np.array([getattr(each, end) for each in found]) for end in ("mean", "low", "high")),
    )


def _draw_measures(
    place: SubFigure, results: Results, measures: Sequence[MeasureAsked], names: Sequence[str], lines: int
) -> None:
    columns = -(-len(measures) // lines)
    cells = place.subplots(lines, columns, sharey=True, squeeze=False).ravel()
    for ax in cells[len(measures) :]:
        ax.set_axis_off()
    for ax, measure in zip(cells, measures, strict=False):
        found = results.summaries(measure.name)
        for line, name in enumerate(names):
            if name not in found:
                continue
            each = found[name].interval
            bold = found[name].best
            ax.plot(each.mean, line, "o", color="black", markersize=3.2 if bold else 2.4)
            if np.isfinite(each.low):
                ax.plot([each.low, each.high], [line, line], color="black", linewidth=1.4 if bold else 0.7)
        ax.set(ylim=(len(names) - 0.5, -0.5), yticks=range(len(names)))
        ax.set_yticklabels([shortened(name, _LETTERS) for name in names], parse_math=False)
        ax.grid(axis="y", color="0.9", linewidth=0.4)
        ax.set_axisbelow(True)
        ax.locator_params(axis="x", nbins=3)
        label(ax, wrapped(measure.title + ARROWS[measure.kind.direction], TEXT_WIDTH / (columns + 2), LABEL))
        _thin(ax)


def agreement_figure(results: Results, palette: Palette) -> Drawing:
    """Draw how alike the maps of methods are, each with each."""
    names = [approach.name for approach in results.approaches]
    short, side = [shortened(name, _LETTERS) for name in names], len(names) * _CELL
    below = (
        "Means over photos and networks. Where one of two maps only says how much pixels matter, the other's absolute "
        "values are compared with it. Unrelated maps: 0 on the left, 0.05 on the right.",
    )
    # Names stand upright below the cells, and beside them.
    room = max(0.9, max(map(len, short)) * LABEL * _LETTER_WIDTH / 72)
    width = max(TEXT_WIDTH, 2 * side + room + 1.5)
    picture = sheet(width, side + room + 0.2, f"{results.comparison.title}: how alike the maps are", *below)
    cells = picture.subplots(1, 2, sharey=True)
    titles = {"rank_correlation": "rank correlation", "top_overlap": "top 5 % of pixels in common"}
    for ax, (which, title) in zip(cells, titles.items(), strict=True):
        values = results.agreement(which)
        ax.imshow(values, cmap=PALETTES[palette], vmin=-1, vmax=1)
        for row, column in np.ndindex(values.shape):
            if np.isfinite(values[row, column]):
                shown = f"{values[row, column]:z.2f}".replace("-", "−")
                colour = "white" if abs(values[row, column]) > _DARK else "black"
                ax.text(column, row, shown, ha="center", va="center", fontsize=_NUMBER, color=colour)
        ax.set_xticks(range(len(names)), short, rotation=90, fontsize=LABEL - 0.5, parse_math=False)
        ax.set_yticks(range(len(names)), short, fontsize=LABEL - 0.5, parse_math=False)
        ax.set_title(title, fontsize=GROUP, pad=4)
        _thin(ax)
    panels = Panels(palette)
    for outcome in results.cases:
        explanation = outcome.case.explanation
        for which, matrix in outcome.agreement.items():
            panels.keep(explanation, which, matrix)
    return panels.drawing(picture)


def _thin(ax: Axes) -> None:
    ax.tick_params(labelsize=LABEL - 0.5, length=1.5, width=0.4, pad=1)
    for spine in ax.spines.values():
        spine.set_linewidth(0.4)
