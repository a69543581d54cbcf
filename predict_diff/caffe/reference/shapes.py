"""Layers that rearrange numbers, and leave them as they are."""

from __future__ import annotations

from typing import Any

import numpy as np

from .base import Array, LayerFunction, Stored, Tops


def concat(layer: Any, bottoms: list[Array], stored: Stored) -> Tops:
    """Blobs one after another along an axis. Caffe: concat_layer."""
    settings = layer.concat_param
    axis = settings.concat_dim if settings.HasField("concat_dim") else settings.axis
    return [np.concatenate(bottoms, axis=axis)]


def slice_(layer: Any, bottoms: list[Array], stored: Stored) -> Tops:
    """A blob cut along an axis at given points, or into equal parts. Caffe: slice_layer."""
    settings = layer.slice_param
    axis = settings.slice_dim if settings.HasField("slice_dim") else settings.axis
    return list(np.split(bottoms[0], list(settings.slice_point) or len(layer.top), axis=axis))


def split(layer: Any, bottoms: list[Array], stored: Stored) -> Tops:
    """A blob under several names. Caffe: split_layer."""
    return [bottoms[0]] * len(layer.top)


def silence(layer: Any, bottoms: list[Array], stored: Stored) -> Tops:
    """Nothing. Caffe: silence_layer."""
    return []


def flatten(layer: Any, bottoms: list[Array], stored: Stored) -> Tops:
    """Axes `axis` to `end_axis`, both included, as one. Caffe: flatten_layer."""
    settings = layer.flatten_param
    x = bottoms[0]
    first, last = settings.axis % x.ndim, settings.end_axis % x.ndim
    return [x.reshape(*x.shape[:first], -1, *x.shape[last + 1 :])]


def reshape(layer: Any, bottoms: list[Array], stored: Stored) -> Tops:
    """`shape` in place of `num_axes` axes from `axis` on; 0 copies a size, -1 is what is left. Caffe: reshape_layer."""
    settings = layer.reshape_param
    x = bottoms[0]
    # Caffe: a negative axis counts from behind the last one.
    first = settings.axis if settings.axis >= 0 else x.ndim + settings.axis + 1
    last = x.ndim if settings.num_axes == -1 else first + settings.num_axes
    sizes = [size if size else x.shape[first + index] for index, size in enumerate(settings.shape.dim)]
    return [x.reshape(*x.shape[:first], *sizes, *x.shape[last:])]


def crop(layer: Any, bottoms: list[Array], stored: Stored) -> Tops:
    """From `axis` on, a piece as large as the second bottom. Caffe: crop_layer."""
    settings = layer.crop_param
    x, like = bottoms
    first = settings.axis % x.ndim
    count = x.ndim - first
    offsets = list(settings.offset) or [0]
    starts = offsets * count if len(offsets) == 1 else offsets
    pieces = (slice(start, start + size) for start, size in zip(starts, like.shape[first:], strict=True))
    return [x[(slice(None),) * first + tuple(pieces)]]


def tile(layer: Any, bottoms: list[Array], stored: Stored) -> Tops:
    """A blob several times along an axis. Caffe: tile_layer."""
    settings = layer.tile_param
    return [np.concatenate([bottoms[0]] * settings.tiles, axis=settings.axis)]


TYPES: dict[str, LayerFunction] = {
    "Concat": concat,
    "Crop": crop,
    "Flatten": flatten,
    "Reshape": reshape,
    "Silence": silence,
    "Slice": slice_,
    "Split": split,
    "Tile": tile,
}
