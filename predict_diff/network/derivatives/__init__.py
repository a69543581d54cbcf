"""Derivatives: one small function for each ONNX operator.

A rule takes a :class:`~predict_diff.network.derivatives.registry.Step`, an operator of the forward graph to whose
output a diff has arrived, adds the operators that carry the diff on, and returns one diff for each input. To add
an operator, write its rule in the file of its family (or a new file, imported here), decorated with
``@derivative("Name")``.

Where a function has a kink or a tie, the rules do what Caffe's layers do. Operators are used in forms that all
opsets from 16 on share.
"""

from .graph import Graph, Value
from .paths import FLOATING_POINT, HELD, differentiable_values
from .registry import RULES, Step

__all__ = [
    "FLOATING_POINT",
    "HELD",
    "RULES",
    "Graph",
    "Step",
    "Value",
    "differentiable_values",
]

from . import (  # noqa: F401 - fill the registry
    activations,
    arithmetic,
    convolution,
    dense,
    normalisation,
    pooling,
    reduction,
    selection,
    shape,
)
