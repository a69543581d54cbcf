"""Layers that make few numbers of many: sums, and the place of the largest."""

from __future__ import annotations

from math import prod

import numpy as np
from onnx import TensorProto

from .. import caffe_pb2
from ..graph import Value
from ..layer import Layer
from .registry import layer_type

_Reduction = caffe_pb2.ReductionParameter


@layer_type("Reduction")
def reduction(layer: Layer) -> list[Value]:
    """Sum, sum of absolute values or squares, or mean over all axes from `axis` on. Caffe: reduction_layer."""
    settings = layer.parameters.reduction_param
    value = layer.bottom
    start = layer.axis(settings.axis)
    if settings.operation == _Reduction.ASUM:
        value = layer.same("Abs", [value])
    elif settings.operation == _Reduction.SUMSQ:
        value = layer.same("Mul", [value, value])
    operator = "ReduceMean" if settings.operation == _Reduction.MEAN else "ReduceSum"
    axes = layer.integers(range(start, value.rank))
    reduced = layer.emit(operator, [value, axes], value.shape[:start], keepdims=0)
    if settings.coeff == 1:
        return [reduced]
    return [layer.same("Mul", [reduced, layer.constant(settings.coeff)])]


@layer_type("ArgMax")
def argmax(layer: Layer) -> list[Value]:
    """Where the `top_k` largest numbers are, along an axis or among all of a photo; or what they are.

    Caffe: argmax_layer. Of equal numbers the one with the highest index comes first.
    """
    settings = layer.parameters.argmax_param
    bottom, count = layer.bottom, int(settings.top_k)
    if settings.HasField("axis"):
        values, places = _largest(layer, bottom, layer.axis(settings.axis), count)
        return [values if settings.out_max_val else places]
    photos = bottom.shape[: layer.axis(0) + 1]
    values, places = _largest(layer, layer.reshape(bottom, (*photos, prod(layer.sizes(bottom, 1)))), 1, count)
    # Caffe: from three axes on, as many as the bottom has; the third counts the numbers.
    trailing = [1] * (bottom.rank - 3)
    tops = [layer.reshape(value, (*photos, 1, count, *trailing)) for value in (places, values)]
    if not settings.out_max_val:
        return tops[:1]
    return [layer.emit("Concat", tops, (*photos, 2, count, *trailing), axis=1)]


def _largest(layer: Layer, value: Value, axis: int, count: int) -> tuple[Value, Value]:
    """The largest numbers along an axis, and their indices as floats."""
    size = layer.size(value, axis)
    if not 1 <= count <= size:
        raise layer.error(f"top_k: expected 1 to {size}, the numbers there are, found {count}")
    # ONNX puts the lowest index first: turned around, that is the highest.
    last, first, step = layer.integers([-1]), layer.integers([np.iinfo(np.int64).min]), layer.integers([-1])
    turned = layer.same("Slice", [value, last, first, layer.integers([axis]), step])
    shape = (*value.shape[:axis], count, *value.shape[axis + 1 :])
    values, places = layer.emit_many("TopK", [turned, layer.integers([count])], [shape, shape], axis=axis)
    places.type = TensorProto.INT64
    indices = layer.same("Cast", [places], to=TensorProto.FLOAT)
    return values, layer.emit("Sub", [layer.constant(size - 1), indices], shape)
