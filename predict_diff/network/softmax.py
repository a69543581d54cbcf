"""Where probabilities come from."""

from __future__ import annotations

from collections.abc import Mapping

import onnx

#: What exporters and deploy files put behind a softmax.
_SAME_NUMBERS = frozenset({"Cast", "Flatten", "Identity", "Reshape", "Squeeze"})


def before_softmax(makers: Mapping[str, onnx.NodeProto], blob: str) -> str | None:
    """What the softmax that makes a blob is applied to, given who makes each value; None if there is none."""
    name: str | None = blob
    while name is not None and name in makers:
        node = makers[name]
        if node.op_type == "Softmax":
            return str(node.input[0])
        name = node.input[0] if node.op_type in _SAME_NUMBERS else None
    return None
