"""ICLR 2017: a window x_w (k x k) within its outer patch (l x l), and what the samplers draw for it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Any, get_args

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure
from matplotlib.patches import ConnectionPatch, Rectangle
from numpy.typing import NDArray
from pydantic import Field, NonNegativeInt

from predict_diff.errors import ConfigurationError
from predict_diff.plot import Palette, show_photo
from predict_diff.windows import surround_positions

from ..config import Figure, SamplerName
from ..explanation import Explanation
from ..subject import Subject
from .drawing import Drawing
from .panels import GROUP, LABEL, TEXT_WIDTH, Panels, label, sheet, stand_ins
from .scene import Scene

#: Inches: the side of the photo, and of its part enlarged; what the labels of a block take.
_SIDE, _LABELS = TEXT_WIDTH / 4, 0.58

#: Neither colour speaks for or against a class.
_WINDOW_COLOUR, _SURROUND_COLOUR = "#ffe119", "#00c8e6"

_TITLES: dict[SamplerName, str] = {
    "marginal": "marginal: the same place in other photos",
    "conditional": "conditional: drawn given the surround",
}


class Configuration(Figure):
    """`window`: row and column of its upper left pixel in the network's input; `draws`: samples of each kind."""

    window: Annotated[list[NonNegativeInt], Field(min_length=2, max_length=2)]
    draws: Annotated[int, Field(ge=1, le=8)]


@dataclass(frozen=True, eq=False)
class WindowExplanation(Explanation):
    """What the samplers draw for one window of a photo.

    Attributes
    ----------
    window : tuple of int
        Its upper left pixel, (row, column).
    samples : dict
        Of each sampler, shape (draws, 3, k, k), float32; as the network sees photos.
    samplers : dict
        What each sampler says of itself.
    """

    window: tuple[int, int]
    samples: dict[SamplerName, NDArray[np.float32]]
    samplers: dict[SamplerName, dict[str, Any]]

    @property
    def outer_patch(self) -> tuple[slice, slice]:
        """Rows and columns of the outer patch."""
        l = self.settings.l
        places = np.array([self.window], np.int64)
        row, column = surround_positions(places, self.settings.k, l, *self.view.shape[:2])[0].tolist()
        return slice(row, row + l), slice(column, column + l)

    def pasted(self, sampler: SamplerName) -> NDArray[np.float32]:
        """(draws, l, l, 3), RGB in [0, 1]: the outer patch with each sample in the place of the window."""
        preprocessing, k, (row, column) = self.classifier.preprocessing, self.settings.k, self.window
        samples = self.samples[sampler]
        photos = np.repeat(preprocessing(self.photo.pixels)[None], len(samples), axis=0)
        photos[..., row : row + k, column : column + k] = samples
        return np.clip(preprocessing.deprocess(photos)[:, *self.outer_patch], 0, 1)


@dataclass(frozen=True, eq=False, kw_only=True)
class WindowSubject(Subject):
    """One window of one photo before one network, no relevance map of which is shown."""

    window: tuple[int, int]
    draws: int

    def check(self) -> None:
        """Raise what `Subject.check` does, and ConfigurationError for a window outside the photo or a small pool."""
        super().check()
        (row, column), k, size = self.window, self.settings.k, self.x.shape[1:]
        last = tuple(side - k for side in size)
        if row > last[0] or column > last[1]:
            raise ConfigurationError(
                f"window: expected a row of at most {last[0]} and a column of at most {last[1]}, so that {k} x {k} "
                f"pixels lie in the input of {self.classifier.card.title} ({size[0]} x {size[1]}), found "
                f"[{row}, {column}]; choose another with --set 'window=[ROW,COLUMN]'"
            )
        if self.draws > len(self.pool):
            raise ConfigurationError(
                f"draws: expected at most {len(self.pool)}, as many as the pool has photos, for each marginal sample "
                f"comes from another, found {self.draws}; choose fewer with --set draws=NUMBER, or another --pool"
            )

    def explain(self) -> WindowExplanation:
        """Draw the samples; they are not stored, for that takes a moment only."""
        place = np.array([self.window], np.int64)
        samplers = {name: self.sampler(name) for name in get_args(SamplerName)}
        return WindowExplanation(
            **vars(super().explain()),
            window=self.window,
            samples={
                name: drawn.sample(self.x, place, self.draws, self.settings.seed)[0] for name, drawn in samplers.items()
            },
            samplers={name: drawn.describe() for name, drawn in samplers.items()},
        )


def subjects(configuration: Configuration, scene: Scene) -> list[Subject]:
    """The window of every photo before every network."""
    row, column = configuration.window
    return [
        WindowSubject(
            photo,
            classifier,
            scene.settings,
            scene.request.choices,
            samplers=(),
            sensitivity=False,
            window=(row, column),
            draws=configuration.draws,
        )
        for photo in scene.photos
        for classifier in scene.classifiers
    ]


def draw(configuration: Configuration, explanations: list[WindowExplanation], palette: Palette) -> Drawing:
    """Draw the figure."""
    used = explanations[0].settings
    below = (
        f"A window of k x k pixels, k = {used.k}, is replaced by samples; conditional ones are drawn given the rest of "
        f"the outer patch of l x l pixels, l = {used.l}. What leaves the range of a photo is shown clipped.",
        f"Variant {used.variant} ({used.source}); Gaussian: {used.gaussian.replace('_', ' ')}; seed {used.seed}.",
        stand_ins(explanations),
    )
    picture = sheet(TEXT_WIDTH, len(explanations) * (_SIDE + _LABELS), configuration.title, *below)
    panels = Panels(palette)
    for block, item in zip(picture.subfigures(len(explanations), 1, squeeze=False)[:, 0], explanations, strict=True):
        overview, drawn = block.subfigures(1, 2, width_ratios=(2 * _SIDE, TEXT_WIDTH - 2 * _SIDE))
        photo, enlarged = overview.subplots(1, 2)
        block.suptitle(item.classifier.card.title, fontsize=GROUP, parse_math=False)
        panels.photo(photo, item)
        _show_place(photo, enlarged, item)
        for row, sampler in zip(drawn.subfigures(2, 1), get_args(SamplerName), strict=True):
            _show_samples(row, panels, item, sampler)
    return panels.drawing(picture)


def _show_place(photo: Axes, enlarged: Axes, item: WindowExplanation) -> None:
    """Outline window and outer patch in the photo, and enlarge the outer patch."""
    rows, columns = item.outer_patch
    side = item.settings.l
    _outline(photo, (rows.start, columns.start), side, _SURROUND_COLOUR)
    _outline(photo, item.window, item.settings.k, _WINDOW_COLOUR)
    show_photo(enlarged, item.view[rows, columns])
    label(enlarged, "window and surround, enlarged")
    _outline(enlarged, (0, 0), side, _SURROUND_COLOUR, 2)
    _outline_window(enlarged, item)
    for corner, edge in ((rows.start, 0), (rows.stop, side)):
        line = ConnectionPatch(
            (columns.stop - 0.5, corner - 0.5),
            (-0.5, edge - 0.5),
            "data",
            "data",
            axesA=photo,
            axesB=enlarged,
            color=_SURROUND_COLOUR,
            linewidth=0.6,
        )
        # It is to join what the layout has placed, not to take part in it.
        line.set_in_layout(False)
        enlarged.figure.add_artist(line)


def _show_samples(row: SubFigure, panels: Panels, item: WindowExplanation, sampler: SamplerName) -> None:
    """The outer patch with each sample in it."""
    row.suptitle(_TITLES[sampler], fontsize=LABEL, parse_math=False)
    for ax, patch in zip(
        row.subplots(1, len(item.samples[sampler]), squeeze=False)[0], item.pasted(sampler), strict=True
    ):
        show_photo(ax, patch)
        _outline_window(ax, item)
    panels.keep(
        item,
        f"{sampler}_samples",
        item.samples[sampler],
        window=f"row {item.window[0]}, column {item.window[1]}",
        sampler=json.dumps(item.samplers[sampler], sort_keys=True),
    )


def _outline_window(ax: Axes, item: WindowExplanation) -> None:
    """Outline the window within its outer patch."""
    rows, columns = item.outer_patch
    place = (item.window[0] - rows.start, item.window[1] - columns.start)
    _outline(ax, place, item.settings.k, _WINDOW_COLOUR)


def _outline(ax: Axes, place: tuple[int, int], side: int, colour: str, width: float = 0.8) -> None:
    """A square around so many pixels; the pixels' middles have whole coordinates."""
    row, column = place
    ax.add_patch(Rectangle((column - 0.5, row - 0.5), side, side, fill=False, edgecolor=colour, linewidth=width))
