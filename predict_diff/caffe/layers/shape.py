"""Layers that rearrange blobs or cut pieces out of them, and the softmax over one axis."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np

from ..graph import BATCH, Shape, Size, Value, sizes_text
from ..layer import Layer
from .registry import ANY_NUMBER, layer_type


@layer_type("Softmax")
def softmax(layer: Layer) -> list[Value]:
    """Normalised exponentials along one axis. Caffe: softmax_layer."""
    return [layer.same("Softmax", [layer.bottom], axis=layer.axis(layer.parameters.softmax_param.axis))]


@layer_type("Concat", bottoms=ANY_NUMBER)
def concat(layer: Layer) -> list[Value]:
    """Blobs one after another along an axis. Caffe: concat_layer; `concat_dim` is the axis's old name."""
    axis = _axis(layer, layer.parameters.concat_param, "concat_dim")
    first = layer.bottoms[0]
    for bottom in layer.bottoms[1:]:
        if bottom.rank != first.rank or _resized(bottom, axis, 0) != _resized(first, axis, 0):
            raise layer.error(
                f"expected bottoms that differ in axis {axis} only, found {layer.called(first)} and "
                f"{layer.called(bottom)}"
            )
    if len(layer.bottoms) == 1:
        return [first]
    sizes = [bottom.shape[axis] for bottom in layer.bottoms]
    known = [size for size in sizes if isinstance(size, int)]
    total: Size = sum(known) if len(known) == len(sizes) else layer.graph.fresh(layer.name)
    return [layer.emit("Concat", layer.bottoms, _resized(first, axis, total), axis=axis)]


@layer_type("Slice")
def slice_(layer: Layer) -> list[Value]:
    """A blob cut along an axis, at given points or in equal parts.

    Caffe: slice_layer; `slice_dim` is the axis's old name.
    """
    settings = layer.parameters.slice_param
    bottom, axis = layer.bottom, _axis(layer, settings, "slice_dim")
    bounds = _bounds(layer, axis, [int(point) for point in settings.slice_point])
    lengths = [end - start for start, end in pairwise(bounds)]
    if len(lengths) == 1:
        return [bottom]
    if isinstance(bottom.shape[axis], int):
        shapes = [_resized(bottom, axis, length) for length in lengths]
        return layer.emit_many("Split", [bottom, layer.integers(lengths)], shapes, axis=axis)
    rest = _resized(bottom, axis, layer.graph.fresh(layer.name))
    if not settings.slice_point:
        return layer.emit_many("Split", [bottom], [rest] * len(lengths), axis=axis, num_outputs=len(lengths))
    return [
        *(
            _cut(layer, bottom, {axis: (start, end)}, _resized(bottom, axis, end - start))
            for start, end in pairwise(bounds[:-1])
        ),
        _cut(layer, bottom, {axis: (bounds[-2], np.iinfo(np.int64).max)}, rest),
    ]


def _bounds(layer: Layer, axis: int, points: list[int]) -> list[int]:
    """Where each piece begins, and where the last one ends."""
    size, count = layer.bottom.shape[axis], len(layer.parameters.top)
    # Of an open axis, what the description states counts for the checks.
    stated = size if isinstance(size, int) else layer.graph.batch
    if count < 1 or (points and len(points) != count - 1):
        raise layer.error(f"expected one slice_point fewer than tops, found {len(points)} for {count} tops")
    if not points and stated % count:
        raise layer.error(
            f"expected a number of tops that divides axis {axis} of {layer.called(layer.bottom)}, found {count}"
        )
    bounds = [0, *points, stated] if points else list(range(0, stated + 1, stated // count))
    if any(start >= end for start, end in pairwise(bounds)):
        raise layer.error(
            f"expected ascending points within axis {axis} of {layer.called(layer.bottom)}, found {points[:10]}"
        )
    return bounds


@layer_type("Crop", bottoms=(2, 2))
def crop(layer: Layer) -> list[Value]:
    """The piece at an offset that is as large as the second bottom, from `axis` on. Caffe: crop_layer."""
    settings = layer.parameters.crop_param
    bottom, reference = layer.bottoms
    start = layer.axis(settings.axis)
    offsets = [int(offset) for offset in settings.offset] or [0]
    if len(offsets) == 1:
        offsets *= bottom.rank - start
    if len(offsets) != bottom.rank - start or reference.rank < bottom.rank:
        raise layer.error(
            f"expected one offset, or one for each of {bottom.rank - start} axes, and a second bottom with as many "
            f"axes, found {len(offsets)} and {layer.called(reference)}"
        )
    cuts = {}
    for axis, offset in enumerate(offsets, start):
        if reference.shape[axis] == bottom.shape[axis] and offset == 0:
            continue
        wanted = layer.size(reference, axis)
        if offset + wanted > layer.size(bottom, axis):
            raise layer.error(
                f"expected a piece within {layer.called(bottom)}, found {wanted} at offset {offset} of axis {axis}"
            )
        cuts[axis] = (offset, offset + wanted)
    shape = (*bottom.shape[:start], *reference.shape[start : bottom.rank])
    return [_cut(layer, bottom, cuts, shape) if cuts else bottom]


@layer_type("Tile")
def tile(layer: Layer) -> list[Value]:
    """A blob several times, one after another along an axis. Caffe: tile_layer."""
    settings = layer.parameters.tile_param
    bottom, axis, tiles = layer.bottom, layer.axis(settings.axis), int(settings.tiles)
    if tiles < 1:
        raise layer.error(f"tiles: expected a number of at least 1, found {tiles}")
    if tiles == 1:
        return [bottom]
    size = bottom.shape[axis]
    total: Size = size * tiles if isinstance(size, int) else layer.graph.fresh(layer.name)
    repeats = layer.integers([tiles if place == axis else 1 for place in range(bottom.rank)])
    return [layer.emit("Tile", [bottom, repeats], _resized(bottom, axis, total))]


@layer_type("Flatten")
def flatten(layer: Layer) -> list[Value]:
    """Axes `axis` to `end_axis` as one. Caffe: flatten_layer."""
    settings = layer.parameters.flatten_param
    bottom = layer.bottom
    start, end = layer.axis(settings.axis), layer.axis(settings.end_axis)
    if end + 1 < start:
        raise layer.error(f"expected an end_axis behind axis {settings.axis}, found {settings.end_axis}")
    return [layer.reshape(bottom, _as_large(layer, (*bottom.shape[:start], -1, *bottom.shape[end + 1 :])))]


@layer_type("Reshape")
def reshape(layer: Layer) -> list[Value]:
    """The same numbers with `shape` in place of `num_axes` axes from `axis` on.

    Caffe: reshape_layer. A size of 0 copies the bottom's, -1 is inferred; a negative axis counts from behind the last.
    """
    settings = layer.parameters.reshape_param
    rank = layer.bottom.rank
    start = settings.axis if settings.axis >= 0 else rank + 1 + settings.axis
    end = rank if settings.num_axes == -1 else start + settings.num_axes
    if not 0 <= start <= end <= rank:
        raise layer.error(
            f"expected axis and num_axes within {layer.called(layer.bottom)}, found {settings.axis} and "
            f"{settings.num_axes}"
        )
    sizes: list[Size] = [int(size) for size in settings.shape.dim]
    for place, size in enumerate(sizes):
        if size == 0 and start + place < rank:
            sizes[place] = layer.bottom.shape[start + place]
    if sizes.count(-1) > 1 or any(isinstance(size, int) and (size == 0 or size < -1) for size in sizes):
        raise layer.error(
            f"expected sizes of at least 1, one -1, and 0 where {layer.called(layer.bottom)} has an axis, found "
            f"{list(settings.shape.dim)}"
        )
    shape = (*layer.bottom.shape[:start], *sizes, *layer.bottom.shape[end:])
    return [layer.reshape(layer.bottom, _as_large(layer, shape))]


@layer_type("Split")
def split(layer: Layer) -> list[Value]:
    """One blob under several names. Caffe: split_layer, mostly put in by Caffe itself."""
    return [layer.bottom] * len(layer.parameters.top)


@layer_type("Silence", bottoms=ANY_NUMBER)
def silence(layer: Layer) -> list[Value]:
    """Swallows its bottoms, so that they are no outputs of the network. Caffe: silence_layer."""
    return []


def _axis(layer: Layer, settings: Any, old_name: str) -> int:
    """The axis of Concat and Slice; its old name does not count from the end."""
    if not settings.HasField(old_name):
        return layer.axis(settings.axis)
    if settings.HasField("axis"):
        raise layer.error(f"expected axis or {old_name}, found both; keep axis")
    return layer.axis(getattr(settings, old_name))


def _resized(value: Value, axis: int, size: Size) -> Shape:
    return (*value.shape[:axis], size, *value.shape[axis + 1 :])


def _cut(layer: Layer, value: Value, cuts: dict[int, tuple[int, int]], shape: Shape) -> Value:
    """The part from a first to before a second index, along some axes."""
    starts, ends = ([bounds[side] for bounds in cuts.values()] for side in (0, 1))
    return layer.emit("Slice", [value, layer.integers(starts), layer.integers(ends), layer.integers(list(cuts))], shape)


def _as_large(layer: Layer, shape: Shape) -> Shape:
    """A shape for the numbers of the bottom: -1 replaced by what is left, and the batch kept open."""
    bottom = layer.bottom
    shape = _with_open_batch(layer, shape)
    have, want = _known(bottom.shape), _known(shape)
    lost = Counter(_open(bottom.shape)) - Counter(_open(shape))
    size, rest = divmod(have, want)
    if not lost and rest == 0 and (size == 1 or -1 in shape):
        return tuple(size if axis == -1 else axis for axis in shape)
    # The axis that is inferred takes the batch in, or a part of it where other axes hold the rest.
    if lost and -1 in shape and (lost.keys() != {BATCH} or have * layer.graph.batch % want == 0):
        whole = lost.total() == 1 and have == want
        open_size = next(iter(lost)) if whole else layer.graph.fresh(layer.name)
        return tuple(open_size if axis == -1 else axis for axis in shape)
    advice = "; write 0 where the batch is" if lost else ""
    raise layer.error(
        f"expected a shape with as many numbers as {layer.called(bottom)}, found {sizes_text(shape)}{advice}"
    )


def _with_open_batch(layer: Layer, shape: Shape) -> Shape:
    """Descriptions state the batch as a number; where it keeps its place, the converted network takes any."""
    bottom = layer.bottom.shape
    if BATCH not in bottom or BATCH in shape:
        return shape
    before = bottom[: bottom.index(BATCH)]
    for place, size in enumerate(shape):
        outer = shape[:place]
        if size == layer.graph.batch and -1 not in outer and _known(outer) == _known(before):
            return (*outer, BATCH, *shape[place + 1 :])
    return shape


def _known(shape: Shape) -> int:
    return prod(size for size in shape if isinstance(size, int) and size != -1)


def _open(shape: Shape) -> list[str]:
    return [size for size in shape if isinstance(size, str)]
