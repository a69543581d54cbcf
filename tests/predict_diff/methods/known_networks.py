"""Networks whose explanations are known in closed form."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from predict_diff.network.function import FunctionNetwork
from predict_diff.network.network import Network


def _network(
    shape: tuple[int, ...], output: tuple[str, list[int]], nodes: list[onnx.NodeProto], tensors: dict[str, NDArray]
) -> Network:
    ends = [
        helper.make_tensor_value_info("data", TensorProto.FLOAT, ["N", *shape]),
        helper.make_tensor_value_info(output[0], TensorProto.FLOAT, ["N", *output[1]]),
    ]
    weights = [numpy_helper.from_array(np.asarray(value), name) for name, value in tensors.items()]
    graph = helper.make_graph(nodes, "known", ends[:1], ends[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
    return Network(model, provider="cpu", threads=1)


def linear(weights: NDArray[np.floating], bias: NDArray[np.floating] | None = None) -> Network:
    """Scores ``fc`` = weights . x + bias, of weights (classes, C, H, W), and ``prob``, their softmax."""
    classes = len(weights)
    nodes = [
        helper.make_node("Flatten", ["data"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w", "b"], ["fc"], transB=1),
        helper.make_node("Softmax", ["fc"], ["prob"], axis=1),
    ]
    bias = np.zeros(classes) if bias is None else bias
    tensors = {"w": weights.reshape(classes, -1).astype(np.float32), "b": bias.astype(np.float32)}
    return _network(weights.shape[1:], ("prob", [classes]), nodes, tensors)


def quadratic(weights: NDArray[np.floating]) -> Network:
    """Scores ``fc`` = (weights . x) squared."""
    classes = len(weights)
    nodes = [
        helper.make_node("Flatten", ["data"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w"], ["inner"], transB=1),
        helper.make_node("Mul", ["inner", "inner"], ["fc"]),
    ]
    return _network(weights.shape[1:], ("fc", [classes]), nodes, {"w": weights.reshape(classes, -1).astype(np.float32)})


def reshaped_behind_softmax(weights: NDArray[np.floating], shape: tuple[int, ...]) -> Network:
    """Scores ``map`` of shape (classes, 1, 1), the softmax over them, and behind it a Reshape: ``prob``."""
    nodes = [
        helper.make_node("Conv", ["data", "w"], ["map"]),
        helper.make_node("Softmax", ["map"], ["soft"], axis=1),
        helper.make_node("Reshape", ["soft", "shape"], ["prob"]),
    ]
    tensors = {"w": weights.astype(np.float32), "shape": np.array([-1, *shape])}
    return _network(weights.shape[1:], ("prob", list(shape)), nodes, tensors)


class Counting(Network):
    """A network that counts the images whose gradient it computes."""

    differentiated = 0

    def gradient(
        self, x: NDArray[np.float32], blob: str, unit: int | tuple[int, ...], scale: float = 1.0
    ) -> NDArray[np.float32]:
        self.differentiated += len(self.batch(x))
        return super().gradient(x, blob, unit, scale)


class Counted:
    """A function that counts the images it is given."""

    def __init__(self, function: Callable[[NDArray[np.float32]], NDArray[np.floating]]) -> None:
        self.function, self.images = function, 0
        self.__name__ = "counted"

    def __call__(self, batch: NDArray[np.float32]) -> NDArray[np.floating]:
        self.images += len(batch)
        return self.function(batch)


def as_function(network: Network, example: NDArray[np.float32]) -> tuple[FunctionNetwork, Counted]:
    """A network as a function, and what counts its images from now on."""
    counted = Counted(lambda batch: network.run(batch, "prob")["prob"])
    function = FunctionNetwork(counted, example)
    counted.images = 0
    return function, counted
