"""The panels that figures are made of, each drawn from an explanation, and what is written around them."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture
from matplotlib.figure import SubFigure
from numpy.typing import NDArray

from predict_diff.plot import (
    Palette,
    show_colour_bar,
    show_mask,
    show_overlay,
    show_photo,
    show_relevance,
    show_sensitivity,
)

from .. import networks
from ..config import Panel, SamplerName
from ..explanation import Explanation
from .drawing import Drawing, PanelArray

#: Inches: the width of the paper's text, which figures fill, and that of one of its two columns.
TEXT_WIDTH, COLUMN_WIDTH = 6.75, 3.25

#: Points: the title of a figure, of a group of panels, of a panel, and the caption. They are read at this size.
TITLE, GROUP, LABEL, CAPTION = 9, 7.5, 6.5, 6

#: What a letter takes of its size, on average, for breaking lines.
_LETTER = 0.52

_COLOURS: dict[Palette | None, str] = {
    "paper": " Red: for, blue: against.",
    "safe": " Orange: for, violet: against.",
}

_TITLES: dict[Panel, str] = {
    "sensitivity": "sensitivity map",
    "marginal": "marginal",
    "marginal_overlay": "marginal, over the photo",
    "conditional": "conditional",
    "conditional_overlay": "conditional, over the photo",
}


class Panels:
    """Draws the panels of one figure, and keeps the array of each.

    Parameters
    ----------
    palette : {"paper", "safe"}
    """

    def __init__(self, palette: Palette = "paper") -> None:
        self.palette = palette
        self.arrays: list[PanelArray] = []

    def photo(self, ax: Axes, explanation: Explanation, title: str | None = None) -> None:
        """The photo as the network sees it, under its name."""
        show_photo(ax, explanation.view)
        label(ax, shortened(explanation.photo.name) if title is None else title)
        self.keep(explanation, "photo", explanation.view)

    def sensitivity(self, ax: Axes, explanation: Explanation, target: int = 0) -> None:
        """The sensitivity map of a target."""
        show_sensitivity(ax, explanation.sensitivity[target])
        self.keep(explanation, "sensitivity", explanation.sensitivity[target], target)

    def relevance(
        self,
        ax: Axes,
        explanation: Explanation,
        sampler: SamplerName,
        target: int = 0,
        limit: float | None = None,
        bar: bool = True,
    ) -> None:
        """The relevance map of a target, by default with a colour bar below; colours saturate at `limit`."""
        values = self.relevance_map(explanation, sampler, target)
        show_relevance(ax, values, limit, self.palette)
        if bar:
            show_colour_bar(ax, values, limit, unit="", palette=self.palette)

    def overlay(
        self, ax: Axes, explanation: Explanation, sampler: SamplerName, target: int = 0, limit: float | None = None
    ) -> None:
        """The relevance map of a target, laid over the photo."""
        show_overlay(ax, explanation.view, self.relevance_map(explanation, sampler, target), limit, self.palette)

    def mask(self, ax: Axes, explanation: Explanation, name: str, mask: NDArray[np.bool_], **more: str) -> None:
        """A boolean mask, white where it is true."""
        show_mask(ax, mask)
        self.keep(explanation, name, mask, None, **more)

    def relevance_map(self, explanation: Explanation, sampler: SamplerName, target: int = 0) -> NDArray[np.float32]:
        """The relevance map of a target, (H, W); it is kept, with its standard error."""
        found = explanation.relevance[sampler]
        values: NDArray[np.float32] = found.maps_of([target])[0].astype(np.float32)
        errors = found.map_errors_of([target])[0].astype(np.float32)
        known = repr(float(found.known[target]))
        self.keep(explanation, sampler, values, target, measure=found.measures[target], known=known)
        self.keep(explanation, f"{sampler}_standard_error", errors, target)
        return values

    def keep(
        self, explanation: Explanation, name: str, values: NDArray[np.generic], target: int | None = None, **more: str
    ) -> None:
        """Keep an array for the HDF5 file; that of a target under a name that holds the target if there are several."""
        if target is not None:
            more["target"] = str(explanation.targets[target])
            if len(explanation.targets) > 1:
                name = f"{name} {more['target'].replace('/', '.')}"
        known = {(id(array.explanation), array.name) for array in self.arrays}
        if (id(explanation), name) not in known:
            self.arrays.append(PanelArray(explanation, name, values, more))

    def drawing(self, picture: Picture) -> Drawing:
        """The finished picture with the arrays of its panels."""
        return Drawing(picture, self.arrays)

    def draw(self, axes: Sequence[Axes], panels: Sequence[Panel], explanation: Explanation, target: int = 0) -> None:
        """The photo and then the panels (a), (b), ... of one target; axes that are left over are hidden."""
        self.photo(axes[0], explanation)
        for letter, panel, ax in zip("abcdefgh", panels, axes[1:], strict=False):
            _DRAW[panel](self, ax, explanation, target)
            label(ax, f"({letter})")
        for ax in axes[1 + len(panels) :]:
            ax.set_axis_off()


def label(ax: Axes, text: str) -> None:
    """What stands above a panel."""
    ax.set_title(text, fontsize=LABEL, pad=2, parse_math=False)


def beside_photo(
    place: Picture | SubFigure, rows: int, columns: int, photo_width: float = 1.5
) -> tuple[Axes, NDArray[np.object_]]:
    """Axes for a photo on the left, over the full height and so many panels wide, and a grid of axes beside it."""
    grid = place.add_gridspec(rows, 1 + columns, width_ratios=[photo_width, *[1] * columns])
    cells = [[place.add_subplot(grid[row, 1 + column]) for column in range(columns)] for row in range(rows)]
    return place.add_subplot(grid[:, 0]), np.array(cells, object)


def headline(explanation: Explanation) -> str:
    """The network, the class that it chose, and its probability."""
    name, probability = explanation.best[0]
    return f"{explanation.classifier.card.title}: {name}, p = {probability:.2f}"


def legend(panels: Sequence[Panel]) -> str:
    """What the letters mean."""
    return ", ".join(f"({letter}) {_TITLES[panel]}" for letter, panel in zip("abcdefgh", panels, strict=False)) + "."


def sheet(width: float, height: float, title: str, *below: str) -> Picture:
    """A picture for panels of so many inches, with a title above and a caption below, both as wide as they are."""
    title = wrapped(title, width, TITLE)
    lines = "\n".join(wrapped(text, width, CAPTION) for text in below if text)
    points = TITLE * (2 + 1.2 * title.count("\n")) + CAPTION * 1.5 * (lines.count("\n") + 1)
    picture = Picture((width, height + points / 72), layout="constrained")
    picture.suptitle(title, fontsize=TITLE, parse_math=False)
    picture.supxlabel(lines, fontsize=CAPTION, parse_math=False)
    return picture


def wrapped(text: str, inches: float, points: float) -> str:
    """A text in lines that are not wider than so many inches, about."""
    return textwrap.fill(text, max(20, int(inches * 72 / (points * _LETTER))))


def settings_line(explanations: Iterable[Explanation], palette: Palette | None) -> str:
    """What was reproduced, and with which settings; what the colours of a palette mean, if there is one."""
    used = [item.settings for item in explanations]
    first = used[0]
    k, l, stride = (
        ", ".join(map(str, dict.fromkeys(getattr(item, name) for item in used))) for name in ("k", "l", "stride")
    )
    return (
        f"Variant {first.variant} ({first.source}), profile {first.profile}: k = {k}; l = {l}; S = {first.samples}; "
        f"stride {stride}; seed {first.seed}." + _COLOURS.get(palette, "")
    )


def stand_ins(explanations: Iterable[Explanation]) -> str:
    """A line that says which networks are not the paper's; empty if all are."""
    cards = {item.classifier.name: item.classifier.card for item in explanations}
    pairs = [
        f"{card.title} for {networks.card(card.stands_in_for).title}" for card in cards.values() if card.stands_in_for
    ]
    if not pairs:
        return ""
    return f"Embedded networks stand in for the paper's: {', '.join(pairs)}."


def shortened(name: str, letters: int = 16) -> str:
    """A photo's name, as far as there is room for it above a panel."""
    return name if len(name) <= letters else f"{name[: letters - 1]}…"


def _relevance(sampler: SamplerName) -> Callable[[Panels, Axes, Explanation, int], None]:
    return lambda panels, ax, explanation, target: panels.relevance(ax, explanation, sampler, target)


def _overlay(sampler: SamplerName) -> Callable[[Panels, Axes, Explanation, int], None]:
    return lambda panels, ax, explanation, target: panels.overlay(ax, explanation, sampler, target)


_DRAW: dict[Panel, Callable[[Panels, Axes, Explanation, int], None]] = {
    "sensitivity": Panels.sensitivity,
    "marginal": _relevance("marginal"),
    "marginal_overlay": _overlay("marginal"),
    "conditional": _relevance("conditional"),
    "conditional_overlay": _overlay("conditional"),
}
