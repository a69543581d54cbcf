"""A relevance map as people see it: a figure, a picture file, or what a notebook shows.

Pictures are drawn without matplotlib's pyplot, so no figure stays open and no backend is chosen. Texts of a map may
come from a file that anyone has written: they are neither HTML nor formulas.
"""

from __future__ import annotations

import base64
import html
import io
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from .errors import ConfigurationError, ImageError, ResultError, in_short
from .given_arrays import given_array
from .plot import PALETTES, Palette, show_colour_bar, show_overlay, show_photo, show_relevance
from .storage import whole_file

if TYPE_CHECKING:
    from .result import RelevanceMap

#: Of the maps of a whole layer, a notebook shows the first ones.
TARGETS_AT_MOST = 6

#: Inches along the longer side of a panel, and dots in each.
_PANEL, _RESOLUTION = 2.6, 110
_COLUMNS = 3

#: Measures in words, and the units of their maps.
_WORDS = {"WE": ("weight of evidence", "bits"), "AD": ("activation difference", "")}

#: What speaks for and against.
_COLOURS: dict[Palette, tuple[str, str]] = {"paper": ("Red", "blue"), "safe": ("Orange", "violet")}

#: Letters of a name; more would not fit.
_NAME_AT_MOST = 48


class Shown:
    """Some maps of a result, with or without the photo: what a notebook shows.

    Parameters
    ----------
    found : RelevanceMap
    photo : array_like, shape (H, W, 3), (H, W, 1) or (H, W), optional
        The photo, RGB or grey, floats in [0, 1] or uint8; of the map's height and width. With it, each map is shown
        beside the photo, and once more laid over it.
    targets : sequence of int, optional
        Which targets to show, by number; by default the first `TARGETS_AT_MOST`.
    palette : {"paper", "safe"}, default "paper"

    Raises
    ------
    ImageError
        If the photo is of another size, or no photo.
    ConfigurationError
        If there is no such target or palette.
    """

    def __init__(
        self,
        found: RelevanceMap,
        photo: ArrayLike | None = None,
        targets: Sequence[int] | None = None,
        palette: Palette = "paper",
    ) -> None:
        if palette not in PALETTES:
            raise ConfigurationError(f"palette: expected {' or '.join(PALETTES)}, found '{palette}'")
        self._found = found
        self._photo = None if photo is None else _checked_photo(photo, found.grid.height, found.grid.width)
        self._targets = _checked_targets(targets, len(found.targets))
        self._palette = palette

    def figure(self) -> Figure:
        """A matplotlib figure that belongs to nobody: panels of all the targets, each with its own scale."""
        return _figure(self._found, self._photo, self._targets, self._palette, _settings(self._found))

    def write(self, path: str | Path) -> None:
        """Write the figure as PNG, whole or not at all. ResultError if it cannot be written."""
        picture = self._repr_png_()
        with whole_file(Path(path), ResultError) as file:
            file.write(picture)

    def _repr_png_(self) -> bytes:
        return _png(self.figure())

    def _repr_html_(self) -> str:
        colour, other = _COLOURS[self._palette]
        parts = [_html_of_target(self._found, self._photo, number, self._palette) for number in self._targets]
        return (
            f'<div style="font-family: sans-serif; font-size: 13px"><div><b>Relevance map</b>: '
            f"{html.escape(_settings(self._found))}</div><div>{colour} speaks for the target, {other} against it."
            f"{html.escape(_shown_of(self._found, self._targets))}</div>"
            f'<div style="display: flex; flex-wrap: wrap; gap: 16px">{"".join(parts)}</div></div>'
        )


def _figure(
    found: RelevanceMap, photo: NDArray[np.floating] | None, targets: Sequence[int], palette: Palette, title: str = ""
) -> Figure:
    height, width = found.grid.height, found.grid.width
    columns = 3 if photo is not None else min(len(targets), _COLUMNS)
    rows = len(targets) if photo is not None else -(-len(targets) // columns)
    longest = max(height, width)
    # Beside the panels: titles and colour bars, in inches.
    size = (columns * (_PANEL * width / longest + 0.25), rows * (_PANEL * height / longest + 0.75) + 0.35)
    # A user's own settings may have LaTeX draw all text, which takes these as commands.
    with mpl.rc_context({"text.usetex": False}):
        figure = Figure(figsize=(max(size[0], 2.4), size[1]), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False)
        if title:
            figure.suptitle(title, fontsize=7, parse_math=False)
        if photo is None:
            for ax in axes.ravel()[len(targets) :]:
                ax.remove()
            for ax, number in zip(axes.ravel(), targets, strict=False):
                _show_map(ax, found, number, palette)
        else:
            for row, number in zip(axes, targets, strict=True):
                show_photo(row[0], photo)
                values, limit = _show_map(row[1], found, number, palette)
                show_overlay(row[2], photo, values, limit, palette)
    return figure


def _show_map(ax: Axes, found: RelevanceMap, number: int, palette: Palette) -> tuple[NDArray[np.float64], float]:
    """Draw a map with its title and scale; gives its values, and where colours saturate."""
    values, limit = _values(found, number)
    show_relevance(ax, values, limit, palette)
    show_colour_bar(ax, values, limit, _WORDS[found.measures[number]][1], palette)
    ax.set_title("\n".join(_caption(found, number)), fontsize=7, parse_math=False)
    return values, limit


def _values(found: RelevanceMap, number: int) -> tuple[NDArray[np.float64], float]:
    """A map, and its largest absolute value; what is not finite is shown as no influence."""
    with np.errstate(invalid="ignore"):
        values = np.nan_to_num(found.maps_of([number])[0].astype(np.float64), nan=0, posinf=0, neginf=0)
    return values, float(np.abs(values).max())


def _caption(found: RelevanceMap, number: int) -> tuple[str, str]:
    target, measure = found.targets[number], found.measures[number]
    known = f"p(c | x) = {found.known[number]:.3g}" if measure == "WE" else f"value {found.known[number]:.3g}"
    return _short(str(target)), f"{_WORDS[measure][0]}, {known}"


def _html_of_target(found: RelevanceMap, photo: NDArray[np.floating] | None, number: int, palette: Palette) -> str:
    target, about = _caption(found, number)
    limit, unit = _values(found, number)[1], _WORDS[found.measures[number]][1]
    errors = found.map_errors_of([number])
    error = f"; Monte-Carlo error at most {_number(errors.max(), unit)}" if np.isfinite(errors).all() else ""
    picture = base64.b64encode(_png(_figure(found, photo, [number], palette))).decode("ascii")
    words = html.escape(f"{about}; scale ±{_number(limit, unit)}{error}")
    name = html.escape(target)
    return (
        f'<figure style="margin: 8px 0"><img alt="Relevance map of {name}" src="data:image/png;base64,{picture}">'
        f"<figcaption><b>{name}</b><br>{words}</figcaption></figure>"
    )


def _settings(found: RelevanceMap) -> str:
    """How the map was made, as far as it says so."""
    said = found.provenance
    parts = [_short(str(_part(said, "network", "name"))), f"k = {found.grid.k}, stride {found.grid.stride}"]
    if "samples" in said:
        parts.append(f"S = {_short(str(said['samples']))}")
    parts.append(_short(str(_part(said, "sampler", "kind"))))
    return ", ".join(part for part in parts if part)


def _part(said: dict[str, Any], name: str, inner: str) -> object:
    part = said.get(name)
    return part.get(inner, "") if isinstance(part, dict) else ""


def _shown_of(found: RelevanceMap, targets: Sequence[int]) -> str:
    left_out = len(found.targets) - len(targets)
    return f" {len(targets)} of {len(found.targets):,} targets are shown." if left_out > 0 else ""


def _number(value: float, unit: str) -> str:
    return f"{value:.3g} {unit}".rstrip()


def _short(text: str) -> str:
    """A name that fits on a line, whatever it holds."""
    text = "".join(letter if letter.isprintable() else "?" for letter in text[: _NAME_AT_MOST + 1])
    return text if len(text) <= _NAME_AT_MOST else f"{text[: _NAME_AT_MOST - 1]}…"


def _png(figure: Figure) -> bytes:
    file = io.BytesIO()
    with warnings.catch_warnings(), mpl.rc_context({"text.usetex": False}):
        # Names may hold letters that the font lacks; they become boxes.
        warnings.filterwarnings("ignore", "Glyph")
        # No date, no version: the same map gives the same bytes.
        figure.savefig(file, format="png", dpi=_RESOLUTION, metadata={"Software": None})
    return file.getvalue()


def _checked_targets(targets: Sequence[int] | None, count: int) -> tuple[int, ...]:
    if targets is None:
        return tuple(range(min(count, TARGETS_AT_MOST)))
    chosen = tuple(targets) if isinstance(targets, Iterable) else ()
    if not chosen or not all(_is_number(number) and 0 <= number < count for number in chosen):
        raise ConfigurationError(
            f"targets: expected a list of numbers from 0 to {count - 1}, those of the map's targets, found "
            f"{in_short(targets)}"
        )
    return chosen


def _is_number(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _checked_photo(photo: ArrayLike, height: int, width: int) -> NDArray[np.float64]:
    """A photo as RGB in [0, 1], (H, W, 3)."""
    expected = f"photo: expected {height} x {width} pixels, as the network sees them, RGB (H, W, 3) or grey (H, W)"
    given = given_array(photo, "photo")
    values = given.astype(np.float64) / 255 if given.dtype == np.uint8 else given
    if values.ndim == 2:
        values = values[..., None]
    if values.shape not in ((height, width, 1), (height, width, 3)):
        raise ImageError(f"{expected}, found shape {given.shape}; cut and scale it as for the network")
    if values.dtype.kind != "f" or not np.isfinite(values).all() or values.min() < 0 or values.max() > 1:
        raise ImageError(f"{expected}, floats from 0 to 1 or uint8, found {given.dtype} or values beyond")
    return np.broadcast_to(values, (height, width, 3)).astype(np.float64)
