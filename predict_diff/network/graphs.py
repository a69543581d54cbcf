"""Reading and cutting ONNX graphs: shapes of blobs, who makes what, the part that an output needs."""

from __future__ import annotations

from collections.abc import Sequence

import onnx
from onnx import helper, shape_inference

from ..errors import NetworkError

Shape = tuple[int, ...]


def opset(model: onnx.ModelProto) -> int:
    """Version of the standard operators that a model uses."""
    return next((int(entry.version) for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 1)


def producers(model: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    """The node that makes each value; nodes without their attributes' tensors are small."""
    return {output: node for node in model.graph.node for output in node.output if output}


def blob_shapes(model: onnx.ModelProto) -> dict[str, Shape]:
    """Shapes of the values whose sizes are known beside that of the batch axis.

    Returns
    -------
    dict of str to tuple of int
        Name to shape without the batch axis, in the order of computation. Values of networks from elsewhere are
        inferred; weights are left out.
    """
    graph = _without_large_weights(model).graph
    infos = {info.name: info for info in (*graph.input, *graph.value_info, *graph.output)}
    if any(output not in infos for node in graph.node for output in node.output if output):
        inferred = shape_inference.infer_shapes(onnx.ModelProto(graph=graph, opset_import=model.opset_import))
        infos |= {info.name: info for info in inferred.graph.value_info if info.name not in infos}
    weights = {tensor.name for tensor in graph.initializer}
    order = [info.name for info in graph.input] + [name for node in graph.node for name in node.output]
    shapes = {}
    for name in order:
        info = infos.get(name)
        if info is None or name in weights or info.type.tensor_type.elem_type != onnx.TensorProto.FLOAT:
            continue
        sizes = [dim.dim_value for dim in info.type.tensor_type.shape.dim]
        if sizes and all(size > 0 for size in sizes[1:]):
            shapes[name] = tuple(sizes[1:])
    return shapes


def prune(model: onnx.ModelProto, outputs: Sequence[str]) -> onnx.ModelProto:
    """The part of a model that computes some of its values, with those values as outputs.

    Weights are copied only where they are needed.
    """
    made_by = producers(model)
    needed: set[str] = set()
    stack = list(outputs)
    while stack:
        name = stack.pop()
        if name in needed:
            continue
        needed.add(name)
        if name in made_by:
            stack.extend(made_by[name].input)
    known = {info.name: info for info in (*model.graph.input, *model.graph.value_info, *model.graph.output)}
    pruned = onnx.ModelProto(
        ir_version=model.ir_version, opset_import=model.opset_import, metadata_props=model.metadata_props
    )
    pruned.functions.extend(model.functions)
    graph = pruned.graph
    graph.name = model.graph.name
    graph.node.extend(node for node in model.graph.node if any(output in needed for output in node.output))
    graph.input.extend(model.graph.input)
    graph.initializer.extend(tensor for tensor in model.graph.initializer if tensor.name in needed)
    for name in outputs:
        if name not in made_by and name not in {info.name for info in model.graph.input}:
            raise NetworkError(f"{model.graph.name}: there is no value '{name}'")
        graph.output.append(known.get(name) or helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    graph.value_info.extend(info for info in model.graph.value_info if info.name in needed - set(outputs))
    return pruned


def _without_large_weights(model: onnx.ModelProto, limit: int = 1 << 16) -> onnx.ModelProto:
    """A copy for shape inference, in which weights have a shape but no data; small tensors can be shapes themselves."""
    copy = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    graph = copy.graph
    graph.name = model.graph.name
    graph.node.extend(model.graph.node)
    graph.input.extend(model.graph.input)
    graph.output.extend(model.graph.output)
    graph.value_info.extend(model.graph.value_info)
    for tensor in model.graph.initializer:
        if len(tensor.raw_data) <= limit:
            graph.initializer.append(tensor)
        else:
            graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
    return copy
