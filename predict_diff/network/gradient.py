"""The backward pass: from an ONNX graph, a second one that computes gradients with respect to its input.

Reverse-mode differentiation, as Caffe's ``Net::Backward``: the operators are walked from the blob back to the
input, and each turns the diff of its output into diffs of its inputs by the rule in
:mod:`predict_diff.network.derivatives`. The result is an ordinary ONNX model; no autograd framework is involved.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import onnx
from onnx import helper, inliner

from ..errors import NetworkError, closest
from .derivatives import DEFINED, FLOATING_POINT, RULES, Graph, Step, Value, by_definition, differentiable_values
from .graphs import needed_nodes, reads
from .inference import constants, infer_types

#: The oldest operators that the rules read, and the oldest that they write: ScatterElements adds from 16 on.
_READ_OPSET, _WRITTEN_OPSET = 13, 16
_IR_VERSION = 8

_DEFAULT_DOMAINS = frozenset({"", "ai.onnx"})


def gradient_model(
    model: onnx.ModelProto, blobs: str | Sequence[str], inputs: str | Sequence[str] | None = None
) -> onnx.ModelProto:
    """A model that computes the gradient of blobs with respect to the network's input.

    It multiplies a vector with the Jacobian: what is put on a blob as its diff (1 at a unit and 0 elsewhere, for the
    gradient of that unit) comes out as the diff of the input, for each photo of the batch by itself. Layers behind
    the blobs are not computed.

    Kinks and ties are Caffe's: ReLU has the slope 0 at 0; of equal maxima in a pooling window or along axes the first
    takes all; of two equal operands of a maximum, the second; Clip passes at its bounds.

    Parameters
    ----------
    model : onnx.ModelProto
        Any network of opset 13 or later, exported for inference. It is not changed; of its weights, those that are
        needed are copied once.
    blobs : str or sequence of str
        Values of the graph to differentiate; with several, the contributions of all are summed.
    inputs : str or sequence of str, optional
        Inputs to differentiate with respect to; by default all that are floating point.

    Returns
    -------
    onnx.ModelProto
        Inputs: those of the network (without ones that are neither needed nor differentiated with respect to), and
        ``upstream/<blob>`` for each blob, in the shape and type of the blob. Outputs: ``gradient/<input>`` for each
        input, in the shape and type of the input; zero where no path leads from the input to a blob. The opset is
        the network's, but at least 16: between 13 and 16 no operator that has a rule changed its meaning.

    Raises
    ------
    NetworkError
        If the graph is not valid, there is no such blob or input, an operator on the way has no rule, or a blob
        depends on the input only through operators that have no gradient (comparisons, ArgMax, rounding).
    """
    opset = _opset(model)
    model = by_definition(inliner.inline_local_functions(model) if model.functions else model)
    types, weights = infer_types(model), constants(model)
    sources = _sources(model, inputs)
    targets = _targets(model, blobs)
    reached, stopped = differentiable_values(model.graph.node, sources, types)
    for blob in targets:
        if blob not in reached and blob in stopped:
            raise NetworkError(
                f"{_label(model, stopped[blob])} has no gradient, and '{blob}' depends on the input through it only; "
                "choose a blob before it"
            )
    upstreams = {blob: f"upstream/{blob}" for blob in targets}
    gradients = {source: f"gradient/{source}" for source in sources}
    graph = Graph(types, weights, taken=_names(model, reserved=[*upstreams.values(), *gradients.values()]))

    backward = _Backward(graph, reached, lambda node: _label(model, node))
    for blob, upstream in upstreams.items():
        backward.receive(blob, Value(graph, upstream, graph.value(blob).type))
    for node in reversed(model.graph.node):
        backward.through(node)
    for source, gradient in gradients.items():
        diff = backward.diff(source) or graph.zeros_like(graph.value(source))
        graph.nodes.append(helper.make_node("Identity", [diff.name], [gradient]))

    result = _join(model, graph, gradients)
    result.opset_import.extend(opset)
    result.graph.input.extend(_describe(name, graph.value(blob)) for blob, name in upstreams.items())
    result.graph.output.extend(_describe(name, graph.value(source)) for source, name in gradients.items())
    return result


def _join(model: onnx.ModelProto, backward: Graph, gradients: dict[str, str]) -> onnx.ModelProto:
    """What the gradients need of the forward and the backward part, and the network's own inputs.

    Rules add operators for whatever could be asked of them, and most of the forward part may not matter.
    """
    nodes, used = needed_nodes([*model.graph.node, *backward.nodes], gradients.values())
    result = onnx.ModelProto(ir_version=max(model.ir_version, _IR_VERSION), producer_name="predict_diff")
    result.graph.name = f"gradient of {model.graph.name or 'network'}"
    result.graph.node.extend(nodes)
    result.graph.initializer.extend(tensor for tensor in model.graph.initializer if tensor.name in used)
    result.graph.sparse_initializer.extend(
        tensor for tensor in model.graph.sparse_initializer if tensor.values.name in used
    )
    result.graph.initializer.extend(tensor for name, tensor in backward.initializers.items() if name in used)
    result.graph.input.extend(info for info in _fed(model) if info.name in used or info.name in gradients)
    return result


class _Backward:
    """Diffs on their way from the blobs to the inputs.

    Parameters
    ----------
    graph : Graph
        What the rules write to.
    reached : set of str
        Values whose diffs matter.
    label : callable
        What messages call a node.
    """

    def __init__(self, graph: Graph, reached: set[str], label: Callable[[onnx.NodeProto], str]) -> None:
        self._graph = graph
        self._reached = reached
        self._label = label
        self._received: dict[str, list[Value]] = defaultdict(list)

    def receive(self, name: str, diff: Value) -> None:
        """Count a diff towards that of a value, which is the sum over all that use the value."""
        self._received[name].append(diff)

    def diff(self, name: str) -> Value | None:
        """The diff of a value, complete once all that use the value have been passed; None for zero."""
        received = self._received.pop(name, [])
        if len(received) > 1:
            return self._graph.emit("Sum", received)
        return received[0] if received else None

    def through(self, node: onnx.NodeProto) -> None:
        """Carry the diffs of a node's outputs to its inputs."""
        diffs = [self.diff(name) for name in node.output]
        if not any(diffs) or self._reached.isdisjoint(reads(node)):
            return
        label = self._label(node)
        rule = RULES.get(node.op_type) if node.domain in _DEFAULT_DOMAINS else None
        if rule is None:
            raise NetworkError(
                f"{label} has no derivative here; choose a method that needs no gradient or, for a module of torch's, "
                f"give predict_diff.interoperability.TorchNetwork(module, example); operators that have one: "
                f"{', '.join(sorted(DEFINED.union(RULES)))}"
            )
        step = Step(
            graph=self._graph,
            node=node,
            inputs=[self._graph.value(name) if name else None for name in node.input],
            outputs=[self._graph.value(name) if name else None for name in node.output],
            diffs=diffs,
            wanted=[name in self._reached for name in node.input],
            label=label,
        )
        for name, diff in zip(node.input, rule(step), strict=False):
            if diff is not None and name in self._reached:
                self.receive(name, diff)


def _opset(model: onnx.ModelProto) -> list[onnx.OperatorSetIdProto]:
    """The operator sets that the gradient is written in."""
    versions = {entry.domain: entry.version for entry in model.opset_import}
    version = max(versions.pop(domain, 0) for domain in _DEFAULT_DOMAINS)
    if version < _READ_OPSET:
        raise NetworkError(
            f"{model.graph.name}: expected a network of ONNX opset {_READ_OPSET} or later, found {version}; "
            "export it anew, or convert it with onnx.version_converter"
        )
    versions[""] = max(version, _WRITTEN_OPSET)
    return [helper.make_opsetid(domain, version) for domain, version in versions.items()]


def _fed(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """The inputs that have to be fed; older files list initialisers among the inputs too."""
    initializers = {tensor.name for tensor in model.graph.initializer}
    return [info for info in model.graph.input if info.name not in initializers]


def _sources(model: onnx.ModelProto, inputs: str | Sequence[str] | None) -> list[str]:
    """The inputs to differentiate with respect to."""
    known = [info.name for info in _fed(model) if info.type.tensor_type.elem_type in FLOATING_POINT]
    asked = known if inputs is None else _unique(inputs)
    for name in asked:
        if name not in known:
            raise NetworkError(
                f"{model.graph.name}: expected a floating point input, found '{name}'{closest(name, known)}"
            )
    if not asked:
        raise NetworkError(f"{model.graph.name}: expected a floating point input to differentiate with respect to")
    return asked


def _targets(model: onnx.ModelProto, blobs: str | Sequence[str]) -> list[str]:
    """The values to differentiate."""
    known = {info.name for info in _fed(model)} | {name for node in model.graph.node for name in node.output if name}
    asked = _unique(blobs)
    for name in asked:
        if name not in known:
            raise NetworkError(f"{model.graph.name}: expected the name of a blob, found '{name}'{closest(name, known)}")
    return asked


def _unique(names: str | Sequence[str]) -> list[str]:
    return list(dict.fromkeys([names] if isinstance(names, str) else names))


def _names(model: onnx.ModelProto, reserved: Sequence[str]) -> set[str]:
    """All names in use; NetworkError if the graph has one of the reserved names already."""
    graph = model.graph
    names = {info.name for info in (*graph.input, *graph.initializer)}
    names |= {name for node in graph.node for name in (*node.input, *node.output)}
    for name in reserved:
        if name in names:
            raise NetworkError(f"{graph.name}: expected no value of the name '{name}', found one; rename it")
    return names | set(reserved)


def _label(model: onnx.ModelProto, node: onnx.NodeProto) -> str:
    """What messages call a node: its operator, and the value that it makes."""
    return f"{model.graph.name}: operator {node.op_type} of '{next(filter(None, node.output), node.name)}'"


def _describe(name: str, value: Value) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, value.type, value.shape)
