"""Where probabilities come from."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import onnx

from .graphs import Shape

#: What exporters and deploy files put behind a softmax.
_SAME_NUMBERS = frozenset({"Cast", "Flatten", "Identity", "Reshape", "Squeeze"})


def softmax_of(makers: Mapping[str, onnx.NodeProto], blob: str) -> onnx.NodeProto | None:
    """The softmax that makes a blob, given who makes each value; None if there is none."""
    name: str | None = blob
    while name is not None and name in makers:
        node = makers[name]
        if node.op_type == "Softmax":
            return node
        name = node.input[0] if node.op_type in _SAME_NUMBERS else None
    return None


def classes_of(softmax: onnx.NodeProto, shape: Shape, opset: int) -> int:
    """How many probabilities of a softmax add up to 1, given its shape without the batch axis."""
    axis = next((attribute.i for attribute in softmax.attribute if attribute.name == "axis"), 1 if opset < 13 else -1)
    sizes = (1, *shape)
    # Until opset 12 a softmax goes over its axis and all that follow.
    return prod(sizes[axis:]) if opset < 13 else sizes[axis]
