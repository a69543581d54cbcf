"""One small function for each of Caffe's layer types.

A function takes a :class:`~predict_diff.caffe.graph.Layer` and returns one value for each of its tops, or None
for a type that leaves nothing behind. To add a type, write its function in the file of its family (or a new
file, imported here), decorated with ``@layer_type("Name")``. Gradients come for free: they are derived from the
ONNX operators (`predict_diff.network.gradient`).
"""

from .registry import LAYER_TYPES, layer_type

__all__ = ["LAYER_TYPES", "layer_type"]

from . import arithmetic, dense, neurons, normalisation, pooling, shape, spatial  # noqa: F401 - fill the registry
