"""Parts of an image: masks and boxes, and how much of one mask lies in another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigurationError, ResultError

Mask = NDArray[np.bool_]

#: (row, column, height, width) in pixels, from the upper left corner.
Box = Sequence[int]


def region_mask(region: Mask | Box, shape: tuple[int, ...]) -> Mask:
    """A region as a mask.

    Parameters
    ----------
    region : ndarray, shape (H, W), bool; or (row, column, height, width)
        A mask, or a box in pixels. Several objects are one mask: ``region_mask(a, shape) | region_mask(b, shape)``.
    shape : (int, int)
        (H, W) of the map that it belongs to.

    Returns
    -------
    ndarray, shape (H, W), bool

    Raises
    ------
    ConfigurationError
        If it is neither, the mask is of another size or marks nothing, or the box does not lie in the image.
    """
    array = np.asarray(region)
    if array.shape == (4,) and np.issubdtype(array.dtype, np.integer):
        row, column, height, width = (int(number) for number in array)
        if min(row, column) < 0 or min(height, width) < 1 or row + height > shape[0] or column + width > shape[1]:
            raise ConfigurationError(
                f"box: expected (row, column, height, width) inside {shape[0]} x {shape[1]} pixels, found "
                f"({row}, {column}, {height}, {width}); give it in pixels of the map, from its upper left corner"
            )
        mask = np.zeros(shape, bool)
        mask[row : row + height, column : column + width] = True
        return mask
    if array.dtype != bool or array.ndim != 2:
        raise ConfigurationError(
            f"region: expected a mask of bool (H, W) or a box of four whole numbers (row, column, height, width), "
            f"found {array.dtype} of shape {array.shape}; a mask of numbers becomes one with `mask > 0`"
        )
    if array.shape != tuple(shape):
        raise ConfigurationError(
            f"mask: expected the size of the map, {shape[0]} x {shape[1]}, found {array.shape[0]} x {array.shape[1]}; "
            f"crop and resize it as the photo was"
        )
    if not array.any():
        raise ConfigurationError("mask: expected one that marks a pixel, found none marked; nothing can lie in it")
    return array


def overlap(a: Mask, b: Mask) -> float:
    """Share of the pixels of `a` that lie in `b`: |a & b| / |a|, symmetric for masks with equally many pixels.

    Stands for: one map's top pixels are also another's, or lie on outlines or on an object.

    Parameters
    ----------
    a, b : ndarray, shape (H, W), bool

    Returns
    -------
    float
        0 to 1. Null for pixels of `a` at random: the share of all pixels that `b` marks.

    Raises
    ------
    ResultError
        If these are not masks of one shape, or `a` marks nothing.
    """
    check_masks(a, b)
    return float((a & b).sum() / a.sum())


def check_masks(a: Mask, b: Mask, marked: bool = True) -> None:
    """Raise ResultError unless both are masks of one shape and, if `marked`, the first marks a pixel."""
    for mask in (a, b):
        if mask.dtype != bool or mask.ndim != 2 or mask.shape != a.shape:
            raise ResultError(
                f"mask: expected two masks (H, W) of one shape, found {a.dtype} {a.shape} and {b.dtype} {b.shape}; "
                f"make them with top_pixels or edges, of maps of one photo"
            )
    if marked and not a.any():
        raise ResultError("mask: expected one that marks a pixel, found none marked; no share of it can lie anywhere")
