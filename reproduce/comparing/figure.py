"""The maps of all methods, photos in rows and methods in columns; a figure for each network."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from predict_diff.plot import Palette, show_relevance, show_sensitivity

from ..figures.drawing import Drawing
from ..figures.panels import LABEL, Panels, label, sheet, shortened, stand_ins, wrapped
from .approaches import Says
from .results import Results

#: Inches: the side of a panel; what a row's labels take, and the names of methods above the first.
_SIDE, _LABELS, _NAMES = 0.98, 0.06, 0.3

#: One extreme pixel must not pale all others: colours saturate at this percentile of a map's absolute values.
_SATURATED = 99.5

_COLOURS = {"paper": "red for, blue against the class", "safe": "orange for, violet against the class"}


def maps_figure(results: Results, network: str, palette: Palette) -> Drawing:
    """Draw the maps before one network."""
    outcomes, approaches = results.outcomes[network], results.approaches
    card = outcomes[0].case.classifier.card
    explanations = [outcome.case.explanation for outcome in outcomes]
    below = (
        f"What speaks for and against the class that {card.title} finds most probable. Signed maps: "
        f"{_COLOURS[palette]}, white: neither. Maps that only say how much a pixel counts, or only what speaks for the "
        f"class: grey, from the least (black) to the most (white). Each map has its own scale, which saturates at the "
        f"{_SATURATED} % percentile.",
        settings_line(results, network),
        stand_ins(explanations) if results.is_stand_in(network) else "",
    )
    width = (1 + len(approaches)) * _SIDE
    picture = sheet(
        width, len(outcomes) * (_SIDE + _LABELS) + _NAMES, f"{results.comparison.title}: {card.title}", *below
    )
    picture.set_layout_engine("constrained", w_pad=0.03, h_pad=0.02, wspace=0, hspace=0)
    cells = picture.subplots(len(outcomes), 1 + len(approaches), squeeze=False)
    panels = Panels(palette)
    for row, (outcome, explanation) in enumerate(zip(outcomes, explanations, strict=True)):
        panels.photo(cells[row, 0], explanation, "")
        name, probability = explanation.best[0]
        _below(cells[row, 0], f"{shortened(name)}, {probability:.2f}")
        cells[row, 0].set_ylabel(shortened(explanation.photo.name), fontsize=LABEL, labelpad=2, parse_math=False)
        for ax, approach in zip(cells[row, 1:], approaches, strict=True):
            values = outcome.maps[approach.name].values
            show_map(ax, values, approach.about.says, palette)
            panels.keep(explanation, approach.name, values, 0, says=approach.about.says)
            if row == 0:
                label(ax, wrapped(approach.name, _SIDE, LABEL))
    return panels.drawing(picture)


def show_map(ax: Axes, values: NDArray[np.float64], says: Says, palette: Palette) -> Axes:
    """A map (H, W) in the colours that fit to what it says."""
    if says == "for or against":
        return show_relevance(ax, values, float(np.percentile(np.abs(values), _SATURATED)) or None, palette)
    return show_sensitivity(ax, values - values.min())


def settings_line(results: Results, network: str) -> str:
    """The settings of each method in a line."""
    case = results.outcomes[network][0].case
    words = {each.name: in_words(each.settings(case)) for each in results.approaches}
    parts = [f"{name}: {settings}" for name, settings in words.items() if settings]
    return f"Profile {results.comparison.profile}, seed {results.comparison.seed}. {'; '.join(parts)}."


def in_words(settings: Mapping[str, object]) -> str:
    """Parameters as people read them; switches that are off and what is not set are left out."""
    shown = {
        name.replace("_", " "): value for name, value in settings.items() if value is not False and value is not None
    }
    return ", ".join(name if value is True else f"{name} {_value(value)}" for name, value in shown.items())


def _value(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _below(ax: Axes, text: str) -> None:
    ax.set_xlabel(text, fontsize=LABEL - 1, labelpad=2, parse_math=False)
