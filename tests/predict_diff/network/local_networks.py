"""Networks of random local layers of any size, stride, padding and dilation, joined at random."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Plane = tuple[int, int, int]
Pair = tuple[int, int]


def local_network(seed: int, layers: int = 7, opset: int = 22) -> onnx.ModelProto:
    """A classifier of photos of 1 to 4 channels and 9 to 22 rows and columns: data -> ... -> prob, 5 classes."""
    builder = _Builder(np.random.default_rng(seed))
    kinds = builder.kinds()
    for _ in range(layers):
        builder.add_layer(kinds[builder.rng.integers(len(kinds))])
    return builder.finish(opset)


def model_of(
    nodes: list[onnx.NodeProto],
    shape: Plane,
    weights: Mapping[str, NDArray[Any]] | None = None,
    opset: int = 22,
    ir_version: int = 10,
) -> onnx.ModelProto:
    """A model of some nodes, from "data" to the first output of the last node."""
    tensors = [numpy_helper.from_array(array, name) for name, array in (weights or {}).items()]
    inputs = [helper.make_tensor_value_info("data", TensorProto.FLOAT, ["N", *shape])]
    if ir_version < 4:  # initialisers had to be inputs, too
        inputs += [helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims) for tensor in tensors]
    graph = helper.make_graph(
        nodes,
        "local",
        inputs,
        [helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, None)],
        tensors,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version)


@dataclass
class _Builder:
    rng: np.random.Generator
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: dict[str, NDArray[Any]] = field(default_factory=dict)
    shapes: dict[str, Plane] = field(default_factory=dict)

    def __post_init__(self) -> None:
        channels, height, width = (int(size) for size in self.rng.integers([1, 9, 9], [5, 23, 23]))
        self.photo = (channels, height, width)
        self.shapes["data"] = self.photo

    def kinds(self) -> list[Callable[[str], object]]:
        return [
            self.convolution,
            self.convolution,
            self.pool,
            self.pool,
            self.neuron,
            self.normalisation,
            self.residual,
            self.inception,
            self.along_channels,
            self.constant_factor,
            self.padding,
            self.not_local,
        ]

    def add_layer(self, kind: Callable[[str], object]) -> None:
        """Put a layer behind one of the two latest values whose planes are not yet tiny."""
        large = [name for name, shape in self.shapes.items() if min(shape[1:]) > 2]
        kind(str(self.rng.choice(large[-2:])))

    def finish(self, opset: int) -> onnx.ModelProto:
        last = list(self.shapes)[-1]
        if self.flip():
            last = self.gate(last)
        if self.flip():
            last = self.node("GlobalAveragePool", [last], (self.shapes[last][0], 1, 1))
        units = int(np.prod(self.shapes[last]))
        self.nodes.append(helper.make_node("Flatten", [last], ["flat"]))
        self.nodes.append(helper.make_node("Gemm", ["flat", self.weight(units, 5)], ["fc"]))
        self.nodes.append(helper.make_node("Softmax", ["fc"], ["prob"], axis=1))
        return model_of(self.nodes, self.photo, self.weights, opset)

    # --- layers -----------------------------------------------------------------------------------------------------

    def convolution(self, x: str) -> str:
        channels = self.shapes[x][0]
        kind = self.rng.choice(["usual", "grouped", "depthwise", "pointwise"])
        kernel, stride, dilation, pads = self.neighbourhood(x)
        if kind == "pointwise":
            kernel, dilation, pads = (1, 1), (1, 1), (0, 0, 0, 0)
        groups = {"grouped": 2 if channels % 2 == 0 else 1, "depthwise": channels}.get(str(kind), 1)
        outputs = groups * int(self.rng.integers(1, 4))
        inputs = [x, self.weight(outputs, channels // groups, *kernel)]
        if self.flip():
            inputs.append(self.weight(outputs))
        attributes: dict[str, Any] = {"strides": stride, "dilations": dilation, "group": groups}
        if kind == "usual" and self.flip() and dilation == (1, 1):
            attributes["auto_pad"], sizes = self.same(x, stride)
        else:
            attributes["pads"] = pads
            sizes = self.sizes(x, kernel, stride, dilation, pads, ceil_mode=False)
        return self.node("Conv", inputs, (outputs, *sizes), **attributes)

    def pool(self, x: str) -> str:
        if any(node.op_type == "Pad" and x in node.output for node in self.nodes):
            # ONNX Runtime merges the two, and then refuses padding that is wider than the kernel.
            x = self.neuron(x)
        kernel, stride, dilation, pads = self.neighbourhood(x)
        automatic = self.rng.integers(4) == 0 and dilation == (1, 1)
        if automatic:
            # ONNX Runtime refuses steps that are wider than the kernel.
            stride = (min(stride[0], kernel[0]), min(stride[1], kernel[1]))
        attributes: dict[str, Any] = {"kernel_shape": kernel, "strides": stride, "dilations": dilation}
        if automatic:
            attributes["auto_pad"], sizes = self.same(x, stride)
        else:
            attributes |= {"pads": pads, "ceil_mode": self.flip()}
            sizes = self.sizes(x, kernel, stride, dilation, pads, attributes["ceil_mode"])
        if self.flip():
            return self.node("MaxPool", [x], (self.shapes[x][0], *sizes), **attributes)
        return self.node("AveragePool", [x], (self.shapes[x][0], *sizes), count_include_pad=self.flip(), **attributes)

    def neuron(self, x: str) -> str:
        kind = self.rng.choice(["Relu", "LeakyRelu", "Sigmoid", "Elu", "Clip", "PRelu"])
        inputs = [x]
        if kind == "Clip":
            inputs += [self.constant(np.array(-0.5)), self.constant(np.array(1.0))]
        elif kind == "PRelu":
            inputs.append(self.constant(self.rng.random((self.shapes[x][0], 1, 1))))
        return self.node(str(kind), inputs, self.shapes[x])

    def normalisation(self, x: str) -> str:
        if self.flip():
            return self.node("LRN", [x], self.shapes[x], size=3, alpha=0.3, beta=0.75, bias=1.0)
        channels = self.shapes[x][0]
        scale, shift, mean = (self.constant(self.rng.normal(0.5, 0.3, channels)) for _ in range(3))
        variance = self.constant(self.rng.uniform(0.5, 2, channels))
        return self.node("BatchNormalization", [x, scale, shift, mean, variance], self.shapes[x])

    def residual(self, x: str) -> str:
        branch = self.same_convolution(x, self.shapes[x][0], side=int(self.rng.choice([1, 3, 5])))
        kind = str(self.rng.choice(["Add", "Sub", "Mul", "Max"]))
        return self.node(kind, [x, branch] if self.flip() else [branch, x], self.shapes[x])

    def inception(self, x: str) -> str:
        pooled = self.node("MaxPool", [x], self.shapes[x], kernel_shape=(3, 3), strides=(1, 1), pads=(1, 1, 1, 1))
        branches = [self.same_convolution(x, 2, 1), self.same_convolution(x, 1, 5), pooled, x]
        channels = sum(self.shapes[name][0] for name in branches)
        return self.node("Concat", branches, (channels, *self.shapes[x][1:]), axis=int(self.rng.choice([1, -3])))

    def along_channels(self, x: str) -> str:
        channels, *plane = self.shapes[x]
        if self.flip() or channels == 1:
            return self.node("Softmax", [x], self.shapes[x], axis=1)
        parts = (1, channels - 1)
        names = [f"v{len(self.nodes)}/{part}" for part in (0, 1)]
        sizes = self.constant(np.array(parts), np.int64)
        self.nodes.append(helper.make_node("Split", [x, sizes], names, axis=1))
        for name, count in zip(names, parts, strict=True):
            self.shapes[name] = (count, plane[0], plane[1])
        return self.node("Concat", [self.same_convolution(names[0], 2, 3), names[1]], (channels + 1, *plane), axis=1)

    def constant_factor(self, x: str) -> str:
        shape = ((self.shapes[x][0], 1, 1), (1, self.shapes[x][0], 1, 1), (1,), ())[self.rng.integers(4)]
        kind = str(self.rng.choice(["Mul", "Add"]))
        inputs = [x, self.constant(self.rng.uniform(0.5, 1.5, shape))]
        return self.node(kind, inputs if self.flip() else inputs[::-1], self.shapes[x])

    def padding(self, x: str) -> str:
        """Around rows and columns; with negative numbers, less than there was."""
        channels, height, width = self.shapes[x]
        top, left, bottom, right = (int(side) for side in self.rng.integers(-1, 4, 4))
        inputs = [x, self.constant(np.array([0, 0, top, left, 0, 0, bottom, right]), np.int64)]
        if self.flip():
            inputs.append(self.constant(np.array(0.7)))
        return self.node("Pad", inputs, (channels, height + top + bottom, width + left + right))

    def not_local(self, x: str) -> str:
        """What differs from position to position, or mixes all of them: the network goes on as usual behind it."""
        channels, height, width = self.shapes[x]
        match self.rng.integers(4):
            case 0:
                return self.node("Add", [x, self.constant(self.rng.random((height, width)))], self.shapes[x])
            case 1:
                return self.node("Mul", [x, self.constant(self.rng.random(width))], self.shapes[x])
            case 2:
                return self.gate(x)
            case _:
                ends = [self.constant(np.array([number]), np.int64) for number in (max(0, channels - 2), channels, 1)]
                return self.node("Slice", [x, *ends], (min(2, channels), height, width))

    def gate(self, x: str) -> str:
        channels, *_ = self.shapes[x]
        squeezed = self.node("GlobalAveragePool", [x], (channels, 1, 1))
        excited = self.node("Sigmoid", [squeezed], (channels, 1, 1))
        return self.node("Mul", [x, excited], self.shapes[x])

    # --- their parts ------------------------------------------------------------------------------------------------

    def same_convolution(self, x: str, outputs: int, side: int) -> str:
        weights = self.weight(outputs, self.shapes[x][0], side, side)
        return self.node("Conv", [x, weights], (outputs, *self.shapes[x][1:]), pads=(side // 2,) * 4)

    def neighbourhood(self, x: str) -> tuple[Pair, Pair, Pair, tuple[int, int, int, int]]:
        """Kernel, stride, dilation and pads that leave something; pads are smaller than the kernel."""
        kernel, stride, dilation, begin, end = [], [], [], [], []
        for size in self.shapes[x][1:]:
            kernel.append(int(self.rng.integers(1, min(5, size) + 1)))
            stride.append(int(self.rng.integers(1, 4 if size > 6 else 2)))
            before, after = (int(pad) for pad in self.rng.integers(0, min(kernel[-1], 3), 2))
            fits = (kernel[-1] - 1) * 2 + 1 <= size
            dilation.append(2 if fits and self.flip() else 1)
            begin.append(before)
            end.append(after)
        return _pair(kernel), _pair(stride), _pair(dilation), (begin[0], begin[1], end[0], end[1])

    def same(self, x: str, stride: Pair) -> tuple[str, Pair]:
        height, width = (-(-size // step) for size, step in zip(self.shapes[x][1:], stride, strict=True))
        return str(self.rng.choice(["SAME_UPPER", "SAME_LOWER"])), (height, width)

    def sizes(
        self, x: str, kernel: Pair, stride: Pair, dilation: Pair, pads: tuple[int, int, int, int], ceil_mode: bool
    ) -> Pair:
        found = []
        for axis, size in enumerate(self.shapes[x][1:]):
            room = size + pads[axis] + pads[axis + 2] - dilation[axis] * (kernel[axis] - 1) - 1
            count = (-(-room // stride[axis]) if ceil_mode else room // stride[axis]) + 1
            # No window starts behind the image and its leading padding.
            found.append(count - (ceil_mode and (count - 1) * stride[axis] >= size + pads[axis]))
        return _pair(found)

    def node(self, operator: str, inputs: list[str], shape: Plane, **attributes: Any) -> str:
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [name], **attributes))
        self.shapes[name] = shape
        return name

    def weight(self, *shape: int) -> str:
        return self.constant(self.rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:])))

    def constant(self, array: NDArray[Any], kind: type = np.float32) -> str:
        name = f"w{len(self.weights)}"
        self.weights[name] = np.asarray(array, kind)
        return name

    def flip(self) -> bool:
        return bool(self.rng.integers(2))


def _pair(numbers: list[int]) -> Pair:
    first, second = numbers
    return first, second
