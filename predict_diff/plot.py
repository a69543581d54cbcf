"""One function for each kind of panel: each takes an Axes and returns it.

Red speaks for the target, blue against it, symmetric about zero; no influence is white, or transparent over a photo.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from numpy.typing import NDArray
from skimage.color import hsv2rgb, rgb2gray, rgb2hsv

#: Authors' code: matplotlib's `seismic`. `safe` runs from orange to violet, for readers who confuse red and green.
PALETTES = {"paper": "seismic", "safe": "PuOr_r"}
Palette = Literal["paper", "safe"]

#: Authors' code: how far the grey photo is faded towards white, and the saturation of the colours laid over it.
_FADING = 0.5
_SATURATION = 0.8


def show_photo(ax: Axes, photo: NDArray[np.floating]) -> Axes:
    """The photo as the network sees it; (H, W, 3), RGB in [0, 1]."""
    ax.imshow(np.clip(photo, 0, 1), interpolation="nearest")
    return _bare(ax)


def show_sensitivity(ax: Axes, sensitivity: NDArray[np.floating]) -> Axes:
    """A sensitivity map (H, W): black where the score does not react, white where it reacts most."""
    # One extreme pixel must not darken all others.
    limit = float(np.percentile(sensitivity, 99.5)) or 1.0
    ax.imshow(sensitivity, cmap="gray", vmin=0, vmax=limit, interpolation="nearest")
    return _bare(ax)


def show_relevance(
    ax: Axes, relevance: NDArray[np.floating], limit: float | None = None, palette: Palette = "paper"
) -> Axes:
    """A relevance map (H, W); colours saturate at `limit`, by default the largest absolute value."""
    ax.imshow(relevance, cmap=PALETTES[palette], norm=scale(relevance, limit), interpolation="nearest")
    return _bare(ax)


def show_mask(ax: Axes, mask: NDArray[np.bool_]) -> Axes:
    """A boolean mask (H, W): white where it is true."""
    ax.imshow(mask, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    return _bare(ax)


def show_overlay(
    ax: Axes,
    photo: NDArray[np.floating],
    relevance: NDArray[np.floating],
    limit: float | None = None,
    palette: Palette = "paper",
) -> Axes:
    """A relevance map laid over its photo."""
    ax.imshow(overlay(photo, relevance, limit, palette), interpolation="nearest")
    return _bare(ax)


def show_colour_bar(
    ax: Axes,
    relevance: NDArray[np.floating],
    limit: float | None = None,
    unit: str = "bits",
    palette: Palette = "paper",
) -> Axes:
    """A colour bar below a panel, from -limit to limit."""
    norm = scale(relevance, limit)
    below = ax.inset_axes((0, -0.08, 1, 0.05))
    bar = ax.figure.colorbar(ScalarMappable(norm, PALETTES[palette]), cax=below, orientation="horizontal")
    bar.set_ticks([float(norm.vmin or 0), 0, float(norm.vmax or 0)])
    bar.set_ticklabels([f"−{_number(norm.vmax)}", "0", f"+{_number(norm.vmax)} {unit}".rstrip()])
    bar.ax.tick_params(labelsize=6, length=1.5, width=0.4, pad=0.8)
    bar.outline.set_linewidth(0.4)
    first, _, last = bar.ax.get_xticklabels()
    first.set_horizontalalignment("left")
    last.set_horizontalalignment("right")
    return ax


def overlay(
    photo: NDArray[np.floating],
    relevance: NDArray[np.floating],
    limit: float | None = None,
    palette: Palette = "paper",
) -> NDArray[np.float64]:
    """Hue and saturation of the relevance, lightness of a faded grey photo.

    Parameters
    ----------
    photo : ndarray, shape (H, W, 3), RGB in [0, 1]
    relevance : ndarray, shape (H, W)
    limit : float, optional
        Where colours saturate; by default the largest absolute value.

    Returns
    -------
    ndarray, shape (H, W, 3), float64, RGB in [0, 1]
    """
    grey = 1 - (1 - rgb2gray(np.clip(photo, 0, 1))) * _FADING
    colours = rgb2hsv(ScalarMappable(scale(relevance, limit), PALETTES[palette]).to_rgba(relevance)[..., :3])
    return np.asarray(hsv2rgb(np.stack([colours[..., 0], colours[..., 1] * _SATURATION, grey], axis=-1)))


def scale(relevance: NDArray[np.floating], limit: float | None = None) -> Normalize:
    """Symmetric about zero; a map without any relevance gets limits all the same."""
    largest = float(np.abs(relevance).max()) if limit is None else limit
    largest = largest or 1.0
    return Normalize(-largest, largest)


def _number(value: float | None) -> str:
    return f"{value or 0:.2g}" if (value or 0) < 10 else f"{value:.0f}"


def _bare(ax: Axes) -> Axes:
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_linewidth(0.4)
    return ax
