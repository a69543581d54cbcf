"""Operators that need no rule, since the standard defines them by operators that have one."""

from __future__ import annotations

import onnx
from onnx import helper, inliner

from ...errors import NetworkError
from ..inference import infer_types
from ..receptive_fields import STANDARD

#: Functions of the standard, by name. ONNX: Attention is softmax(q k^T + bias) v, with many ways to say so.
DEFINED = frozenset({"Attention"})


def by_definition(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with these operators replaced by what defines them; the model itself if there are none.

    Raises
    ------
    NetworkError
        If the graph is not valid, or the types that a definition asks for are not known.
    """
    found = {node.op_type for node in model.graph.node if node.domain in STANDARD} & DEFINED
    if not found:
        return model
    try:
        result = inliner.inline_selected_functions(
            _typed(model), [("", name) for name in found], inline_schema_functions=True
        )
    except RuntimeError as error:
        problem = str(error).splitlines()[0].split("failed: ")[-1]
        raise NetworkError(
            f"{model.graph.name}: expected {', '.join(sorted(found))} as the standard defines it, found: {problem}; "
            "export the network with an opset below 23, which has no such operator"
        ) from error
    result.graph.initializer.extend(model.graph.initializer)
    result.graph.sparse_initializer.extend(model.graph.sparse_initializer)
    return result


def _typed(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with types for all that is known of its values, and without weights, which would be copied twice."""
    typed = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    typed.graph.name = model.graph.name
    typed.graph.node.extend(model.graph.node)
    typed.graph.input.extend(model.graph.input)
    typed.graph.output.extend(model.graph.output)
    typed.graph.value_info.extend(
        helper.make_tensor_value_info(name, known.type, known.shape)
        for name, known in infer_types(model).items()
        if known.type is not None
    )
    return typed
