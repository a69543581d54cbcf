"""A small classifier that every test of the method can afford."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE, CLASSES = 14, 4


def small_model(seed: int = 0) -> onnx.ModelProto:
    """Convolution, ReLU, max pooling, inner product, softmax; 3 x 14 x 14 -> 4 classes."""
    generator = np.random.default_rng(seed)

    def weights(name: str, scale: float, *shape: int) -> onnx.TensorProto:
        return numpy_helper.from_array(generator.normal(0, scale, shape).astype(np.float32), name)

    # Logits of about 1, so that the softmax is not saturated.
    tensors = [weights("w1", 0.3, 5, 3, 3, 3), weights("b1", 0.3, 5)]
    tensors += [weights("w2", 0.02, CLASSES, 5 * 7 * 7), weights("b2", 0.3, CLASSES)]
    nodes = [
        helper.make_node("Conv", ["data", "w1", "b1"], ["conv@conv"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["conv@conv"], ["conv"]),
        helper.make_node("MaxPool", ["conv"], ["pool"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["pool"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w2", "b2"], ["fc"], transB=1),
        helper.make_node("Softmax", ["fc"], ["prob"], axis=1),
    ]
    ends = [
        helper.make_tensor_value_info("data", TensorProto.FLOAT, ["N", 3, SIDE, SIDE]),
        helper.make_tensor_value_info("prob", TensorProto.FLOAT, ["N", CLASSES]),
    ]
    graph = helper.make_graph(nodes, "small", ends[:1], ends[1:], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
