"""Which operators look only at the neighbourhood of each position, and how they read it along rows and columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from .graphs import Shape, opset
from .inference import constants
from .receptive_fields import STANDARD
from .spans import Reading, Span, hull, windows_along

#: Give each position of the output from the same position of the inputs: of one input, or of several.
_OF_ONE = {
    "Abs", "BatchNormalization", "Celu", "Clip", "Elu", "Erf", "Exp", "Gelu", "HardSigmoid", "HardSwish", "Identity",
    "LRN", "LeakyRelu", "Log", "Mish", "Neg", "Reciprocal", "Relu", "Selu", "Sigmoid", "Softplus", "Softsign", "Sqrt",
    "Swish", "Tanh", "ThresholdedRelu",
}  # fmt: skip
_OF_SEVERAL = {"Add", "Div", "Max", "Mean", "Min", "Mul", "PRelu", "Pow", "Sub", "Sum"}
#: The same, as long as they work along the channels.
_ALONG_CHANNELS = {"Concat", "LogSoftmax", "Softmax", "Split"}
#: From this opset on, a softmax along the channels is one; before, it was one over all axes from there on.
_SOFTMAX_OPSET = 13
_WITH_KERNEL = {"AveragePool", "Conv", "MaxPool"}

#: Where ONNX counts axes from the end.
_CHANNELS = (1, -3)

#: Attributes that say what happens at the border of the input.
_ABOUT_BORDERS = {"auto_pad", "ceil_mode", "pads"}


#: Rows and columns of a square, for every place of the window.
Square = tuple[Span, Span]


def same(one: Square, other: Square) -> bool:
    """Whether two squares have the same rows and columns, for every place of the window."""
    return one[0].same(other[0]) and one[1].same(other[1])


@dataclass(frozen=True, eq=False)
class Step:
    """One operator that can be evaluated on a square.

    Attributes
    ----------
    node : onnx.NodeProto
    blobs : tuple of str
        What it reads, constants left out.
    readings : tuple of Reading, or None
        How it reads along rows and columns; None where each position is for itself.
    padding : float
        What it finds outside of its input.
    """

    node: onnx.NodeProto
    blobs: tuple[str, ...]
    readings: tuple[Reading, Reading] | None = None
    padding: float = 0.0

    @property
    def outputs(self) -> list[str]:
        """Names of what it makes."""
        return [name for name in self.node.output if name]

    def reached(self, changed: Sequence[Square]) -> Square:
        """The square of its output that changes with these of its inputs."""
        rows, columns = (hull(spans) for spans in zip(*changed, strict=True))
        if self.readings is None:
            return rows, columns
        return self.readings[0].reached(rows), self.readings[1].reached(columns)

    def read(self, square: Square) -> Square:
        """The region of its inputs that a square of its output needs."""
        if self.readings is None:
            return square
        return self.readings[0].read(square[0]), self.readings[1].read(square[1])

    def on_squares(self) -> onnx.NodeProto:
        """The operator as it is applied to a region that holds all the padding it needs."""
        node = onnx.NodeProto()
        node.CopyFrom(self.node)
        if node.op_type == "Pad":
            return helper.make_node("Identity", [node.input[0]], node.output)
        if self.readings is not None:
            del node.attribute[:]
            node.attribute.extend(entry for entry in self.node.attribute if entry.name not in _ABOUT_BORDERS)
        return node

    def shares(self) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """For an average over fewer numbers at the border, by what one over a full kernel has to be multiplied.

        One factor for each row of the output, and one for each column; None where all are 1.
        """
        if self.readings is None or self.node.op_type != "AveragePool":
            return None
        with_padding = any(entry.name == "count_include_pad" and entry.i for entry in self.node.attribute)
        rows, columns = (reading.kernel / reading.counted(with_padding) for reading in self.readings)
        return None if (rows == 1).all() and (columns == 1).all() else (rows, columns)


def local_steps(model: onnx.ModelProto, shapes: Mapping[str, Shape], image: str) -> list[Step]:
    """The operators that can be evaluated on squares, from the image on, in the order of computation.

    Parameters
    ----------
    model : onnx.ModelProto
    shapes : mapping of str to tuple of int
        Of its values, batch axis left out, as `graphs.blob_shapes` gives them.
    image : str
        Name of the input.
    """
    fixed = constants(model)
    local = {image} if len(shapes.get(image, ())) == 3 else set[str]()
    steps = []
    for node in model.graph.node:
        if opset(model) < _SOFTMAX_OPSET and node.op_type in ("LogSoftmax", "Softmax"):
            continue
        step = _step(node, shapes, fixed)
        if step is not None and step.blobs and local.issuperset(step.blobs):
            steps.append(step)
            local.update(step.outputs)
    return steps


def changed_squares(steps: Sequence[Step], shapes: Mapping[str, Shape], image: str, k: int) -> dict[str, Square]:
    """Of the image, and of every blob that the steps make, the square that can change with a window of k x k pixels."""
    rows, columns = (windows_along(size, k) for size in shapes[image][1:])
    squares: dict[str, Square] = {image: (rows, columns)}
    for step in steps:
        squares.update(dict.fromkeys(step.outputs, step.reached([squares[blob] for blob in step.blobs])))
    return squares


def _step(node: onnx.NodeProto, shapes: Mapping[str, Shape], fixed: Mapping[str, onnx.TensorProto]) -> Step | None:
    blobs = tuple(name for name in node.input if name and name not in fixed)
    outputs = [name for name in node.output if name]
    planes = all(len(shapes.get(name, ())) == 3 for name in (*blobs, *outputs))
    if node.domain not in STANDARD or not planes:
        return None
    given = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
    if node.op_type in _WITH_KERNEL:
        if blobs != tuple(node.input[:1]) or len(outputs) != 1:
            return None
        kernel = given.get("kernel_shape") or fixed[node.input[1]].dims[2:]
        before, after = shapes[blobs[0]][1:], shapes[outputs[0]][1:]
        rows, columns = (_reading(given, axis, kernel[axis], before[axis], after[axis]) for axis in (0, 1))
        same = given.get("auto_pad", b"NOTSET").startswith(b"SAME")
        if same and node.op_type != "Conv" and (rows.extent < rows.stride or columns.extent < columns.stride):
            return None  # ONNX Runtime pads such a pool by a negative number, and its windows are elsewhere
        return Step(node, blobs, (rows, columns), float("-inf") if node.op_type == "MaxPool" else 0.0)
    if node.op_type == "Pad":
        return _padding(node, given, blobs, shapes, fixed)
    if not _position_by_position(node, given, blobs, fixed):
        return None
    return Step(node, blobs) if len({shapes[name][1:] for name in (*blobs, *outputs)}) == 1 else None


def _position_by_position(
    node: onnx.NodeProto, given: Mapping[str, Any], blobs: tuple[str, ...], fixed: Mapping[str, onnx.TensorProto]
) -> bool:
    """Whether an operator gives each position of its output from that position of its inputs alone."""
    if node.op_type in _OF_ONE:
        # Until opset 9, a batch normalisation could have a mean and a variance for each position.
        return blobs == tuple(node.input[:1]) and given.get("spatial", 1) == 1
    if node.op_type in _OF_SEVERAL:
        return all(_same_everywhere(fixed[name]) for name in node.input if name in fixed)
    # Concatenating a constant would need it at each square.
    among_channels = given.get("axis", 0 if node.op_type == "Split" else -1) in _CHANNELS
    return (
        node.op_type in _ALONG_CHANNELS
        and among_channels
        and (node.op_type == "Split" or len(blobs) == len(node.input))
    )


def _padding(
    node: onnx.NodeProto,
    given: Mapping[str, Any],
    blobs: tuple[str, ...],
    shapes: Mapping[str, Shape],
    fixed: Mapping[str, onnx.TensorProto],
) -> Step | None:
    """Padding of rows and columns with a constant: every output reads one position, or finds padding."""
    constant = all(name in fixed for name in node.input[1:] if name) and len(node.input) in (2, 3)
    if len(blobs) != 1 or not constant or given.get("mode", b"constant") != b"constant":
        return None
    _, _, top, left, *ends, bottom, right = numpy_helper.to_array(fixed[node.input[1]]).tolist()
    if shapes[blobs[0]][0] != shapes[node.output[0]][0] or any(ends):
        return None
    value = float(numpy_helper.to_array(fixed[node.input[2]]).item()) if any(node.input[2:]) else 0.0
    sizes = zip((top, left), (bottom, right), shapes[blobs[0]][1:], shapes[node.output[0]][1:], strict=True)
    rows, columns = (Reading(1, 1, 1, before, after, size, outputs) for before, after, size, outputs in sizes)
    return Step(node, blobs, (rows, columns), value)


def _same_everywhere(constant: onnx.TensorProto) -> bool:
    """Whether a factor or summand is the same at every position, as one per channel is, (C, 1, 1)."""
    return bool(prod(constant.dims[-2:]) == 1)


def _reading(given: Mapping[str, Any], axis: int, kernel: int, size: int, outputs: int) -> Reading:
    stride, dilation = (given.get(name, (1, 1))[axis] for name in ("strides", "dilations"))
    before, after = (given.get("pads", (0, 0, 0, 0))[place] for place in (axis, axis + 2))
    if given.get("auto_pad", b"NOTSET") in (b"SAME_UPPER", b"SAME_LOWER"):
        missing = max(0, (outputs - 1) * stride + (kernel - 1) * dilation + 1 - size)
        before = (missing + (given["auto_pad"] == b"SAME_LOWER")) // 2
        after = missing - before
    return Reading(kernel, stride, dilation, before, after, size, outputs)
