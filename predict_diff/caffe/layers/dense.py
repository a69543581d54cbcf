"""Fully connected layers."""

from __future__ import annotations

from math import prod

from ..graph import Layer, Value
from .registry import layer_type


@layer_type("InnerProduct")
def inner_product(layer: Layer) -> list[Value]:
    """Everything from `axis` on, flattened in order (channels, rows, columns), times a matrix.

    Caffe: inner_product_layer. Weights are (outputs, inputs), or (inputs, outputs) with `transpose`.
    """
    settings = layer.parameters.inner_product_param
    bottom, outputs = layer.bottom, int(settings.num_output)
    if outputs < 1:
        raise layer.error("num_output is missing or 0")
    axis = layer.axis(settings.axis)
    inputs = prod(layer.sizes(bottom, axis))
    layer.expect_blobs(1 + settings.bias_term)
    shape = (inputs, outputs) if settings.transpose else (outputs, inputs)
    weights = layer.constant(layer.blob(0, shape, "weights"))
    bias = layer.constant(layer.blob(1, (outputs,), "a bias")) if settings.bias_term else None
    rows = bottom.shape[0] if axis == 1 else "rows"
    matrix = bottom
    if axis != 1:
        matrix = layer.emit("Reshape", [bottom, layer.integers([-1, inputs])], (rows, inputs))
    elif bottom.rank != 2:
        matrix = layer.emit("Flatten", [bottom], (rows, inputs), axis=1)
    operands = [matrix, weights] if bias is None else [matrix, weights, bias]
    product = layer.emit("Gemm", operands, (rows, outputs), transB=int(not settings.transpose))
    if axis == 1:
        return [product]
    leading = bottom.shape[:axis]
    sizes = [size if isinstance(size, int) else -1 for size in leading]
    return [layer.emit("Reshape", [product, layer.integers([*sizes, outputs])], (*leading, outputs))]
