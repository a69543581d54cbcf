"""One small function for each of Caffe's layer types.

A function takes a :class:`~predict_diff.caffe.layer.Layer` and returns one value for each of its tops, or None
for a type that leaves nothing behind. To add a type, write its function in the file of its family (or a new
file, imported here), decorated with ``@layer_type("Name")``; a type that feeds the network tells the sizes of its
tops instead, and is decorated with ``@input_type("Name")``. Gradients come for free: they are derived from the ONNX
operators (`predict_diff.network.gradient`).
"""

from .registry import INPUT_TYPES, LAYER_TYPES, LayerType, input_type, layer_type

__all__ = ["INPUT_TYPES", "LAYER_TYPES", "LayerType", "input_type", "layer_type"]

from . import (  # noqa: F401 - fill the registry
    arithmetic,
    data,
    dense,
    forks,
    loss,
    neurons,
    normalisation,
    pooling,
    reduction,
    shape,
    spatial,
)
