"""Derivatives: one small function for each ONNX operator.

A rule takes a :class:`~predict_diff.network.derivatives.registry.Step`, an operator of the forward graph to whose
output a diff has arrived, adds the operators that carry the diff on, and returns one diff for each input. To add
an operator, write its rule in the file of its family (or a new file, imported here), decorated with
``@derivative("Name")``. One that the standard defines as a function of others may be named in :mod:`.definitions`.

Where a function has a kink or a tie, the rules do what Caffe's layers do. Operators are used in forms that all
opsets from 16 on share.
"""

from .definitions import DEFINED, by_definition
from .graph import Graph, Value
from .paths import FLOATING_POINT, HELD, differentiable_values
from .registry import RULES, Step

__all__ = [
    "DEFINED",
    "FLOATING_POINT",
    "HELD",
    "RULES",
    "Graph",
    "Step",
    "Value",
    "by_definition",
    "differentiable_values",
]

from . import (  # noqa: F401 - fill the registry
    activations,
    arithmetic,
    convolution,
    dense,
    einsum,
    normalisation,
    pooling,
    reduction,
    resizing,
    selection,
    shape,
    standardisation,
)
