"""Layers that consist of weights: fully connected ones, tables, blobs by themselves."""

from __future__ import annotations

from math import prod

from onnx import TensorProto

from ..graph import Value
from ..layer import Layer
from .registry import layer_type


@layer_type("InnerProduct")
def inner_product(layer: Layer) -> list[Value]:
    """Everything from `axis` on, flattened in order (channels, rows, columns), times a matrix.

    Caffe: inner_product_layer. Weights are (outputs, inputs), or (inputs, outputs) with `transpose`.
    """
    settings = layer.parameters.inner_product_param
    bottom, outputs = layer.bottom, int(settings.num_output)
    if outputs < 1:
        raise layer.error("expected num_output of at least 1, found none or 0")
    axis = layer.axis(settings.axis)
    inputs = prod(layer.sizes(bottom, axis))
    layer.expect_blobs(1 + settings.bias_term)
    shape = (inputs, outputs) if settings.transpose else (outputs, inputs)
    weights = layer.constant(layer.blob(0, shape, "weights"))
    bias = layer.constant(layer.blob(1, (outputs,), "a bias")) if settings.bias_term else None
    rows = bottom.shape[0] if axis == 1 else "rows"
    if axis == 1 and bottom.rank != 2:
        matrix = layer.emit("Flatten", [bottom], (rows, inputs), axis=1)
    else:
        matrix = layer.reshape(bottom, (rows, inputs))
    operands = [matrix, weights] if bias is None else [matrix, weights, bias]
    product = layer.emit("Gemm", operands, (rows, outputs), transB=int(not settings.transpose))
    return [layer.reshape(product, (*bottom.shape[:axis], outputs))]


@layer_type("Embed")
def embed(layer: Layer) -> list[Value]:
    """The row of a table that each number stands for. Caffe: embed_layer."""
    settings = layer.parameters.embed_param
    shape = int(settings.input_dim), int(settings.num_output)
    if min(shape) < 1:
        raise layer.error("expected input_dim and num_output of at least 1, found none or 0")
    layer.expect_blobs(1 + settings.bias_term)
    table = layer.constant(layer.blob(0, shape, "weights"))
    index = layer.same("Cast", [layer.bottom], to=TensorProto.INT64)
    index.type = TensorProto.INT64
    rows = layer.emit("Gather", [table, index], (*layer.bottom.shape, shape[1]), axis=0)
    if not settings.bias_term:
        return [rows]
    return [layer.same("Add", [rows, layer.constant(layer.blob(1, shape[1:], "a bias"))])]


@layer_type("Parameter", bottoms=(0, 0))
def parameter(layer: Layer) -> list[Value]:
    """A learned blob by itself, for other layers to use. Caffe: parameter_layer."""
    layer.expect_blobs(1)
    shape = tuple(layer.parameters.parameter_param.shape.dim)
    return [layer.same("Identity", [layer.constant(layer.blob(0, shape, "a blob"))])]
