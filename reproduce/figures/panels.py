"""The panels that figures are made of, each drawn from an explanation, and what is written below a figure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from matplotlib.axes import Axes

from predict_diff.plot import (
    Palette,
    show_colour_bar,
    show_overlay,
    show_photo,
    show_relevance,
    show_sensitivity,
)

from .. import networks
from ..config import Panel, SamplerName
from ..runner import Explanation

#: Inches: side of a panel, and what its title and colour bar take.
PANEL, PANEL_HEIGHT = 1.75, 2.15

#: Letters of a photo's name that fit above a panel.
_LONGEST_NAME = 24

_TITLES: dict[Panel, str] = {
    "sensitivity": "sensitivity map",
    "marginal": "marginal",
    "marginal_overlay": "marginal, over photo",
    "conditional": "conditional",
    "conditional_overlay": "conditional, over photo",
}

Draw = Callable[[Axes, Explanation, int, Palette], None]


def draw_panels(
    axes: Sequence[Axes], panels: Sequence[Panel], explanation: Explanation, target: int = 0, palette: Palette = "paper"
) -> None:
    """The photo and then the panels (a), (b), ... of one target; axes that are left over are hidden."""
    show_photo(axes[0], explanation.view)
    axes[0].set_title(f"photo: {_shortened(explanation.photo.name)}", fontsize=8, parse_math=False)
    for letter, panel, ax in zip("abcdefgh", panels, axes[1:], strict=False):
        _DRAW[panel](ax, explanation, target, palette)
        ax.set_title(f"({letter}) {_TITLES[panel]}", fontsize=8)
    for ax in axes[1 + len(panels) :]:
        ax.set_axis_off()


def caption(explanations: Sequence[Explanation]) -> str:
    """What was reproduced, and with which settings."""
    first = explanations[0].settings
    return (
        f"Variant {first.variant} ({first.source}), profile {first.profile}: k = {first.k}, l = {first.l}, "
        f"S = {first.samples}, stride {first.stride}, seed {first.seed}. Red: for, blue: against."
    )


def stand_ins(explanations: Sequence[Explanation]) -> str:
    """A line that says which networks are not the paper's; empty if all are."""
    cards = {item.classifier.name: item.classifier.card for item in explanations}
    pairs = [
        f"{card.title} for {networks.card(card.stands_in_for).title}" for card in cards.values() if card.stands_in_for
    ]
    return f"Embedded networks stand in for the paper's: {', '.join(pairs)}." if pairs else ""


def _shortened(name: str) -> str:
    """A photo's name, as far as there is room for it above a panel."""
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"


def _sensitivity(ax: Axes, explanation: Explanation, target: int, palette: Palette) -> None:
    show_sensitivity(ax, explanation.sensitivity[target])


def _map(sampler: SamplerName) -> Draw:
    def panel(ax: Axes, explanation: Explanation, target: int, palette: Palette) -> None:
        found = explanation.relevance[sampler]
        unit = "bits" if found.measures[target] == "WE" else ""
        show_relevance(ax, found.maps[target], palette=palette)
        show_colour_bar(ax, found.maps[target], unit=unit, palette=palette)

    return panel


def _overlay(sampler: SamplerName) -> Draw:
    def panel(ax: Axes, explanation: Explanation, target: int, palette: Palette) -> None:
        show_overlay(ax, explanation.view, explanation.relevance[sampler].maps[target], palette=palette)

    return panel


_DRAW: dict[Panel, Draw] = {
    "sensitivity": _sensitivity,
    "marginal": _map("marginal"),
    "marginal_overlay": _overlay("marginal"),
    "conditional": _map("conditional"),
    "conditional_overlay": _overlay("conditional"),
}
