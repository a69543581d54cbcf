"""Networks in half precision, and what a lower precision costs in bits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import AttributeProto, TensorProto, helper, numpy_helper

from ..errors import NetworkError
from ..evidence import IMAGENET_TRAINING_INSTANCES, activation_difference, expectation, weight_of_evidence
from ..targets import Measure
from .inference import infer_types

if TYPE_CHECKING:
    from ..algorithm import Evaluator

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


@dataclass(frozen=True)
class PrecisionError:
    """By how much the results of one evaluator differ from those of a more precise one, at most.

    Attributes
    ----------
    probability : float, or None
        Over the predictions for the photo and for every sample; None if no target is a probability.
    bits : float, or None
        Weight of evidence of a window, in bits; None likewise.
    activation : float, or None
        Activation difference of a window, in the units' own units; None if all targets are probabilities.
    windows, samples : int
        How many windows were compared, and S.
    """

    probability: float | None
    bits: float | None
    activation: float | None
    windows: int
    samples: int

    def __str__(self) -> str:
        named = ((self.probability, "in probability"), (self.bits, "bits"), (self.activation, "in activation"))
        apart = " and ".join(f"{value:.2g} {unit}" for value, unit in named if value is not None)
        return f"at most {apart} from full precision, over {self.windows} windows of {self.samples} samples"

    def describe(self) -> dict[str, Any]:
        """What a result should say of the precision, JSON-able."""
        return asdict(self)


def precision_error(
    reference: Evaluator,
    evaluator: Evaluator,
    measures: Sequence[Measure],
    x: NDArray[np.float32],
    windows: NDArray[np.int64],
    patches: NDArray[np.float32],
    instances: int = IMAGENET_TRAINING_INSTANCES,
) -> PrecisionError:
    """Compare two evaluators of the same targets, for the same samples in the same windows.

    Parameters
    ----------
    reference, evaluator : Evaluator
        The first in full precision.
    measures : sequence of {"WE", "AD"}
        How a change of each target is measured; see `algorithm.measures_of`.
    x : ndarray, shape (C, H, W), float32
        The photo.
    windows : ndarray, shape (n, 2), int64
        Upper left pixels.
    patches : ndarray, shape (n, S, C, k, k), float32
        What goes into each window.
    instances : int
        N of the Laplace correction.

    Raises
    ------
    NetworkError
        If one of them gives NaN or infinity.
    """
    both = [_evaluated(one, x, windows, patches) for one in (reference, evaluator)]
    blobs = reference.network.blobs
    predictions, evidence, activation = [], [], []
    for u, (target, measure) in enumerate(zip(reference.targets, measures, strict=True)):
        known, expected = ([one[part][u] for one in both] for part in (0, 2))
        if measure == "AD":
            activation.append(_apart(*map(activation_difference, known, expected)))
            continue
        classes = blobs[target.blob][0]
        pairs = zip(known, expected, strict=True)
        evidence.append(_apart(*(weight_of_evidence(*pair, instances, classes) for pair in pairs)))
        predictions += [_apart(*known), _apart(*(one[1][..., u] for one in both))]
    return PrecisionError(
        max(predictions, default=None),
        max(evidence, default=None),
        max(activation, default=None),
        windows=patches.shape[0],
        samples=patches.shape[1],
    )


def _evaluated(
    evaluator: Evaluator, x: NDArray[np.float32], windows: NDArray[np.int64], patches: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.float32], NDArray[np.float64]]:
    """Targets of the photo, (U,), those of every sample, (n, S, U), and their means over samples, (U, n)."""
    known, predictions = evaluator.values(x), evaluator.evaluate(x, windows, patches)
    if not (np.isfinite(known).all() and np.isfinite(predictions).all()):
        network = evaluator.network
        raise NetworkError(
            f"{network.name}: precision {network.precision}: expected finite predictions, found NaN or infinity; use "
            f"precision full or tf32"
        )
    return known, predictions, expectation(predictions)[0]


def _apart(one: NDArray[Any], other: NDArray[Any]) -> float:
    return float(np.abs(np.asarray(one, np.float64) - np.asarray(other, np.float64)).max(initial=0.0))
