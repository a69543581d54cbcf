"""Small pictures of maps over their photos, one for each map, made when it ends."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from predict_diff.errors import ResultError
from predict_diff.plot import Palette, overlay
from predict_diff.result import RelevanceMap
from predict_diff.storage import whole_file

#: The folder they lie in, below that for results.
THUMBNAILS = "thumbnails"

#: The longer side, in pixels; and colours, of which few make small files.
SIDE = 112
_COLOURS = 96


def thumbnail_name(map_file: str) -> str:
    """The picture of a map, given the name of its file, from the folder for results."""
    return f"{THUMBNAILS}/{Path(map_file).stem}.png"


def write_thumbnail(
    out: Path, path: Path, found: RelevanceMap, view: NDArray[np.float32] | None, palette: Palette
) -> None:
    """Draw a map's first target over the photo, unless it has been drawn before. ResultError if it cannot be written.

    Parameters
    ----------
    out : Path
        Folder for results.
    path : Path
        The map's file.
    found : RelevanceMap
    view : ndarray, shape (H, W, 3), float32, optional
        The photo, RGB in [0, 1]; without it, or if it has another shape, the map is drawn alone.
    palette : {"paper", "safe"}
    """
    picture = out / thumbnail_name(path.name)
    if picture.exists():
        return
    relevance = found.maps_of([0])[0]
    if view is None or view.shape[:2] != relevance.shape:
        view = np.ones((*relevance.shape, 3), np.float32)
    data = io.BytesIO()
    drawn(relevance, view, palette).save(data, "PNG")
    with whole_file(picture, ResultError) as file:
        file.write(data.getvalue())


def drawn(relevance: NDArray[np.floating], view: NDArray[np.float32], palette: Palette = "paper") -> Image.Image:
    """A map over its photo, at most `SIDE` pixels high and wide."""
    # First smaller, then coloured: colours are what takes time.
    height, width = relevance.shape
    factor = min(1.0, SIDE / max(height, width))
    size = max(1, round(width * factor)), max(1, round(height * factor))
    small = np.stack([_shrunk(view[..., channel], size) for channel in range(3)], axis=-1)
    colours = overlay(small, _shrunk(relevance, size), palette=palette)
    picture = Image.fromarray(np.round(255 * np.clip(colours, 0, 1)).astype(np.uint8))
    return picture.quantize(_COLOURS, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)


def _shrunk(values: NDArray[np.floating], size: tuple[int, int]) -> NDArray[np.float32]:
    """A channel at another size, (width, height)."""
    picture = Image.fromarray(np.ascontiguousarray(values, np.float32))
    return np.asarray(picture.resize(size, Image.Resampling.BOX))
