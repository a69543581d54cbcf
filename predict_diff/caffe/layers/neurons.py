"""Layers that act on each number by itself."""

from __future__ import annotations

from ..graph import Layer, Value
from .registry import layer_type


@layer_type("ReLU")
def relu(layer: Layer) -> list[Value]:
    """max(x, 0) + negative_slope min(x, 0). Caffe: relu_layer."""
    slope = layer.parameters.relu_param.negative_slope
    if slope == 0:
        return [layer.same("Relu", [layer.bottom])]
    return [layer.same("LeakyRelu", [layer.bottom], alpha=float(slope))]


@layer_type("Clip")
def clip(layer: Layer) -> list[Value]:
    """min(max(x, low), high). Caffe: clip_layer."""
    settings = layer.parameters.clip_param
    if not settings.HasField("min") or not settings.HasField("max"):
        raise layer.error("clip_param needs both min and max")
    return [layer.same("Clip", [layer.bottom, layer.constant(settings.min), layer.constant(settings.max)])]


@layer_type("Dropout")
def dropout(layer: Layer) -> list[Value]:
    """The identity at test time. Caffe: dropout_layer."""
    return [layer.bottom]
