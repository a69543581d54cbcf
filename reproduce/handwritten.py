"""Networks built directly in ONNX, as someone would write them by hand: what converted ones are timed against.

Nothing of Caffe is involved, and nothing of the converter.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from numpy.typing import ArrayLike, NDArray
from onnx import TensorProto, helper, numpy_helper

Array = NDArray[np.float32]

#: EfficientNet-Lite0: kernel, stride, expansion, repeats of each stage.
_STAGES = ((3, 1, 1, 1), (3, 2, 6, 2), (5, 2, 6, 2), (3, 2, 6, 3), (5, 1, 6, 3), (5, 2, 6, 4), (3, 1, 6, 1))
_EPSILON = 1e-3


class _Graph:
    """Operators and weights, one after the other."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: list[onnx.TensorProto] = []

    def weights(self, array: ArrayLike) -> str:
        name = f"w{len(self.tensors)}"
        self.tensors.append(numpy_helper.from_array(np.ascontiguousarray(array, np.float32), name))
        return name

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def model(self, name: str, side: int, result: str) -> onnx.ModelProto:
        data = helper.make_tensor_value_info("data", TensorProto.FLOAT, ["N", 3, side, side])
        prob = helper.make_tensor_value_info("prob", TensorProto.FLOAT, ["N", 1000])
        self.nodes.append(helper.make_node("Softmax", [result], ["prob"], axis=1))
        graph = helper.make_graph(self.nodes, name, [data], [prob], self.tensors)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)


def efficientnet_lite0(state: dict[str, NDArray[Any]]) -> onnx.ModelProto:
    """EfficientNet-Lite0 from its state dict: normalisation folded into convolutions, TensorFlow's uneven padding."""
    graph = _Graph()

    def convolve(value: str, name: str, norm: str, stride: int = 1, group: int = 1, clip: bool = True) -> str:
        kernel = state[f"{name}.weight"]
        scale = state[f"{norm}.weight"] / np.sqrt(state[f"{norm}.running_var"] + _EPSILON)
        bias = state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * scale
        # "Same" padding of an even size at stride 2: one more below and at the right.
        total = kernel.shape[-1] - stride
        pads = [total // 2] * 2 + [total - total // 2] * 2
        folded = graph.weights(kernel * scale[:, None, None, None])
        value = graph.add("Conv", value, folded, graph.weights(bias), strides=[stride, stride], pads=pads, group=group)
        return graph.add("Clip", value, zero, six) if clip else value

    zero, six = graph.weights(0), graph.weights(6)
    value = convolve("data", "_conv_stem", "_bn0", stride=2)
    block = 0
    for _, first_stride, expansion, repeats in _STAGES:
        for repeat in range(repeats):
            name, start = f"_blocks.{block}", value
            if expansion > 1:
                value = convolve(value, f"{name}._expand_conv", f"{name}._bn0")
            channels = len(state[f"{name}._depthwise_conv.weight"])
            stride = first_stride if repeat == 0 else 1
            value = convolve(value, f"{name}._depthwise_conv", f"{name}._bn1", stride, channels)
            value = convolve(value, f"{name}._project_conv", f"{name}._bn2", clip=False)
            if repeat > 0:
                value = graph.add("Add", value, start)
            block += 1
    value = graph.add("Flatten", graph.add("GlobalAveragePool", convolve(value, "_conv_head", "_bn1")), axis=1)
    value = graph.add("Gemm", value, graph.weights(state["_fc.weight"]), graph.weights(state["_fc.bias"]), transB=1)
    return graph.model("EfficientNet-Lite0", 224, value)


def alexnet(blobs: Callable[[str], tuple[Array, Array]]) -> onnx.ModelProto:
    """AlexNet from its weights and biases, by layer."""
    graph = _Graph()

    def convolve(value: str, layer: str, pad: int = 0, stride: int = 1, group: int = 1) -> str:
        kernel, bias = (graph.weights(array) for array in blobs(layer))
        value = graph.add("Conv", value, kernel, bias, strides=[stride] * 2, pads=[pad] * 4, group=group)
        return graph.add("Relu", value)

    def normalise(value: str) -> str:
        return graph.add("LRN", value, size=5, alpha=1e-4, beta=0.75, bias=1.0)

    def pool(value: str) -> str:
        return graph.add("MaxPool", value, kernel_shape=[3, 3], strides=[2, 2])

    def connect(value: str, layer: str) -> str:
        matrix, bias = (graph.weights(array) for array in blobs(layer))
        return graph.add("Gemm", value, matrix, bias, transB=1)

    value = pool(normalise(convolve("data", "conv1", stride=4)))
    value = pool(normalise(convolve(value, "conv2", pad=2, group=2)))
    value = convolve(convolve(value, "conv3", pad=1), "conv4", pad=1, group=2)
    value = graph.add("Flatten", pool(convolve(value, "conv5", pad=1, group=2)), axis=1)
    value = graph.add("Relu", connect(value, "fc6"))
    return graph.model("AlexNet", 227, connect(graph.add("Relu", connect(value, "fc7")), "fc8"))
