"""Reading and cutting ONNX graphs: shapes of blobs, who makes what, the part that an output needs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence

import onnx
from onnx import AttributeProto, TensorProto, helper

from ..errors import NetworkError
from .inference import infer_types

Shape = tuple[int, ...]


def opset(model: onnx.ModelProto) -> int:
    """Version of the standard operators that a model uses."""
    return next((int(entry.version) for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 1)


def producers(model: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    """The node that makes each value."""
    return {output: node for node in model.graph.node for output in node.output if output}


def reads(node: onnx.NodeProto) -> Iterator[str]:
    """Names that a node uses: its inputs, and what the bodies of loops and branches take from around them."""
    yield from filter(None, node.input)
    for attribute in node.attribute:
        for body in [attribute.g] if attribute.type == AttributeProto.GRAPH else attribute.graphs:
            for inner in body.node:
                yield from reads(inner)
            yield from (output.name for output in body.output)


def needed_nodes(
    nodes: Sequence[onnx.NodeProto], outputs: Iterable[str], given: Iterable[str] = ()
) -> tuple[list[onnx.NodeProto], set[str]]:
    """The nodes that some values depend on, in the same order, and the names of all values they use.

    What makes `given` values is not needed.
    """
    names, known, kept = set(outputs), set(given), list[onnx.NodeProto]()
    for node in reversed(nodes):
        if not (names - known).isdisjoint(node.output):
            kept.append(node)
            names.update(reads(node))
    return kept[::-1], names


def blob_shapes(model: onnx.ModelProto) -> dict[str, Shape]:
    """Shapes of the float values whose sizes are known beside that of the batch axis.

    Returns
    -------
    dict of str to tuple of int
        Name to shape without the batch axis, in the order of computation; weights are left out.

    Raises
    ------
    NetworkError
        If the graph breaks ONNX's rules.
    """
    weights = {tensor.name for tensor in model.graph.initializer}
    order = [info.name for info in model.graph.input] + [name for node in model.graph.node for name in node.output]
    types = infer_types(model)
    shapes = {}
    for name in order:
        known = types.get(name)
        if name in weights or known is None or known.type != TensorProto.FLOAT or not known.shape:
            continue
        sizes = [size for size in known.shape[1:] if isinstance(size, int) and size > 0]
        if len(sizes) == len(known.shape) - 1:
            shapes[name] = tuple(sizes)
    return shapes


def prune(model: onnx.ModelProto, outputs: Sequence[str], given: Mapping[str, Shape] | None = None) -> onnx.ModelProto:
    """The part of a model that computes some of its values, with those values as outputs.

    Weights are copied only where they are needed. The inputs are those of the model or, if there are any, the `given`
    values, by name, with their shapes without the batch axis.
    """
    nodes, used = needed_nodes(model.graph.node, outputs, given or ())
    known = {info.name: info for info in (*model.graph.input, *model.graph.value_info, *model.graph.output)}
    inputs = list(model.graph.input)
    if given:
        inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *given[name]]) for name in given]
    made = {name for node in nodes for name in node.output} | {info.name for info in inputs}
    pruned = onnx.ModelProto(
        ir_version=model.ir_version, opset_import=model.opset_import, metadata_props=model.metadata_props
    )
    pruned.functions.extend(model.functions)
    graph = pruned.graph
    graph.name = model.graph.name
    graph.node.extend(nodes)
    graph.input.extend(inputs)
    graph.initializer.extend(tensor for tensor in model.graph.initializer if tensor.name in used)
    for name in outputs:
        if name not in made:
            raise NetworkError(f"{model.graph.name}: there is no value '{name}'")
        graph.output.append(known.get(name) or helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    graph.value_info.extend(info for info in model.graph.value_info if info.name in used - {*outputs, *(given or ())})
    return pruned


def image_input(model: onnx.ModelProto, name: str) -> tuple[str, Shape, int | None]:
    """Name and shape (C, H, W) of the one image that the network takes, and how many of them, if that is fixed."""
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    if len(inputs) != 1:
        found = ", ".join(value.name for value in inputs) or "none"
        raise NetworkError(f"{name}: expected a network with one input, found {len(inputs)} ({found})")
    tensor = inputs[0].type.tensor_type
    sizes = [dim.dim_value for dim in tensor.shape.dim]
    if tensor.elem_type != TensorProto.FLOAT or len(sizes) < 2 or min(sizes[1:]) < 1:
        raise NetworkError(
            f"{name}: expected input '{inputs[0].name}' to be float32 with all sizes but the batch's fixed, such as "
            f"(N, 3, 224, 224); found sizes {[dim.dim_value or dim.dim_param or '?' for dim in tensor.shape.dim]}"
        )
    return str(inputs[0].name), tuple(sizes[1:]), sizes[0] if sizes[0] > 0 else None


def blob_names(
    metadata: dict[str, str], shapes: dict[str, Shape], outputs: Sequence[str]
) -> tuple[dict[str, list[str]], dict[str, Shape]]:
    """Tops of each Caffe layer, and the values that have a name of their own, with their shapes."""
    if "caffe" not in metadata:
        return {}, shapes
    names = json.loads(metadata["caffe"])
    layers = {str(layer): [str(top) for top in tops] for layer, tops in names["layers"].items()}
    named = {*outputs, *names["blobs"], *(top for tops in layers.values() for top in tops)}
    return layers, {name: shape for name, shape in shapes.items() if name in named}
