"""Networks in half precision."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, helper, numpy_helper

from ..errors import NetworkError
from .inference import infer_types

#: Computed in float32 wherever they stand. A probability near 1 needs it: half precision has nothing between 0.9995
#: and 1, where the log odds, which weight of evidence compares, go from 11 to infinity. LRN sums squares, which pass
#: half precision's largest number, 65504, from activations of 256 on.
_IN_FULL = frozenset({"LRN", "LogSoftmax", "Softmax"})
#: Computed in float32 at the end of a network: means over feature maps, and what only moves numbers to the outputs.
_AT_THE_END = frozenset(
    {"Concat", "Flatten", "Gather", "Identity", "ReduceMean", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"}
)


def half_precision(model: onnx.ModelProto) -> onnx.ModelProto:
    """A model that calculates in half precision, with the inputs and outputs of the original.

    Weights and activations are float16, except that LRN and softmax, and what follows on the way to the outputs, are
    computed in float32. Inputs and outputs in float32 stay so: they are cast inside. Integers stay as they are.

    ONNX Runtime's CPU provider calculates in float32 where it has no kernel for half precision, and leaves out
    casts, so that its activations are not all rounded: what fp16 costs shows on a GPU.

    Parameters
    ----------
    model : onnx.ModelProto
        In float32; a network or a graph derived from one. It is not changed.

    Raises
    ------
    NetworkError
        If a weight is beyond half precision's range, or the graph has loops, branches or functions of its own, or
        operators of which ONNX does not know what they give.
    """
    name = model.graph.name
    if model.functions or any(_has_graph(node) for node in model.graph.node):
        raise NetworkError(
            f"{name}: precision fp16: expected a network without loops, branches and functions of its own; use "
            f"precision full or tf32"
        )
    types = {value: known.type for value, known in infer_types(model).items()}
    unknown = [value for node in model.graph.node for value in node.output if value and not types.get(value)]
    if unknown:
        raise NetworkError(
            f"{name}: precision fp16: expected values of known type, found '{unknown[0]}', of which ONNX does not "
            f"tell; use precision full or tf32"
        )
    halving = _Halving(model.graph, {value for value, type in types.items() if type == TensorProto.FLOAT})
    return onnx.ModelProto(
        ir_version=model.ir_version,
        opset_import=model.opset_import,
        metadata_props=model.metadata_props,
        graph=halving.graph,
    )


class _Halving:
    """Goes through a graph in order; attribute `graph` is the result."""

    def __init__(self, original: onnx.GraphProto, floats: set[str]) -> None:
        self._floats = floats
        self._outputs = {info.name for info in original.output}
        #: What a value is called in half precision, and in full.
        self._names: dict[tuple[str, bool], str] = {}
        weights = {tensor.name for tensor in original.initializer}
        self.graph = onnx.GraphProto(
            name=original.name,
            input=[info for info in original.input if info.name not in weights],
            output=original.output,
            value_info=[info for info in original.value_info if info.name not in floats],
        )
        for info in self.graph.input:
            self._made(info.name, True)
        for tensor in original.initializer:
            half = self.graph.initializer.add()
            half.CopyFrom(_halved(tensor, f"{original.name}: weight '{tensor.name}'"))
            half.name = self._made(tensor.name, False)
        in_full = _in_full(original)
        for number, node in enumerate(original.node):
            self._add(node, number in in_full, original.name)
        for info in original.output:
            self._called(info.name, True)

    def _add(self, node: onnx.NodeProto, full: bool, graph: str) -> None:
        inputs = [self._called(name, full) for name in node.input]
        added = self.graph.node.add()
        added.CopyFrom(node if full else _in_half(node, f"{graph}: constant '{node.output[0]}'"))
        added.input[:] = inputs
        added.output[:] = [self._made(name, full) for name in node.output]

    def _made(self, value: str, full: bool) -> str:
        """What a value is called in the precision in which it is made."""
        if value not in self._floats:
            return value
        name = f"{value}/half" if not full and value in self._outputs else value
        self._names[value, full] = name
        return name

    def _called(self, value: str, full: bool) -> str:
        """What a value is called in a precision; cast where it was made in the other."""
        if value not in self._floats:
            return value
        if (value, full) not in self._names:
            name = value if full and value in self._outputs else f"{value}/{'full' if full else 'half'}"
            made, wanted = self._names[value, not full], TensorProto.FLOAT if full else TensorProto.FLOAT16
            self.graph.node.append(helper.make_node("Cast", [made], [name], to=wanted))
            self._names[value, full] = name
        return self._names[value, full]


def _in_full(graph: onnx.GraphProto) -> set[int]:
    """Numbers of the nodes that are computed in float32."""
    in_half, full = set[str](), set[int]()  # values that are read in half precision
    for number, node in reversed(list(enumerate(graph.node))):
        if node.op_type in _IN_FULL or (node.op_type in _AT_THE_END and in_half.isdisjoint(node.output)):
            full.add(number)
        else:
            in_half.update(node.input)
    return full


def _in_half(node: onnx.NodeProto, where: str) -> onnx.NodeProto:
    """The operator as it gives half precision where it gave float32."""
    half = onnx.NodeProto()
    half.CopyFrom(node)
    if node.op_type == "ConstantOfShape" and not node.attribute:
        half.attribute.append(helper.make_attribute("value", numpy_helper.from_array(np.zeros(1, np.float16))))
    for attribute in half.attribute:
        if attribute.name in ("to", "dtype") and attribute.i == TensorProto.FLOAT:
            attribute.i = TensorProto.FLOAT16
        elif attribute.type == AttributeProto.TENSOR:
            attribute.t.CopyFrom(_halved(attribute.t, where))
        elif node.op_type == "Constant" and attribute.name in ("value_float", "value_floats"):
            value = np.array(helper.get_attribute_value(attribute), np.float32)
            tensor = _halved(numpy_helper.from_array(value), where)
            attribute.CopyFrom(helper.make_attribute("value", tensor))
    return half


def _halved(tensor: TensorProto, where: str) -> TensorProto:
    """A tensor in half precision if it was in float32. NetworkError if a number does not fit."""
    if tensor.data_type != TensorProto.FLOAT:
        return tensor
    full = numpy_helper.to_array(tensor)
    with np.errstate(over="ignore"):
        half = full.astype(np.float16)
    beyond = np.isfinite(full) & np.isinf(half)
    if beyond.any():
        raise NetworkError(
            f"{where}: precision fp16: expected numbers up to {np.finfo(np.float16).max:g}, found "
            f"{full[beyond].flat[0]:g}; use precision full or tf32"
        )
    return numpy_helper.from_array(half, tensor.name)


def _has_graph(node: onnx.NodeProto) -> bool:
    return any(attribute.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS) for attribute in node.attribute)
