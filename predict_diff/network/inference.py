"""What is known of a graph's values before it runs: element types and shapes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import onnx
from onnx import TensorProto, checker, defs, helper, shape_inference

from ..errors import NetworkError

#: A size, the name of a size that is open, or None where nothing is known.
Shape = tuple[int | str | None, ...]

#: From this opset on, shape inference leaves out a pool's last window as ONNX Runtime always does: if it would start
#: beyond the image and its leading padding.
_POOLING_OPSET, _POOLING_DOMAIN = 22, "predict_diff.pooling"

#: Tensors of more elements are weights, not sizes: shape inference need not see what is in them.
_LARGEST_READ = 1024


@dataclass(frozen=True)
class ValueType:
    """Element type, one of ``onnx.TensorProto``'s, and shape of a value; None where not known."""

    type: int | None = None
    shape: Shape | None = None


def constants(model: onnx.ModelProto) -> dict[str, TensorProto]:
    """Initialisers and tensors in Constant nodes, by the name of their value; not copied."""
    found = {tensor.name: tensor for tensor in model.graph.initializer}
    return found | {node.output[0]: node.attribute[0].t for node in model.graph.node if _is_constant(node)}


def infer_types(model: onnx.ModelProto) -> dict[str, ValueType]:
    """Element types and shapes of a model's values, from what it records and from shape inference.

    Parameters
    ----------
    model : onnx.ModelProto
        Without functions of its own. Its weights are neither copied nor read.

    Returns
    -------
    dict of str to ValueType
        A value that is missing is one of which nothing is known.

    Raises
    ------
    NetworkError
        If the graph breaks ONNX's rules: nodes out of order, an operator that does not exist, too few inputs.
    """
    bare = _without_weights(model)
    try:
        checker.check_model(bare)
        _modernise_pools(bare)
        # Not strict: sizes that contradict each other are found when the model is run.
        inferred = shape_inference.infer_shapes(bare, data_prop=True).graph
    except (checker.ValidationError, shape_inference.InferenceError, UnicodeDecodeError) as error:
        raise NetworkError(f"{model.graph.name}: expected a valid ONNX graph: {str(error).splitlines()[0]}") from error
    infos = (*inferred.input, *inferred.value_info)
    types = {tensor.name: ValueType(tensor.data_type, tuple(tensor.dims)) for tensor in model.graph.initializer}
    return types | {info.name: _value_type(info.type.tensor_type) for info in infos}


def _without_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with inputs in place of its large constants."""
    bare = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    graph = bare.graph
    graph.name = model.graph.name or "network"
    graph.input.extend(model.graph.input)
    # What is recorded of the outputs may be nothing, which the check of a model, but not its use, would take amiss.
    recorded = (*model.graph.value_info, *model.graph.output)
    graph.value_info.extend(info for info in recorded if info.HasField("type"))
    tensors = constants(model)
    large = {name: tensor for name, tensor in tensors.items() if not _is_readable(tensor)}
    graph.node.extend(node for node in model.graph.node if not large.keys() & set(node.output))
    graph.sparse_initializer.extend(model.graph.sparse_initializer)
    graph.initializer.extend(tensor for tensor in model.graph.initializer if tensor.name not in large)
    graph.input.extend(_as_inputs(large, known=(info.name for info in model.graph.input)))
    return bare


def _modernise_pools(model: onnx.ModelProto) -> None:
    """Turn pools into calls of a function that has them as in a later opset."""
    pools = [node for node in model.graph.node if node.op_type in ("MaxPool", "AveragePool") and not node.domain]
    for node in pools:
        node.domain = _POOLING_DOMAIN
        if node.op_type == "MaxPool" and len(node.output) == 1:
            node.output.append(f"{node.output[0]}/{_POOLING_DOMAIN}")
    model.opset_import.append(helper.make_opsetid(_POOLING_DOMAIN, 1))
    model.functions.extend([_pooling_function("MaxPool", ["y", "places"]), _pooling_function("AveragePool", ["y"])])


def _pooling_function(operator: str, outputs: list[str]) -> onnx.FunctionProto:
    """A function that hands its attributes on to an operator of the later opset."""
    attributes: dict[str, Any] = dict(defs.get_schema(operator, _POOLING_OPSET).attributes)
    node = helper.make_node(operator, ["x"], outputs)
    node.attribute.extend(helper.make_attribute_ref(name, entry.type) for name, entry in attributes.items())
    opset = helper.make_opsetid("", _POOLING_OPSET)
    return helper.make_function(_POOLING_DOMAIN, operator, ["x"], outputs, [node], [opset], list(attributes))


def _as_inputs(tensors: dict[str, TensorProto], known: Iterable[str]) -> Iterator[onnx.ValueInfoProto]:
    for name in tensors.keys() - set(known):
        yield helper.make_tensor_value_info(name, tensors[name].data_type, list(tensors[name].dims))


def _is_readable(tensor: TensorProto) -> bool:
    return math.prod(tensor.dims) <= _LARGEST_READ and tensor.data_location != TensorProto.EXTERNAL


def _is_constant(node: onnx.NodeProto) -> bool:
    return node.op_type == "Constant" and len(node.attribute) == 1 and node.attribute[0].name == "value"


def _value_type(tensor: onnx.TypeProto.Tensor) -> ValueType:
    if not tensor.HasField("shape"):
        return ValueType(tensor.elem_type or None)
    sizes = (dim.dim_value if dim.HasField("dim_value") else dim.dim_param or None for dim in tensor.shape.dim)
    return ValueType(tensor.elem_type or None, tuple(sizes))
