"""Sums and products of blobs with weights and with each other."""

from __future__ import annotations

import numpy as np

from .. import caffe_pb2
from ..graph import Layer, Value
from .registry import ANY_NUMBER, layer_type

_Eltwise = caffe_pb2.EltwiseParameter


@layer_type("Scale", bottoms=(1, 2))
def scale(layer: Layer) -> list[Value]:
    """Multiply by a blob that spans some axes, learned or a second bottom; optionally add another.

    Caffe: scale_layer.
    """
    settings = layer.parameters.scale_param
    product, used = _broadcast(layer, "Mul", layer.bottoms[0], settings.axis, settings.num_axes, 0)
    if settings.bias_term:
        # Caffe: the bias has the shape of the factor, whichever bottom or blob that is.
        num_axes = layer.bottoms[1].rank if len(layer.bottoms) > 1 else settings.num_axes
        product, used = _broadcast(layer, "Add", product, settings.axis, num_axes, used, learned=True)
    layer.expect_blobs(used)
    return [product]


@layer_type("Bias", bottoms=(1, 2))
def bias(layer: Layer) -> list[Value]:
    """Add a blob that spans some axes, learned or a second bottom. Caffe: bias_layer."""
    settings = layer.parameters.bias_param
    total, used = _broadcast(layer, "Add", layer.bottoms[0], settings.axis, settings.num_axes, 0)
    layer.expect_blobs(used)
    return [total]


def _broadcast(
    layer: Layer, operator: str, bottom: Value, axis: int, num_axes: int, used: int, learned: bool = False
) -> tuple[Value, int]:
    """Apply `operator` with an operand that covers `num_axes` axes from `axis` on (-1: all of them).

    Returns the result and how many of the layer's weight blobs have been used up.
    """
    start = 0 if axis == 0 else layer.axis(axis)
    if len(layer.bottoms) == 2 and not learned:
        operand = layer.bottoms[1]
        if start + operand.rank > bottom.rank:
            raise layer.error(f"the second bottom has too many axes ({operand.rank}) for axis {axis}")
        trailing = bottom.rank - start - operand.rank
        if trailing:
            axes = layer.integers(range(operand.rank, operand.rank + trailing))
            operand = layer.emit("Unsqueeze", [operand, axes], (*operand.shape, *[1] * trailing))
        return layer.same(operator, [bottom, operand]), used
    end = bottom.rank if num_axes == -1 else start + num_axes
    if not start <= end <= bottom.rank:
        raise layer.error(f"axis {axis} and num_axes {num_axes} do not fit a blob with {bottom.rank} axes")
    shape = layer.sizes(bottom, start, end)
    what = "factors" if operator == "Mul" else "a bias"
    weights = layer.blob(used, shape, what).reshape(*shape, *[1] * (bottom.rank - end))
    return layer.same(operator, [bottom, layer.constant(weights)]), used + 1


@layer_type("Eltwise", bottoms=ANY_NUMBER)
def eltwise(layer: Layer) -> list[Value]:
    """Sum (with coefficients), product or maximum of blobs of one shape. Caffe: eltwise_layer."""
    settings = layer.parameters.eltwise_param
    bottoms = layer.bottoms
    for bottom in bottoms[1:]:
        if bottom.shape != bottoms[0].shape:
            raise layer.error(f"bottoms differ in shape: {bottoms[0].shape} and {bottom.shape}")
    coefficients = [float(value) for value in settings.coeff]
    if coefficients and len(coefficients) != len(bottoms):
        raise layer.error(f"expected one coeff for each of {len(bottoms)} bottoms, found {len(coefficients)}")
    if coefficients and settings.operation != _Eltwise.SUM:
        raise layer.error("coeff goes with SUM only")
    if settings.operation == _Eltwise.MAX:
        return [layer.same("Max", bottoms)]
    operator = "Mul" if settings.operation == _Eltwise.PROD else "Add"
    terms = [
        bottom if factor == 1 else layer.same("Mul", [bottom, layer.constant(np.float32(factor))])
        for bottom, factor in zip(bottoms, coefficients or [1.0] * len(bottoms), strict=True)
    ]
    result = terms[0]
    for term in terms[1:]:
        result = layer.same(operator, [result, term])
    return [result]
