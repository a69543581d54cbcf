"""Layers that rearrange blobs, and the softmax over one axis."""

from __future__ import annotations

from math import prod

from ..graph import Layer, Size, Value
from .registry import ANY_NUMBER, layer_type


@layer_type("Softmax")
def softmax(layer: Layer) -> list[Value]:
    """Normalised exponentials along one axis. Caffe: softmax_layer."""
    return [layer.same("Softmax", [layer.bottom], axis=layer.axis(layer.parameters.softmax_param.axis))]


@layer_type("Concat", bottoms=ANY_NUMBER)
def concat(layer: Layer) -> list[Value]:
    """Blobs one after another along an axis. Caffe: concat_layer; `concat_dim` is the axis's old name."""
    settings = layer.parameters.concat_param
    axis = layer.axis(settings.concat_dim if settings.HasField("concat_dim") else settings.axis)
    first = layer.bottoms[0]
    for bottom in layer.bottoms[1:]:
        others = (bottom.shape[:axis], bottom.shape[axis + 1 :])
        if others != (first.shape[:axis], first.shape[axis + 1 :]):
            raise layer.error(f"bottoms differ beside axis {axis}: {first.shape} and {bottom.shape}")
    sizes = [bottom.shape[axis] for bottom in layer.bottoms]
    total: Size = sum(size for size in sizes if isinstance(size, int))
    if any(isinstance(size, str) for size in sizes):
        total = f"{layer.name}/{axis}"
    return [layer.emit("Concat", layer.bottoms, (*first.shape[:axis], total, *first.shape[axis + 1 :]), axis=axis)]


@layer_type("Flatten")
def flatten(layer: Layer) -> list[Value]:
    """Axes `axis` to `end_axis` as one. Caffe: flatten_layer."""
    settings = layer.parameters.flatten_param
    bottom = layer.bottom
    start, end = layer.axis(settings.axis), layer.axis(settings.end_axis)
    if end < start:
        raise layer.error(f"end_axis {settings.end_axis} lies before axis {settings.axis}")
    inner = bottom.shape[start : end + 1]
    known = [size for size in inner if isinstance(size, int)]
    merged: Size = prod(known) if len(known) == len(inner) else f"{layer.name}/{start}"
    return [layer.reshape(bottom, (*bottom.shape[:start], merged, *bottom.shape[end + 1 :]))]


@layer_type("Split")
def split(layer: Layer) -> list[Value]:
    """One blob under several names. Caffe: split_layer, mostly put in by Caffe itself."""
    return [layer.bottom] * len(layer.parameters.top)


@layer_type("Silence", bottoms=ANY_NUMBER)
def silence(layer: Layer) -> list[Value]:
    """Swallows its bottoms, so that they are no outputs of the network. Caffe: silence_layer."""
    return []
