"""Sums and products of blobs with weights and with each other."""

from __future__ import annotations

import numpy as np

from .. import caffe_pb2
from ..graph import Value
from ..layer import Layer
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
    if len(layer.bottoms) == 2 and not learned:
        operand = layer.bottoms[1]
        # Caffe: the axis of a single number does not matter.
        start = 0 if operand.rank == 0 else layer.axis(axis)
        trailing = bottom.rank - start - operand.rank
        if trailing < 0 or bottom.shape[start : start + operand.rank] != operand.shape:
            raise layer.error(
                f"expected a second bottom with the sizes of {layer.called(bottom)} from axis {axis} on, found "
                f"{layer.called(operand)}"
            )
        if trailing:
            operand = layer.reshape(operand, (*operand.shape, *[1] * trailing))
        return layer.same(operator, [bottom, operand]), used
    start = layer.axis(axis)
    end = bottom.rank if num_axes == -1 else start + num_axes
    if not start <= end <= bottom.rank:
        raise layer.error(f"expected axis and num_axes within {layer.called(bottom)}, found {axis} and {num_axes}")
    shape = layer.sizes(bottom, start, end)
    what = "factors" if operator == "Mul" else "a bias"
    weights = layer.blob(used, shape, what).reshape(*shape, *[1] * (bottom.rank - end))
    return layer.same(operator, [bottom, layer.constant(weights)]), used + 1


@layer_type("Eltwise", bottoms=(2, ANY_NUMBER[1]))
def eltwise(layer: Layer) -> list[Value]:
    """Sum (with coefficients), product or maximum of blobs of one shape. Caffe: eltwise_layer."""
    settings = layer.parameters.eltwise_param
    bottoms = layer.bottoms
    for bottom in bottoms[1:]:
        if bottom.shape != bottoms[0].shape:
            raise layer.error(
                f"expected bottoms of one shape, found {layer.called(bottoms[0])} and {layer.called(bottom)}"
            )
    coefficients = [float(value) for value in settings.coeff]
    if coefficients and len(coefficients) != len(bottoms):
        raise layer.error(f"expected one coeff for each of {len(bottoms)} bottoms, found {len(coefficients)}")
    if coefficients and settings.operation == _Eltwise.PROD:
        raise layer.error("expected coeff with SUM only, found it with PROD")
    if settings.operation == _Eltwise.MAX:
        # Caffe: coefficients, if any, do not matter here.
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
